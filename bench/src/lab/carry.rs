//! Carrying out suites: stage after stage, the runs of all suites together, equal runs once.

use super::trainer::key;
use super::workers::{Job, Workers};
use crate::results::{About, SuiteResult};
use crate::store::key::{Conditions, Key};
use crate::store::throughput::Throughput;
use preheat_suites::claims::judge::judge;
use preheat_suites::claims::{Claim, Tier};
use preheat_suites::definition::Column;
use preheat_suites::plan::{Cell, Planned};
use preheat_suites::record::{Measured, Observation, Record};
use preheat_suites::run::{Run, RunId, Start};
use std::collections::{BTreeMap, BTreeSet};

/// A suite's plan: stages, of which a later one may need what an earlier one measured.
pub trait Staged {
    /// How many stages there are.
    fn stages(&self) -> usize;
    /// The runs of a stage in plan order.
    ///
    /// # Errors
    /// One line where `measured` lacks what the stage depends on.
    fn stage(&self, index: usize, measured: &BTreeMap<RunId, Measured>) -> Result<Vec<Planned>, String>;
    /// The cells of a stage in the order of writing, which is that of every table.
    fn cells(&self, index: usize) -> Vec<Cell>;
    /// The runs of a stage before anything is measured: values to be chosen stand at a candidate.
    ///
    /// # Errors
    /// One line.
    fn draft(&self, index: usize) -> Result<Vec<Planned>, String>;
}

/// A suite that is to be carried out.
pub struct Suite {
    /// Its name.
    pub name: String,
    /// The title that its table carries.
    pub title: String,
    /// Its tier.
    pub tier: Tier,
    /// The columns that its tables show, by experiment.
    pub show: BTreeMap<String, Vec<Column>>,
    /// Its claims.
    pub claims: Vec<Claim>,
    /// Its plan.
    pub plan: Box<dyn Staged>,
}

/// What became of all suites.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Per suite, in the order given: the planned runs whose records are there, and their places.
    pub observed: Vec<Vec<(RunId, Observation)>>,
    /// Records by run.
    pub records: BTreeMap<RunId, Record>,
    /// Per suite: what went wrong, one line each.
    pub failures: Vec<Vec<String>>,
    /// Stopped by a signal.
    pub interrupted: bool,
    /// Why the store takes nothing more. One line.
    pub full: Option<String>,
    /// Runs trained here.
    pub trained: usize,
    /// Runs that the store held.
    pub reused: usize,
    /// What was trained here.
    pub throughput: Throughput,
}

/// Carries out `suites`; `flops` gives a run's FLOPs a step, for progress and order only.
pub fn carry_out(
    suites: &[Suite],
    conditions: &Conditions,
    workers: &Workers<'_>,
    flops: &dyn Fn(&Run) -> f64,
) -> Outcome {
    let mut outcome = Outcome {
        observed: suites.iter().map(|_| Vec::new()).collect(),
        failures: suites.iter().map(|_| Vec::new()).collect(),
        ..Outcome::default()
    };
    let mut measured: BTreeMap<RunId, Measured> = BTreeMap::new();
    let mut keys: BTreeMap<RunId, Key> = BTreeMap::new();
    let mut dead: BTreeSet<usize> = BTreeSet::new();
    let stages = suites.iter().map(|s| s.plan.stages()).max().unwrap_or(0);
    for stage in 0..stages {
        let mut planned: Vec<(usize, Planned)> = Vec::new();
        for (index, suite) in suites.iter().enumerate() {
            if stage >= suite.plan.stages() || dead.contains(&index) {
                continue;
            }
            match suite.plan.stage(stage, &measured) {
                Ok(runs) => planned.extend(runs.into_iter().map(|run| (index, run))),
                Err(why) => {
                    dead.insert(index);
                    outcome.failures[index].push(format!("{}: stage {}: {why}", suite.name, stage + 1));
                }
            }
        }
        let jobs = jobs(suites, &planned, conditions, &mut keys, flops);
        let carried = workers.carry_out(jobs);
        outcome.trained += carried.trained;
        outcome.reused += carried.records.len() - carried.trained;
        outcome.interrupted |= carried.interrupted;
        outcome.full = carried.full;
        outcome.throughput.flops += carried.throughput.flops;
        outcome.throughput.seconds += carried.throughput.seconds;
        measured.extend(carried.records.iter().map(|(id, record)| (id.clone(), record.measured.clone())));
        outcome.records.extend(carried.records);
        for (index, suite) in suites.iter().enumerate() {
            let own = planned.iter().filter(|(of, _)| *of == index).map(|(_, planned)| planned);
            for id in own.clone().map(|planned| planned.run.id()) {
                if let Some((label, why, _)) = carried.failures.iter().find(|(_, _, failed)| *failed == id) {
                    outcome.failures[index].push(format!("{label}: {why}"));
                }
            }
            if stage < suite.plan.stages() {
                let seen = observe(own, &suite.plan.cells(stage), &measured);
                outcome.observed[index].extend(seen);
            }
        }
        if outcome.interrupted || outcome.full.is_some() {
            break;
        }
    }
    outcome
}

/// The runs of a stage that nobody carried out yet, equal ones once. `keys` learns where each run is kept.
fn jobs(
    suites: &[Suite],
    planned: &[(usize, Planned)],
    conditions: &Conditions,
    keys: &mut BTreeMap<RunId, Key>,
    flops: &dyn Fn(&Run) -> f64,
) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    let mut places: BTreeMap<RunId, usize> = BTreeMap::new();
    for (index, Planned { run, cells, keep_steps }) in planned {
        let id = run.id();
        if let Some(place) = places.get(&id) {
            let kept: &mut Vec<u64> = &mut jobs[*place].keep_steps;
            kept.extend(keep_steps);
            kept.sort_unstable();
            kept.dedup();
            continue;
        }
        let cell = cells.first().map(|c| crate::results::place(&c.experiment, &c.arm, &c.axes)).unwrap_or_default();
        let key = key(run, conditions);
        let start = match &run.start {
            Start::Fresh => None,
            Start::Checkpoint { run, step, .. } => keys.get(run).map(|key| (key.clone(), *step)),
        };
        keys.insert(id.clone(), key.clone());
        places.insert(id, jobs.len());
        jobs.push(Job {
            key,
            label: format!("{}/{cell} seed {}", suites[*index].name, run.seed),
            step_flops: flops(run),
            run: run.clone(),
            keep_steps: keep_steps.clone(),
            start,
        });
    }
    jobs
}

/// What was measured, one entry a cell, in the order of `cells`.
fn observe<'p>(
    planned: impl Iterator<Item = &'p Planned>,
    cells: &[Cell],
    measured: &BTreeMap<RunId, Measured>,
) -> Vec<(RunId, Observation)> {
    let name = |c: &Cell| (crate::results::place(&c.experiment, &c.arm, &c.axes), c.seed, c.selection);
    let order: BTreeMap<_, usize> = cells.iter().enumerate().map(|(i, cell)| (name(cell), i)).collect();
    let mut seen = Vec::new();
    for planned in planned {
        let id = planned.run.id();
        let Some(measured) = measured.get(&id) else { continue };
        for cell in &planned.cells {
            let Cell { experiment, arm, axes, seed, selection } = cell.clone();
            let observation = Observation { experiment, arm, axes, seed, selection, measured: measured.clone() };
            seen.push((order.get(&name(cell)).copied(), (id.clone(), observation)));
        }
    }
    // A run that fills several cells stands at the first of them in the plan.
    seen.sort_by_key(|(place, _)| *place);
    seen.into_iter().map(|(_, observed)| observed).collect()
}

/// The result of one suite: its claims judged by what was observed.
pub fn result(suite: &Suite, scale: String, observed: &[(RunId, Observation)]) -> SuiteResult {
    let observations: Vec<Observation> = observed.iter().map(|(_, seen)| seen.clone()).collect();
    let judged = judge(&suite.claims, suite.tier, &observations);
    let Suite { name, title, tier, show, claims, .. } = suite;
    SuiteResult::new(&About { tier: *tier, name, title, show, claims }, scale, observed, judged)
}

#[cfg(test)]
mod tests;
