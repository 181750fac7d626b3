//! The t-interval of a mean: one sample, or two samples paired by subtraction.

use super::student::t_upper_quantile;

/// A sample's mean with what its interval needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Its standard error, s / √n; `None` for one value, which says nothing about spread.
    pub standard_error: Option<f64>,
    /// Size of the sample.
    pub n: usize,
}

impl Mean {
    /// The mean of `values`; `None` where there are none or one is not finite.
    pub fn of(values: &[f64]) -> Option<Self> {
        let first = *values.first()?;
        if values.iter().any(|v| !v.is_finite()) {
            return None;
        }
        // Counted from the first value: equal values give exactly themselves and no spread.
        let n = values.len() as f64;
        let mean = first + values.iter().map(|v| v - first).sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        let standard_error = (values.len() > 1).then(|| (squares / (n - 1.0) / n).sqrt());
        Some(Self { mean, standard_error, n: values.len() })
    }

    /// The paired mean difference `a − b`; `None` where lengths differ, or as [`Mean::of`].
    pub fn paired(a: &[f64], b: &[f64]) -> Option<Self> {
        let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        if a.len() == b.len() { Self::of(&differences) } else { None }
    }

    /// The two-sided 1 − `alpha` t-interval; a point where the values are all equal. `None` for one value.
    pub fn interval(&self, alpha: f64) -> Option<[f64; 2]> {
        let error = self.standard_error?;
        if error == 0.0 {
            return Some([self.mean; 2]);
        }
        let half = t_upper_quantile(0.5 * alpha, (self.n - 1) as f64) * error;
        Some([self.mean - half, self.mean + half])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::assert_close;

    // SciPy 1.17.1: stats.t.interval(1 - alpha, n - 1, mean, sem).
    #[test]
    fn agrees_with_reference_values() {
        let mean = Mean::of(&[0.3, -0.1, 0.5, 0.7, 0.2]).unwrap();
        assert_close(mean.mean, 0.32, 1e-14);
        let [low, high] = mean.interval(0.05).unwrap();
        assert_close(low, -0.056_615_337_669_687_626, 1e-10);
        assert_close(high, 0.696_615_337_669_687_5, 1e-10);
        let [low, high] = mean.interval(0.01).unwrap();
        assert_close(low, -0.304_529_813_822_206_45, 1e-10);
        assert_close(high, 0.944_529_813_822_206_4, 1e-10);
    }

    #[test]
    fn paired_is_the_mean_of_differences() {
        let paired = Mean::paired(&[1.0, 3.0, 2.0], &[0.5, 1.0, 2.5]).unwrap();
        assert_eq!(paired, Mean::of(&[0.5, 2.0, -0.5]).unwrap());
        assert_eq!(Mean::paired(&[1.0], &[1.0, 2.0]), None);
    }

    #[test]
    fn equal_values_are_a_point() {
        // 0.1 summed 31 times and divided by 31 is not 0.1.
        let mean = Mean::of(&[0.1; 31]).unwrap();
        assert_eq!(mean.interval(0.05), Some([0.1; 2]));
    }

    #[test]
    fn too_few_or_not_finite() {
        assert_eq!(Mean::of(&[]), None);
        assert_eq!(Mean::of(&[1.0, f64::NAN]), None);
        assert_eq!(Mean::of(&[1.0, f64::INFINITY]), None);
        assert_eq!(Mean::of(&[2.0]).unwrap().interval(0.05), None);
    }
}
