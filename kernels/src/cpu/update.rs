//! Update expressions, interpreted over blocks of a few vectors.
//!
//! The program (`update/program.rs`) is for a machine with one accumulator: a block that stays in vector
//! registers from op to op. Other operands come straight from the buffers, or from slots in the
//! first-level cache, and results go straight to their buffers where they may.

mod program;

use std::ops::Range;

use super::Simd;
use super::simd::{Isa, Plain, dispatch};
use crate::ops::Ops;
use crate::reference::Reference;
use crate::update::UpdateExpr;
use program::{BLOCK, Code, GRAD, Large, NOWHERE, Op, PARAM, Place, Program, STATES, Slot, Small};

/// Vectors of a block: enough to pay for reading an op and to hide its latency.
const VECTORS: usize = 8;

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
    if simd == Simd::Scalar {
        return Reference.update(expr, scalars, grad_scale, param, grad, states);
    }
    // An expression of the usual size needs no allocation.
    let (mut small, mut large) = (Small::new(), None::<Large>);
    let compiled = match Program::compile(expr, scalars, grad_scale, small.storage()) {
        Some(program) => Some(program),
        None => Program::compile(expr, scalars, grad_scale, large.insert(Large::new(expr)).storage()),
    };
    match compiled {
        Some(Program { ops, slots }) => {
            let mut memory = Memory { param, grad, states: &mut states[..expr.states], slots, start: 0, staged: false };
            interpret(simd, ops, &mut memory);
        }
        None => Reference.update(expr, scalars, grad_scale, param, grad, states),
    }
}

dispatch!(fn interpret(ops: &[Op], memory: &mut Memory<'_, '_>) = interpret_of, scalar interpret_of(Plain, ops, memory));

/// Everything that a place can name.
struct Memory<'a, 's> {
    param: &'a mut [f32],
    grad: &'a [f32],
    states: &'a mut [&'s mut [f32]],
    slots: &'a mut [Slot],
    /// The block's first element.
    start: usize,
    /// The buffers' blocks are in the slots of the same number.
    staged: bool,
}

impl Memory<'_, '_> {
    /// The block of a buffer.
    #[inline(always)]
    fn range(&self, len: usize) -> Range<usize> {
        self.start..self.start + len
    }
    #[inline(always)]
    fn in_slot(&self, place: usize) -> bool {
        self.staged || place >= usize::from(STATES) + self.states.len()
    }
    #[inline(always)]
    fn read(&self, place: Place, len: usize) -> &[f32] {
        let at = usize::from(place);
        match place {
            _ if self.in_slot(at) => &self.slots[at].0[..len],
            PARAM => &self.param[self.range(len)],
            GRAD => &self.grad[self.range(len)],
            _ => &self.states[at - usize::from(STATES)][self.range(len)],
        }
    }
    #[inline(always)]
    fn write(&mut self, place: Place, len: usize) -> &mut [f32] {
        let (at, range) = (usize::from(place), self.range(len));
        match place {
            _ if self.in_slot(at) => &mut self.slots[at].0[..len],
            PARAM => &mut self.param[range],
            _ => &mut self.states[at - usize::from(STATES)][range],
        }
    }
    /// Copies the buffers' last elements to their slots.
    fn stage(&mut self) {
        let range = self.start..self.param.len();
        let states = self.states.iter().map(|s| &s[range.clone()]);
        let buffers = [&self.param[range.clone()], &self.grad[range.clone()]].into_iter().chain(states);
        for (slot, buffer) in self.slots.iter_mut().zip(buffers) {
            slot.0[..range.len()].copy_from_slice(buffer);
        }
        self.staged = true;
    }
    /// Copies the slots of a short block back.
    fn unstage(&mut self) {
        let range = self.start..self.param.len();
        self.param[range.clone()].copy_from_slice(&self.slots[usize::from(PARAM)].0[..range.len()]);
        for (state, slot) in self.states.iter_mut().zip(&self.slots[usize::from(STATES)..]) {
            state[range.clone()].copy_from_slice(&slot.0[..range.len()]);
        }
    }
}

#[inline(always)]
fn interpret_of<S: Isa>(s: S, ops: &[Op], memory: &mut Memory<'_, '_>) {
    const { assert!(VECTORS * S::WIDTH <= BLOCK) };
    let len = VECTORS * S::WIDTH;
    let n = memory.param.len();
    while memory.start < n {
        if n - memory.start < len {
            memory.stage();
        }
        let mut x = [s.splat(0.0); VECTORS];
        for op in ops {
            x = execute(s, op, memory, x);
            if op.store != NOWHERE {
                let to = memory.write(op.store, len);
                for (v, x) in x.into_iter().enumerate() {
                    s.store(&mut to[v * S::WIDTH..], x);
                }
            }
        }
        if memory.staged {
            memory.unstage();
        }
        memory.start += len;
    }
}

/// One op on a block.
#[inline(always)]
fn execute<S: Isa>(s: S, op: &Op, memory: &Memory<'_, '_>, mut x: [S::F; VECTORS]) -> [S::F; VECTORS] {
    macro_rules! each {
        ($x:ident $(, $operand:ident)* => $value:expr) => {{
            $(let $operand = memory.read(op.$operand, VECTORS * S::WIDTH);)*
            for v in 0..VECTORS {
                $(let $operand = s.load(&$operand[v * S::WIDTH..]);)*
                let $x = x[v];
                x[v] = $value;
            }
        }};
    }
    match op.code {
        Code::Load => each!(_x, a => a),
        Code::Add => each!(x, a => s.add(x, a)),
        Code::Sub => each!(x, a => s.sub(x, a)),
        Code::SubFrom => each!(x, a => s.sub(a, x)),
        Code::Mul => each!(x, a => s.mul(x, a)),
        Code::Div => each!(x, a => s.div(x, a)),
        Code::DivInto => each!(x, a => s.div(a, x)),
        Code::FmaTimes => each!(x, a, b => s.fma(x, a, b)),
        Code::FmaPlus => each!(x, a, b => s.fma(a, b, x)),
        Code::Sqrt => each!(x => s.sqrt(x)),
        Code::Neg => each!(x => s.neg(x)),
        Code::Abs => each!(x => s.abs(x)),
        Code::Max => each!(x, a => s.max(x, a)),
        Code::MaxOf => each!(x, a => s.max(a, x)),
        Code::Min => each!(x, a => s.min(x, a)),
        Code::MinOf => each!(x, a => s.min(a, x)),
        Code::Sign => each!(x => sign(s, x)),
    }
    x
}

#[inline(always)]
fn sign<S: Isa>(s: S, a: S::F) -> S::F {
    let zero = s.splat(0.0);
    let negative = s.select(s.lt(a, zero), s.splat(-1.0), zero);
    s.select(s.lt(zero, a), s.splat(1.0), negative)
}
