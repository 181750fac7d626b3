//! Update expressions, interpreted instruction by instruction over blocks that stay in the first-level cache.

use super::Simd;
use super::simd::{Isa, Span, dispatch, each_vector};
use crate::ops::Ops;
use crate::reference::Reference;
use crate::update::{Instr, Reg, UpdateExpr};

/// Elements of a block.
const BLOCK: usize = 128;
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

/// The values of one block, a row a slot.
#[repr(align(64))]
struct Registers([[f32; BLOCK]; SLOTS]);

#[inline(always)]
fn interpret_of<S: Isa>(s: S, program: &Program<'_>, param: &mut [f32], grad: &[f32], states: &mut [&mut [f32]]) {
    let Program { expr, slots, scalars, grad_scale } = program;
    let mut regs = Registers([[0.0; BLOCK]; SLOTS]);
    for (instr, &slot) in expr.code.iter().zip(&slots.0) {
        match *instr {
            Instr::Scalar(i) => regs.0[usize::from(slot)].fill(scalars[usize::from(i)]),
            Instr::Const(x) => regs.0[usize::from(slot)].fill(x),
            _ => {}
        }
    }
    let n = param.len();
    let mut start = 0;
    while start < n {
        let block = start..n.min(start + BLOCK);
        for (instr, &slot) in expr.code.iter().zip(&slots.0) {
            let to = usize::from(slot);
            match *instr {
                Instr::Param => regs.0[to][..block.len()].copy_from_slice(&param[block.clone()]),
                Instr::State(i) => regs.0[to][..block.len()].copy_from_slice(&states[usize::from(i)][block.clone()]),
                Instr::Grad => load_grad(s, &grad[block.clone()], *grad_scale, &mut regs.0[to]),
                _ => execute(s, instr, slots, to, block.len().div_ceil(S::WIDTH), &mut regs),
            }
        }
        param[block.clone()].copy_from_slice(&regs.0[slots.of(expr.param)][..block.len()]);
        for (state, &reg) in states.iter_mut().zip(&expr.new_states) {
            state[block.clone()].copy_from_slice(&regs.0[slots.of(reg)][..block.len()]);
        }
        start += BLOCK;
    }
}

#[inline(always)]
fn load_grad<S: Isa>(s: S, grad: &[f32], scale: Option<f32>, to: &mut [f32; BLOCK]) {
    match scale {
        None => to[..grad.len()].copy_from_slice(grad),
        Some(scale) => each_vector!(S, grad.len(), |at, span| {
            let v = s.mul(span.load(s, grad, at), s.splat(scale));
            span.store(s, to, at, v);
        }),
    }
}

/// One instruction on the first `vectors` vectors of a block. The last ones may hold lanes beyond the end of
/// the parameters, whose values are never stored.
#[inline(always)]
fn execute<S: Isa>(s: S, instr: &Instr, slots: &Slots, to: usize, vectors: usize, regs: &mut Registers) {
    let regs = &mut regs.0;
    macro_rules! each {
        ($($v:ident),* => $value:expr) => {{
            $(let $v = slots.of($v);)*
            for at in (0..BLOCK).step_by(S::WIDTH).take(vectors) {
                $(let $v = s.load(&regs[$v][at..]);)*
                s.store(&mut regs[to][at..], $value);
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
