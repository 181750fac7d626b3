//! Whether one build is slower than another: the ratio of their times with its interval, and what follows from it.

use preheat_suites::stats::median::{median, median_interval};
use serde::Serialize;

/// What the interval of a ratio head/base says about a margin m.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Wholly above 1 + m.
    Slower,
    /// Wholly below 1/(1 + m).
    Faster,
    /// Wholly between.
    Same,
    /// Wholly below 1 + m; whether it is faster is open.
    NotSlower,
    /// 1 + m lies inside: too few rounds or too noisy a machine to tell.
    Undecided,
}

/// The ratio of times, head over base.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// Median over rounds.
    pub ratio: f64,
    /// Its interval.
    pub interval: [f64; 2],
    /// What follows.
    pub verdict: Verdict,
}

/// Judges times of `base` and `head` paired by round, by the median of head/base and its interval at level
/// 1 − `alpha`: what disturbs a few rounds on either side does not move them. `None` where the rounds are too few for
/// the level, or where a time is not a positive number.
pub fn judge(base: &[f64], head: &[f64], margin: f64, alpha: f64) -> Option<Ratio> {
    let positive = |times: &[f64]| times.iter().all(|t| *t > 0.0);
    if base.len() != head.len() || !positive(base) || !positive(head) {
        return None;
    }
    let ratios: Vec<f64> = head.iter().zip(base).map(|(head, base)| head / base).collect();
    let interval = median_interval(&ratios, alpha)?;
    Some(Ratio { ratio: median(ratios), interval, verdict: verdict(interval, margin) })
}

fn verdict([low, high]: [f64; 2], margin: f64) -> Verdict {
    let (slow, fast) = (1.0 + margin, 1.0 / (1.0 + margin));
    match () {
        () if low > slow => Verdict::Slower,
        () if high > slow => Verdict::Undecided,
        () if high < fast => Verdict::Faster,
        () if low < fast => Verdict::NotSlower,
        () => Verdict::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten rounds of a machine whose clock drifts by a third: head takes `factor` times as long, give or take `noise`.
    fn rounds(factor: f64, noise: f64) -> (Vec<f64>, Vec<f64>) {
        let base: Vec<f64> = (0..10).map(|i| 17.0 * (1.0 + 0.03 * f64::from(i))).collect();
        let sign = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
        let head = base.iter().enumerate().map(|(i, b)| b * factor * (1.0 + noise * sign(i))).collect();
        (base, head)
    }

    #[test]
    fn the_interval_decides() {
        let check = |factor, noise, expected| {
            let (base, head) = rounds(factor, noise);
            let found = judge(&base, &head, 0.03, 0.05).unwrap();
            assert_eq!(found.verdict, expected, "{factor} {noise}: {found:?}");
            assert!(found.interval[0] <= found.ratio && found.ratio <= found.interval[1], "{found:?}");
        };
        check(1.0, 0.01, Verdict::Same);
        check(1.02, 0.005, Verdict::Same);
        check(1.05, 0.01, Verdict::Slower);
        check(1.05, 0.05, Verdict::Undecided);
        check(1.0, 0.1, Verdict::Undecided);
        check(0.9, 0.01, Verdict::Faster);
        check(0.97, 0.015, Verdict::NotSlower);
        check(0.5, 0.2, Verdict::Faster);
    }

    #[test]
    fn bounds_belong_to_the_same() {
        assert_eq!(verdict([1.0, 1.03], 0.03), Verdict::Same);
        assert_eq!(verdict([1.0 / 1.03, 1.0], 0.03), Verdict::Same);
        assert_eq!(verdict([1.03, 1.04], 0.03), Verdict::Undecided);
        assert_eq!(verdict([0.9, 1.04], 0.03), Verdict::Undecided);
    }

    #[test]
    fn drift_that_both_share_cancels() {
        let (base, head) = rounds(1.25, 0.0);
        let found = judge(&base, &head, 0.03, 0.05).unwrap();
        assert!(found.interval.iter().all(|x| (x - 1.25).abs() < 1e-12), "{found:?}");
    }

    #[test]
    fn a_disturbed_round_on_either_side_decides_nothing() {
        let (mut base, mut head) = rounds(1.0, 0.01);
        (base[2], head[7]) = (base[2] * 3.0, head[7] * 5.0);
        assert_eq!(judge(&base, &head, 0.03, 0.05).unwrap().verdict, Verdict::Same);
    }

    #[test]
    fn too_few_rounds_or_no_times() {
        let ones = [1.0; 10];
        let with = |last: f64| [&ones[..9], &[last]].concat();
        assert!(judge(&ones, &ones, 0.03, 0.05).is_some());
        assert_eq!(judge(&ones[..5], &ones[..5], 0.03, 0.05), None);
        assert_eq!(judge(&[], &[], 0.03, 0.05), None);
        assert_eq!(judge(&ones, &ones[..9], 0.03, 0.05), None);
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(judge(&ones, &with(bad), 0.03, 0.05), None, "{bad}");
            if bad.is_nan() || bad <= 0.0 {
                assert_eq!(judge(&with(bad), &ones, 0.03, 0.05), None, "{bad}");
            }
        }
    }
}
