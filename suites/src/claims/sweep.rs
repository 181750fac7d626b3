//! A claim over an axis: the same claim at the values that its selections do not fix.

use super::select::{cells, order};
use super::{Claim, Fit, Judged, Kind, Optimum, Select, Sweep, Swept};
use crate::record::Observation;
use crate::registry::Scalar;

impl Kind {
    /// Every selection of runs that the kind holds.
    pub fn selects(&self) -> Vec<Select> {
        self.clone().selects_mut().into_iter().map(|select| select.clone()).collect()
    }

    fn selects_mut(&mut self) -> Vec<&mut Select> {
        match self {
            Self::Difference { of, minus, .. } | Self::EachDifference { of, minus, .. } => vec![of, minus],
            Self::Ratio { of, over, .. } => vec![of, over],
            Self::StepsRatio { of, reference, .. } | Self::Crossover { of, reference, .. } => vec![of, reference],
            Self::Fraction { of, at_best_of, .. } => std::iter::once(of).chain(at_best_of).collect(),
            Self::Value { of, .. }
            | Self::Slope { of, .. }
            | Self::Neighbours { of, .. }
            | Self::Spread { of, .. }
            | Self::Linearity { of, .. } => vec![of],
            Self::Fit(Fit { of, minus, .. }) => std::iter::once(of).chain(minus).collect(),
            Self::OptimumSlope(Optimum { of, .. }) => vec![of],
        }
    }
}

/// The value at which the claim itself fixes its axis.
fn fixed(claim: &Claim, axis: &str) -> Option<Scalar> {
    claim.kind.selects().into_iter().find_map(|mut select| select.axes.remove(axis))
}

/// The values of an axis in the runs of a selection, whatever else is open.
fn seen(observations: &[Observation], select: &Select, axis: &str) -> Vec<Scalar> {
    cells(observations, select).into_iter().filter_map(|mut cell| cell.remove(axis)).collect()
}

/// The claim at each other value of its axis that is run, in order.
pub(super) fn variants(claim: &Claim, observations: &[Observation]) -> Vec<(Scalar, Claim)> {
    let Some(axis) = &claim.sweep else { return Vec::new() };
    let Some(own) = fixed(claim, axis) else { return Vec::new() };
    let mut values: Vec<Scalar> = Vec::new();
    for select in claim.kind.selects() {
        if select.axes.contains_key(axis) {
            let mut open = select;
            open.axes.remove(axis);
            values.extend(seen(observations, &open, axis));
        }
    }
    values.sort_by(order);
    values.dedup_by(|a, b| order(a, b).is_eq());
    values.retain(|value| order(value, &own).is_ne());
    let at = |value: Scalar| {
        let mut claim = claim.clone();
        for select in claim.kind.selects_mut() {
            if let Some(fixed) = select.axes.get_mut(axis) {
                *fixed = value.clone();
            }
        }
        (value, claim)
    };
    values.into_iter().map(at).collect()
}

/// Hangs the judged variants of a claim on its row.
pub(super) fn attach(claim: &Claim, row: &mut Judged, judged: Vec<(Scalar, Judged)>) {
    let Some((axis, value)) = claim.sweep.clone().and_then(|axis| Some((axis.clone(), fixed(claim, &axis)?))) else {
        return;
    };
    let others: Vec<Swept> = judged
        .into_iter()
        .map(|(value, Judged { verdict, why, effect, interval, n, .. })| Swept {
            value,
            verdict,
            why,
            effect,
            interval,
            n,
        })
        .collect();
    row.sweep = (!others.is_empty()).then_some(Sweep { axis, value, others });
}
