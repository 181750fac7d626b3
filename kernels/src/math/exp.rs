//! e^x.

use super::{polynomial, round_product};
use crate::cpu::simd::Isa;

/// ln 2 = HIGH + LOW; n·HIGH is exact inside a fused multiply-add.
pub(super) const LN_2_HIGH: f32 = std::f32::consts::LN_2;
pub(super) const LN_2_LOW: f32 = -1.904_654_2e-9;

/// Splits x = n·ln 2 + r with |r| ≤ ½·ln 2 and returns (e^r − 1, n), for |x| ≤ 2²¹.
#[inline(always)]
pub(super) fn reduced<S: Isa>(s: S, x: S::F) -> (S::F, S::I) {
    let (n, n_int) = round_product(s, x, std::f32::consts::LOG2_E);
    let r = s.fma(n, s.splat(-LN_2_HIGH), x);
    let r = s.fma(n, s.splat(-LN_2_LOW), r);
    // (e^r − 1 − r)/r², relative error 4.2e-9 of e^r.
    let q = polynomial(s, r, [0.499_999_94, 0.166_665_2, 0.041_668_396, 0.008_368_844, 0.001_381_455]);
    (s.fma(s.mul(r, r), q, r), n_int)
}

/// 2^n for n in −126..=127.
#[inline(always)]
pub(super) fn power_of_two<S: Isa>(s: S, n: S::I) -> S::F {
    s.number(s.shl(s.add_int(n, s.splat_int(127)), 23))
}

/// e^x. The scaling by 2^n is two products, so that the only rounding below the normal numbers is the last.
#[inline(always)]
pub(crate) fn exp<S: Isa>(s: S, x: S::F) -> S::F {
    // Beyond these the result is +0 and +∞. The order of the operands keeps a NaN.
    let x = s.min(s.max(x, s.splat(-104.0)), s.splat(89.0));
    let (e, n) = reduced(s, x);
    let half = s.shr(n, 1);
    let y = s.mul(s.add(e, s.splat(1.0)), power_of_two(s, half));
    s.mul(y, power_of_two(s, s.sub_int(n, half)))
}
