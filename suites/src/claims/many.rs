//! Effects over several values of an axis: the least or the greatest of several means, paired by seed.

use super::effects::{Effect, Estimate, mean};
use super::select::{Side, axis_cells, given, metric, paired};
use super::{Extreme, Select};
use crate::record::Observation;
use crate::stats::mean::Mean;

/// The least or the greatest of several true means, as far as samples of each tell it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Extremes {
    means: Vec<Mean>,
    extreme: Extreme,
}

impl Extremes {
    /// The extreme of the samples' means.
    pub(super) fn value(&self) -> f64 {
        let means = self.means.iter().map(|m| m.mean);
        match self.extreme {
            Extreme::Least => means.fold(f64::INFINITY, f64::min),
            Extreme::Greatest => means.fold(f64::NEG_INFINITY, f64::max),
        }
    }

    /// Fewest seeds of any.
    pub(super) fn n(&self) -> usize {
        self.means.iter().map(|m| m.n).min().unwrap_or(0)
    }

    /// The two-sided 1 − `alpha` interval of the true extreme. That the least mean lies above a value is the
    /// intersection of one statement a mean, so each is tested at the full level (Berger 1982). That it lies below is
    /// their union, so each is tested at a share of it (Bonferroni). For the greatest it is the other way round.
    pub(super) fn interval(&self, alpha: f64) -> Option<[f64; 2]> {
        let each = |alpha: f64| self.means.iter().map(|m| m.interval(alpha)).collect::<Option<Vec<_>>>();
        let (full, shared) = (each(alpha)?, each(alpha / self.means.len() as f64)?);
        let end = |of: &[[f64; 2]], side: usize| {
            let ends = of.iter().map(|interval| interval[side]);
            match self.extreme {
                Extreme::Least => ends.fold(f64::INFINITY, f64::min),
                Extreme::Greatest => ends.fold(f64::NEG_INFINITY, f64::max),
            }
        };
        Some(match self.extreme {
            Extreme::Least => [end(&full, 0), end(&shared, 1)],
            Extreme::Greatest => [end(&shared, 0), end(&full, 1)],
        })
    }
}

/// The mean differences `later − earlier` over pairs of the axis's values, in its order.
pub(super) fn between(
    observations: &[Observation],
    name: &str,
    of: &Select,
    over: &str,
    all_pairs: bool,
    extreme: Extreme,
) -> Result<Effect, String> {
    let cells = axis_cells(observations, of, over)?;
    let mut means = Vec::new();
    for (i, (_, later)) in cells.iter().enumerate() {
        for (j, (_, earlier)) in cells.iter().enumerate() {
            if if all_pairs { i != j } else { i == j + 1 } {
                means.push(difference(observations, name, [later, earlier])?);
            }
        }
    }
    extremes(means, extreme, over)
}

/// The mean differences of each value of the axis to one other side.
pub(super) fn against(
    observations: &[Observation],
    name: &str,
    [of, minus]: [&Select; 2],
    over: &str,
    extreme: Extreme,
) -> Result<Effect, String> {
    let other = given(observations, minus)?.select;
    let cells = axis_cells(observations, of, over)?;
    let means = cells.iter().map(|(_, cell)| difference(observations, name, [cell, &other]));
    extremes(means.collect::<Result<_, _>>()?, extreme, over)
}

fn difference(observations: &[Observation], name: &str, sides: [&Select; 2]) -> Result<Mean, String> {
    let values = paired(observations, sides, |a, b, seed| {
        Ok(metric(a, name, sides[0], seed)? - metric(b, name, sides[1], seed)?)
    })?;
    mean(&values)
}

fn extremes(means: Vec<Mean>, extreme: Extreme, over: &str) -> Result<Effect, String> {
    if means.is_empty() {
        return Err(format!("one value of {over}; two are needed"));
    }
    let none: &[Side] = &[];
    Ok(Effect::new(Estimate::Extreme(Extremes { means, extreme }), none))
}
