//! An update expression as a program for a machine with one accumulator.

use std::ptr::null_mut;

use crate::update::{Instr, Reg, UpdateExpr};

/// Elements of the longest block.
pub(super) const BLOCK: usize = 128;

/// A block of one value.
#[derive(Clone)]
#[repr(align(64))]
pub(super) struct Slot(pub(super) [f32; BLOCK]);

/// Where a block of an operand lies: the parameters, the gradient, a state, or, after the last state, a slot.
pub(super) type Place = u16;

pub(super) const PARAM: Place = 0;
pub(super) const GRAD: Place = 1;
/// The first state.
pub(super) const STATES: Place = 2;
/// No place: the value is read from the accumulator only.
pub(super) const NOWHERE: Place = u16::MAX;

/// What an op makes of its operands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Code {
    /// a
    Copy,
    /// a + b
    Add,
    /// a − b
    Sub,
    /// a · b
    Mul,
    /// a / b
    Div,
    /// a · b + c
    Fma,
    /// √a
    Sqrt,
    /// −a
    Neg,
    /// |a|
    Abs,
    /// if b > a { b } else { a }
    Max,
    /// if b < a { b } else { a }
    Min,
    /// −1, 0 or 1
    Sign,
}

/// Where an op takes an operand from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// The accumulator, or no operand.
    Held,
    /// The elements of a place.
    Block,
    /// The first element of a place, for all.
    Splat,
}

/// Hands the forms that ops come in to a macro: each code with its operands' kinds, by their initials.
macro_rules! forms {
    ($then:ident) => {
        $then! {
            Copy [B H H];
            Add [H B H] [H S H] [B S H] [B B H];
            Mul [H B H] [H S H] [B S H] [B B H];
            Sub [H B H] [H S H] [B H H] [S H H] [B S H] [B B H];
            Div [H B H] [H S H] [B H H] [S H H] [B S H] [B B H];
            Max [H B H] [H S H] [B H H] [S H H] [B S H] [B B H];
            Min [H B H] [H S H] [B H H] [S H H] [B S H] [B B H];
            Fma [H B B] [H S B] [H B S] [H S S] [B B H] [S B H] [B B B] [S B B];
            Sqrt [H H H] [B H H];
            Neg [H H H] [B H H];
            Abs [H H H] [B H H];
            Sign [H H H] [B H H];
        }
    };
}
macro_rules! kind {
    (H) => {
        Kind::Held
    };
    (B) => {
        Kind::Block
    };
    (S) => {
        Kind::Splat
    };
}
macro_rules! table {
    ($($code:ident $([$a:tt $b:tt $c:tt])+;)+) => {
        &[$($((Code::$code, [kind!($a), kind!($b), kind!($c)])),+),+]
    };
}
pub(super) use {forms, kind};

const FORMS: &[(Code, [Kind; 3])] = forms!(table);

/// The number of a form, if there is such a form.
pub(super) const fn form(code: Code, kinds: [Kind; 3]) -> Option<u16> {
    let [a, b, c] = kinds;
    let mut at = 0;
    while at < FORMS.len() {
        let (other, [x, y, z]) = FORMS[at];
        if code as u8 == other as u8 && a as u8 == x as u8 && b as u8 == y as u8 && c as u8 == z as u8 {
            return Some(((code as u16) << 6) | ((a as u16) << 4) | ((b as u16) << 2) | c as u16);
        }
        at += 1;
    }
    None
}

/// One op. Its result stays in the accumulator.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op {
    /// See [`form`].
    pub(super) form: u16,
    pub(super) operands: [Place; 3],
    /// Where the result goes as well, if not [`NOWHERE`].
    pub(super) store: Place,
}

/// What is known of an instruction's value.
#[derive(Clone, Copy)]
pub(super) struct Value {
    /// Some result needs it.
    live: bool,
    /// It must outlive the accumulator.
    kept: bool,
    /// The last instruction that reads it.
    last_use: u16,
    home: Place,
}

/// Read when all instructions are done.
const END: u16 = u16::MAX;

/// Memory for a program and what it runs on.
pub(super) struct Storage<'a> {
    values: &'a mut [Value],
    ops: &'a mut [Op],
    slots: &'a mut [Slot],
    /// For each slot the last instruction that reads its value.
    busy_until: &'a mut [u16],
    places: &'a mut [*mut f32],
}

const VALUE: Value = Value { live: false, kept: false, last_use: 0, home: NOWHERE };
const OP: Op = Op { form: 0, operands: [0; 3], store: NOWHERE };

/// Storage on the stack, enough for an optimizer.
pub(super) struct Small {
    values: [Value; 64],
    ops: [Op; 128],
    slots: [Slot; 24],
    busy_until: [u16; 24],
    places: [*mut f32; 24],
}

impl Small {
    pub(super) fn new() -> Self {
        let slots = std::array::from_fn(|_| Slot([0.0; BLOCK]));
        Self { values: [VALUE; 64], ops: [OP; 128], slots, busy_until: [0; 24], places: [null_mut(); 24] }
    }
    pub(super) fn storage(&mut self) -> Storage<'_> {
        let Self { values, ops, slots, busy_until, places } = self;
        Storage { values, ops, slots, busy_until, places }
    }
}

/// Storage for any expression.
pub(super) struct Large {
    values: Vec<Value>,
    ops: Vec<Op>,
    slots: Vec<Slot>,
    busy_until: Vec<u16>,
    places: Vec<*mut f32>,
}

impl Large {
    pub(super) fn new(expr: &UpdateExpr) -> Self {
        let (n, places) = (expr.code.len(), expr.code.len() + expr.states + 3);
        let slots = vec![Slot([0.0; BLOCK]); places];
        Self {
            values: vec![VALUE; n],
            ops: vec![OP; 2 * n + 4 * places],
            slots,
            busy_until: vec![0; places],
            places: vec![null_mut(); places],
        }
    }
    pub(super) fn storage(&mut self) -> Storage<'_> {
        let Self { values, ops, slots, busy_until, places } = self;
        Storage { values, ops, slots, busy_until, places }
    }
}

/// A program, and its slots with the constants written.
pub(super) struct Program<'a> {
    pub(super) ops: &'a [Op],
    pub(super) slots: &'a mut [Slot],
    /// Room for the address of each place.
    pub(super) places: &'a mut [*mut f32],
}

impl<'a> Program<'a> {
    /// `None` where the storage is too small.
    pub(super) fn compile(
        expr: &'a UpdateExpr,
        scalars: &[f32],
        grad_scale: Option<f32>,
        storage: Storage<'a>,
    ) -> Option<Self> {
        let Storage { values, ops, slots, busy_until, places } = storage;
        let values = values.get_mut(..expr.code.len())?;
        let first_grad = expr.code.iter().position(|i| *i == Instr::Grad).unwrap_or(0);
        let mut c = Compiler { expr, first_grad, scale: None, values, ops, len: 0, slots, busy_until };
        // The first places are the buffers'; a short block is copied to the slots of the same number.
        c.busy_until.get_mut(..usize::from(STATES) + expr.states)?.fill(END);
        if let Some(scale) = grad_scale {
            c.scale = Some(c.constant(scale)?);
        }
        c.mark_live();
        c.mark_kept();
        c.settle_inputs(scalars)?;
        c.settle_results()?;
        let mut accumulator = None;
        for at in 0..expr.code.len() {
            if c.is_computed(at) {
                c.emit(at, accumulator)?;
                accumulator = Some(at);
            }
        }
        for (to, r) in results(expr) {
            let home = c.home(r);
            if home != to {
                c.copy(home, to)?;
            }
        }
        let Compiler { ops, len, slots, .. } = c;
        Some(Self { ops: &ops[..len], slots, places })
    }
}

/// The buffers that are written, with their new contents.
fn results(expr: &UpdateExpr) -> impl Iterator<Item = (Place, Reg)> {
    let states = (STATES..).zip(expr.new_states.iter().copied());
    std::iter::once((PARAM, expr.param)).chain(states)
}

struct Compiler<'a> {
    expr: &'a UpdateExpr,
    /// The instruction that stands for all that read the gradient.
    first_grad: usize,
    /// Where the gradient's scale is, if it has one.
    scale: Option<Place>,
    values: &'a mut [Value],
    ops: &'a mut [Op],
    len: usize,
    slots: &'a mut [Slot],
    busy_until: &'a mut [u16],
}

impl Compiler<'_> {
    fn index(&self, r: Reg) -> usize {
        let at = usize::from(r.0);
        if self.expr.code[at] == Instr::Grad { self.first_grad } else { at }
    }

    fn home(&self, r: Reg) -> Place {
        self.values[self.index(r)].home
    }

    /// The buffer that an instruction reads, where it does nothing else.
    fn input(&self, at: usize) -> Option<Place> {
        match self.expr.code[at] {
            Instr::Param => Some(PARAM),
            Instr::Grad if self.scale.is_none() => Some(GRAD),
            Instr::State(i) => {
                assert!(usize::from(i) < self.expr.states, "an expression reads its own states");
                Some(STATES + Place::from(i))
            }
            _ => None,
        }
    }

    fn is_constant(&self, at: usize) -> bool {
        matches!(self.expr.code[at], Instr::Scalar(_) | Instr::Const(_))
    }

    /// Whether an instruction takes a place in the program.
    fn is_computed(&self, at: usize) -> bool {
        self.values[at].live && !self.is_constant(at) && self.input(at).is_none()
    }

    fn mark_live(&mut self) {
        let expr = self.expr;
        for (_, r) in results(expr) {
            self.values[self.index(r)].live = true;
        }
        for (at, instr) in expr.code.iter().enumerate().rev() {
            if self.values[at].live {
                for r in instr.operands() {
                    self.values[self.index(r)].live = true;
                }
            }
        }
    }

    fn mark_kept(&mut self) {
        let expr = self.expr;
        let mut accumulator = None;
        for (at, instr) in expr.code.iter().enumerate() {
            if !self.is_computed(at) {
                continue;
            }
            for r in instr.operands() {
                let times = instr.operands().filter(|o| self.index(*o) == self.index(r)).count();
                let operand = self.index(r);
                let value = &mut self.values[operand];
                value.kept |= accumulator != Some(operand) || times > 1;
                value.last_use = at as u16;
            }
            accumulator = Some(at);
        }
        for (_, r) in results(expr) {
            let value = &mut self.values[self.index(r)];
            value.kept = true;
            value.last_use = END;
        }
    }

    /// Homes of what is not computed. An input that becomes another buffer's contents is copied first.
    fn settle_inputs(&mut self, scalars: &[f32]) -> Option<()> {
        for (at, instr) in self.expr.code.iter().enumerate() {
            if !self.values[at].live {
                continue;
            }
            self.values[at].home = match *instr {
                Instr::Scalar(i) => self.constant(scalars[usize::from(i)])?,
                Instr::Const(x) => self.constant(x)?,
                _ => self.input(at).unwrap_or(NOWHERE),
            };
        }
        Some(())
    }
    /// A computed result lives in its buffer, unless the buffer's old contents are read later.
    fn settle_results(&mut self) -> Option<()> {
        for (to, r) in results(self.expr) {
            let at = self.index(r);
            match self.input(at) {
                Some(from) if from != to && self.values[at].home == from => {
                    // Copied before any buffer is written.
                    let slot = self.slot(0, END)?;
                    self.copy(from, slot)?;
                    self.values[at].home = slot;
                }
                None if self.values[at].home == NOWHERE => {
                    let mut readers = (0..self.values.len()).filter(|i| self.input(*i) == Some(to));
                    if readers.all(|i| usize::from(self.values[i].last_use) <= at) {
                        self.values[at].home = to;
                    }
                }
                _ => {}
            }
        }
        Some(())
    }

    /// A slot for a value that is written by instruction `at` and read until `until`.
    fn slot(&mut self, at: u16, until: u16) -> Option<Place> {
        // A result may take the place of an operand that is used here last.
        let free = self.busy_until.iter().position(|busy| *busy <= at)?;
        self.busy_until[free] = until;
        Place::try_from(free).ok()
    }

    fn constant(&mut self, x: f32) -> Option<Place> {
        let place = self.slot(0, END)?;
        self.slots[usize::from(place)].0.fill(x);
        Some(place)
    }

    fn push(&mut self, op: Op) -> Option<()> {
        *self.ops.get_mut(self.len)? = op;
        self.len += 1;
        Some(())
    }

    fn copy(&mut self, from: Place, to: Place) -> Option<()> {
        let form = form(Code::Copy, [Kind::Block, Kind::Held, Kind::Held])?;
        self.push(Op { form, operands: [from, 0, 0], store: to })
    }

    /// The op of instruction `at`, the accumulator holding the value of `accumulator`.
    fn emit(&mut self, at: usize, accumulator: Option<usize>) -> Option<()> {
        let (code, operands) = self.operands(at, accumulator)?;
        let kinds = operands.map(|operand| operand.0);
        let store = if self.values[at].kept {
            if self.values[at].home == NOWHERE {
                self.values[at].home = self.slot(at as u16, self.values[at].last_use)?;
            }
            self.values[at].home
        } else {
            NOWHERE
        };
        // A constant's slot is filled, so that it can be a block where there is no form for it.
        let blocks = kinds.map(|kind| if kind == Kind::Splat { Kind::Block } else { kind });
        let form = form(code, kinds)
            .or_else(|| form(code, [kinds[0], blocks[1], blocks[2]]))
            .or_else(|| form(code, blocks))?;
        self.push(Op { form, operands: operands.map(|operand| operand.1), store })
    }

    /// What an instruction does to which operands; of those that may change places the accumulator comes first.
    fn operands(&self, at: usize, accumulator: Option<usize>) -> Option<(Code, [(Kind, Place); 3])> {
        let (code, mut regs) = match self.expr.code[at] {
            Instr::Grad => {
                let operands = [(Kind::Block, GRAD), (Kind::Splat, self.scale?), MISSING];
                return Some((Code::Mul, operands));
            }
            instr => {
                let mut regs = instr.operands();
                (code_of(instr)?, [regs.next(), regs.next(), regs.next()])
            }
        };
        let held = |r: Option<Reg>| r.is_some_and(|r| accumulator == Some(self.index(r)));
        let constant = |r: Option<Reg>| r.is_some_and(|r| self.is_constant(self.index(r)));
        let swap = match code {
            Code::Add | Code::Mul => held(regs[1]) || (constant(regs[0]) && !held(regs[0])),
            Code::Fma => !held(regs[0]) && (held(regs[1]) || (constant(regs[1]))),
            _ => false,
        };
        if swap {
            regs.swap(0, 1);
        }
        let mut taken = false;
        let operands = regs.map(|r| match r {
            None => MISSING,
            Some(_) if held(r) && !std::mem::replace(&mut taken, true) => (Kind::Held, 0),
            Some(r) => (if constant(Some(r)) { Kind::Splat } else { Kind::Block }, self.home(r)),
        });
        Some((code, operands))
    }
}

const MISSING: (Kind, Place) = (Kind::Held, 0);

/// `None` for what needs no op.
fn code_of(instr: Instr) -> Option<Code> {
    Some(match instr {
        Instr::Param | Instr::Grad | Instr::State(_) | Instr::Scalar(_) | Instr::Const(_) => return None,
        Instr::Add(..) => Code::Add,
        Instr::Sub(..) => Code::Sub,
        Instr::Mul(..) => Code::Mul,
        Instr::Div(..) => Code::Div,
        Instr::Fma(..) => Code::Fma,
        Instr::Sqrt(_) => Code::Sqrt,
        Instr::Neg(_) => Code::Neg,
        Instr::Abs(_) => Code::Abs,
        Instr::Max(..) => Code::Max,
        Instr::Min(..) => Code::Min,
        Instr::Sign(_) => Code::Sign,
    })
}
