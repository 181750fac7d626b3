//! Points of equal compute, and the curves that they make.

use std::collections::BTreeMap;

/// One trained model: a row of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Training FLOPs.
    pub flops: f64,
    /// Parameters, as the table's convention counts them.
    pub params: f64,
    /// Training tokens.
    pub tokens: f64,
    /// Loss, nats a token.
    pub loss: f64,
}

/// What an isoFLOP curve is drawn over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Parameters.
    Params,
    /// Training tokens.
    Tokens,
}

impl Axis {
    /// The point's value on this axis.
    pub const fn of(self, point: &Point) -> f64 {
        match self {
            Self::Params => point.params,
            Self::Tokens => point.tokens,
        }
    }
}

/// The losses of one budget by rising ln N or ln D, each place once.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// ln of parameters or tokens, rising.
    pub x: Vec<f64>,
    /// Losses, nats a token.
    pub loss: Vec<f64>,
}

impl Curve {
    /// The curve of points of one budget. Of points at one place the lowest loss is kept, as Porian et al. do.
    pub fn of(points: &[Point], axis: Axis) -> Self {
        let mut sorted: Vec<(f64, f64)> = points.iter().map(|p| (axis.of(p), p.loss)).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        sorted.dedup_by_key(|(place, _)| *place);
        Self {
            x: sorted.iter().map(|(place, _)| libm::log(*place)).collect(),
            loss: sorted.iter().map(|(_, loss)| *loss).collect(),
        }
    }

    /// The place of the lowest loss.
    pub fn lowest(&self) -> usize {
        (0..self.loss.len()).min_by(|a, b| self.loss[*a].total_cmp(&self.loss[*b])).unwrap_or(0)
    }
}

/// Points by rising budget. Budgets that differ by rounding alone, 1 in 10^9, are one.
pub fn budgets(points: &[Point]) -> Vec<(f64, Vec<Point>)> {
    let mut sorted = points.to_vec();
    // All fields take part, so that the order of rows cannot show.
    let key = |p: &Point| [p.flops, p.params, p.tokens, p.loss];
    sorted.sort_by(|a, b| {
        let pairs = key(a).into_iter().zip(key(b));
        pairs.map(|(a, b)| a.total_cmp(&b)).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    });
    let mut found: Vec<(f64, Vec<Point>)> = Vec::new();
    for point in sorted {
        match found.last_mut() {
            Some((flops, same)) if point.flops <= *flops * (1.0 + 1e-9) => same.push(point),
            _ => found.push((point.flops, vec![point])),
        }
    }
    found
}

/// Compute that the points cost, FLOPs. `Each`: every point was trained alone. `Longest`: one run a size reads all its
/// budgets, so only the largest counts. Only points that a fit needs are counted (Porian et al. 2024, §4.2): within
/// 1 nat of their budget's best loss, and at most 100 tokens a parameter.
pub fn cost(points: &[Point], schedule: Schedule) -> f64 {
    const MOST_EXCESS_LOSS: f64 = 1.0;
    const MOST_TOKENS_PER_PARAM: f64 = 100.0;
    let mut longest: BTreeMap<u64, f64> = BTreeMap::new();
    let mut each = 0.0;
    for (flops, points) in budgets(points) {
        let best = points.iter().map(|p| p.loss).fold(f64::INFINITY, f64::min);
        let mut sizes: Vec<u64> = Vec::new();
        for point in points.iter().filter(|p| p.loss - best < MOST_EXCESS_LOSS) {
            let size = point.params.to_bits();
            if flops / (6.0 * point.params * point.params) > MOST_TOKENS_PER_PARAM || sizes.contains(&size) {
                continue;
            }
            sizes.push(size);
            each += flops;
            let so_far = longest.entry(size).or_insert(0.0);
            *so_far = so_far.max(flops);
        }
    }
    match schedule {
        Schedule::Each => each,
        Schedule::Longest => longest.values().sum(),
    }
}

/// How many budgets a training run answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// One: its schedule ends there.
    Each,
    /// All up to its end.
    Longest,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(flops: f64, params: f64, loss: f64) -> Point {
        Point { flops, params, tokens: flops / (6.0 * params), loss }
    }

    #[test]
    fn curves_rise_and_keep_the_lowest_of_repeats() {
        let points = [point(1e6, 300.0, 2.0), point(1e6, 100.0, 4.0), point(1e6, 300.0, 1.5), point(1e6, 200.0, 3.0)];
        let params = Curve::of(&points, Axis::Params);
        assert_eq!(params.loss, [4.0, 3.0, 1.5]);
        assert_eq!(params.lowest(), 2);
        assert!(params.x.is_sorted());
        assert_eq!(Curve::of(&points, Axis::Tokens).loss, [1.5, 3.0, 4.0]);
    }

    #[test]
    fn budgets_that_differ_by_rounding_are_one() {
        let points = [point(2e17, 9.0, 1.0), point(1e17, 9.0, 1.0), point(1e17 * (1.0 + 1e-15), 8.0, 1.0)];
        let found = budgets(&points);
        assert_eq!(found.iter().map(|(flops, p)| (*flops, p.len())).collect::<Vec<_>>(), [(1e17, 2), (2e17, 1)]);
    }

    #[test]
    fn cost_counts_each_run_or_the_longest_of_a_size() {
        let small = 1e3;
        let points = [
            point(6e7, small, 3.0),
            point(12e7, small, 2.9),
            // Too far above its budget's best, and too many tokens a parameter: not counted.
            point(12e7, 5e3, 3.95),
            point(12e7, 1e2, 2.95),
            // A second row of a size costs nothing more.
            point(6e7, small, 3.1),
        ];
        assert_eq!(cost(&points, Schedule::Each), 6e7 + 12e7);
        assert_eq!(cost(&points, Schedule::Longest), 12e7);
    }
}
