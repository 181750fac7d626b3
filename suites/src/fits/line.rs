//! A straight line by weighted least squares, prepared once for many ordinates.

/// The abscissas and weights of a line; each fit is then two dot products.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Weighted mean of the abscissas.
    pub(super) centre: f64,
    slope: Vec<f64>,
    level: Vec<f64>,
}

impl Line {
    /// Over `x` with positive `weights`. `None` where fewer than two abscissas differ, or something is not finite.
    pub(super) fn over(x: &[f64], weights: &[f64]) -> Option<Self> {
        let sum: f64 = weights.iter().sum();
        let level: Vec<f64> = weights.iter().map(|w| w / sum).collect();
        let centre: f64 = x.iter().zip(&level).map(|(x, w)| x * w).sum();
        let spread: f64 = x.iter().zip(&level).map(|(x, w)| w * (x - centre) * (x - centre)).sum();
        let slope: Vec<f64> = x.iter().zip(&level).map(|(x, w)| w * (x - centre) / spread).collect();
        // Rounding of the mean alone could make equal abscissas look spread.
        let differ = x.iter().any(|v| *v != x[0]);
        (differ && slope.iter().all(|s| s.is_finite())).then_some(Self { centre, slope, level })
    }

    /// Slope, and height at [`centre`](Self::centre), of the line through `y`.
    pub(super) fn fit(&self, y: impl Iterator<Item = f64> + Clone) -> [f64; 2] {
        let dot = |factors: &[f64]| factors.iter().zip(y.clone()).map(|(f, y)| f * y).sum();
        [dot(&self.slope), dot(&self.level)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::assert_close;

    // NumPy 2.4.6: polyfit(x, y, 1, w=sqrt(w)).
    #[test]
    fn agrees_with_reference_values() {
        let (x, y, w) = ([0.0, 1.0, 2.0, 4.0, 7.0], [1.0, 0.5, 0.7, -0.2, -1.1], [1.0, 2.0, 0.5, 4.0, 3.0]);
        let line = Line::over(&x, &w).unwrap();
        let [slope, level] = line.fit(y.into_iter());
        assert_close(slope, -0.28638783269961976, 1e-12);
        assert_close(level - slope * line.centre, 0.9243346007604561, 1e-12);
    }

    #[test]
    fn equal_abscissas_have_no_line() {
        assert!(Line::over(&[0.1; 31], &[1.0; 31]).is_none());
        assert!(Line::over(&[], &[]).is_none());
        assert!(Line::over(&[1.0, f64::NAN], &[1.0, 1.0]).is_none());
    }
}
