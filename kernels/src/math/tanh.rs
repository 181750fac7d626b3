//! tanh x.

use super::exp::{Reduced, reduced};
use super::{polynomial, with_sign};
use crate::cpu::simd::{Isa, power_of_two};

/// p(x²) for |x| below 0.3, relative error 1.3e-8.
pub(crate) const TANH: [f32; 3] = [-0.333_330_63, 0.133_149_37, -0.050_374_493];

/// m/(m + 2) with m = e^{2|x|} − 1, and x + x³·p(x²) below 0.3, where that quotient's three roundings would show.
#[inline(always)]
pub(crate) fn tanh<S: Isa>(s: S, x: S::F) -> S::F {
    // Beyond 10 the quotient is 1. The order of the operands keeps a NaN.
    let a = s.min(s.abs(x), s.splat(10.0));
    let Reduced { minus_one, n_int, .. } = reduced(s, s.add(a, a));
    let power = power_of_two(s, n_int);
    let m = s.fma(power, minus_one, s.sub(power, s.splat(1.0)));
    let large = s.div(m, s.add(m, s.splat(2.0)));

    let a2 = s.mul(a, a);
    let p = polynomial(s, a2, TANH);
    let small = s.fma(s.mul(a, a2), p, a);

    with_sign(s, s.select(s.lt(a, s.splat(0.3)), small, large), x)
}
