//! Speed: what a training step costs, and which share of the machine's peak it uses.
//!
//! Absolute times are never compared across runs of this program: a machine's clock and its neighbours drift. What is
//! compared is measured in turns within one run.

pub mod against;
pub mod clock;
pub mod gemm;
pub mod jobs;
pub mod peak;
pub mod ratio;
pub mod shape;
pub mod step;

/// The middle of `values`, the mean of the two middle ones where their number is even; NaN of none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len() / 2, sorted.len() % 2) {
        (0, 0) => f64::NAN,
        (half, 0) => 0.5 * (sorted[half - 1] + sorted[half]),
        (half, _) => sorted[half],
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle() {
        assert!(median([]).is_nan());
        for (values, expected) in
            [(&[3.0][..], 3.0), (&[9.0, 1.0], 5.0), (&[7.0, 1.0, 3.0], 3.0), (&[4.0, 1.0, 2.0, 9.0], 3.0)]
        {
            assert_eq!(median(values.iter().copied()), expected, "{values:?}");
        }
    }
}
