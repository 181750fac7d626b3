//! Holm's step-down procedure (Holm 1979): many tests, one family-wise error rate.

/// What the procedure says of one test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The level at which this test was made.
    pub level: f64,
    /// Whether it and all tests with smaller p decided.
    pub decided: bool,
}

/// Tests in order of their `p` the k-th smallest at `alpha` / (m − k + 1). The first that fails ends it: all
/// that follow get its level and stay undecided. Steps are in the order of `p`; equal p keep that order.
pub fn holm(p: &[f64], alpha: f64) -> Vec<Step> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut steps = vec![Step { level: alpha, decided: false }; p.len()];
    let mut failed_at = None;
    for (rank, index) in order.into_iter().enumerate() {
        let level = failed_at.unwrap_or(alpha / (p.len() - rank) as f64);
        let decided = failed_at.is_none() && p[index] <= level;
        if !decided {
            failed_at = Some(level);
        }
        steps[index] = Step { level, decided };
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_down_and_stops() {
        // m = 4: levels 0.0125, 0.05/3; the third smallest (0.03) fails at 0.025, so 0.04 fails with it.
        let steps = holm(&[0.03, 0.001, 0.04, 0.015], 0.05);
        let decided: Vec<bool> = steps.iter().map(|s| s.decided).collect();
        assert_eq!(decided, [false, true, false, true]);
        let levels: Vec<f64> = steps.iter().map(|s| s.level).collect();
        assert_eq!(levels, [0.025, 0.0125, 0.025, 0.05 / 3.0]);
    }

    #[test]
    fn edges() {
        assert!(holm(&[], 0.05).is_empty());
        assert_eq!(holm(&[0.05], 0.05), [Step { level: 0.05, decided: true }]);
        // NaN sorts last and decides nothing.
        let steps = holm(&[f64::NAN, 0.0], 0.05);
        assert_eq!((steps[0].decided, steps[1].decided), (false, true));
    }
}
