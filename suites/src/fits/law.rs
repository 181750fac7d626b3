//! A power law through the optima of several budgets, and how far its bootstrap draws spread.

use super::line::Line;
use crate::stats::bootstrap::percentile;

/// Two-sided error rate of every interval of a fit.
pub const ALPHA: f64 = 0.05;

/// y = coefficient · C^exponent.
#[derive(Clone, Debug, PartialEq)]
pub struct Law {
    /// The exponent.
    pub exponent: f64,
    /// y at C = 1 FLOP.
    pub coefficient: f64,
    /// Share of the optima's variance in ln y that the line explains; every budget counts the same.
    pub r2: f64,
    /// The 95 % interval of the exponent.
    pub interval: [f64; 2],
    /// Budgets that take part.
    pub n: usize,
    /// ln C where slope and height of the line are told apart best.
    centre: f64,
    /// ln y at `centre`.
    level: f64,
    /// Exponent and height at `centre` of each draw.
    draws: Vec<[f64; 2]>,
}

impl Law {
    /// Through the optima `y` (ln), with draws of each optimum: `draws[i]` belongs to `y[i]`, and draw number j of all
    /// budgets makes line j. `widen` stretches the draws about the line.
    pub(super) fn through(line: &Line, x: &[f64], y: &[f64], draws: &[&[f64]], widen: f64) -> Self {
        let [exponent, level] = line.fit(y.iter().copied());
        let count = draws.iter().map(|d| d.len()).min().unwrap_or(0);
        let mut lines = Vec::with_capacity(count);
        for j in 0..count {
            let [slope, height] = line.fit(draws.iter().map(|d| d[j]));
            lines.push([exponent + widen * (slope - exponent), level + widen * (height - level)]);
        }
        let mean = y.iter().sum::<f64>() / y.len() as f64;
        let off: f64 = x.iter().zip(y).map(|(x, y)| square(y - level - exponent * (x - line.centre))).sum();
        let spread: f64 = y.iter().map(|y| square(y - mean)).sum();
        let mut law = Self {
            exponent,
            coefficient: libm::exp(level - exponent * line.centre),
            r2: 1.0 - off / spread,
            interval: [f64::NAN; 2],
            n: y.len(),
            centre: line.centre,
            level,
            draws: lines,
        };
        law.interval = law.quantiles(|[slope, _]| slope);
        law
    }

    /// y at `flops`.
    pub fn at(&self, flops: f64) -> f64 {
        libm::exp(self.ln_at([self.exponent, self.level], flops))
    }

    /// The 95 % interval of y at `flops`.
    pub fn interval_at(&self, flops: f64) -> [f64; 2] {
        self.quantiles(|draw| self.ln_at(draw, flops)).map(libm::exp)
    }

    /// Exponents of all draws.
    pub fn exponents(&self) -> impl Iterator<Item = f64> + '_ {
        self.draws.iter().map(|[slope, _]| *slope)
    }

    fn ln_at(&self, [slope, height]: [f64; 2], flops: f64) -> f64 {
        height + slope * (libm::log(flops) - self.centre)
    }

    fn quantiles(&self, of: impl Fn([f64; 2]) -> f64) -> [f64; 2] {
        interval(self.draws.iter().map(|draw| of(*draw)).collect())
    }
}

/// The 95 % percentile interval of draws; NaN of none.
pub fn interval(mut draws: Vec<f64>) -> [f64; 2] {
    if draws.is_empty() {
        return [f64::NAN; 2];
    }
    draws.sort_unstable_by(f64::total_cmp);
    [percentile(&draws, 0.5 * ALPHA), percentile(&draws, 1.0 - 0.5 * ALPHA)]
}

fn square(x: f64) -> f64 {
    x * x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::assert_close;

    #[test]
    fn an_exact_law_is_found_again_with_its_draws() {
        let x: Vec<f64> = (0..5).map(|i| libm::log(1e16) + f64::from(i)).collect();
        let y: Vec<f64> = x.iter().map(|x| libm::log(0.3) + 0.5 * x).collect();
        // Three draws: the law itself, and lines of slope 0.4 and 0.6.
        let draws: Vec<[f64; 3]> =
            x.iter().zip(&y).map(|(at, y)| [*y, y - 0.1 * (at - x[2]), y + 0.1 * (at - x[2])]).collect();
        let draws: Vec<&[f64]> = draws.iter().map(<[f64; 3]>::as_slice).collect();
        let line = Line::over(&x, &[1.0; 5]).unwrap();
        let law = Law::through(&line, &x, &y, &draws, 1.0);
        assert_close(law.exponent, 0.5, 1e-12);
        assert_close(law.coefficient, 0.3, 1e-10);
        assert_close(law.r2, 1.0, 1e-12);
        assert_close(law.at(1e20), 0.3e10, 1e-10);
        assert_close(law.interval[0], 0.405, 1e-12);
        assert_close(law.interval[1], 0.595, 1e-12);
        let centre = libm::exp(x[2]);
        let [low, high] = law.interval_at(centre);
        assert!((high / low - 1.0).abs() < 1e-12, "all draws agree there");
        let wide = Law::through(&line, &x, &y, &draws, 2.0);
        assert_close(wide.interval[1] - wide.exponent, 2.0 * (law.interval[1] - law.exponent), 1e-10);
    }

    #[test]
    fn no_draws_no_interval() {
        assert!(interval(Vec::new()).iter().all(|x| x.is_nan()));
        assert_eq!(interval(vec![3.0]), [3.0, 3.0]);
    }
}
