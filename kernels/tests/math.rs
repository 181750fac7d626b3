//! The polynomials against f64, over the whole range.

use preheat_kernels::math;

/// Bit patterns: a prime stride over all of them, and every pattern near the edges.
fn grid() -> impl Iterator<Item = f32> {
    let edges = [0_u32, 0x0080_0000, 0x3f80_0000, 0x42b1_7218, 0x42cf_f1b5, 0x42d0_0000, 0x4078_0000, 0x7f7f_ffff];
    let near = edges.into_iter().flat_map(|e| e.saturating_sub(300)..=e + 300);
    let near = near.flat_map(|bits| [bits, bits | 0x8000_0000]);
    (0..=u32::MAX).step_by(1009).chain(near).map(f32::from_bits)
}

/// The distance of `got` from `exact` in units in the last place of the f32 next to `exact`.
fn ulps(got: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if got == rounded || (got.is_nan() && exact.is_nan()) {
        return 0.0;
    }
    if !got.is_finite() || !rounded.is_finite() {
        // One step across the edge of overflow is one unit.
        let steps = i64::from(got.to_bits()) - i64::from(rounded.to_bits());
        return if exact.is_nan() || got.is_nan() { f64::INFINITY } else { steps.abs() as f64 };
    }
    let exponent = libm::ilogb(exact).max(-126);
    (f64::from(got) - exact).abs() / libm::scalbn(1.0, exponent - 23)
}

fn worst(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, inside: impl Fn(f32) -> bool) -> (f64, f32) {
    let errors = grid().filter(|x| inside(*x)).map(|x| (ulps(f(x), exact(f64::from(x))), x));
    errors.fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a })
}

#[track_caller]
fn check(limit: f64, (error, at): (f64, f32)) {
    println!("worst error {error} ulp at {at:e}");
    assert!(error <= limit, "{error} ulp at {at:e}");
}

#[test]
fn exp_is_within_one_ulp() {
    check(1.0, worst(math::exp, libm::exp, |_| true));
    assert_eq!(math::exp(f32::NEG_INFINITY).to_bits(), 0);
    assert_eq!(math::exp(f32::INFINITY), f32::INFINITY);
    assert_eq!((math::exp(0.0), math::exp(-0.0)), (1.0, 1.0));
    assert!(math::exp(f32::NAN).is_nan() && math::exp(-f32::NAN).is_nan());
    assert_eq!(math::exp(-103.9), f32::from_bits(1), "gradual underflow");
    assert_eq!((math::exp(-104.0), math::exp(88.73)), (0.0, f32::INFINITY));
}

#[test]
fn ln_is_within_one_ulp() {
    check(1.0, worst(math::ln, libm::log, |_| true));
    assert_eq!((math::ln(0.0), math::ln(-0.0)), (f32::NEG_INFINITY, f32::NEG_INFINITY));
    assert_eq!((math::ln(1.0).to_bits(), math::ln(f32::INFINITY)), (0, f32::INFINITY));
    for x in [-1.0, -1e-45, f32::NEG_INFINITY, f32::NAN, -f32::NAN] {
        assert!(math::ln(x).is_nan(), "{x}");
    }
}

#[test]
fn tanh_is_within_two_ulp_and_odd() {
    check(2.0, worst(math::tanh, libm::tanh, |_| true));
    check_odd(math::tanh);
}

#[test]
fn erf_is_within_two_ulp_and_odd() {
    check(2.0, worst(math::erf, libm::erf, |_| true));
    check_odd(math::erf);
}

fn check_odd(f: impl Fn(f32) -> f32) {
    assert_eq!((f(f32::INFINITY), f(f32::NEG_INFINITY)), (1.0, -1.0));
    assert_eq!((f(0.0).to_bits(), f(-0.0).to_bits()), (0, 0x8000_0000));
    assert!(f(f32::NAN).is_nan() && f(-f32::NAN).is_nan());
    for x in grid().filter(|x| !x.is_nan()) {
        assert_eq!(f(-x).to_bits(), (-f(x)).to_bits(), "{x:e}");
        assert!(f(x).abs() <= 1.0, "{x:e}");
    }
}

#[test]
fn sine_and_cosine_are_within_two_ulp_where_defined() {
    let inside = |x: f32| x.abs() <= 1e5;
    check(2.0, worst(|x| math::sin_cos(x).0, libm::sin, inside));
    check(2.0, worst(|x| math::sin_cos(x).1, libm::cos, inside));
    // A dense sweep: bit patterns spend most of the grid on tiny numbers.
    for i in -400_000..=400_000 {
        let x = i as f32 * 0.025_000_7;
        let (sin, cos) = math::sin_cos(x);
        let (exact_sin, exact_cos) = libm::sincos(f64::from(x));
        assert!(ulps(sin, exact_sin) <= 2.0 && ulps(cos, exact_cos) <= 2.0, "{x:e}");
    }
    assert_eq!((math::sin_cos(-0.0).0.to_bits(), math::sin_cos(-0.0).1), (0x8000_0000, 1.0));
    for x in [1.0001e5, -1e30, f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        let (sin, cos) = math::sin_cos(x);
        assert!(sin.is_nan() && cos.is_nan(), "{x}");
    }
}
