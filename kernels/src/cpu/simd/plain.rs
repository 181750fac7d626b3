//! One lane: plain scalar code.

use super::Isa;
use crate::reference::{LANES, fold_lanes};

/// Scalar `f32`; every machine has it.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

impl Isa for Plain {
    type F = f32;
    type I = i32;
    type M = bool;
    type Block = [f32; LANES];
    const WIDTH: usize = 1;

    #[inline(always)]
    fn splat(self, x: f32) -> f32 {
        x
    }
    #[inline(always)]
    fn splat_int(self, x: i32) -> i32 {
        x
    }
    #[inline(always)]
    fn load(self, x: &[f32]) -> f32 {
        x[0]
    }
    #[inline(always)]
    fn load_first(self, _: &[f32]) -> f32 {
        0.0
    }
    #[inline(always)]
    fn store(self, x: &mut [f32], v: f32) {
        x[0] = v;
    }
    #[inline(always)]
    fn store_first(self, _: &mut [f32], _: f32) {}
    #[inline(always)]
    fn first(self, n: usize) -> bool {
        n > 0
    }
    #[inline(always)]
    fn add(self, a: f32, b: f32) -> f32 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32, b: f32) -> f32 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32, b: f32) -> f32 {
        a * b
    }
    #[inline(always)]
    fn div(self, a: f32, b: f32) -> f32 {
        a / b
    }
    #[inline(always)]
    fn fma(self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
    #[inline(always)]
    fn sqrt(self, a: f32) -> f32 {
        a.sqrt()
    }
    #[inline(always)]
    fn neg(self, a: f32) -> f32 {
        -a
    }
    #[inline(always)]
    fn abs(self, a: f32) -> f32 {
        a.abs()
    }
    #[inline(always)]
    fn max(self, a: f32, b: f32) -> f32 {
        if b > a { b } else { a }
    }
    #[inline(always)]
    fn min(self, a: f32, b: f32) -> f32 {
        if b < a { b } else { a }
    }
    #[inline(always)]
    fn lt(self, a: f32, b: f32) -> bool {
        a < b
    }
    #[inline(always)]
    fn eq(self, a: f32, b: f32) -> bool {
        a == b
    }
    #[inline(always)]
    fn select(self, m: bool, a: f32, b: f32) -> f32 {
        if m { a } else { b }
    }
    #[inline(always)]
    fn bits(self, a: f32) -> i32 {
        a.to_bits().cast_signed()
    }
    #[inline(always)]
    fn number(self, a: i32) -> f32 {
        f32::from_bits(a.cast_unsigned())
    }
    #[inline(always)]
    fn add_int(self, a: i32, b: i32) -> i32 {
        a.wrapping_add(b)
    }
    #[inline(always)]
    fn sub_int(self, a: i32, b: i32) -> i32 {
        a.wrapping_sub(b)
    }
    #[inline(always)]
    fn and(self, a: i32, b: i32) -> i32 {
        a & b
    }
    #[inline(always)]
    fn xor(self, a: i32, b: i32) -> i32 {
        a ^ b
    }
    #[inline(always)]
    fn shl(self, a: i32, n: i32) -> i32 {
        a << n
    }
    #[inline(always)]
    fn shr(self, a: i32, n: i32) -> i32 {
        a >> n
    }
    #[inline(always)]
    fn convert(self, a: i32) -> f32 {
        a as f32
    }
    #[inline(always)]
    fn block(self, x: f32) -> Self::Block {
        [x; LANES]
    }
    #[inline(always)]
    fn fold(self, lanes: Self::Block) -> f32 {
        fold_lanes(lanes)
    }
    #[inline(always)]
    fn fold_max(self, lanes: Self::Block) -> f32 {
        lanes.into_iter().fold(f32::NEG_INFINITY, |a, b| self.max(a, b))
    }
}
