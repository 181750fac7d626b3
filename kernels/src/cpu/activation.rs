//! Non-linearities and their derivatives.

use super::simd::{Isa, Span, dispatch, each_vector};
use crate::math::{erf_of, exp_of, tanh_of};
use crate::ops::{Activation, Ops};
use crate::reference::{GELU_CUBIC, GELU_SCALE, NORMAL_PEAK, Reference};

dispatch!(pub(super) fn activation(f: Activation, x: &[f32], y: &mut [f32]) = forward,
    scalar Reference.activation(f, x, y));
dispatch!(pub(super) fn activation_backward(f: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) = backward,
    scalar Reference.activation_backward(f, x, dy, dx));

#[inline(always)]
fn forward<S: Isa>(s: S, f: Activation, x: &[f32], y: &mut [f32]) {
    match f {
        Activation::Relu => map::<S, Relu>(s, x, y),
        Activation::GeluTanh => map::<S, GeluTanh>(s, x, y),
        Activation::GeluErf => map::<S, GeluErf>(s, x, y),
        Activation::Tanh => map::<S, Tanh>(s, x, y),
        Activation::Silu => map::<S, Silu>(s, x, y),
        Activation::Abs => map::<S, Abs>(s, x, y),
    }
}

#[inline(always)]
fn backward<S: Isa>(s: S, f: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    match f {
        Activation::Relu => map_backward::<S, Relu>(s, x, dy, dx),
        Activation::GeluTanh => map_backward::<S, GeluTanh>(s, x, dy, dx),
        Activation::GeluErf => map_backward::<S, GeluErf>(s, x, dy, dx),
        Activation::Tanh => map_backward::<S, Tanh>(s, x, dy, dx),
        Activation::Silu => map_backward::<S, Silu>(s, x, dy, dx),
        Activation::Abs => map_backward::<S, Abs>(s, x, dy, dx),
    }
}

#[inline(always)]
fn map<S: Isa, P: Pointwise>(s: S, x: &[f32], y: &mut [f32]) {
    let n = y.len();
    let x = &x[..n];
    each_vector!(S, n, |at, span| {
        s.fetch_ahead(x, at);
        s.fetch_ahead_to_write(y, at);
        let v = P::value(s, span.load(s, x, at));
        span.store(s, y, at, v);
    });
}

#[inline(always)]
fn map_backward<S: Isa, P: Pointwise>(s: S, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    let n = dx.len();
    let (x, dy) = (&x[..n], &dy[..n]);
    each_vector!(S, n, |at, span| {
        s.fetch_ahead(x, at);
        s.fetch_ahead(dy, at);
        s.fetch_ahead_to_write(dx, at);
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

struct Relu;
struct Tanh;
struct GeluTanh;
struct GeluErf;
struct Silu;
struct Abs;

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
        let t = tanh_of(s, x);
        s.mul(dy, s.fma(s.neg(t), t, s.splat(1.0)))
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
        let (cubic, linear) = ((6.0 * GELU_SCALE * GELU_CUBIC) as f32, (2.0 * GELU_SCALE) as f32);
        let slope = s.fma(s.mul(x, x), s.splat(cubic), s.splat(linear));
        s.mul(dy, s.fma(s.mul(x, slope), s.fma(s.neg(gate), gate, gate), gate))
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
        let half = s.splat(0.5);
        let e = erf_of(s, s.mul(x, s.splat(std::f64::consts::FRAC_1_SQRT_2 as f32)));
        let cdf = s.mul(half, s.add(s.splat(1.0), e));
        let exponent = s.mul(s.neg(s.mul(half, x)), x);
        let density = s.mul(s.splat(NORMAL_PEAK as f32), exp_of(s, exponent));
        s.mul(dy, s.fma(x, density, cdf))
    }
}

impl Pointwise for Abs {
    #[inline(always)]
    fn value<S: Isa>(s: S, x: S::F) -> S::F {
        s.abs(x)
    }
    #[inline(always)]
    fn gradient<S: Isa>(s: S, x: S::F, dy: S::F) -> S::F {
        let zero = s.splat(0.0);
        let below = s.select(s.lt(x, zero), s.neg(dy), zero);
        s.select(s.lt(zero, x), dy, below)
    }
}

impl Pointwise for Silu {
    #[inline(always)]
    fn value<S: Isa>(s: S, x: S::F) -> S::F {
        s.div(x, one_plus_exp(s, s.neg(x)))
    }
    #[inline(always)]
    fn gradient<S: Isa>(s: S, x: S::F, dy: S::F) -> S::F {
        let gate = s.div(s.splat(1.0), one_plus_exp(s, s.neg(x)));
        s.mul(dy, s.fma(x, s.fma(s.neg(gate), gate, gate), gate))
    }
}

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
