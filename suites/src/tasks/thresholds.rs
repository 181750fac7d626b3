//! A discrete distribution as integers: sampling compares integers, so no rounding differs anywhere.

/// Probabilities that are whole multiples of 2^-64, as where each outcome's share of the 64-bit integers starts.
#[derive(Clone, Debug)]
pub(super) struct Thresholds {
    starts: Vec<u64>,
}

impl Thresholds {
    /// Outcomes in proportion to `weights` (finite, not negative, not all 0), rounded to multiples of 2^-`bits`.
    pub(super) fn new(weights: impl IntoIterator<Item = f64>, bits: u32) -> Self {
        let mut sums = vec![0.0];
        for w in weights {
            sums.push(sums[sums.len() - 1] + w);
        }
        let total = sums.pop().expect("there is a first sum");
        let scale = (1u128 << bits) as f64;
        // The cast saturates: an empty last outcome starts at the very end.
        let start = |sum: f64| ((sum / total * scale).round() as u128).checked_shl(64 - bits);
        let starts = sums.into_iter().map(|sum| u64::try_from(start(sum).unwrap_or(u128::MAX)).unwrap_or(u64::MAX));
        Self { starts: starts.collect() }
    }

    /// The outcome at `u`, 64 uniform bits. Where the distribution has fewer bits, the leading ones decide.
    pub(super) fn sample(&self, u: u64) -> usize {
        self.starts.partition_point(|&start| start <= u) - 1
    }

    /// The exact probability of outcome `i` under [`Self::sample`].
    pub(super) fn p(&self, i: usize) -> f64 {
        let end = self.starts.get(i + 1).copied().unwrap_or(u64::MAX);
        (end - self.starts[i]) as f64 / 18_446_744_073_709_551_616.0
    }

    /// Number of outcomes.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_the_weights() {
        let t = Thresholds::new([1.0, 0.0, 2.0, 1.0, 0.0], 32);
        assert_eq!((0..t.len()).map(|i| t.p(i)).collect::<Vec<_>>(), [0.25, 0.0, 0.5, 0.25, 0.0]);
        let quarter = 1u64 << 62;
        for (u, outcome) in
            [(0, 0), (quarter - 1, 0), (quarter, 2), (3 * quarter - 1, 2), (3 * quarter, 3), (0xFFFF_FFFF << 32, 3)]
        {
            assert_eq!(t.sample(u), outcome, "{u:x}");
        }
    }

    #[test]
    fn one_outcome_is_certain() {
        let t = Thresholds::new([0.3], 64);
        assert_eq!((t.p(0), t.sample(0), t.sample(u64::MAX)), (1.0, 0, 0));
    }

    #[test]
    fn shares_are_close_and_sum_to_one() {
        for bits in [32, 64] {
            let weights: Vec<f64> = (0..1009).map(|i| 1.0 / (i as f64 + 2.7)).collect();
            let total: f64 = weights.iter().sum();
            let t = Thresholds::new(weights.iter().copied(), bits);
            assert!(((0..t.len()).map(|i| t.p(i)).sum::<f64>() - 1.0).abs() < 1e-12);
            for (i, w) in weights.iter().enumerate() {
                assert!((t.p(i) - w / total).abs() < 3e-10, "{i}");
            }
        }
    }
}
