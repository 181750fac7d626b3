//! What claims and taken values read of runs: metrics and curves that the runs can have, so that a wrong name is told
//! when the suite is read and not by an `inconclusive` after all is trained.

use super::error::{DefinitionError, Place, nearest_first, quoted};
use super::links::tier_name;
use super::node::{Node, Value};
use super::suite::{Arm, GridPoint, Suite};
use crate::claims::{At, Claim, EVERY_ARM, Fit, Kind, Optimum, Select, Tier};
use crate::fits::accounting::Convention;
use crate::readings::Reading;
use crate::registry::Params;
use crate::train::metrics::{self, Named};

type Result<T> = std::result::Result<T, DefinitionError>;

/// What a name is the name of.
#[derive(Clone, Copy)]
enum What {
    /// A final metric or a reading.
    Metric,
    /// A final metric alone.
    Final,
    /// A metric that is 0 or 1.
    Flag,
    Curve,
}

/// One name that a claim reads: its key in the kind, the names it stands for, the runs, what it must be.
struct Reads<'c> {
    key: &'static str,
    names: Vec<String>,
    of: Vec<&'c Select>,
    what: What,
}

fn reads(kind: &Kind) -> Vec<Reads<'_>> {
    let read = |key, name: &str, of: &[_], what| Reads { key, names: vec![name.to_string()], of: of.to_vec(), what };
    match kind {
        Kind::Difference { metric, of, minus, .. } => vec![read("metric", metric, &[of, minus], What::Metric)],
        Kind::Ratio { metric, over_metric, of, over, at } => {
            // The open axes of both sides are chosen by the first metric.
            let both = over_metric.is_none() || *at != At::Given;
            let sides: &[_] = if both { &[of, over] } else { &[of] };
            let mut reads = vec![read("metric", metric, sides, What::Metric)];
            reads.extend(over_metric.iter().map(|name| read("over_metric", name, &[over], What::Metric)));
            reads
        }
        Kind::Value { metric, of } => vec![read("metric", metric, &[of], What::Metric)],
        Kind::Slope { metric, of, indices, .. } if !indices.is_empty() => {
            let names = indices.iter().map(|i| metric.replace("{i}", &i.to_string())).collect();
            vec![Reads { key: "metric", names, of: vec![of], what: What::Metric }]
        }
        Kind::Slope { metric, of, .. } => vec![read("metric", metric, &[of], What::Metric)],
        Kind::Fraction { metric, of, .. } => vec![read("metric", metric, &[of], What::Flag)],
        Kind::Neighbours { metric, of, .. } | Kind::Spread { metric, of, .. } => {
            vec![read("metric", metric, &[of], What::Metric)]
        }
        Kind::EachDifference { metric, of, minus, .. } => vec![read("metric", metric, &[of, minus], What::Metric)],
        Kind::Crossover { curve, of, reference, .. } => vec![read("curve", curve, &[of, reference], What::Curve)],
        Kind::Linearity { x, y, of, .. } => {
            vec![read("x", x, &[of], What::Curve), read("y", y, &[of], What::Curve)]
        }
        Kind::Fit(Fit { of, minus, .. }) => {
            let sides: Vec<&Select> = std::iter::once(of).chain(minus).collect();
            vec![read("of", &metrics::size_metric(Convention::Standard), &sides, What::Metric)]
        }
        Kind::OptimumSlope(Optimum { metric, of, .. }) => vec![
            read("metric", metric, &[of], What::Metric),
            read("of", &metrics::size_metric(Convention::Standard), &[of], What::Metric),
        ],
        Kind::StepsRatio { curve, of, reference, .. } => vec![read("curve", curve, &[of, reference], What::Curve)],
    }
}

/// The curves that a claim reads, whole or at a place; of a finished run nobody needs the others.
pub fn curves_read(claim: &Claim) -> impl Iterator<Item = String> {
    reads(&claim.kind).into_iter().flat_map(|read| {
        let whole = matches!(read.what, What::Curve);
        read.names
            .into_iter()
            .filter_map(move |name| if whole { Some(name) } else { Some(Reading::parse(&name)?.curve) })
    })
}

/// Checks the names that a claim reads. `node` is its `kind`; its selections are known to hold.
pub(super) fn check(node: &Node, key: &str, suite: &Suite, claim: &Claim) -> Result<()> {
    let Value::Map(pairs) = &node.value else { return Ok(()) };
    let Some((name, inner)) = pairs.first() else { return Ok(()) };
    let Value::Text(kind) = &name.value else { return Ok(()) };
    check_names(inner, &format!("{key}.{kind}"), suite, claim)
}

/// Checks the names that a claim reads; `inner` holds its kind's keys.
pub(super) fn check_names(inner: &Node, key: &str, suite: &Suite, claim: &Claim) -> Result<()> {
    for Reads { key: parameter, names, of, what } in reads(&claim.kind) {
        let node = inner.get(parameter).unwrap_or(inner);
        let place = Place { line: node.line, column: node.column, key: format!("{key}.{parameter}") };
        for select in of {
            for &tier in &claim.tiers {
                for arm in arms(suite, select, tier) {
                    names.iter().try_for_each(|name| known(name, what, arm, &select.experiment, tier, &place))?;
                }
            }
        }
    }
    Ok(())
}

fn arms<'s>(suite: &'s Suite, select: &'s Select, tier: Tier) -> impl Iterator<Item = &'s Arm> {
    let setup = suite.experiment(&select.experiment).and_then(|e| e.setups.get(&tier));
    let all = setup.into_iter().flat_map(|setup| &setup.arms);
    all.filter(|arm| select.arm == EVERY_ARM || arm.name == select.arm)
}

/// Checks the metric by which an arm's grid values are compared.
pub(super) fn metric(name: &str, arm: &Arm, experiment: &str, tier: Tier, place: &Place) -> Result<()> {
    known(name, What::Final, arm, experiment, tier, place)
}

/// Whether `name` reads a curve that every run of the arm has, and from where on: `None` where it is no reading of a
/// curve here, else the percent that it may ask for at least.
pub(super) fn reading_from(name: &str, arm: &Arm) -> Option<(Reading, f64)> {
    let reading = Reading::parse(name)?;
    let mut from = 0.0f64;
    for GridPoint { recipe, named, .. } in &arm.points {
        let first = metrics::first_point(&recipe.train, *named, &reading.curve, arm.start.is_some())?;
        from = from.max(first as f64 * 100.0 / recipe.train.size("steps") as f64);
    }
    Some((reading, from))
}

fn known(name: &str, what: What, arm: &Arm, experiment: &str, tier: Tier, place: &Place) -> Result<()> {
    let list: fn(&Params, Named) -> Vec<String> = match what {
        What::Curve => metrics::curves,
        What::Metric | What::Final | What::Flag => metrics::names,
    };
    let mut names: Vec<String> = Vec::new();
    // Points of one recipe but for the seed or a rate have the same names.
    for found in arm.points.iter().flat_map(|p| list(&p.recipe.train, p.named)) {
        let counts = !matches!(what, What::Flag) || metrics::is_flag(&found);
        if counts && !names.contains(&found) {
            names.push(found);
        }
    }
    if names.contains(&metrics::pattern(name)) {
        return Ok(());
    }
    if let (What::Metric, Some((reading, from))) = (what, reading_from(name, arm)) {
        if reading.earliest().is_none_or(|share| share >= from) {
            return Ok(());
        }
        let (arm, tier) = (&arm.name, tier_name(tier));
        let message = format!("{} is before the first evaluation of `{experiment}/{arm}` in tier {tier}", quoted(name));
        let allowed = format!("shares from {from}% on; runs that start from a checkpoint have 0%");
        return Err(DefinitionError::at(place, message).allowed(allowed));
    }
    let what = match what {
        What::Metric | What::Final => "metric",
        What::Flag => "0/1 metric",
        What::Curve => "curve",
    };
    let (arm, tier) = (&arm.name, tier_name(tier));
    let message = format!("no run of `{experiment}/{arm}` in tier {tier} has the {what} {}", quoted(name));
    Err(DefinitionError::at(place, message).allowed(nearest_first(name, names.iter().map(String::as_str))))
}
