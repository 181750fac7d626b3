//! Carrying out one shard's part of the plan. It trains what is its own and whose needs are met, waits for nobody and
//! judges nothing.

use super::carry::{Sizes, Suite, jobs};
use super::shard::{Deal, Shard};
use super::workers::{Halt, Job, Workers};
use crate::store::key::{Conditions, Key};
use crate::store::throughput::Throughput;
use preheat_suites::plan::{Planned, Ready};
use preheat_suites::record::{Measured, Outcome};
use preheat_suites::run::RunId;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What became of a shard's part.
#[derive(Debug, Default, Serialize)]
pub struct Part {
    /// Which shard, from 1.
    pub index: usize,
    /// Of how many.
    pub of: usize,
    /// Its runs.
    pub runs: usize,
    /// Of them trained here.
    pub trained: usize,
    /// Of them from the store.
    pub reused: usize,
    /// Of them not begun: they take values or checkpoints of runs that the store does not hold.
    pub waiting: usize,
    /// Runs and suites that could not be carried out, one line each.
    pub failures: Vec<String>,
    /// Stopped by a signal.
    #[serde(skip)]
    pub interrupted: bool,
    /// Why nothing more is trained.
    #[serde(skip)]
    pub halt: Option<Halt>,
    /// What was trained here.
    #[serde(skip)]
    pub throughput: Throughput,
}

/// What the stages so far have shown.
struct Seen<'a> {
    suites: &'a [Suite],
    shard: Shard,
    deal: &'a Deal,
    measured: BTreeMap<RunId, Measured>,
    keys: BTreeMap<RunId, Key>,
    /// Runs and whether they are this shard's. The first stage that plans a run decides.
    own: BTreeMap<RunId, bool>,
    /// Drafted runs of this shard that cannot be known yet.
    unknown: BTreeSet<RunId>,
    dead: BTreeSet<usize>,
}

/// Carries out the part of `suites` that `deal` gives to the shard.
pub fn carry_out(
    suites: &[Suite],
    (shard, deal): (Shard, &Deal),
    conditions: &Conditions,
    workers: &Workers<'_>,
    sizes: &dyn Sizes,
) -> Part {
    let mut part = Part { index: shard.index, of: shard.of, ..Part::default() };
    let (measured, keys, own) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut seen = Seen { suites, shard, deal, measured, keys, own, unknown: BTreeSet::new(), dead: BTreeSet::new() };
    let stages = suites.iter().map(|suite| suite.plan.stages()).max().unwrap_or(0);
    for stage in 0..stages {
        let before: BTreeSet<RunId> = seen.own.keys().cloned().collect();
        let planned = seen.plan(stage, &mut part.failures);
        let (mut jobs, _) = jobs(suites, planned, conditions, &mut seen.keys, sizes);
        jobs.retain(|job| !before.contains(&job.key.run));
        let (own, others): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| seen.own[&job.key.run]);
        let (ready, unready): (Vec<Job>, Vec<Job>) = own.into_iter().partition(|job| starts(job, workers));
        part.runs += ready.len() + unready.len();
        part.waiting += unready.len();
        let carried = workers.carry_out(ready);
        part.trained += carried.trained;
        part.reused += carried.measured.len() - carried.trained;
        part.failures.extend(carried.failures.into_iter().map(|(label, why, _)| format!("{label}: {why}")));
        part.interrupted |= carried.interrupted;
        part.halt = carried.halt;
        part.throughput.flops += carried.throughput.flops;
        part.throughput.seconds += carried.throughput.seconds;
        if part.interrupted || part.halt.is_some() {
            part.runs = part.runs.max(deal.runs(shard));
            return part;
        }
        seen.measured.extend(carried.measured);
        if stage + 1 < stages {
            seen.look(&others, workers);
        }
    }
    part.runs += seen.unknown.len();
    part.waiting += seen.unknown.len();
    part
}

impl Seen<'_> {
    /// The runs of a stage that can be known, of all shards, each with its suite.
    fn plan(&mut self, stage: usize, failures: &mut Vec<String>) -> Vec<(usize, Planned)> {
        let mut planned: Vec<(usize, Planned)> = Vec::new();
        // By name, so that the words' order decides nothing.
        let mut order: Vec<usize> = (0..self.suites.len()).filter(|index| !self.dead.contains(index)).collect();
        order.sort_by_key(|index| &self.suites[*index].name);
        for index in order {
            let suite = &self.suites[index];
            if stage >= suite.plan.stages() {
                continue;
            }
            match suite.plan.ready(stage, &self.measured) {
                Ok(Ready { runs, waiting }) => {
                    let own = waiting.iter().filter(|cell| self.deal.gives(self.shard, &suite.name, cell));
                    self.unknown.extend(own.filter_map(|cell| self.deal.drafted(&suite.name, cell)).cloned());
                    for run in runs {
                        let first = run.cells.first();
                        let own = first.is_some_and(|cell| self.deal.gives(self.shard, &suite.name, cell));
                        self.own.entry(run.run.id()).or_insert(own);
                        planned.push((index, run));
                    }
                }
                Err(why) => {
                    self.dead.insert(index);
                    failures.push(format!("{}: stage {}: {why}", suite.name, stage + 1));
                }
            }
        }
        planned
    }

    /// Learns what other shards have measured.
    fn look(&mut self, others: &[Job], workers: &Workers<'_>) {
        for job in others {
            if let Some(record) = workers.store.record(&job.key, &|line| workers.progress.warn(line)) {
                self.measured.insert(job.key.run.clone(), workers.read(record.measured));
            }
        }
    }
}

/// Whether a run can begin: what it starts from is there, or never will be, which the worker then says.
fn starts(job: &Job, workers: &Workers<'_>) -> bool {
    let Some((key, step)) = &job.start else { return true };
    let diverged_before = || {
        let record = workers.store.record(key, &|line| workers.progress.warn(line));
        record.is_some_and(|r| matches!(r.measured.outcome, Outcome::Diverged { step: at } if at <= *step))
    };
    workers.store.has_kept(key, *step) || diverged_before()
}

#[cfg(test)]
#[path = "part_tests.rs"]
mod tests;
