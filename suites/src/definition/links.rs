//! References from one experiment to another: order, candidates of taken values, checkpoints.

use super::error::{DefinitionError, Place, nearest_first, quoted};
use super::measured;
use super::reader::Placed;
use super::suite::{Arm, Experiment, GridPoint, Setup, StartFrom};
use super::wire::{ArmWire, ExperimentWire, FromWire, StartWire, StateWire, TakeWire, TierWire};
use crate::claims::Tier;
use crate::registry::Scalar;

type Result<T> = std::result::Result<T, DefinitionError>;

/// The experiments' indices, each after those that it takes values or checkpoints from.
pub(crate) fn order(experiments: &[ExperimentWire]) -> Result<Vec<usize>> {
    let mut order = Vec::new();
    for index in 0..experiments.len() {
        visit(experiments, index, &mut Vec::new(), &mut order)?;
    }
    Ok(order)
}

fn visit(all: &[ExperimentWire], index: usize, above: &mut Vec<usize>, order: &mut Vec<usize>) -> Result<()> {
    if order.contains(&index) {
        return Ok(());
    }
    above.push(index);
    for source in sources(&all[index]) {
        let Some(next) = all.iter().position(|e| e.id.value == source.value) else {
            let message = format!("unknown experiment {}", quoted(&source.value));
            let ids = all.iter().map(|e| e.id.value.as_str());
            return Err(DefinitionError::at(&source.place, message).allowed(nearest_first(&source.value, ids)));
        };
        if let Some(from) = above.iter().position(|&i| i == next) {
            let mut ring: Vec<&str> = above[from..].iter().map(|&i| all[i].id.value.as_str()).collect();
            ring.push(&all[next].id.value);
            let message = format!("the experiments wait for each other: {}", ring.join(" → "));
            return Err(DefinitionError::at(&source.place, message).allowed("an experiment that does not come later"));
        }
        visit(all, next, above, order)?;
    }
    above.pop();
    order.push(index);
    Ok(())
}

/// The experiments that `wire` refers to.
pub(crate) fn sources(wire: &ExperimentWire) -> impl Iterator<Item = &Placed<String>> {
    let takes = wire.take.0.iter().map(|(_, take)| match &take.value {
        TakeWire::BestOf { experiment, .. } => experiment,
    });
    let arms = move |patch| wire.arms.value.0.iter().filter_map(move |(_, arm)| start_of(wire, patch, arm));
    let starts = wire.tiers.value.values().flat_map(arms);
    takes.chain(starts.filter_map(|start| match start {
        StartWire::From(from) => Some(&from.experiment),
        StartWire::Fresh => None,
    }))
}

/// Where the runs of an arm start in a tier.
pub(crate) fn start_of<'w>(wire: &'w ExperimentWire, patch: &'w TierWire, arm: &'w ArmWire) -> Option<&'w StartWire> {
    arm.start.as_ref().or(patch.start.as_ref()).or(wire.start.as_ref())
}

/// An arm of an experiment as `tier` runs it.
fn arm_of<'s>(
    experiment: &'s Experiment,
    tier: Tier,
    arm: &Placed<String>,
    at: &Place,
) -> Result<(&'s Setup, &'s Arm)> {
    let Some(setup) = experiment.setups.get(&tier) else {
        let message = format!("experiment {} does not run in tier {}", quoted(&experiment.id), tier_name(tier));
        let tiers: Vec<String> = experiment.setups.keys().map(|&t| tier_name(t)).collect();
        return Err(DefinitionError::at(at, message).allowed(tiers.join(", ")));
    };
    let found = setup.arms.iter().find(|a| a.name == arm.value).ok_or_else(|| {
        let message = format!("unknown arm {} of `{}` in tier {}", quoted(&arm.value), experiment.id, tier_name(tier));
        let names = setup.arms.iter().map(|a| a.name.as_str());
        DefinitionError::at(&arm.place, message).allowed(nearest_first(&arm.value, names))
    })?;
    Ok((setup, found))
}

/// A tier's name in YAML.
pub(crate) fn tier_name(tier: Tier) -> String {
    format!("{tier:?}").to_lowercase()
}

/// The values that a take may find for a run of the arm `own` with these `axes`, in the order of the searched grid; at least one.
pub(crate) fn candidates<'s>(
    path: &Placed<String>,
    take: &Placed<TakeWire>,
    own: &Placed<String>,
    axes: &Axes,
    tier: Tier,
    sources: &dyn Fn(&str) -> Option<&'s Experiment>,
) -> Result<Vec<Scalar>> {
    let TakeWire::BestOf { experiment, arm, metric } = &take.value;
    let source = sources(&experiment.value).expect("order() puts sources first and rejects unknown ones");
    let (setup, arm) = arm_of(source, tier, arm.as_ref().unwrap_or(own), &experiment.place)?;
    measured::metric(&metric.value, arm, &source.id, tier, &metric.place)?;
    if !setup.axes.contains(&path.value) {
        let message = format!("is no axis of the grid of `{}`", source.id);
        let axes = setup.axes.iter().map(String::as_str);
        return Err(DefinitionError::at(&path.place, message).allowed(nearest_first(&path.value, axes)));
    }
    let mut values: Vec<Scalar> = Vec::new();
    for value in arm.points.iter().filter(|p| agree(&p.axes, axes)).filter_map(|p| p.axes.get(&path.value)) {
        if !values.contains(value) {
            values.push(value.clone());
        }
    }
    if values.is_empty() {
        let shared: Vec<String> = axes.iter().map(|(path, value)| format!("{path}={value}")).collect();
        let message = format!("no grid point of `{}` has {}", source.id, shared.join(", "));
        return Err(DefinitionError::at(&path.place, message).allowed("values of shared axes that both have"));
    }
    Ok(values)
}

/// Where the runs at `points` start. Every one has exactly one run to start from, all at the same step.
pub(crate) fn start<'s>(
    wire: &ExperimentWire,
    start: Option<&StartWire>,
    tier: Tier,
    points: &[GridPoint],
    seeds: impl Iterator<Item = u64>,
    sources: &dyn Fn(&str) -> Option<&'s Experiment>,
) -> Result<Option<StartFrom>> {
    let Some(StartWire::From(wanted)) = start else { return Ok(None) };
    let FromWire { experiment, arm, step, share, optimizer_state } = &**wanted;
    let source = sources(&experiment.value).expect("order() puts sources first and rejects unknown ones");
    let (from, arm) = arm_of(source, tier, arm, &experiment.place)?;
    let mut steps = Vec::new();
    for point in points {
        let fitting: Vec<&GridPoint> = arm.points.iter().filter(|p| agree(&p.axes, &point.axes)).collect();
        let [fits] = fitting[..] else {
            let message = format!("{} runs of `{}` fit each run here", fitting.len(), source.id);
            return Err(DefinitionError::at(&experiment.place, message)
                .allowed("one: give the other axes one value, or the same axes here"));
        };
        let (theirs, ours) = (&fits.recipe.optimizer.name, &point.recipe.optimizer.name);
        if let Some(state) = optimizer_state.as_ref().filter(|s| s.value == StateWire::Kept && theirs != ours) {
            let message = format!("the state of optimizer `{theirs}` does not fit `{ours}`");
            return Err(DefinitionError::at(&state.place, message).allowed("reset, or the same optimizer"));
        }
        if fits.recipe.train.int("steps") == 0 {
            let message = format!("the runs of `{}` have no steps", source.id);
            return Err(DefinitionError::at(&experiment.place, message).allowed("runs that train"));
        }
        steps.push(chosen_step(fits.recipe.train.int("steps") as u64, step.as_ref(), share.as_ref())?);
    }
    if steps.iter().any(|s| *s != steps[0]) {
        let message = format!("the runs of `{}` differ in their steps", source.id);
        return Err(DefinitionError::at(&experiment.place, message).allowed("a step that all have"));
    }
    let known = |seed| from.seeds.contains(seed) || from.selection_seeds.is_some_and(|s| s.contains(seed));
    for seed in seeds {
        if !known(seed) {
            let message = format!("seed {seed} is run here but not by `{}`", source.id);
            return Err(DefinitionError::at(&wire.seeds.place, message).allowed("seeds that both run"));
        }
    }
    let optimizer_state = optimizer_state.as_ref().is_some_and(|s| s.value == StateWire::Kept);
    let (experiment, arm) = (experiment.value.clone(), arm.name.clone());
    Ok(Some(StartFrom { experiment, arm, step: steps[0], optimizer_state }))
}

/// The step of a run of `steps` steps that is started from.
fn chosen_step(steps: u64, step: Option<&Placed<u64>>, share: Option<&Placed<f64>>) -> Result<u64> {
    match (step, share) {
        (None, None) => Ok(steps),
        (Some(step), None) if (1..=steps).contains(&step.value) => Ok(step.value),
        (Some(step), None) => {
            let message = format!("step {} of a run of {steps} steps", step.value);
            Err(DefinitionError::at(&step.place, message).allowed(format!("1 to {steps}")))
        }
        (None, Some(share)) if share.value > 0.0 && share.value <= 1.0 => {
            Ok(((share.value * steps as f64).round() as u64).max(1))
        }
        (None, Some(share)) => {
            Err(DefinitionError::at(&share.place, format!("is {:?}", share.value))
                .allowed("a number above 0.0, to 1.0"))
        }
        (_, Some(share)) => {
            Err(DefinitionError::at(&share.place, "stands beside a step").allowed("step or share, or neither"))
        }
    }
}

pub(crate) type Axes = std::collections::BTreeMap<String, Scalar>;

/// Whether two grid points have the same values on the axes that both have.
pub(crate) fn agree(a: &Axes, b: &Axes) -> bool {
    a.iter().all(|(path, value)| b.get(path).is_none_or(|other| other.same(value)))
}
