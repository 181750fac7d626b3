//! Non-linearities and their derivatives.

use super::Simd;
use super::gemm::{Follow, Part};
use super::simd::{Isa, Plain, Span, dispatch, each_vector};
use crate::math::{erf_of, exp_of, tanh_of};
use crate::ops::{Activation, Ops};
use crate::reference::{GELU_CUBIC, GELU_SCALE, NORMAL_PEAK, Reference};

dispatch!(pub(super) fn activation(f: Activation, x: &[f32], y: &mut [f32]) = forward,
    scalar Reference.activation(f, x, y));
dispatch!(pub(super) fn activation_backward(f: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) = backward,
    scalar Reference.activation_backward(f, x, dy, dx));
dispatch!(fn activation_in_place(
        f: Activation, slopes: bool, stride: usize, columns: usize, x: &mut [f32], y: &mut [f32],
    ) = in_place, scalar in_place(Plain, f, slopes, stride, columns, x, y));

/// Whether f'(x)·dy is a product with f'(x), so that the slope may be kept instead of x.
pub(super) const fn has_slopes(f: Activation) -> bool {
    !matches!(f, Activation::Relu)
}

/// Rows of y that are asked for before they are written: they come from far memory.
const ROWS_AHEAD: usize = 8;
/// Elements of a cache line.
const LINE: usize = 16;

/// Activates the parts of a product while they are near.
pub(super) struct Activate<'y> {
    pub(super) simd: Simd,
    pub(super) f: Activation,
    /// C's parts become slopes.
    pub(super) slopes: bool,
    /// Distance of rows.
    pub(super) stride: usize,
    pub(super) y: &'y mut [f32],
}

impl Follow for Activate<'_> {
    fn part(&mut self, part: Part<'_>) {
        let y = &mut self.y[part.at..];
        activation_in_place(self.simd, self.f, self.slopes, self.stride, part.columns, part.of_c, y);
    }
}

/// y = f(x) for `columns` columns of rows that lie `stride` apart; with `slopes` x becomes f'(x).
#[inline(always)]
fn in_place<S: Isa>(s: S, f: Activation, slopes: bool, stride: usize, columns: usize, x: &mut [f32], y: &mut [f32]) {
    for (x, y) in x.chunks_mut(stride).zip(y.chunks_mut(stride)) {
        for at in (0..columns).step_by(LINE) {
            s.fetch_to_write(y.as_ptr().wrapping_add(ROWS_AHEAD * stride + at));
        }
        let (x, y) = (&mut x[..columns], &mut y[..columns]);
        match f {
            _ if !slopes => forward(s, f, x, y),
            Activation::Relu => unreachable!("its gradient is a selection"),
            Activation::GeluTanh => map_with_slope::<S, GeluTanh>(s, x, y),
            Activation::GeluErf => map_with_slope::<S, GeluErf>(s, x, y),
            Activation::Tanh => map_with_slope::<S, Tanh>(s, x, y),
        }
    }
}

#[inline(always)]
fn map_with_slope<S: Isa, P: Sloped>(s: S, x: &mut [f32], y: &mut [f32]) {
    let n = x.len();
    each_vector!(S, n, |at, span| {
        let (value, slope) = P::value_and_slope(s, span.load(s, x, at));
        span.store(s, y, at, value);
        span.store(s, x, at, slope);
    });
}

#[inline(always)]
fn forward<S: Isa>(s: S, f: Activation, x: &[f32], y: &mut [f32]) {
    match f {
        Activation::Relu => map::<S, Relu>(s, x, y),
        Activation::GeluTanh => map::<S, GeluTanh>(s, x, y),
        Activation::GeluErf => map::<S, GeluErf>(s, x, y),
        Activation::Tanh => map::<S, Tanh>(s, x, y),
    }
}

#[inline(always)]
fn backward<S: Isa>(s: S, f: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    match f {
        Activation::Relu => map_backward::<S, Relu>(s, x, dy, dx),
        Activation::GeluTanh => map_backward::<S, GeluTanh>(s, x, dy, dx),
        Activation::GeluErf => map_backward::<S, GeluErf>(s, x, dy, dx),
        Activation::Tanh => map_backward::<S, Tanh>(s, x, dy, dx),
    }
}

#[inline(always)]
fn map<S: Isa, P: Pointwise>(s: S, x: &[f32], y: &mut [f32]) {
    let n = y.len();
    let x = &x[..n];
    each_vector!(S, n, |at, span| {
        let v = P::value(s, span.load(s, x, at));
        span.store(s, y, at, v);
    });
}

#[inline(always)]
fn map_backward<S: Isa, P: Pointwise>(s: S, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    let n = dx.len();
    let (x, dy) = (&x[..n], &dy[..n]);
    each_vector!(S, n, |at, span| {
        let v = P::gradient(s, span.load(s, x, at), span.load(s, dy, at));
        span.store(s, dx, at, v);
    });
}

/// A function of one number, as the reference defines it.
trait Pointwise {
    /// f(x)
    fn value<S: Isa>(s: S, x: S::F) -> S::F;
    /// f'(x)·dy
    fn gradient<S: Isa>(s: S, x: S::F, dy: S::F) -> S::F;
}

/// A function whose gradient is f'(x)·dy with f'(x) by itself.
trait Sloped: Pointwise {
    /// f(x) and f'(x).
    fn value_and_slope<S: Isa>(s: S, x: S::F) -> (S::F, S::F);
}

struct Relu;
struct Tanh;
struct GeluTanh;
struct GeluErf;

impl Pointwise for Relu {
    #[inline(always)]
    fn value<S: Isa>(s: S, x: S::F) -> S::F {
        Self::gradient(s, x, x)
    }
    #[inline(always)]
    fn gradient<S: Isa>(s: S, x: S::F, dy: S::F) -> S::F {
        let zero = s.splat(0.0);
        s.select(s.lt(zero, x), dy, zero)
    }
}

impl Pointwise for Tanh {
    #[inline(always)]
    fn value<S: Isa>(s: S, x: S::F) -> S::F {
        tanh_of(s, x)
    }
    #[inline(always)]
    fn gradient<S: Isa>(s: S, x: S::F, dy: S::F) -> S::F {
        s.mul(dy, Self::value_and_slope(s, x).1)
    }
}

impl Sloped for Tanh {
    #[inline(always)]
    fn value_and_slope<S: Isa>(s: S, x: S::F) -> (S::F, S::F) {
        let t = tanh_of(s, x);
        (t, s.fma(s.neg(t), t, s.splat(1.0)))
    }
}

impl Pointwise for GeluTanh {
    #[inline(always)]
    fn value<S: Isa>(s: S, x: S::F) -> S::F {
        s.div(x, one_plus_exp(s, gelu_exponent(s, x)))
    }
    #[inline(always)]
    fn gradient<S: Isa>(s: S, x: S::F, dy: S::F) -> S::F {
        let gate = s.div(s.splat(1.0), one_plus_exp(s, gelu_exponent(s, x)));
        s.mul(dy, gelu_slope(s, x, gate))
    }
}

impl Sloped for GeluTanh {
    #[inline(always)]
    fn value_and_slope<S: Isa>(s: S, x: S::F) -> (S::F, S::F) {
        let divisor = one_plus_exp(s, gelu_exponent(s, x));
        let gate = s.div(s.splat(1.0), divisor);
        (gelu_quotient(s, x, divisor, gate), gelu_slope(s, x, gate))
    }
}

impl Pointwise for GeluErf {
    #[inline(always)]
    fn value<S: Isa>(s: S, x: S::F) -> S::F {
        let e = erf_of(s, s.mul(x, s.splat(std::f64::consts::FRAC_1_SQRT_2 as f32)));
        s.mul(s.mul(s.splat(0.5), x), s.add(s.splat(1.0), e))
    }
    #[inline(always)]
    fn gradient<S: Isa>(s: S, x: S::F, dy: S::F) -> S::F {
        s.mul(dy, Self::value_and_slope(s, x).1)
    }
}

impl Sloped for GeluErf {
    #[inline(always)]
    fn value_and_slope<S: Isa>(s: S, x: S::F) -> (S::F, S::F) {
        let half = s.splat(0.5);
        let e = erf_of(s, s.mul(x, s.splat(std::f64::consts::FRAC_1_SQRT_2 as f32)));
        let twice = s.add(s.splat(1.0), e);
        let exponent = s.mul(s.neg(s.mul(half, x)), x);
        let density = s.mul(s.splat(NORMAL_PEAK as f32), exp_of(s, exponent));
        (s.mul(s.mul(half, x), twice), s.fma(x, density, s.mul(half, twice)))
    }
}

/// The slope of GELU's tanh form, given its logistic factor.
#[inline(always)]
fn gelu_slope<S: Isa>(s: S, x: S::F, gate: S::F) -> S::F {
    let (cubic, linear) = ((6.0 * GELU_SCALE * GELU_CUBIC) as f32, (2.0 * GELU_SCALE) as f32);
    let slope = s.fma(s.mul(x, x), s.splat(cubic), s.splat(linear));
    s.fma(s.mul(x, slope), s.fma(s.neg(gate), gate, gate), gate)
}

/// x / divisor for the divisor 1 + e^u of GELU's tanh form and its rounded inverse, without a second division.
///
/// x·inverse is within 1.5 units of the last place of the quotient. Each correction by the remainder, which is exact,
/// brings it nearer: the first to within one unit, and the second, by Markstein's theorem, to the rounded quotient.
/// That holds while nothing underflows; other numbers are divided. A test asks for every x.
#[inline(always)]
fn gelu_quotient<S: Isa>(s: S, x: S::F, divisor: S::F, inverse: S::F) -> S::F {
    let size = s.abs(x);
    if !(s.all(s.lt(s.splat(QUOTIENT_RANGE.start), size)) && s.all(s.lt(size, s.splat(QUOTIENT_RANGE.end)))) {
        return s.div(x, divisor);
    }
    let rough = s.mul(x, inverse);
    let near = s.fma(s.fma(s.neg(rough), divisor, x), inverse, rough);
    s.fma(s.fma(s.neg(near), divisor, x), inverse, near)
}

/// Sizes of x for which [`gelu_quotient`] does not divide: the divisor is below 2^72, and a remainder is far from
/// denormal numbers.
const QUOTIENT_RANGE: std::ops::Range<f32> = 1e-18..8.0;

/// −2·√(2/π)·(x + c·x³).
#[inline(always)]
fn gelu_exponent<S: Isa>(s: S, x: S::F) -> S::F {
    let (cubic, linear) = ((-2.0 * GELU_SCALE * GELU_CUBIC) as f32, (-2.0 * GELU_SCALE) as f32);
    s.mul(x, s.fma(s.mul(x, x), s.splat(cubic), s.splat(linear)))
}

/// 1 + e^x
#[inline(always)]
fn one_plus_exp<S: Isa>(s: S, x: S::F) -> S::F {
    s.add(s.splat(1.0), exp_of(s, x))
}
