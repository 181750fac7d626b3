//! e^x.

use super::{polynomial, round_product};
use crate::cpu::simd::Isa;

/// ln 2 = HIGH + LOW; n·HIGH is exact inside a fused multiply-add.
pub(crate) const LN_2_HIGH: f32 = std::f32::consts::LN_2;
pub(crate) const LN_2_LOW: f32 = -1.904_654_2e-9;
/// (e^r − 1 − r)/r², relative error 4.2e-9 of e^r.
pub(crate) const EXP: [f32; 5] = [0.499_999_94, 0.166_665_2, 0.041_668_396, 0.008_368_844, 0.001_381_455];

/// x = n·ln 2 + r with |r| ≤ ½·ln 2.
pub(super) struct Reduced<S: Isa> {
    /// e^r − 1
    pub(super) minus_one: S::F,
    pub(super) n: S::F,
    pub(super) n_int: S::I,
}

/// For |x| ≤ 2²¹.
#[inline(always)]
pub(super) fn reduced<S: Isa>(s: S, x: S::F) -> Reduced<S> {
    let (n, n_int) = round_product(s, x, std::f32::consts::LOG2_E);
    let r = s.fma(n, s.splat(-LN_2_HIGH), x);
    let r = s.fma(n, s.splat(-LN_2_LOW), r);
    let q = polynomial(s, r, EXP);
    Reduced { minus_one: s.fma(s.mul(r, r), q, r), n, n_int }
}

/// e^x.
#[inline(always)]
pub(crate) fn exp<S: Isa>(s: S, x: S::F) -> S::F {
    // Beyond these the result is +0 and +∞. The order of the operands keeps a NaN.
    let x = s.min(s.max(x, s.splat(-104.0)), s.splat(89.0));
    let Reduced { minus_one, n, n_int } = reduced(s, x);
    s.times_power_of_two(s.add(minus_one, s.splat(1.0)), n, n_int)
}
