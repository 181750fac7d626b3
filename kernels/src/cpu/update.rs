//! Update expressions, interpreted over blocks of a few vectors.
//!
//! The program (`update/program.rs`) is for a machine with one accumulator: a block that stays in vector
//! registers from op to op. Other operands come straight from the buffers, or from slots in the
//! first-level cache, and results go straight to their buffers where they may.

mod program;

use super::Simd;
use super::simd::{Isa, Plain, dispatch};
use crate::ops::Ops;
use crate::reference::Reference;
use crate::update::UpdateExpr;
use program::{BLOCK, Code, Kind, Large, NOWHERE, Op, PARAM, Place, Program, STATES, Slot, Small, form, forms, kind};

/// Vectors of a block: enough to pay for reading an op and to hide its latency.
const VECTORS: usize = 8;

/// Blocks between the one that is computed and one that is asked for meanwhile.
const BLOCKS_AHEAD: usize = 4;
/// Elements of a cache line.
const LINE: usize = 16;

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
        Some(Program { ops, slots, places }) => {
            let mut memory = Memory { param, grad, states: &mut states[..expr.states], slots, places };
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
    /// The present block of each place.
    places: &'a mut [*mut f32],
}

impl Memory<'_, '_> {
    /// Points the places at the slots, and the first ones at the buffers' elements from `start` unless they are `staged`.
    fn point(&mut self, start: usize, staged: bool) {
        for (place, slot) in self.places.iter_mut().zip(&mut *self.slots) {
            *place = slot.0.as_mut_ptr();
        }
        if !staged {
            let states = self.states.iter_mut().map(|s| s[start..].as_mut_ptr());
            let buffers = [self.param[start..].as_mut_ptr(), self.grad[start..].as_ptr().cast_mut()];
            for (place, buffer) in self.places.iter_mut().zip(buffers.into_iter().chain(states)) {
                *place = buffer;
            }
        }
    }
    /// Copies the buffers' elements from `start`, fewer than a block, to their slots.
    fn stage(&mut self, start: usize) {
        let states = self.states.iter().map(|s| &s[start..]);
        let buffers = [&self.param[start..], &self.grad[start..]].into_iter().chain(states);
        for (slot, buffer) in self.slots.iter_mut().zip(buffers) {
            slot.0[..buffer.len()].copy_from_slice(buffer);
        }
    }
    /// Copies the slots back.
    fn unstage(&mut self, start: usize) {
        let slots = &*self.slots;
        let states = self.states.iter_mut().map(|s| &mut s[start..]).zip(&slots[usize::from(STATES)..]);
        for (buffer, slot) in std::iter::once((&mut self.param[start..], &slots[usize::from(PARAM)])).chain(states) {
            buffer.copy_from_slice(&slot.0[..buffer.len()]);
        }
    }
}

#[inline(always)]
fn interpret_of<S: Isa>(s: S, ops: &[Op], memory: &mut Memory<'_, '_>) {
    const { assert!(VECTORS * S::WIDTH <= BLOCK) };
    let (n, len, buffers) = (memory.param.len(), VECTORS * S::WIDTH, usize::from(STATES) + memory.states.len());
    assert!(memory.grad.len() >= n && memory.states.iter().all(|s| s.len() >= n), "buffers as long as the parameters");
    assert!(buffers <= memory.slots.len() && memory.places.len() == memory.slots.len(), "a slot for each place");
    let whole = n / len;
    memory.point(0, false);
    for _ in 0..whole {
        // SAFETY: `whole` blocks fit into each buffer and a block into each slot; `memory` is borrowed mutably.
        unsafe { run(s, ops, memory.places) };
        for place in &mut memory.places[..buffers] {
            let later = place.wrapping_add(BLOCKS_AHEAD * len);
            (0..len).step_by(LINE).for_each(|line| s.fetch_to_write(later.wrapping_add(line)));
            *place = place.wrapping_add(len);
        }
    }
    if whole * len < n {
        memory.stage(whole * len);
        memory.point(0, true);
        // SAFETY: all places are slots, and a block fits into each.
        unsafe { run(s, ops, memory.places) };
        memory.unstage(whole * len);
    }
}

/// All ops on a block.
///
/// # Safety
///
/// Each place must point to [`VECTORS`] vectors that nothing else uses meanwhile.
#[inline(always)]
unsafe fn run<S: Isa>(s: S, ops: &[Op], places: &[*mut f32]) {
    let mut x = [s.splat(0.0); VECTORS];
    for op in ops {
        // SAFETY: as promised.
        unsafe { execute(s, op, places, &mut x) };
        if op.store != NOWHERE {
            // SAFETY: as promised; no other slice is alive.
            let to = unsafe { std::slice::from_raw_parts_mut(places[usize::from(op.store)], VECTORS * S::WIDTH) };
            for (v, x) in x.into_iter().enumerate() {
                s.store(&mut to[v * S::WIDTH..], x);
            }
        }
    }
}

/// The number of a form as a constant that a pattern may name.
struct Number<const FORM: u16>;

impl<const FORM: u16> Number<FORM> {
    const VALUE: u16 = FORM;
}

const fn number(code: Code, kinds: [Kind; 3]) -> u16 {
    form(code, kinds).expect("every form that is executed is in the table")
}

/// The first `len` elements of a place.
///
/// # Safety
///
/// The place must point to so many, and nothing may write them while the slice is alive.
#[inline(always)]
unsafe fn block<'a>(places: &[*mut f32], place: Place, len: usize) -> &'a [f32] {
    // SAFETY: as promised.
    unsafe { std::slice::from_raw_parts(places[usize::from(place)].cast_const(), len) }
}

/// One op on a block.
///
/// # Safety
///
/// As for [`run`].
#[inline(always)]
unsafe fn execute<S: Isa>(s: S, op: &Op, places: &[*mut f32], x: &mut [S::F; VECTORS]) {
    // What of an operand is the same for all vectors, and then its vector `v`.
    macro_rules! prepare {
        (H, $at:expr) => {
            ()
        };
        (B, $at:expr) => {
            // SAFETY: as promised; nothing is written while the slice is alive.
            unsafe { block(places, op.operands[$at], VECTORS * S::WIDTH) }
        };
        (S, $at:expr) => {
            // SAFETY: as above.
            s.splat(unsafe { block(places, op.operands[$at], 1) }[0])
        };
    }
    macro_rules! vector {
        (H, $operand:ident, $v:ident) => {{
            let () = $operand;
            x[$v]
        }};
        (B, $operand:ident, $v:ident) => {
            s.load(&$operand[$v * S::WIDTH..])
        };
        (S, $operand:ident, $v:ident) => {
            $operand
        };
    }
    macro_rules! execute {
        ($($code:ident $([$a:tt $b:tt $c:tt])+;)+) => {
            match op.form {
                $($(
                    <Number<{ number(Code::$code, [kind!($a), kind!($b), kind!($c)]) }>>::VALUE => {
                        let (a, b, c) = (prepare!($a, 0), prepare!($b, 1), prepare!($c, 2));
                        for v in 0..VECTORS {
                            x[v] = value(s, Code::$code, vector!($a, a, v), vector!($b, b, v), vector!($c, c, v));
                        }
                    }
                )+)+
                _ => unreachable!("only forms of the table are compiled"),
            }
        };
    }
    forms!(execute);
}

/// One op on a vector. The code is known when this is compiled.
#[inline(always)]
fn value<S: Isa>(s: S, code: Code, a: S::F, b: S::F, c: S::F) -> S::F {
    match code {
        Code::Copy => a,
        Code::Add => s.add(a, b),
        Code::Sub => s.sub(a, b),
        Code::Mul => s.mul(a, b),
        Code::Div => s.div(a, b),
        Code::Fma => s.fma(a, b, c),
        Code::Sqrt => s.sqrt(a),
        Code::Neg => s.neg(a),
        Code::Abs => s.abs(a),
        Code::Max => s.max(a, b),
        Code::Min => s.min(a, b),
        Code::Sign => sign(s, a),
    }
}

#[inline(always)]
fn sign<S: Isa>(s: S, a: S::F) -> S::F {
    let zero = s.splat(0.0);
    let negative = s.select(s.lt(a, zero), s.splat(-1.0), zero);
    s.select(s.lt(zero, a), s.splat(1.0), negative)
}
