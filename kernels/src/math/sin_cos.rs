//! sin x and cos x.

use super::{polynomial, round_product};
use crate::cpu::simd::Isa;

/// Beyond this |x| the three parts of π/2 no longer carry the argument, and the result is NaN.
const LARGEST: f32 = 1e5;

/// x = n·π/2 + r with |r| ≤ π/4; the quadrant n mod 4 swaps and negates sin r and cos r.
#[inline(always)]
pub(crate) fn sin_cos<S: Isa>(s: S, x: S::F) -> (S::F, S::F) {
    let nan = s.splat(f32::NAN);
    let inside = s.lt(s.abs(x), s.splat(LARGEST * (1.0 + f32::EPSILON)));
    let x = s.select(inside, x, nan);
    let (n, n_int) = round_product(s, x, std::f32::consts::FRAC_2_PI);
    let r = s.fma(n, s.splat(-std::f32::consts::FRAC_PI_2), x);
    let r = s.fma(n, s.splat(4.371_139e-8), r);
    let r = s.fma(n, s.splat(1.715_124_5e-15), r);

    let r2 = s.mul(r, r);
    let p = polynomial(s, r2, [-0.166_666_67, 0.008_333_329, -0.000_198_393_27, 2.718_237_7e-6]);
    // The sign of −0 does not survive the additions.
    let sine = s.select(s.eq(x, s.splat(0.0)), x, s.fma(s.mul(r, r2), p, r));
    let p = polynomial(s, r2, [0.041_666_668, -0.001_388_888_3, 2.479_951_2e-5, -2.720_956_3e-7]);
    let cosine = s.fma(s.mul(r2, r2), p, s.fma(r2, s.splat(-0.5), s.splat(1.0)));

    let odd = s.eq(s.convert(s.and(n_int, s.splat_int(1))), s.splat(1.0));
    let negate = |y: S::F, quadrants: S::I| {
        let sign = s.shl(s.and(quadrants, s.splat_int(2)), 30);
        s.number(s.xor(s.bits(y), sign))
    };
    let sin = negate(s.select(odd, cosine, sine), n_int);
    let cos = negate(s.select(odd, sine, cosine), s.add_int(n_int, s.splat_int(1)));
    // A NaN's n is arbitrary, but its sine and cosine are NaN whatever their signs.
    (sin, cos)
}
