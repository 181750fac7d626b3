//! erf x.

use super::exp::{Reduced, reduced};
use super::{polynomial, with_sign};
use crate::cpu::simd::{Isa, power_of_two};

/// p(x²) for |x| below 1, relative error 1.7e-8.
pub(crate) const ERF_SMALL: [f32; 7] =
    [0.128_379_17, -0.376_126_2, 0.112_835_266, -0.026_851_015, 0.005_182_416_6, -0.000_795_342_9, 7.651_705e-5];
/// q(|x|) beyond: absolute error of erf 6.2e-9 on [1, 3.93]; from 3.92 on erf rounds to 1.
pub(crate) const ERF_LARGE: [f32; 8] = [
    1.128_599,
    0.635_412_7,
    0.105_664_3,
    -0.023_086_872,
    0.003_179_206_5,
    -0.000_137_777_74,
    -2.861_826_4e-5,
    3.571_442e-6,
];

/// x + x·p(x²) up to 1, and 1 − e^{−x·q(x)} beyond, where q(x) = −ln(erfc x)/x.
#[inline(always)]
pub(crate) fn erf<S: Isa>(s: S, x: S::F) -> S::F {
    let a = s.abs(x);
    let small = s.fma(polynomial(s, s.mul(a, a), ERF_SMALL), a, a);

    // The order of the operands keeps a NaN.
    let b = s.min(a, s.splat(3.93));
    let Reduced { minus_one, n_int, .. } = reduced(s, s.neg(s.mul(b, polynomial(s, b, ERF_LARGE))));
    let one = s.splat(1.0);
    let large = s.fma(s.neg(s.add(minus_one, one)), power_of_two(s, n_int), one);

    with_sign(s, s.select(s.lt(a, s.splat(1.0)), small, large), x)
}
