//! The exact interval of a share (Clopper and Pearson 1934).

use super::beta::beta_quantile;

/// The two-sided 1 − `alpha` interval of the probability of which `successes` of `trials` came true.
/// It covers at least 1 − `alpha` for every probability. No trials: \[0, 1\].
///
/// # Panics
/// If there are more successes than trials.
pub fn clopper_pearson(successes: usize, trials: usize, alpha: f64) -> [f64; 2] {
    assert!(successes <= trials, "{successes} successes in {trials} trials");
    let (k, misses) = (successes as f64, (trials - successes) as f64);
    let low = if successes == 0 { 0.0 } else { beta_quantile(k, misses + 1.0, 0.5 * alpha) };
    // The upper end as the lower end of the misses' share: its quantile stays a small p.
    let high = if successes == trials { 1.0 } else { 1.0 - beta_quantile(misses, k + 1.0, 0.5 * alpha) };
    [low, high]
}

#[cfg(test)]
mod tests {
    use super::*;

    // SciPy 1.17.1: stats.binomtest(k, n).proportion_ci(1 - alpha, "exact").
    #[test]
    fn agrees_with_reference_values() {
        for (k, n, alpha, expected) in [
            (0, 8, 0.05, [0.0, 0.369_416_647_552_819_2]),
            (8, 8, 0.05, [0.630_583_352_447_180_8, 1.0]),
            (3, 8, 0.05, [0.085_233_414_137_593_08, 0.755_136_783_633_500_1]),
            (5, 31, 0.01, [0.036_537_994_633_107_97, 0.392_982_264_125_364_8]),
            (1, 33, 0.05, [0.000_766_912_075_072_435_8, 0.157_593_972_272_496_8]),
            (1, 1, 0.05, [0.025_000_000_000_000_022, 1.0]),
        ] {
            let got = clopper_pearson(k, n, alpha);
            for side in 0..2 {
                assert!((got[side] - expected[side]).abs() < 1e-11, "{k}/{n}: {got:?} against {expected:?}");
            }
        }
        assert_eq!(clopper_pearson(0, 0, 0.05), [0.0, 1.0]);
    }

    /// Coverage by enumeration, without any draws: the defining property of the exact interval.
    #[test]
    fn covers_at_every_probability() {
        for n in [1, 8, 31] {
            let intervals: Vec<[f64; 2]> = (0..=n).map(|k| clopper_pearson(k, n, 0.05)).collect();
            for step in 1..100 {
                let p = f64::from(step) / 100.0;
                let mut mass = libm::pow(1.0 - p, n as f64);
                let mut covered = 0.0;
                for (k, [low, high]) in intervals.iter().enumerate() {
                    covered += if (*low..=*high).contains(&p) { mass } else { 0.0 };
                    mass *= (n - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
                }
                assert!(covered >= 0.95 - 1e-9, "n {n}, p {p}: {covered}");
            }
        }
    }
}
