//! The seeded percentile bootstrap (Efron 1979), for statistics without an interval of their own.

use preheat_kernels::rng::Stream;

/// The two-sided 1 − `alpha` percentile interval of `statistic` over `resamples` draws of `items` with
/// replacement. Draw r takes the stream's step r, so the interval is a function of its arguments.
///
/// `None` without items or resamples, or where the statistic is not finite.
pub fn bootstrap_interval<T: Clone>(
    items: &[T],
    statistic: impl Fn(&[T]) -> f64,
    resamples: u32,
    alpha: f64,
    stream: Stream,
) -> Option<[f64; 2]> {
    if items.is_empty() || resamples == 0 {
        return None;
    }
    let mut draw = items.to_vec();
    let mut values = Vec::with_capacity(resamples as usize);
    for resample in 0..resamples {
        for (slot, item) in draw.iter_mut().enumerate() {
            *item = items[stream.below(resample, slot as u64, items.len() as u64) as usize].clone();
        }
        values.push(statistic(&draw));
    }
    if values.iter().any(|v| !v.is_finite()) {
        return None;
    }
    values.sort_by(f64::total_cmp);
    Some([percentile(&values, 0.5 * alpha), percentile(&values, 1.0 - 0.5 * alpha)])
}

/// The `share` quantile of sorted values, linear between order statistics (Hyndman and Fan's type 7).
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor();
    let low = sorted[below as usize];
    let high = sorted[(below as usize + 1).min(sorted.len() - 1)];
    low + (place - below) * (high - low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::assert_close;

    fn mean(x: &[f64]) -> f64 {
        x.iter().sum::<f64>() / x.len() as f64
    }

    // NumPy (with SciPy 1.17.1): quantile([1, 2, 4, 8], [0.1, 0.5, 0.9]).
    #[test]
    fn percentiles_agree_with_reference_values() {
        for (share, expected) in [(0.1, 1.3), (0.5, 3.0), (0.9, 6.8), (0.0, 1.0), (1.0, 8.0)] {
            assert_close(percentile(&[1.0, 2.0, 4.0, 8.0], share), expected, 1e-12);
        }
        assert_eq!(percentile(&[5.0], 0.3), 5.0);
    }

    /// For a mean of many values the bootstrap's half-width is near z · s / √n.
    #[test]
    fn a_mean_of_many_values_has_the_normal_width() {
        let mut draws = vec![0.0f32; 401];
        Stream::new(5, 9).fill_normal(0, &mut draws);
        let x: Vec<f64> = draws.iter().map(|v| f64::from(*v)).collect();
        let [low, high] = bootstrap_interval(&x, mean, 2000, 0.05, Stream::new(1, 2)).unwrap();
        let centre = mean(&x);
        let deviation = (x.iter().map(|v| (v - centre) * (v - centre)).sum::<f64>() / x.len() as f64).sqrt();
        let expected = 2.0 * 1.96 * deviation / (x.len() as f64).sqrt();
        assert!(low < centre && centre < high);
        assert!(((high - low) / expected - 1.0).abs() < 0.1, "{} against {expected}", high - low);
    }

    #[test]
    fn is_seeded_and_refuses_bad_input() {
        let x = [1.0, 5.0, 2.0, 9.0, 4.0];
        let run = |seed| bootstrap_interval(&x, mean, 300, 0.1, Stream::new(seed, 0));
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
        assert_eq!(bootstrap_interval(&[], mean, 10, 0.05, Stream::new(0, 0)), None);
        assert_eq!(bootstrap_interval(&x, mean, 0, 0.05, Stream::new(0, 0)), None);
        assert_eq!(bootstrap_interval(&[1.0, f64::NAN], mean, 50, 0.05, Stream::new(0, 0)), None);
        assert_eq!(bootstrap_interval(&[7.0], mean, 1, 0.05, Stream::new(0, 0)), Some([7.0, 7.0]));
    }
}
