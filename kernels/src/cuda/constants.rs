//! The numbers of the kernels, generated from where the CPU has them, so that they cannot drift apart.

use crate::math::{ERF_LARGE, ERF_SMALL, EXP, LN, LN_2_HIGH, LN_2_LOW, ROUNDER, SQRT_HALF_BITS, TANH};
use crate::reference::interval::LEAST_WIDTH;
use crate::reference::linear_bounds::LEAST_RADIUS;
use crate::reference::{GELU_CUBIC, GELU_SCALE, NORMAL_PEAK, REDUCE_BLOCK};
use crate::rng::{MULTIPLIERS, WEYL};
use std::fmt::Write;

/// A number by its bits.
pub(super) fn literal(x: f32) -> String {
    format!("__uint_as_float({:#010x}u)", x.to_bits())
}

/// Constants as macros, polynomials as functions.
pub(super) fn constants() -> String {
    let mut text = String::new();
    let numbers = [
        ("LOG2_E", std::f32::consts::LOG2_E),
        ("LN_2_HIGH", LN_2_HIGH),
        ("LN_2_LOW", LN_2_LOW),
        ("ROUNDER", ROUNDER),
        ("SMALLEST_NORMAL", f32::MIN_POSITIVE),
        ("INFINITE", f32::INFINITY),
        ("NOT_A_NUMBER", f32::NAN),
        ("SQRT_HALF", std::f64::consts::FRAC_1_SQRT_2 as f32),
        ("NORMAL_PEAK", NORMAL_PEAK as f32),
        ("GELU_EXPONENT_CUBIC", (-2.0 * GELU_SCALE * GELU_CUBIC) as f32),
        ("GELU_EXPONENT_LINEAR", (-2.0 * GELU_SCALE) as f32),
        ("GELU_SLOPE_CUBIC", (6.0 * GELU_SCALE * GELU_CUBIC) as f32),
        ("GELU_SLOPE_LINEAR", (2.0 * GELU_SCALE) as f32),
        ("LEAST_WIDTH", LEAST_WIDTH as f32),
        ("LEAST_RADIUS", LEAST_RADIUS as f32),
    ];
    for (name, x) in numbers {
        writeln!(text, "#define {name} {}", literal(x)).expect("a string grows");
    }
    let words = [
        ("SQRT_HALF_BITS", SQRT_HALF_BITS.cast_unsigned()),
        ("REDUCE_BLOCK", REDUCE_BLOCK as u32),
        ("PHILOX_MULTIPLIER_0", MULTIPLIERS.0),
        ("PHILOX_MULTIPLIER_1", MULTIPLIERS.1),
        ("PHILOX_WEYL_0", WEYL.0),
        ("PHILOX_WEYL_1", WEYL.1),
    ];
    for (name, x) in words {
        writeln!(text, "#define {name} {x:#010x}u").expect("a string grows");
    }
    text
}

/// The polynomials of exp, ln, tanh and erf.
pub(super) fn polynomials() -> String {
    let all: [(&str, &[f32]); 5] =
        [("exp", &EXP), ("ln", &LN), ("tanh", &TANH), ("erf_small", &ERF_SMALL), ("erf_large", &ERF_LARGE)];
    all.iter().map(|(name, coefficients)| polynomial(name, coefficients)).collect()
}

/// Horner's rule, coefficients from the constant term up.
fn polynomial(name: &str, coefficients: &[f32]) -> String {
    let mut text = format!("__device__ __forceinline__ float {name}_polynomial(float x) {{\n");
    let mut highest_first = coefficients.iter().rev().map(|c| literal(*c));
    let first = highest_first.next().expect("a polynomial has coefficients");
    writeln!(text, "    float y = {first};").expect("a string grows");
    for c in highest_first {
        writeln!(text, "    y = fused(y, x, {c});").expect("a string grows");
    }
    text + "    return y;\n}\n"
}
