//! Resolving a stage: taken values, starting checkpoints, merging of equal runs.

use super::{Cell, Part, Plan, PlanError, Planned, Slot};
use crate::definition::{StartFrom, Take, agree, value_mut};
use crate::record::{Measured, Outcome};
use crate::registry::Scalar;
use crate::run::{Run, RunId, Start};
use std::collections::BTreeMap;

/// A plan with the records so far, and what was taken from them already: by rule and grid point, since the
/// seeds of a grid point take the same value.
struct Resolver<'p> {
    plan: &'p Plan,
    done: &'p BTreeMap<RunId, Measured>,
    taken: BTreeMap<String, Scalar>,
}

/// The runs of stage `k`. A slot whose run cannot be known is `unready`'s to refuse or to leave out.
pub(super) fn resolve(
    plan: &Plan,
    k: usize,
    done: &BTreeMap<RunId, Measured>,
    unready: &mut dyn FnMut(PlanError) -> Result<(), PlanError>,
) -> Result<Vec<Planned>, PlanError> {
    let mut resolver = Resolver { plan, done, taken: BTreeMap::new() };
    let mut planned: Vec<Planned> = Vec::new();
    let mut places: BTreeMap<RunId, usize> = BTreeMap::new();
    for part in plan.filled().filter(|part| part.stage == k) {
        for slot in &part.slots {
            let run = match resolver.run(part, slot) {
                Ok(run) => run,
                Err(why) => {
                    unready(why)?;
                    continue;
                }
            };
            let place = *places.entry(run.id()).or_insert(planned.len());
            if place == planned.len() {
                planned.push(Planned { run, cells: Vec::new(), keep_steps: Vec::new() });
            }
            planned[place].keep_steps.extend(kept(plan, slot));
            planned[place].cells.push(slot.cell.clone());
        }
    }
    for planned in &mut planned {
        planned.keep_steps.sort_unstable();
        planned.keep_steps.dedup();
    }
    Ok(planned)
}

/// The slots that `take` chooses among for a cell: the seeds that choose, at grid points that agree with it.
pub(super) fn searched<'p>(plan: &'p Plan, take: &'p Take, cell: &'p Cell) -> impl Iterator<Item = &'p Slot> {
    plan.part(&take.experiment).into_iter().flat_map(move |part| {
        part.slots.iter().filter(move |slot| {
            slot.cell.arm == *take.arm.as_ref().unwrap_or(&cell.arm)
                && slot.cell.selection == part.choosing_selection
                && agree(&slot.cell.axes, &cell.axes)
        })
    })
}

/// The slot whose checkpoint another starts from.
pub(super) fn started_from<'p>(plan: &'p Plan, slot: &Slot) -> Option<&'p Slot> {
    let start = slot.start.as_ref()?;
    plan.part(&start.experiment)?.slots.iter().find(|source| feeds(source, start, &slot.cell))
}

fn feeds(source: &Slot, start: &StartFrom, cell: &Cell) -> bool {
    source.cell.experiment == start.experiment
        && source.cell.arm == start.arm
        && source.cell.seed == cell.seed
        && agree(&source.cell.axes, &cell.axes)
}

/// The steps of a slot's run that other cells start from.
fn kept(plan: &Plan, source: &Slot) -> Vec<u64> {
    let starts = plan.filled().flat_map(|part| &part.slots).filter_map(|slot| Some((slot.start.as_ref()?, &slot.cell)));
    starts.filter(|(start, cell)| feeds(source, start, cell)).map(|(start, _)| start.step).collect()
}

impl Resolver<'_> {
    /// The run of a slot.
    fn run(&mut self, part: &Part, slot: &Slot) -> Result<Run, PlanError> {
        let mut recipe = (*slot.recipe).clone();
        for take in &part.takes {
            let value = self.best_of(take, &slot.cell)?;
            *value_mut(&mut recipe, &take.path).expect("checked when the suite was read") = value;
        }
        // A taken batch keeps the tokens.
        if let Some(budget) = slot.budget.filter(|_| !part.takes.is_empty()) {
            budget.apply(&mut recipe);
        }
        let start = match &slot.start {
            None => Start::Fresh,
            Some(start) => {
                let missing = || {
                    let Cell { experiment, arm, seed, .. } = &slot.cell;
                    PlanError::Seeds(format!(
                        "{experiment}/{arm} with seed {seed} has no run of {} to start from",
                        start.experiment
                    ))
                };
                let source = started_from(self.plan, slot).ok_or_else(missing)?;
                let part = self.plan.part(&start.experiment).ok_or_else(missing)?;
                // What the source waits for, this slot waits for.
                let source = self.run(part, source).map_err(|why| why.of(&slot.cell))?;
                Start::Checkpoint { run: source.id(), step: start.step, optimizer_state: start.optimizer_state }
            }
        };
        // One seed for weights and batches: arms of one seed see the same batches, so they are paired.
        Ok(Run { recipe, seed: slot.cell.seed, data_seed: slot.cell.seed, start })
    }

    /// The value at `take.path` of the grid point with the smallest mean metric. The first of equals wins.
    fn best_of(&mut self, take: &Take, cell: &Cell) -> Result<Scalar, PlanError> {
        let key = format!("{take:?} {} {:?}", cell.arm, cell.axes);
        if let Some(value) = self.taken.get(&key) {
            return Ok(value.clone());
        }
        let plan = self.plan;
        let mut best: Option<(f64, &Scalar)> = None;
        let mut slots = searched(plan, take, cell).peekable();
        while let Some(first) = slots.next() {
            let mut values = vec![self.metric(first, take, cell)?];
            while let Some(same) = slots.next_if(|slot| slot.cell.axes == first.cell.axes) {
                values.push(self.metric(same, take, cell)?);
            }
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let value = first.cell.axes.get(&take.path).expect("checked when the suite was read");
            if mean.is_finite() && best.is_none_or(|(smallest, _)| mean < smallest) {
                best = Some((mean, value));
            }
        }
        let (_, value) = best.ok_or_else(|| PlanError::NothingFinite {
            experiment: cell.experiment.clone(),
            arm: cell.arm.clone(),
            path: take.path.clone(),
            source_arm: format!("{}/{}", take.experiment, take.arm.as_ref().unwrap_or(&cell.arm)),
            metric: take.metric.clone(),
        })?;
        self.taken.insert(key, value.clone());
        Ok(value.clone())
    }

    /// A source run's metric; not finite where the run diverged or never measured it.
    fn metric(&mut self, source: &Slot, take: &Take, cell: &Cell) -> Result<f64, PlanError> {
        let part = self.plan.part(&take.experiment).expect("a slot comes from a part");
        let id = self.run(part, source).map_err(|why| why.of(cell))?.id();
        let unmeasured = || PlanError::Unmeasured { cell: Box::new(cell.clone()), run: id.clone() };
        let measured = self.done.get(&id).ok_or_else(unmeasured)?;
        let finished = measured.outcome == Outcome::Finished;
        Ok(measured.metrics.get(&take.metric).copied().filter(|_| finished).unwrap_or(f64::INFINITY))
    }
}
