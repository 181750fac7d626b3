//! The median, and its interval by order statistics (Conover 1999, §3.2): exact whatever the distribution, and deaf to
//! outliers.

use super::beta::incomplete_beta;

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

/// The two-sided interval of the median at level at least 1 − `alpha`: the k-th smallest and the k-th largest value,
/// k the largest with P(Bin(n, 1/2) < k) ≤ alpha/2. `None` where even the extremes do not reach the level, or where a
/// value is not finite.
pub fn median_interval(values: &[f64], alpha: f64) -> Option<[f64; 2]> {
    if values.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    // P(Bin(n, 1/2) < k) = I_1/2(n − k + 1, k) (DLMF 8.17.5).
    let tail = |k: usize| incomplete_beta((n - k + 1) as f64, k as f64, 0.5, 0.5);
    let k = (1..=n / 2).take_while(|k| tail(*k) <= 0.5 * alpha).last()?;
    Some([sorted[k - 1], sorted[n - k]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!(median([]).is_nan());
        let cases = [(&[3.0][..], 3.0), (&[9.0, 1.0], 5.0), (&[7.0, 1.0, 3.0], 3.0), (&[4.0, 1.0, 2.0, 9.0], 3.0)];
        for (values, expected) in cases {
            assert_eq!(median(values.iter().copied()), expected, "{values:?}");
        }
    }

    /// Ranks by hand from the sums of binomial coefficients: for n = 10, (1 + 10)/1024 = 0.0107 and
    /// (1 + 10 + 45)/1024 = 0.0547; for n = 9, 46/512 = 0.0898 and 130/512 = 0.2539.
    #[test]
    fn the_ranks_are_those_of_the_binomial() {
        for (n, alpha, k) in [(6, 0.05, 1), (10, 0.05, 2), (10, 0.02, 1), (15, 0.05, 4), (25, 0.0125, 6), (9, 0.5, 3)] {
            let values: Vec<f64> = (1..=n).rev().map(f64::from).collect();
            let expected = [f64::from(k), f64::from(n + 1 - k)];
            assert_eq!(median_interval(&values, alpha), Some(expected), "{n} {alpha}");
        }
    }

    #[test]
    fn too_few_or_not_finite() {
        assert_eq!(median_interval(&[], 0.05), None);
        assert_eq!(median_interval(&[1.0; 5], 0.05), None);
        assert_eq!(median_interval(&[1.0; 6], 0.05), Some([1.0, 1.0]));
        assert_eq!(median_interval(&[1.0, 2.0, 3.0, 4.0, 5.0, f64::NAN], 0.05), None);
    }
}
