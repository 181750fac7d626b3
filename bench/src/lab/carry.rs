//! Carrying out suites: stage after stage, the runs of all suites together, equal runs once.

use super::trainer::key;
use super::workers::{Halt, Job, Workers};
use crate::results::{About, SuiteResult};
use crate::store::key::{Conditions, Key};
use crate::store::throughput::Throughput;
use preheat_suites::claims::judge::judge;
use preheat_suites::claims::ranking::Ranking;
use preheat_suites::claims::{Claim, FitLine, Tier, rows};
use preheat_suites::definition::{self, Column, Draw};
use preheat_suites::plan::{Cell, Planned, Ready};
use preheat_suites::readings::Reading;
use preheat_suites::record::{Measured, Observation};
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
    /// The runs of a stage that `measured` suffices for, and the cells that wait for more.
    ///
    /// # Errors
    /// One line.
    fn ready(&self, index: usize, measured: &BTreeMap<RunId, Measured>) -> Result<Ready, String>;
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
    /// What is drawn, by experiment, in their order.
    pub draw: Vec<(String, Draw)>,
    /// Its claims.
    pub claims: Vec<Claim>,
    /// Its rankings.
    pub rankings: Vec<Ranking>,
    /// Exponents that it reports.
    pub fits: Vec<FitLine>,
    /// Its plan.
    pub plan: Box<dyn Staged>,
}

/// What became of all suites.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Per suite, in the order given: the planned runs whose records are there, and their places.
    pub observed: Vec<Vec<(RunId, Observation)>>,
    /// Per suite: how large those runs are.
    pub extents: Vec<Extent>,
    /// Per suite: what went wrong, one line each.
    pub failures: Vec<Vec<String>>,
    /// Per suite, where nothing is trained: what the store does not hold.
    pub missing: Vec<Missing>,
    /// Stopped by a signal.
    pub interrupted: bool,
    /// Why nothing more is trained.
    pub halt: Option<Halt>,
    /// Runs trained here.
    pub trained: usize,
    /// Runs that the store held.
    pub reused: usize,
    /// What was trained here.
    pub throughput: Throughput,
    /// Where each planned run is kept.
    pub keys: BTreeMap<RunId, Key>,
}

/// The sizes of runs, from the smallest to the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Extent {
    /// Learnable parameters.
    pub parameters: Option<[u64; 2]>,
    /// Steps.
    pub steps: Option<[i64; 2]>,
}

impl Extent {
    fn take(&mut self, filled: &Filled) {
        fn with<T: Ord + Copy>(range: &mut Option<[T; 2]>, x: T) {
            *range = Some(range.map_or([x, x], |[low, high]| [low.min(x), high.max(x)]));
        }
        with(&mut self.steps, filled.steps);
        if let Some(parameters) = filled.parameters {
            with(&mut self.parameters, parameters);
        }
    }
}

/// What a suite lacks to be judged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Missing {
    /// Runs without a record.
    pub runs: usize,
    /// Cells of later stages whose runs those decide.
    pub waiting: usize,
}

/// Knows how large runs are.
pub trait Sizes {
    /// FLOPs of a step, 0 where nobody knows: for progress and order only.
    fn step_flops(&self, run: &Run) -> f64;
    /// Learnable parameters.
    fn parameters(&self, run: &Run) -> Option<u64>;
}

/// The curves that claims, columns and drawings read.
pub fn curves_read(suites: &[Suite]) -> BTreeSet<String> {
    let columns = suites.iter().flat_map(|suite| suite.show.values().flatten());
    let shown = columns.filter_map(|column| Some(Reading::parse(&column.metric)?.curve));
    let drawn = suites.iter().flat_map(|suite| &suite.draw).flat_map(|(_, draw)| draw.curves()).map(String::from);
    suites.iter().flat_map(|suite| &suite.claims).flat_map(definition::curves_read).chain(shown).chain(drawn).collect()
}

/// Carries out `suites`. Where `train` is not set nothing is trained, and what is missing is counted.
pub fn carry_out(
    suites: &[Suite],
    conditions: &Conditions,
    workers: &Workers<'_>,
    sizes: &dyn Sizes,
    train: bool,
) -> Outcome {
    let mut outcome = Outcome {
        observed: suites.iter().map(|_| Vec::new()).collect(),
        extents: vec![Extent::default(); suites.len()],
        failures: suites.iter().map(|_| Vec::new()).collect(),
        missing: vec![Missing::default(); suites.len()],
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
            let found = if train {
                suite.plan.stage(stage, &measured).map(|runs| Ready { runs, waiting: Vec::new() })
            } else {
                suite.plan.ready(stage, &measured)
            };
            match found {
                Ok(Ready { runs, waiting }) => {
                    planned.extend(runs.into_iter().map(|run| (index, run)));
                    outcome.missing[index].waiting += waiting.len();
                }
                Err(why) => {
                    dead.insert(index);
                    outcome.failures[index].push(format!("{}: stage {}: {why}", suite.name, stage + 1));
                }
            }
        }
        let (jobs, filled) = jobs(suites, planned, conditions, &mut keys, sizes);
        let carried = if train { workers.carry_out(jobs) } else { workers.look(jobs) };
        outcome.trained += carried.trained;
        outcome.reused += carried.measured.len() - carried.trained;
        outcome.interrupted |= carried.interrupted;
        outcome.halt = carried.halt;
        outcome.throughput.flops += carried.throughput.flops;
        outcome.throughput.seconds += carried.throughput.seconds;
        measured.extend(carried.measured);
        for (index, suite) in suites.iter().enumerate() {
            let own = filled.iter().filter(|filled| filled.suite == index);
            for filled in own.clone() {
                if measured.contains_key(&filled.id) {
                    outcome.extents[index].take(filled);
                } else if !train {
                    outcome.missing[index].runs += 1;
                }
                let failed = carried.failures.iter().find(|(_, _, failed)| *failed == filled.id);
                if let Some((label, why, _)) = failed {
                    outcome.failures[index].push(format!("{label}: {why}"));
                }
            }
            if stage < suite.plan.stages() {
                let seen = observe(own, &suite.plan.cells(stage), &measured);
                outcome.observed[index].extend(seen);
            }
        }
        if outcome.interrupted || outcome.halt.is_some() {
            break;
        }
    }
    outcome.keys = keys;
    outcome
}

/// What is kept of a planned run beside its job: a recipe is large, and a job is gone once it is done.
#[derive(Debug)]
pub(super) struct Filled {
    suite: usize,
    id: RunId,
    cells: Vec<Cell>,
    parameters: Option<u64>,
    steps: i64,
}

/// The runs of a stage, equal ones once, and what each fills. `keys` learns where each run is kept.
pub(super) fn jobs(
    suites: &[Suite],
    planned: Vec<(usize, Planned)>,
    conditions: &Conditions,
    keys: &mut BTreeMap<RunId, Key>,
    sizes: &dyn Sizes,
) -> (Vec<Job>, Vec<Filled>) {
    let mut jobs: Vec<Job> = Vec::new();
    let mut filled = Vec::new();
    let mut places: BTreeMap<RunId, usize> = BTreeMap::new();
    for (suite, Planned { run, cells, keep_steps }) in planned {
        let id = run.id();
        let (parameters, steps) = (sizes.parameters(&run), run.recipe.train.int("steps"));
        let cell = cells.first().map(|c| crate::results::place(&c.experiment, &c.arm, &c.axes)).unwrap_or_default();
        filled.push(Filled { suite, id: id.clone(), cells, parameters, steps });
        if let Some(place) = places.get(&id) {
            let kept: &mut Vec<u64> = &mut jobs[*place].keep_steps;
            kept.extend(keep_steps);
            kept.sort_unstable();
            kept.dedup();
            continue;
        }
        let key = key(&run, conditions);
        let start = match &run.start {
            Start::Fresh => None,
            Start::Checkpoint { run, step, .. } => keys.get(run).map(|key| (key.clone(), *step)),
        };
        keys.insert(id.clone(), key.clone());
        places.insert(id, jobs.len());
        let label = format!("{}/{cell} seed {}", suites[suite].name, run.seed);
        jobs.push(Job { key, label, step_flops: sizes.step_flops(&run), run, keep_steps, start });
    }
    (jobs, filled)
}

/// What was measured, one entry a cell, in the order of `cells`.
fn observe<'p>(
    filled: impl Iterator<Item = &'p Filled>,
    cells: &[Cell],
    measured: &BTreeMap<RunId, Measured>,
) -> Vec<(RunId, Observation)> {
    let name = |c: &Cell| (crate::results::place(&c.experiment, &c.arm, &c.axes), c.seed, c.selection);
    let order: BTreeMap<_, usize> = cells.iter().enumerate().map(|(i, cell)| (name(cell), i)).collect();
    let mut seen = Vec::new();
    for Filled { id, cells, .. } in filled {
        let Some(measured) = measured.get(id) else { continue };
        for cell in cells {
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
pub fn result(suite: &Suite, scale: String, observed: Vec<(RunId, Observation)>) -> SuiteResult {
    let (ids, observations): (Vec<RunId>, Vec<Observation>) = observed.into_iter().unzip();
    let judged = judge(&suite.claims, suite.tier, &observations);
    let fits = rows(&suite.fits, suite.tier, &observations);
    let observed: Vec<_> = ids.into_iter().zip(observations).collect();
    let Suite { name, title, tier, show, draw, claims, rankings, .. } = suite;
    let about = About { tier: *tier, name, title, show, draw, claims, rankings };
    let result = SuiteResult::new(&about, scale, &observed, judged);
    SuiteResult { fits, ..result }
}

#[cfg(test)]
mod tests;
