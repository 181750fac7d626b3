//! Statistics of claims, on `libm` alone: the same bits on every machine.
//!
//! Levels are two-sided: `alpha` = 0.05 is a 95 % interval.

pub mod beta;
pub mod binomial;
pub mod bootstrap;
pub mod equivalence;
pub mod holm;
pub mod least_squares;
pub mod mean;
pub mod median;
pub mod normal;
mod root;
pub mod sign_flip;
pub mod student;

#[cfg(test)]
pub(crate) fn assert_close(got: f64, expected: f64, relative: f64) {
    let error = (got - expected).abs();
    assert!(error <= relative * expected.abs().max(1e-300), "got {got:?}, expected {expected:?}, error {error:e}");
}
