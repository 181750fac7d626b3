//! Claims against experiments: every arm, axis and value that a claim reads is run in each tier that decides it.

use super::error::{DefinitionError, Place, nearest_first, quoted};
use super::links::tier_name;
use super::load::{WORD, is_word};
use super::measured;
use super::node::{Node, Value};
use super::suite::{Arm, Experiment, Setup, Suite};
use crate::claims::{Claim, EVERY_ARM, Expect, Fit, FitLine, FitMeasure, Kind, Tier};
use crate::registry::Scalar;
use std::collections::{BTreeMap, BTreeSet};

type Result<T> = std::result::Result<T, DefinitionError>;

/// Checks all claims. The tree gives the places; `suite.claims` are the same claims, read.
pub(crate) fn check(root: &Node, suite: &Suite) -> Result<()> {
    fits(root, suite)?;
    let Some(Value::List(nodes)) = root.get("claims").map(|n| &n.value) else { return Ok(()) };
    let mut ids = BTreeMap::new();
    for (i, (node, claim)) in nodes.iter().zip(&suite.claims).enumerate() {
        let key = format!("claims[{i}]");
        if !is_word(&claim.id) {
            let message = format!("is {}", quoted(&claim.id));
            return Err(at(node.get("id").unwrap_or(node), &format!("{key}.id"), message).allowed(WORD));
        }
        if let Some(earlier) = ids.insert(&claim.id, i) {
            let message = format!("{} is the id of claims[{earlier}] too", quoted(&claim.id));
            return Err(at(node.get("id").unwrap_or(node), &format!("{key}.id"), message).allowed("each id once"));
        }
        if claim.tiers.is_empty() {
            let node = node.get("tiers").unwrap_or(node);
            return Err(at(node, &format!("{key}.tiers"), "is empty".into()).allowed("smoke, quick, full, paper"));
        }
        if let Some(kind) = node.get("kind") {
            let key = format!("{key}.kind");
            selects(kind, &key, suite, Reads { tiers: &claim.tiers, every_arm: claim.kind.takes_every_arm() })?;
            measured::check(kind, &key, suite, claim)?;
            two_sides(kind, &key, &claim.kind)?;
        }
        expected(node, &key, claim.expect)?;
        if let (Some(axis), Some(node)) = (&claim.sweep, node.get("sweep")) {
            let fixed: BTreeSet<String> =
                claim.kind.selects().into_iter().flat_map(|select| select.axes.into_keys()).collect();
            if !fixed.contains(axis) {
                let message = format!("{} is no axis that the claim fixes", quoted(axis));
                let allowed = nearest_first(axis, fixed.iter().map(String::as_str));
                return Err(at(node, &format!("{key}.sweep"), message).allowed(allowed));
            }
        }
    }
    Ok(())
}

/// A claim that compares runs with themselves says nothing of any run.
fn two_sides(kind: &Node, key: &str, claimed: &Kind) -> Result<()> {
    let (same, first, second) = match claimed {
        Kind::Difference { of, minus, .. } | Kind::EachDifference { of, minus, .. } => (of == minus, "of", "minus"),
        Kind::Ratio { over_metric: None, of, over, .. } => (of == over, "of", "over"),
        Kind::StepsRatio { of, reference, .. } | Kind::Crossover { of, reference, .. } => {
            (of == reference, "of", "reference")
        }
        Kind::Fit(Fit { of, minus, counting, minus_counting, .. }) => {
            (minus.as_ref() == Some(of) && minus_counting.unwrap_or(*counting) == *counting, "of", "minus")
        }
        _ => return Ok(()),
    };
    let Value::Map(pairs) = &kind.value else { return Ok(()) };
    match pairs.first().map(|(name, sides)| (&name.value, sides.get(second))) {
        Some((Value::Text(name), Some(node))) if same => {
            let key = format!("{key}.{name}.{second}");
            Err(at(node, &key, format!("is the side `{first}` again")).allowed("other runs"))
        }
        _ => Ok(()),
    }
}

/// No effect lies in an empty range, so a claim that expects one there could only be refuted.
fn expected(claim: &Node, key: &str, expect: Expect) -> Result<()> {
    let Expect::Within([low, high]) = expect else { return Ok(()) };
    let within = claim.get("expect").and_then(|expect| expect.get("within"));
    let Some(node) = within.filter(|_| low >= high) else { return Ok(()) };
    let message = format!("no effect lies between {low} and {high}");
    Err(at(node, &format!("{key}.expect.within"), message).allowed("[low, high] with low below high"))
}

/// Checks the exponents that are reported, as claims of their kind are.
fn fits(root: &Node, suite: &Suite) -> Result<()> {
    let Some(Value::List(nodes)) = root.get("fits").map(|n| &n.value) else { return Ok(()) };
    for (i, (node, line)) in nodes.iter().zip(&suite.fits).enumerate() {
        let key = format!("fits[{i}]");
        if line.tiers.is_empty() {
            let node = node.get("tiers").unwrap_or(node);
            return Err(at(node, &format!("{key}.tiers"), "is empty".into()).allowed("smoke, quick, full, paper"));
        }
        let claim = as_claim(line);
        if let Some(of) = node.get("of") {
            selects(of, &format!("{key}.of"), suite, Reads { tiers: &claim.tiers, every_arm: true })?;
            measured::check_names(node, &key, suite, &claim)?;
        }
    }
    Ok(())
}

/// The claim that reads what a reported exponent reads.
fn as_claim(line: &FitLine) -> Claim {
    let FitLine { row, paper, tiers, of, counting, from } = line.clone();
    let kind = Fit { measure: FitMeasure::Exponent, of, counting, minus: None, minus_counting: None, from };
    Claim {
        id: row.clone(),
        paper_claim: String::new(),
        sentence: row,
        place: String::new(),
        paper_number: paper,
        tiers,
        kind: Kind::Fit(kind),
        expect: Expect::Above(0.0),
        sweep: None,
    }
}

pub(super) fn at(node: &Node, key: &str, message: String) -> DefinitionError {
    DefinitionError::at(&Place { line: node.line, column: node.column, key: key.to_string() }, message)
}

/// Who reads a selection: in which tiers, and whether all arms at once.
#[derive(Clone, Copy)]
pub(super) struct Reads<'a> {
    pub(super) tiers: &'a [Tier],
    pub(super) every_arm: bool,
}

/// Checks every selection under `node`: any map with the keys `experiment` and `arm`, whatever the kind calls it.
pub(super) fn selects(node: &Node, key: &str, suite: &Suite, reads: Reads<'_>) -> Result<()> {
    let Value::Map(pairs) = &node.value else { return Ok(()) };
    if let (Some(experiment), Some(arm)) = (node.get("experiment"), node.get("arm")) {
        return select(node, (experiment, arm), key, suite, reads);
    }
    for (name, value) in pairs {
        if let Value::Text(name) = &name.value {
            selects(value, &format!("{key}.{name}"), suite, reads)?;
        }
    }
    match (node.get("of").and_then(|of| of.get("experiment")), node.get("over")) {
        (Some(of), Some(over)) => over_axis(of, over, &format!("{key}.over"), suite, reads.tiers),
        _ => Ok(()),
    }
}

/// Checks the axis that a slope is taken over; `over` is a selection in other kinds.
pub(super) fn over_axis(of: &Node, over: &Node, key: &str, suite: &Suite, tiers: &[Tier]) -> Result<()> {
    let (Value::Text(id), Value::Text(path)) = (&of.value, &over.value) else { return Ok(()) };
    let Some(experiment) = suite.experiment(id) else { return Ok(()) };
    for &tier in tiers {
        let setup = setup(experiment, tier, of, key)?;
        if !setup.axes.contains(path) {
            return Err(no_axis(over, key, id, tier, setup, path));
        }
    }
    Ok(())
}

fn no_axis(node: &Node, key: &str, id: &str, tier: Tier, setup: &Setup, path: &str) -> DefinitionError {
    let message = format!("{} is no axis of `{id}` in tier {}", quoted(path), tier_name(tier));
    at(node, key, message).allowed(nearest_first(path, setup.axes.iter().map(String::as_str)))
}

fn select(node: &Node, (id, arm): (&Node, &Node), key: &str, suite: &Suite, reads: Reads<'_>) -> Result<()> {
    let (Value::Text(wanted), Value::Text(arm_name)) = (&id.value, &arm.value) else { return Ok(()) };
    let Some(experiment) = suite.experiment(wanted) else {
        let ids = suite.experiments.iter().map(|e| e.id.as_str());
        return Err(at(id, &format!("{key}.experiment"), format!("unknown experiment {}", quoted(wanted)))
            .allowed(nearest_first(wanted, ids)));
    };
    for &tier in reads.tiers {
        let setup = setup(experiment, tier, id, key)?;
        let every = arm_name == EVERY_ARM;
        if every != reads.every_arm {
            let message = format!("is {}", quoted(arm_name));
            let allowed =
                if every { "the name of one arm in a claim of this kind" } else { "\"*\": a fit takes every arm" };
            return Err(at(arm, &format!("{key}.arm"), message).allowed(allowed));
        }
        let found: Vec<&Arm> = setup.arms.iter().filter(|a| every || a.name == *arm_name).collect();
        if found.is_empty() {
            let message = format!("unknown arm {} of `{wanted}` in tier {}", quoted(arm_name), tier_name(tier));
            let names = setup.arms.iter().map(|a| a.name.as_str());
            return Err(at(arm, &format!("{key}.arm"), message).allowed(nearest_first(arm_name, names)));
        }
        let Some(Value::Map(axes)) = node.get("axes").map(|n| &n.value) else { continue };
        for (name, value) in axes {
            let Value::Text(path) = &name.value else { continue };
            let key = format!("{key}.axes.{path}");
            if !setup.axes.contains(path) {
                return Err(no_axis(name, &key, wanted, tier, setup, path));
            }
            let mut values: Vec<&Scalar> = Vec::new();
            for value in found.iter().flat_map(|a| &a.points).filter_map(|p| p.axes.get(path)) {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
            if !values.iter().any(|v| holds(value, v)) {
                let allowed: Vec<String> = values.iter().map(ToString::to_string).collect();
                let message = format!("is no value of this axis in tier {}", tier_name(tier));
                return Err(at(value, &key, message).allowed(allowed.join(", ")));
            }
        }
    }
    Ok(())
}

fn setup<'s>(experiment: &'s Experiment, tier: Tier, node: &Node, key: &str) -> Result<&'s Setup> {
    experiment.setups.get(&tier).ok_or_else(|| {
        let tiers: Vec<String> = experiment.setups.keys().map(|&t| tier_name(t)).collect();
        let message = format!("experiment `{}` does not run in the claim's tier {}", experiment.id, tier_name(tier));
        at(node, &format!("{key}.experiment"), message).allowed(tiers.join(", "))
    })
}

/// Whether the node writes this value; whole numbers may stand for reals.
fn holds(node: &Node, value: &Scalar) -> bool {
    match (&node.value, value) {
        (Value::Int(x), Scalar::Int(y)) => x == y,
        (Value::Int(x), Scalar::Real(y)) => *x as f64 == *y,
        (Value::Real(x), Scalar::Real(y)) => x == y,
        (Value::Text(x), Scalar::Text(y)) => x == y,
        (Value::Flag(x), Scalar::Flag(y)) => x == y,
        _ => false,
    }
}
