//! Update expressions, interpreted instruction by instruction over blocks that stay in the first-level cache.

use super::Simd;
use super::simd::{Isa, Span, dispatch, each_vector};
use crate::ops::Ops;
use crate::reference::Reference;
use crate::update::{Instr, Reg, UpdateExpr};

/// Vectors of a block: enough to pay for reading an instruction.
const VECTORS: usize = 8;
/// Values alive at once. An expression with more goes to the reference.
const SLOTS: usize = 64;
/// Instructions of an expression. A longer one goes to the reference.
const INSTRUCTIONS: usize = 256;

/// Evaluates `expr` over all elements; see [`Ops::update`].
pub(super) fn update(
    simd: Simd,
    expr: &UpdateExpr,
    scalars: &[f32],
    grad_scale: Option<f32>,
    param: &mut [f32],
    grad: &[f32],
    states: &mut [&mut [f32]],
) {
    match Slots::assign(expr) {
        Some(slots) => interpret(simd, &Program { expr, slots, scalars, grad_scale }, param, grad, states),
        None => Reference.update(expr, scalars, grad_scale, param, grad, states),
    }
}

dispatch!(fn interpret(program: &Program<'_>, param: &mut [f32], grad: &[f32], states: &mut [&mut [f32]])
    = interpret_of, scalar Reference.update(program.expr, program.scalars, program.grad_scale, param, grad, states));

struct Program<'a> {
    expr: &'a UpdateExpr,
    slots: Slots,
    scalars: &'a [f32],
    grad_scale: Option<f32>,
}

/// The slot of each instruction's result; a slot is used again once its value is dead.
struct Slots([u8; INSTRUCTIONS]);

/// The slot of a result that only the next instruction reads: it never leaves the vector registers.
const FORWARDED: u8 = u8::MAX;

impl Slots {
    /// `None` where the expression has too many instructions or too many values alive.
    fn assign(expr: &UpdateExpr) -> Option<Self> {
        let n = expr.code.len();
        if n > INSTRUCTIONS {
            return None;
        }
        let mut last_use: [usize; INSTRUCTIONS] = std::array::from_fn(|at| at);
        let mut kept = [false; INSTRUCTIONS];
        let mut previous = n;
        for (at, instr) in expr.code.iter().enumerate().filter(|(_, i)| !is_constant(i)) {
            for r in instr.operands().map(|r| usize::from(r.0)) {
                last_use[r] = at;
                kept[r] |= r != previous;
            }
            previous = at;
        }
        for r in expr.new_states.iter().chain([&expr.param]).map(|r| usize::from(r.0)) {
            last_use[r] = n;
            kept[r] = true;
        }
        let mut slots = [FORWARDED; INSTRUCTIONS];
        let mut busy_until = [0; SLOTS];
        // Constants are written once, before the first block: they keep slots of their own.
        for constants in [true, false] {
            let wanted = |at: usize, i: &Instr| is_constant(i) == constants && kept[at];
            for (at, _) in expr.code.iter().enumerate().filter(|(at, i)| wanted(*at, i)) {
                // A result may take the place of an operand that is used here last.
                let free = busy_until.iter().position(|until| *until <= at)?;
                slots[at] = u8::try_from(free).ok()?;
                busy_until[free] = if constants { usize::MAX } else { last_use[at] };
            }
        }
        Some(Self(slots))
    }

    fn of(&self, r: Reg) -> usize {
        usize::from(self.0[usize::from(r.0)])
    }
}

fn is_constant(instr: &Instr) -> bool {
    matches!(instr, Instr::Scalar(_) | Instr::Const(_))
}

#[inline(always)]
fn interpret_of<S: Isa>(s: S, program: &Program<'_>, param: &mut [f32], grad: &[f32], states: &mut [&mut [f32]]) {
    let Program { expr, slots, scalars, grad_scale } = program;
    let mut regs = [[s.splat(0.0); VECTORS]; SLOTS];
    for (instr, &slot) in expr.code.iter().zip(&slots.0).filter(|(_, slot)| **slot != FORWARDED) {
        match *instr {
            Instr::Scalar(i) => regs[usize::from(slot)] = [s.splat(scalars[usize::from(i)]); VECTORS],
            Instr::Const(x) => regs[usize::from(slot)] = [s.splat(x); VECTORS],
            _ => {}
        }
    }
    let n = param.len();
    let mut start = 0;
    while start < n {
        let block = start..n.min(start + VECTORS * S::WIDTH);
        // The previous instruction's result, in vector registers.
        let mut last = [s.splat(0.0); VECTORS];
        for (instr, &slot) in expr.code.iter().zip(&slots.0) {
            match *instr {
                Instr::Scalar(_) | Instr::Const(_) => continue,
                Instr::Param => last = load(s, &param[block.clone()]),
                Instr::State(i) => last = load(s, &states[usize::from(i)][block.clone()]),
                Instr::Grad => {
                    last = load(s, &grad[block.clone()]);
                    if let Some(scale) = *grad_scale {
                        let scale = s.splat(scale);
                        last.iter_mut().for_each(|g| *g = s.mul(*g, scale));
                    }
                }
                _ => execute(s, instr, slots, &regs, &mut last),
            }
            if slot != FORWARDED {
                regs[usize::from(slot)] = last;
            }
        }
        store(s, &mut param[block.clone()], &regs[slots.of(expr.param)]);
        for (state, &reg) in states.iter_mut().zip(&expr.new_states) {
            store(s, &mut state[block.clone()], &regs[slots.of(reg)]);
        }
        start += VECTORS * S::WIDTH;
    }
}

/// A block of a buffer; the last one may be short.
#[inline(always)]
fn load<S: Isa>(s: S, from: &[f32]) -> [S::F; VECTORS] {
    let mut to = [s.splat(0.0); VECTORS];
    if from.len() == VECTORS * S::WIDTH {
        // Constant places, so that the block stays in vector registers.
        for (v, to) in to.iter_mut().enumerate() {
            *to = s.load(&from[v * S::WIDTH..]);
        }
        return to;
    }
    let mut short = to;
    each_vector!(S, from.len(), |at, span| {
        short[at / S::WIDTH] = span.load(s, from, at);
    });
    short
}

#[inline(always)]
fn store<S: Isa>(s: S, to: &mut [f32], from: &[S::F; VECTORS]) {
    each_vector!(S, to.len(), |at, span| {
        span.store(s, to, at, from[at / S::WIDTH]);
    });
}

/// One instruction on a block, from its operands' slots or the previous result. Lanes beyond the end of the
/// parameters hold whatever they hold: they are never stored.
#[inline(always)]
fn execute<S: Isa>(s: S, instr: &Instr, slots: &Slots, regs: &[[S::F; VECTORS]; SLOTS], last: &mut [S::F; VECTORS]) {
    macro_rules! each {
        ($($v:ident),* => $value:expr) => {{
            $(let $v = slots.of($v);)*
            $(let $v = if $v == usize::from(FORWARDED) { *last } else { regs[$v] };)*
            for at in 0..VECTORS {
                $(let $v = $v[at];)*
                last[at] = $value;
            }
        }};
    }
    match *instr {
        Instr::Add(a, b) => each!(a, b => s.add(a, b)),
        Instr::Sub(a, b) => each!(a, b => s.sub(a, b)),
        Instr::Mul(a, b) => each!(a, b => s.mul(a, b)),
        Instr::Div(a, b) => each!(a, b => s.div(a, b)),
        Instr::Fma(a, b, c) => each!(a, b, c => s.fma(a, b, c)),
        Instr::Sqrt(a) => each!(a => s.sqrt(a)),
        Instr::Neg(a) => each!(a => s.neg(a)),
        Instr::Abs(a) => each!(a => s.abs(a)),
        Instr::Max(a, b) => each!(a, b => s.max(a, b)),
        Instr::Min(a, b) => each!(a, b => s.min(a, b)),
        Instr::Sign(a) => each!(a => sign(s, a)),
        // Inputs are in their slots already.
        Instr::Param | Instr::Grad | Instr::State(_) | Instr::Scalar(_) | Instr::Const(_) => {}
    }
}

#[inline(always)]
fn sign<S: Isa>(s: S, a: S::F) -> S::F {
    let zero = s.splat(0.0);
    let negative = s.select(s.lt(a, zero), s.splat(-1.0), zero);
    s.select(s.lt(zero, a), s.splat(1.0), negative)
}
