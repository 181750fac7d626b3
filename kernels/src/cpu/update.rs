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
use program::{BLOCK, Code, Kind, Large, NOWHERE, Op, PARAM, Place, Program, STATES, Slot, Small, key};

/// Vectors of a block: enough to pay for reading an op and to hide its latency.
const VECTORS: usize = 4;

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
    let len = VECTORS * S::WIDTH;
    let n = memory.param.len();
    let whole = n / len;
    let buffers = usize::from(STATES) + memory.states.len();
    memory.point(0, false);
    for _ in 0..whole {
        run(s, ops, memory.places);
        for place in &mut memory.places[..buffers] {
            *place = place.wrapping_add(len);
        }
    }
    if whole * len < n {
        memory.stage(whole * len);
        memory.point(0, true);
        run(s, ops, memory.places);
        memory.unstage(whole * len);
    }
}

/// All ops on a block.
#[inline(always)]
fn run<S: Isa>(s: S, ops: &[Op], places: &[*mut f32]) {
    let mut x = [s.splat(0.0); VECTORS];
    for op in ops {
        execute(s, op, places, &mut x);
        if op.store != NOWHERE {
            let to = unsafe { std::slice::from_raw_parts_mut(places[usize::from(op.store)], VECTORS * S::WIDTH) };
            for (v, x) in x.into_iter().enumerate() {
                s.store(&mut to[v * S::WIDTH..], x);
            }
        }
    }
}

#[inline(always)]
fn block(places: &[*mut f32], place: Place, len: usize) -> &[f32] {
    unsafe { std::slice::from_raw_parts(places[usize::from(place)], len) }
}

/// [`program::key`] as a constant that a pattern may name.
struct Key<const KEY: u16>;

impl<const KEY: u16> Key<KEY> {
    const VALUE: u16 = KEY;
}

/// An operand of the kind H (held), B (block) or S (splat): what is prepared once, and its vector `v`.
macro_rules! prepare {
    (H, $s:ident, $places:ident, $place:expr) => {
        ()
    };
    (B, $s:ident, $places:ident, $place:expr) => {
        block($places, $place, VECTORS * S::WIDTH)
    };
    (S, $s:ident, $places:ident, $place:expr) => {
        $s.splat(block($places, $place, 1)[0])
    };
}
macro_rules! vector {
    (H, $s:ident, $x:ident, $prepared:ident, $v:ident) => {{
        let () = $prepared;
        $x[$v]
    }};
    (B, $s:ident, $x:ident, $prepared:ident, $v:ident) => {
        $s.load(&$prepared[$v * S::WIDTH..])
    };
    (S, $s:ident, $x:ident, $prepared:ident, $v:ident) => {
        $prepared
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

/// One op on a block.
#[inline(always)]
fn execute<S: Isa>(s: S, op: &Op, places: &[*mut f32], x: &mut [S::F; VECTORS]) {
    macro_rules! ops {
        ($($code:ident $([$ka:tt $kb:tt $kc:tt])+ => |$a:ident, $b:ident, $c:ident| $value:expr;)+) => {
            match op.key {
                $($(
                    <Key<{ key(Code::$code, [kind!($ka), kind!($kb), kind!($kc)]) }>>::VALUE => {
                        let [a, b, c] = op.operands;
                        let _ = (a, b, c);
                        let $a = prepare!($ka, s, places, a);
                        let $b = prepare!($kb, s, places, b);
                        let $c = prepare!($kc, s, places, c);
                        for v in 0..VECTORS {
                            let $a = vector!($ka, s, x, $a, v);
                            let $b = vector!($kb, s, x, $b, v);
                            let $c = vector!($kc, s, x, $c, v);
                            let _ = ($b, $c);
                            x[v] = $value;
                        }
                    }
                )+)+
                _ => unreachable!("an op of these kinds is not compiled"),
            }
        };
    }
    ops! {
        Copy [B H H] => |a, b, c| a;
        Add [H B H] [H S H] [B S H] [B B H] => |a, b, c| s.add(a, b);
        Mul [H B H] [H S H] [B S H] [B B H] => |a, b, c| s.mul(a, b);
        Sub [H B H] [H S H] [B H H] [S H H] [B S H] [B B H] => |a, b, c| s.sub(a, b);
        Div [H B H] [H S H] [B H H] [S H H] [B S H] [B B H] => |a, b, c| s.div(a, b);
        Max [H B H] [H S H] [B H H] [S H H] [B S H] [B B H] => |a, b, c| s.max(a, b);
        Min [H B H] [H S H] [B H H] [S H H] [B S H] [B B H] => |a, b, c| s.min(a, b);
        Fma [H B B] [H S B] [H B S] [H S S] [B B H] [S B H] [B B B] [S B B] => |a, b, c| s.fma(a, b, c);
        Sqrt [H H H] [B H H] => |a, b, c| s.sqrt(a);
        Neg [H H H] [B H H] => |a, b, c| s.neg(a);
        Abs [H H H] [B H H] => |a, b, c| s.abs(a);
        Sign [H H H] [B H H] => |a, b, c| sign(s, a);
    }
}

#[inline(always)]
fn sign<S: Isa>(s: S, a: S::F) -> S::F {
    let zero = s.splat(0.0);
    let negative = s.select(s.lt(a, zero), s.splat(-1.0), zero);
    s.select(s.lt(zero, a), s.splat(1.0), negative)
}
