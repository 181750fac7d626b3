//! The effect of a claim by its kind: one number a seed, then their mean, or a share of seeds.

use super::fit::{self, Jackknife};
use super::many::{self, Extremes};
use super::select::{Side, at_cell_of, axis_cells, best, by_seed, describe, metric, paired, sides};
use super::{Extreme, Kind, Select, curves};
use crate::record::{Measured, Observation};
use crate::registry::Scalar;
use crate::stats::binomial::clopper_pearson;
use crate::stats::least_squares::least_squares_slope;
use crate::stats::mean::Mean;

/// Chooses the cells of kinds that do not measure a loss themselves.
const SELECTION_LOSS: &str = "val_loss";
/// Fewest seeds at which an exact interval of a share decides.
const FEWEST_FOR_SHARE: usize = 8;

/// What the seeds say.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Estimate {
    /// A mean with its t-interval.
    Mean(Mean),
    /// The exponential of a mean of logarithms.
    ExpMean(Mean),
    /// A share of seeds with its exact interval.
    Share { ones: usize, n: usize },
    /// The least or the greatest of several means.
    Extreme(Extremes),
    /// A number of a fit.
    Jackknife(Jackknife),
}

/// A claim's effect before any level is chosen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Effect {
    estimate: Estimate,
    /// The chosen cells, see [`describe`].
    pub(super) at: Option<String>,
    /// Seeds whose run never got to its target: the effect is then only a lower bound.
    pub(super) unreached: usize,
}

impl Effect {
    pub(super) fn new(estimate: Estimate, sides: &[Side]) -> Self {
        Self { estimate, at: describe(sides), unreached: 0 }
    }

    /// Where so many seeds never got to their target.
    pub(super) fn with_unreached(self, unreached: usize) -> Self {
        Self { unreached, ..self }
    }

    /// With what a reader must know of it.
    pub(super) fn about(self, at: String) -> Self {
        Self { at: Some(at), ..self }
    }

    /// The point estimate.
    pub(super) fn value(&self) -> f64 {
        match &self.estimate {
            Estimate::Mean(mean) => mean.mean,
            Estimate::ExpMean(mean) => finite_exp(mean.mean),
            Estimate::Share { ones, n } => *ones as f64 / *n as f64,
            Estimate::Extreme(means) => means.value(),
            Estimate::Jackknife(found) => found.value,
        }
    }

    /// Seeds.
    pub(super) fn n(&self) -> usize {
        match &self.estimate {
            Estimate::Mean(mean) | Estimate::ExpMean(mean) => mean.n,
            Estimate::Share { n, .. } => *n,
            Estimate::Extreme(means) => means.n(),
            Estimate::Jackknife(found) => found.n,
        }
    }

    /// The two-sided 1 − `alpha` interval; `None` from one value.
    pub(super) fn interval(&self, alpha: f64) -> Option<[f64; 2]> {
        match &self.estimate {
            Estimate::Mean(mean) => mean.interval(alpha),
            Estimate::ExpMean(mean) => mean.interval(alpha).map(|ends| ends.map(finite_exp)),
            Estimate::Share { ones, n } => Some(clopper_pearson(*ones, *n, alpha)),
            Estimate::Extreme(means) => means.interval(alpha),
            Estimate::Jackknife(found) => found.interval(alpha),
        }
    }

    /// Why so few seeds cannot decide at all.
    pub(super) fn too_few(&self) -> Option<String> {
        let fewest = if matches!(self.estimate, Estimate::Share { .. }) { FEWEST_FOR_SHARE } else { 2 };
        (self.n() < fewest).then(|| format!("n < {fewest}"))
    }
}

/// exp, but finite: an interval is written to files that know no infinity.
fn finite_exp(x: f64) -> f64 {
    libm::exp(x).min(f64::MAX)
}

/// The natural logarithm of a positive number.
pub(super) fn ln(x: f64, what: &str) -> Result<f64, String> {
    if x > 0.0 && x.is_finite() { Ok(libm::log(x)) } else { Err(format!("no logarithm of {what} = {x}")) }
}

/// The effect of a claim; the error says what is missing.
pub(super) fn effect(kind: &Kind, observations: &[Observation]) -> Result<Effect, String> {
    match kind {
        Kind::Difference { metric: m, of, minus, at } => {
            let sides = sides(observations, [of, minus], *at, m)?;
            let values = paired(observations, selects(&sides), |a, b, seed| {
                Ok(metric(a, m, &sides[0].select, seed)? - metric(b, m, &sides[1].select, seed)?)
            })?;
            Ok(Effect::new(Estimate::Mean(mean(&values)?), &sides))
        }
        Kind::Ratio { metric: m, over_metric, of, over, at } => {
            let sides = sides(observations, [of, over], *at, m)?;
            let other = over_metric.as_deref().unwrap_or(m);
            let values = paired(observations, selects(&sides), |a, b, seed| {
                let first = ln(metric(a, m, &sides[0].select, seed)?, m)?;
                Ok(first - ln(metric(b, other, &sides[1].select, seed)?, other)?)
            })?;
            Ok(Effect::new(Estimate::ExpMean(mean(&values)?), &sides))
        }
        Kind::Value { metric: m, of } => {
            let side = best(observations, of, m)?;
            let values = each(observations, &side.select, |run, seed| metric(run, m, &side.select, seed))?;
            Ok(Effect::new(Estimate::Mean(mean(&values)?), &[side]))
        }
        Kind::Fraction { metric, of, at_best_of } => fraction(observations, metric, of, at_best_of.as_ref()),
        Kind::StepsRatio { curve, of, reference, at } => {
            let sides = sides(observations, [of, reference], *at, SELECTION_LOSS)?;
            curves::steps_ratio(observations, curve, &sides)
        }
        Kind::Neighbours { metric, of, over, extreme } => {
            many::between(observations, metric, of, over, false, *extreme)
        }
        Kind::Spread { metric, of, over } => many::between(observations, metric, of, over, true, Extreme::Greatest),
        Kind::EachDifference { metric, of, over, minus, extreme } => {
            many::against(observations, metric, [of, minus], over, *extreme)
        }
        Kind::Crossover { curve, of, reference, at } => {
            let sides = sides(observations, [of, reference], *at, SELECTION_LOSS)?;
            curves::crossover(observations, curve, &sides)
        }
        Kind::Fit(claim) => fit::fit(observations, claim),
        Kind::OptimumSlope(claim) => fit::optimum(observations, claim),
        Kind::Linearity { x, y, of, perplexity } => curves::linearity(observations, [x, y], of, *perplexity),
        Kind::Slope { metric, of, over, from, indices, linear_x } => {
            let x_of = |x: f64| if *linear_x { Ok(x) } else { ln(x, "x") };
            let keep = |x: f64| from.is_none_or(|least| x >= least);
            let points = match over {
                Some(path) if indices.is_empty() => axis_points(observations, metric, of, path, keep)?,
                None if !indices.is_empty() => index_points(observations, metric, of, indices, keep)?,
                _ => return Err("a slope needs either `over` or `indices`".into()),
            };
            slope(&points, x_of)
        }
    }
}

/// The selections of two sides.
pub(super) fn selects(sides: &[Side; 2]) -> [&Select; 2] {
    sides.each_ref().map(|side| &side.select)
}

pub(super) fn mean(values: &[f64]) -> Result<Mean, String> {
    Mean::of(values).ok_or_else(|| "no common seeds".to_string())
}

/// One value a seed of one side.
pub(super) fn each<T>(
    observations: &[Observation],
    select: &Select,
    mut value: impl FnMut(&Measured, u64) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    by_seed(observations, select, false)?.into_iter().map(|(seed, run)| value(run, seed)).collect()
}

fn fraction(
    observations: &[Observation],
    name: &str,
    of: &Select,
    at_best_of: Option<&Select>,
) -> Result<Effect, String> {
    let side = match at_best_of {
        Some(other) => at_cell_of(observations, of, &best(observations, other, SELECTION_LOSS)?)?,
        None => best(observations, of, SELECTION_LOSS)?,
    };
    let values = each(observations, &side.select, |run, seed| match metric(run, name, &side.select, seed)? {
        v if v == 0.0 || v == 1.0 => Ok(v == 1.0),
        v => Err(format!("{name} = {v} is neither 0 nor 1")),
    })?;
    let ones = values.iter().filter(|one| **one).count();
    Ok(Effect::new(Estimate::Share { ones, n: values.len() }, &[side]))
}

/// One x of a slope: its metric by seed.
type SlopePoint = (f64, Vec<(u64, f64)>);

fn axis_points(
    observations: &[Observation],
    name: &str,
    of: &Select,
    path: &str,
    keep: impl Fn(f64) -> bool,
) -> Result<Vec<SlopePoint>, String> {
    let mut points = Vec::new();
    for (x, select) in axis_cells(observations, of, path)? {
        let x = match x {
            Scalar::Int(x) => x as f64,
            Scalar::Real(x) => x,
            _ => return Err(format!("no number at axis {path} of {}", super::select::name(of))),
        };
        if keep(x) {
            points.push((x, each(observations, &select, |run, seed| Ok((seed, metric(run, name, &select, seed)?)))?));
        }
    }
    Ok(points)
}

fn index_points(
    observations: &[Observation],
    name: &str,
    of: &Select,
    indices: &[u64],
    keep: impl Fn(f64) -> bool,
) -> Result<Vec<SlopePoint>, String> {
    let select = super::select::given(observations, of)?.select;
    let kept = indices.iter().filter(|i| keep(**i as f64));
    let point = |i: &u64| {
        let name = name.replace("{i}", &i.to_string());
        let values = each(observations, &select, |run, seed| Ok((seed, metric(run, &name, &select, seed)?)))?;
        Ok((*i as f64, values))
    };
    kept.map(point).collect()
}

/// A least-squares slope of ln metric for each seed that every x has, and their mean.
fn slope(points: &[SlopePoint], x_of: impl Fn(f64) -> Result<f64, String>) -> Result<Effect, String> {
    let x = points.iter().map(|(x, _)| x_of(*x)).collect::<Result<Vec<f64>, String>>()?;
    let seeds: Vec<u64> =
        points.first().map(|(_, runs)| runs.iter().map(|(seed, _)| *seed).collect()).unwrap_or_default();
    let mut slopes = Vec::new();
    for seed in seeds {
        let found = points.iter().map(|(_, runs)| runs.iter().find(|(s, _)| *s == seed).map(|(_, value)| *value));
        let Some(values) = found.collect::<Option<Vec<f64>>>() else { continue };
        let y = values.iter().map(|v| ln(*v, "metric")).collect::<Result<Vec<f64>, String>>()?;
        slopes.push(least_squares_slope(&x, &y).ok_or("a slope needs two different x")?);
    }
    Ok(Effect::new(Estimate::Mean(mean(&slopes)?), &[]))
}
