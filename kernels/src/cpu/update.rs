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

impl Slots {
    /// `None` where the expression has too many instructions or too many values alive.
    fn assign(expr: &UpdateExpr) -> Option<Self> {
        let n = expr.code.len();
        if n > INSTRUCTIONS {
            return None;
        }
        let mut last_use: [usize; INSTRUCTIONS] = std::array::from_fn(|at| at);
        for (at, instr) in expr.code.iter().enumerate() {
            instr.operands().for_each(|r| last_use[usize::from(r.0)] = at);
        }
        for r in expr.new_states.iter().chain([&expr.param]) {
            last_use[usize::from(r.0)] = n;
        }
        let mut slots = [0; INSTRUCTIONS];
        let mut busy_until = [0; SLOTS];
        // Constants are written once, before the first block: they keep slots of their own.
        for constants in [true, false] {
            for (at, _) in expr.code.iter().enumerate().filter(|(_, i)| is_constant(i) == constants) {
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
    for (instr, &slot) in expr.code.iter().zip(&slots.0) {
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
        for (instr, &slot) in expr.code.iter().zip(&slots.0) {
            let to = usize::from(slot);
            match *instr {
                Instr::Param => load(s, &param[block.clone()], &mut regs[to]),
                Instr::State(i) => load(s, &states[usize::from(i)][block.clone()], &mut regs[to]),
                Instr::Grad => {
                    load(s, &grad[block.clone()], &mut regs[to]);
                    if let Some(scale) = *grad_scale {
                        let scale = s.splat(scale);
                        regs[to].iter_mut().for_each(|g| *g = s.mul(*g, scale));
                    }
                }
                _ => execute(s, instr, slots, to, &mut regs),
            }
        }
        store(s, &mut param[block.clone()], &regs[slots.of(expr.param)]);
        for (state, &reg) in states.iter_mut().zip(&expr.new_states) {
            store(s, &mut state[block.clone()], &regs[slots.of(reg)]);
        }
        start += VECTORS * S::WIDTH;
    }
}

#[inline(always)]
fn load<S: Isa>(s: S, from: &[f32], to: &mut [S::F; VECTORS]) {
    each_vector!(S, from.len(), |at, span| {
        to[at / S::WIDTH] = span.load(s, from, at);
    });
}

#[inline(always)]
fn store<S: Isa>(s: S, to: &mut [f32], from: &[S::F; VECTORS]) {
    each_vector!(S, to.len(), |at, span| {
        span.store(s, to, at, from[at / S::WIDTH]);
    });
}

/// One instruction on a block. Lanes beyond the end of the parameters hold whatever they hold: they are
/// never stored.
#[inline(always)]
fn execute<S: Isa>(s: S, instr: &Instr, slots: &Slots, to: usize, regs: &mut [[S::F; VECTORS]; SLOTS]) {
    macro_rules! each {
        ($($v:ident),* => $value:expr) => {{
            $(let $v = slots.of($v);)*
            for at in 0..VECTORS {
                $(let $v = regs[$v][at];)*
                regs[to][at] = $value;
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
