//! The project's own `exp`, `ln`, `tanh`, `erf`, `sin` and `cos` for `f32`.
//!
//! Each is written once over the vector abstraction, without branches: Cody–Waite range reduction,
//! a minimax polynomial (Remez, coefficients rounded to `f32`) over fused multiply-adds, and integer
//! operations on exponents. Scalar code is the one-lane instance, so every instruction set gives the
//! same bits. Errors against exact values are stated at each function, in units in the last place.

mod erf;
mod exp;
mod ln;
mod sin_cos;
mod tanh;

pub(crate) use erf::{ERF_LARGE, ERF_SMALL, erf as erf_of};
pub(crate) use exp::{EXP, LN_2_HIGH, LN_2_LOW, exp as exp_of};
pub(crate) use ln::{LN, SQRT_HALF_BITS, ln as ln_of};
pub(crate) use sin_cos::sin_cos as sin_cos_of;
pub(crate) use tanh::{TANH, tanh as tanh_of};

use crate::cpu::simd::{Isa, Plain};

/// e^x, within 1 ulp; +0 below the denormals, +∞ above the largest number.
pub fn exp(x: f32) -> f32 {
    exp_of(Plain, x)
}
/// ln x, within 1 ulp; −∞ at either zero, NaN below zero.
pub fn ln(x: f32) -> f32 {
    ln_of(Plain, x)
}
/// tanh x, within 2 ulp; odd to the bit.
pub fn tanh(x: f32) -> f32 {
    tanh_of(Plain, x)
}
/// erf x, within 2 ulp; odd to the bit.
pub fn erf(x: f32) -> f32 {
    erf_of(Plain, x)
}
/// (sin x, cos x), within 2 ulp for |x| ≤ 10⁵; NaN beyond.
pub fn sin_cos(x: f32) -> (f32, f32) {
    sin_cos_of(Plain, x)
}

/// 1.5·2²³: adding it to |x| < 2²² rounds x to the nearest even integer, found in the low bits.
pub(crate) const ROUNDER: f32 = 12_582_912.0;

/// The integer nearest to x·scale (ties to even), as a number and as an integer. |x·scale| < 2²².
#[inline(always)]
fn round_product<S: Isa>(s: S, x: S::F, scale: f32) -> (S::F, S::I) {
    let shifted = s.fma(x, s.splat(scale), s.splat(ROUNDER));
    let int = s.sub_int(s.bits(shifted), s.splat_int(ROUNDER.to_bits().cast_signed()));
    (s.sub(shifted, s.splat(ROUNDER)), int)
}

/// Horner's rule, coefficients from the constant term up.
#[inline(always)]
fn polynomial<S: Isa, const N: usize>(s: S, x: S::F, coefficients: [f32; N]) -> S::F {
    let mut y = s.splat(coefficients[N - 1]);
    for i in (0..N - 1).rev() {
        y = s.fma(y, x, s.splat(coefficients[i]));
    }
    y
}

/// |`magnitude`| ≥ +0 with the sign of `sign`.
#[inline(always)]
fn with_sign<S: Isa>(s: S, magnitude: S::F, sign: S::F) -> S::F {
    let sign = s.and(s.bits(sign), s.splat_int(i32::MIN));
    s.number(s.xor(s.bits(magnitude), sign))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Simd;
    use crate::cpu::simd::{Span, dispatch, each_vector};
    use crate::real::canonical_bits;

    dispatch!(fn all(x: &[f32], out: &mut [Vec<f32>; 6]) = all_of, scalar all_of(Plain, x, out));

    #[inline(always)]
    fn all_of<S: Isa>(s: S, x: &[f32], out: &mut [Vec<f32>; 6]) {
        each_vector!(S, x.len(), |at, span| {
            let v = span.load(s, x, at);
            let (sin, cos) = sin_cos_of(s, v);
            let values = [exp_of(s, v), ln_of(s, v), tanh_of(s, v), erf_of(s, v), sin, cos];
            for (out, value) in out.iter_mut().zip(values) {
                span.store(s, out, at, value);
            }
        });
    }

    #[test]
    fn every_instruction_set_gives_the_scalar_bits() {
        let x: Vec<f32> = (0..=u32::MAX).step_by(9973).map(f32::from_bits).collect();
        for simd in Simd::available() {
            let mut out: [Vec<f32>; 6] = std::array::from_fn(|_| vec![9.0; x.len()]);
            all(simd, &x, &mut out);
            for (i, &x) in x.iter().enumerate() {
                let (sin, cos) = sin_cos(x);
                for (f, expect) in [exp(x), ln(x), tanh(x), erf(x), sin, cos].into_iter().enumerate() {
                    assert_eq!(canonical_bits(out[f][i]), canonical_bits(expect), "{simd}: function {f} at {x:e}");
                }
            }
        }
    }
}
