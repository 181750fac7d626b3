//! How far a matrix product may lie from the exact one where sums are f32 in any order: what fast math is held to.
//!
//! With inputs rounded by a relative u, and k + 2 terms summed in f32, |c − exact| ≤ (2u + u²)·Σ|a·b| + γ·(Σ|a·b| +
//! |start| + |residual|), γ = (k + 2)·2⁻²⁴/(1 − (k + 2)·2⁻²⁴), to which both bounds' product is added (Higham 2002,
//! Accuracy and Stability of Numerical Algorithms, equations 3.3 to 3.5).

use crate::ops::{MatMul, Start};

/// How inputs of a product are rounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// Largest relative error of an input.
    pub input: f64,
}

impl Precision {
    /// Inputs are taken as they are.
    pub const EXACT_INPUTS: Self = Self { input: 0.0 };
    /// TF32's 11 bits, rounded or cut off.
    pub const TF32: Self = Self { input: 1.0 / 1024.0 };
    /// bf16's 8 bits, to nearest.
    pub const BF16: Self = Self { input: 1.0 / 256.0 };
}

/// Rounding error of f32.
const UNIT: f64 = 1.0 / 16_777_216.0;

/// The first element of C that is further from the exact product than `precision` explains, in words.
pub fn outside(
    mm: &MatMul,
    [a, b]: [&[f32]; 2],
    start: Start<'_, f32>,
    residual: Option<&[f32]>,
    c: &[f32],
    precision: Precision,
) -> Option<String> {
    let at = |x: &[f32], i: usize| f64::from(x[i]);
    for i in 0..mm.m {
        let terms = mm.terms_of(i);
        for j in 0..mm.columns_of(i) {
            let place = i * mm.ldc + j;
            let added = match start {
                Start::Zero => 0.0,
                Start::Accumulate => panic!("the old C is gone"),
                Start::Bias(bias) => at(bias, j),
            };
            let residual = residual.map_or(0.0, |r| at(r, place));
            let (mut sum, mut size) = (0.0, 0.0);
            for p in terms.clone() {
                let x = at(a, if mm.trans_a { p * mm.lda + i } else { i * mm.lda + p });
                let y = at(b, if mm.trans_b { j * mm.ldb + p } else { p * mm.ldb + j });
                sum += x * y;
                size += (x * y).abs();
            }
            let (exact, u) = (sum + added + residual, precision.input);
            let count = (terms.len() + 2) as f64 * UNIT;
            let (inputs, sums) = ((2.0 + u) * u * size, count / (1.0 - count));
            // Results below the normal numbers may be flushed.
            let tiny = (terms.len() + 2) as f64 * f64::from(f32::MIN_POSITIVE);
            let bound = inputs + sums * (size + inputs + added.abs() + residual.abs()) + tiny;
            let error = (at(c, place) - exact).abs();
            if error.is_nan() || error > bound {
                return Some(format!(
                    "[{i},{j}] is {:e} instead of {exact:e}, which is {error:e} away; the bound is {bound:e}",
                    c[place]
                ));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Ops;
    use crate::ops::{Columns, KRange};
    use crate::reference::Reference;

    #[test]
    fn the_reference_is_inside_and_one_wrong_term_is_not() {
        let mm = MatMul { k_range: KRange::UpToRow, ..MatMul::nn(4, 3, 4) };
        let a: Vec<f32> = (0..16).map(|i| (i as f32 - 7.3) * 0.37).collect();
        let b: Vec<f32> = (0..12).map(|i| (i as f32 - 5.1) * 1.7).collect();
        let (residual, bias) = (vec![0.25_f32; 12], [1.0_f32, -2.0, 3.5]);
        let mut c = vec![0.0; 12];
        Reference.matmul(&mm, &a, &b, Start::Bias(&bias), Some(&residual), &mut c);
        let seen = |c: &[f32]| outside(&mm, [&a, &b], Start::Bias(&bias), Some(&residual), c, Precision::EXACT_INPUTS);
        assert_eq!(seen(&c), None);
        for wrong in [c[5] * 1.000_01, f32::NAN, f32::INFINITY] {
            let mut c = c.clone();
            c[5] = wrong;
            assert!(seen(&c).is_some_and(|words| words.starts_with("[1,2]")), "{wrong}");
        }
        let masked = MatMul { columns: Columns::UpToRow, ..mm };
        c[1] = f32::NAN;
        assert_eq!(outside(&masked, [&a, &b], Start::Bias(&bias), Some(&residual), &c, Precision::EXACT_INPUTS), None);
    }
}
