//! A quantity read between measured points, by Akima's interpolation in logarithms.

use super::akima::Akima;
use super::curve::Point;

/// How far outside the points a value may be read, as their end's: steps are whole, so an end is missed by a step.
const SLACK: f64 = 0.05;

/// ln y over ln x through known points.
#[derive(Clone, Debug)]
pub struct Reading {
    x: Vec<f64>,
    y: Vec<f64>,
    curve: Akima,
}

impl Reading {
    /// Through points (x, y), both positive, in any order; of points at one place that with the least y. `None` of fewer
    /// than two places.
    pub fn over(points: impl Iterator<Item = [f64; 2]>) -> Option<Self> {
        let mut known: Vec<[f64; 2]> = points.map(|point| point.map(libm::log)).collect();
        known.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
        known.dedup_by_key(|point| point[0]);
        if known.len() < 2 {
            return None;
        }
        let (x, y): (Vec<f64>, Vec<f64>) = known.iter().map(|[x, y]| (*x, *y)).unzip();
        let mut curve = Akima::over(&x);
        curve.set(&y);
        Some(Self { x, y, curve })
    }

    /// y at `x`; `None` outside the points.
    pub fn at(&self, x: f64) -> Option<f64> {
        let at = libm::log(x);
        let inside = at >= self.x[0] && at <= self.x[self.x.len() - 1];
        inside.then(|| libm::exp(self.curve.value(&self.y, at)))
    }

    /// y at `x`, or at the nearest end where that is at most a twentieth away.
    pub fn near(&self, x: f64) -> Option<f64> {
        let (first, last) = (self.x[0], self.x[self.x.len() - 1]);
        let at = libm::log(x);
        let inside = at >= first - SLACK && at <= last + SLACK;
        inside.then(|| libm::exp(self.curve.value(&self.y, at.clamp(first, last))))
    }
}

/// A size's points at budgets that double from `least` FLOPs on: its loss is known after some numbers of tokens, and is
/// read between them at D = C/(6·params).
pub fn isoflop_points(params: f64, known: &[[f64; 2]], least: f64) -> Vec<Point> {
    let Some(curve) = Reading::over(known.iter().copied()) else { return Vec::new() };
    let most = known.iter().map(|[tokens, _]| 6.0 * params * tokens).fold(0.0, f64::max);
    let budgets = std::iter::successors(Some(least), |flops| Some(2.0 * flops));
    // An end that is missed by rounding alone is no other budget.
    let budgets = budgets.take_while(|flops| *flops <= most * (1.0 + 1e-6));
    let point = |flops: f64| {
        let tokens = flops / (6.0 * params);
        curve.near(tokens).map(|loss| Point { flops, params, tokens, loss })
    };
    budgets.filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::assert_close;

    #[test]
    fn a_power_law_is_read_exactly_and_nothing_outside() {
        let law = |x: f64| 3.0 * libm::pow(x, -0.4);
        let reading = Reading::over([2.0, 1.0, 8.0, 4.0].into_iter().map(|x| [x, law(x)])).unwrap();
        for x in [1.0, 1.5, 3.0, 7.9, 8.0] {
            assert_close(reading.at(x).unwrap(), law(x), 1e-12);
            assert_eq!(reading.near(x), reading.at(x));
        }
        assert_eq!((reading.at(0.99), reading.at(8.01)), (None, None));
        assert_close(reading.near(8.3).unwrap(), law(8.0), 1e-12);
        assert_eq!((reading.near(8.5), reading.near(0.9)), (None, None));
        assert!(Reading::over([[1.0, 2.0], [1.0, 3.0]].into_iter()).is_none());
    }

    #[test]
    fn budgets_double_as_far_as_the_tokens_go() {
        let known = [10.0, 20.0, 40.0, 81.0].map(|tokens| [tokens, 5.0 / tokens]);
        let points = isoflop_points(100.0, &known, 6000.0);
        assert_eq!(points.iter().map(|p| p.flops).collect::<Vec<_>>(), [6e3, 1.2e4, 2.4e4, 4.8e4]);
        assert_eq!(points.iter().map(|p| p.tokens).collect::<Vec<_>>(), [10.0, 20.0, 40.0, 80.0]);
        assert!(isoflop_points(100.0, &known[..1], 6000.0).is_empty());
        assert!(isoflop_points(100.0, &known, 1e6).is_empty());
    }
}
