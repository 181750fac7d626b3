//! ln x.

use super::exp::{LN_2_HIGH, LN_2_LOW};
use super::polynomial;
use crate::cpu::simd::Isa;

/// The bits of √½: a significand in \[√½, √2) keeps x near 1 away from cancellation.
pub(crate) const SQRT_HALF_BITS: i32 = 0x3f35_04f3;
/// (ln(1 + f) − f + f²/2)/f³, absolute error 1.1e-9.
pub(crate) const LN: [f32; 9] = [
    0.333_333_1,
    -0.249_999_87,
    0.200_022_18,
    -0.166_692_48,
    0.142_188,
    -0.123_844_57,
    0.118_721_41,
    -0.117_889_44,
    0.069_160_94,
];

/// ln x = e·ln 2 + ln(1 + f) with 1 + f in \[√½, √2).
#[inline(always)]
pub(crate) fn ln<S: Isa>(s: S, x: S::F) -> S::F {
    let denormal = s.lt(x, s.splat(f32::MIN_POSITIVE));
    let normal = s.select(denormal, s.mul(x, s.splat(8_388_608.0)), x);
    let shift = s.select(denormal, s.splat(-23.0), s.splat(0.0));

    let above = s.sub_int(s.bits(normal), s.splat_int(SQRT_HALF_BITS));
    let e = s.add(s.convert(s.shr(above, 23)), shift);
    let significand = s.add_int(s.and(above, s.splat_int(0x007f_ffff)), s.splat_int(SQRT_HALF_BITS));
    let f = s.sub(s.number(significand), s.splat(1.0));

    let f2 = s.mul(f, f);
    let tail = s.mul(f2, s.fma(polynomial(s, f, LN), f, s.splat(-0.5)));
    let tail = s.fma(e, s.splat(LN_2_LOW), tail);
    let y = s.fma(e, s.splat(LN_2_HIGH), s.add(f, tail));

    let infinity = s.splat(f32::INFINITY);
    let y = s.select(s.lt(x, infinity), y, x);
    let y = s.select(s.lt(x, s.splat(0.0)), s.splat(f32::NAN), y);
    s.select(s.eq(x, s.splat(0.0)), s.neg(infinity), y)
}
