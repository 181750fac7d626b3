//! Plans: which runs a suite needs in a tier, in stages.
//!
//! A stage's runs depend on nothing but the records of earlier stages. The order is the order of writing:
//! experiments, arms, grid, seeds, then selection seeds. Nothing here trains or stores anything.

mod filter;
mod stage;

pub use filter::{Filter, FilterError};

use crate::claims::Tier;
use crate::definition::{Budget, Experiment, GridPoint, MAX_SEEDS, Registry, Setup, StartFrom, Suite, Take, tier_name};
use crate::record::Measured;
use crate::registry::{Invalid, Scalar, Spec, build};
use crate::run::{Recipe, Run, RunId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a plan leaves out or changes.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// Only these cells, and what they need.
    pub filter: Option<Filter>,
    /// This many seeds that decide claims, in place of the suite's own count.
    pub seeds: Option<u64>,
    /// This task in place of every recipe's own.
    pub task_override: Option<Spec>,
}

/// One entry of an experiment's table: an arm at a grid point with a seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Experiment id.
    pub experiment: String,
    /// Arm name.
    pub arm: String,
    /// Grid values by dotted path; taken values are not among them.
    pub axes: BTreeMap<String, Scalar>,
    /// The run's seed.
    pub seed: u64,
    /// Used to choose among grid values only.
    pub selection: bool,
}

impl Cell {
    /// Text that no other cell of the plan has.
    fn key(&self) -> String {
        format!("{self:?}")
    }
}

/// A run with the cells that it fills.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// The run.
    pub run: Run,
    /// All cells with this very run, in order.
    pub cells: Vec<Cell>,
    /// Steps whose checkpoints later stages start from, ascending.
    pub keep_steps: Vec<u64>,
}

/// A stage of which not all that it needs is measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ready {
    /// Runs that can be trained, in plan order.
    pub runs: Vec<Planned>,
    /// Cells whose run cannot be known yet, in plan order.
    pub waiting: Vec<Cell>,
}

impl Planned {
    /// Floating point operations of the whole run, for a task of vocabulary `vocab` and sequence length `seq`.
    pub fn flops(&self, registry: &Registry, vocab: usize, seq: usize) -> Result<f64, Invalid> {
        let Recipe { model, train, .. } = &self.run.recipe;
        let model = build("model", registry.models, model)?;
        Ok(model.step_flops(train.size("batch"), vocab, seq) * train.int("steps") as f64)
    }
}

/// Why a plan cannot be made or a stage not be resolved. One line.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The number of seeds that was asked for does not fit the suite.
    #[error("{0}")]
    Seeds(String),
    /// The suite has nothing in this tier.
    #[error("suite {suite} has no tier {tier}; allowed: {allowed}")]
    Tier {
        /// The suite.
        suite: String,
        /// The tier that was asked for.
        tier: String,
        /// The tiers that it has.
        allowed: String,
    },
    /// An earlier run's record is not there.
    #[error("{}/{} waits for run {run}, which has no record", cell.experiment, cell.arm)]
    Unmeasured {
        /// What waits.
        cell: Box<Cell>,
        /// The run without a record.
        run: RunId,
    },
    /// No grid point has a finite mean.
    #[error("{experiment}/{arm} takes {path} from {source_arm}, where no grid point has a finite {metric}")]
    NothingFinite {
        /// The waiting experiment.
        experiment: String,
        /// Its arm.
        arm: String,
        /// The dotted path.
        path: String,
        /// `experiment/arm` that was searched.
        source_arm: String,
        /// The metric.
        metric: String,
    },
}

impl PlanError {
    /// The same lack, met on behalf of `cell`.
    fn of(self, cell: &Cell) -> Self {
        match self {
            Self::Unmeasured { run, .. } => Self::Unmeasured { cell: Box::new(cell.clone()), run },
            other => other,
        }
    }
}

/// A cell before its stage is resolved.
#[derive(Clone, Debug)]
struct Slot {
    cell: Cell,
    /// Shared by the seeds of a grid point.
    recipe: Arc<Recipe>,
    start: Option<StartFrom>,
    budget: Option<Budget>,
}

/// An experiment's part of a plan.
#[derive(Clone, Debug)]
struct Part {
    stage: usize,
    takes: Vec<Take>,
    choosing_selection: bool,
    slots: Vec<Slot>,
}

/// The runs of a suite in a tier.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The suite's name.
    pub suite: String,
    /// The tier.
    pub tier: Tier,
    /// By experiment, as written.
    parts: BTreeMap<usize, (String, Part)>,
}

impl Plan {
    /// Plans `suite` in `tier`. An empty plan is no error here: the filter may leave nothing.
    pub fn new(suite: &Suite, tier: Tier, options: &PlanOptions) -> Result<Self, PlanError> {
        let mut parts = BTreeMap::new();
        for (index, experiment) in suite.experiments.iter().enumerate() {
            if let Some(setup) = experiment.setups.get(&tier) {
                let part = part(experiment, setup, options)?;
                parts.insert(index, (experiment.id.clone(), part));
            }
        }
        if parts.is_empty() {
            let mut tiers: Vec<Tier> = suite.experiments.iter().flat_map(|e| e.setups.keys().copied()).collect();
            tiers.sort();
            tiers.dedup();
            let allowed = tiers.into_iter().map(tier_name).collect::<Vec<_>>().join(", ");
            return Err(PlanError::Tier { suite: suite.name.clone(), tier: tier_name(tier), allowed });
        }
        let mut plan = Self { suite: suite.name.clone(), tier, parts };
        if let Some(filter) = &options.filter {
            plan.keep(filter);
        }
        Ok(plan)
    }

    /// Number of stages; 0 where nothing is left to run.
    pub fn stages(&self) -> usize {
        self.filled().map(|part| part.stage + 1).max().unwrap_or(0)
    }

    /// Cells of stage `k` in order, known before any run: what `--list` shows.
    pub fn cells(&self, k: usize) -> impl Iterator<Item = &Cell> {
        self.filled().filter(move |part| part.stage == k).flat_map(|part| part.slots.iter().map(|slot| &slot.cell))
    }

    /// The runs of stage `k`, equal ones merged. A pure function of the records of the stages before; stage 0
    /// needs none.
    pub fn resolve_stage(&self, k: usize, done: &BTreeMap<RunId, Measured>) -> Result<Vec<Planned>, PlanError> {
        stage::resolve(self, k, done, &mut Err)
    }

    /// The runs of stage `k` that `done` suffices for, equal ones merged, and the cells that wait for other records.
    pub fn ready_stage(&self, k: usize, done: &BTreeMap<RunId, Measured>) -> Result<Ready, PlanError> {
        let mut waiting = Vec::new();
        let mut unready = |why| match why {
            PlanError::Unmeasured { cell, .. } => {
                waiting.push(*cell);
                Ok(())
            }
            other => Err(other),
        };
        let runs = stage::resolve(self, k, done, &mut unready)?;
        Ok(Ready { runs, waiting })
    }

    fn filled(&self) -> impl Iterator<Item = &Part> {
        self.parts.values().map(|(_, part)| part).filter(|part| !part.slots.is_empty())
    }

    fn part(&self, experiment: &str) -> Option<&Part> {
        self.parts.values().find(|(id, _)| id == experiment).map(|(_, part)| part)
    }

    /// Keeps the cells that `filter` names and those that they wait for.
    fn keep(&mut self, filter: &Filter) {
        let mut wanted = BTreeSet::new();
        for slot in self.parts.values().flat_map(|(_, part)| &part.slots) {
            if filter.names(&slot.cell) {
                self.want(slot, &mut wanted);
            }
        }
        for (_, part) in self.parts.values_mut() {
            part.slots.retain(|slot| wanted.contains(&slot.cell.key()));
        }
    }

    fn want(&self, slot: &Slot, wanted: &mut BTreeSet<String>) {
        let Some(part) = self.part(&slot.cell.experiment) else { return };
        if !wanted.insert(slot.cell.key()) {
            return;
        }
        for source in part.takes.iter().flat_map(|take| stage::searched(self, take, &slot.cell)) {
            self.want(source, wanted);
        }
        if let Some(source) = stage::started_from(self, slot) {
            self.want(source, wanted);
        }
    }
}

fn part(experiment: &Experiment, setup: &Setup, options: &PlanOptions) -> Result<Part, PlanError> {
    let mut seeds = setup.seeds;
    if let Some(count) = options.seeds {
        seeds.count = count;
        let id = &experiment.id;
        if !(1..=MAX_SEEDS).contains(&count) {
            return Err(PlanError::Seeds(format!("{count} seeds; allowed: 1 to {MAX_SEEDS}")));
        }
        if let Some(selection) = setup.selection_seeds.filter(|s| s.meets(seeds)) {
            let room = selection.first.saturating_sub(seeds.first);
            return Err(PlanError::Seeds(format!(
                "{count} seeds meet the selection seeds of {id}; allowed: 1 to {room}"
            )));
        }
    }
    let with_task = |point: &GridPoint| {
        let mut recipe = point.recipe.clone();
        if let Some(task) = &options.task_override {
            recipe.task = task.clone();
        }
        recipe
    };
    let all_seeds = || {
        let selection = setup.selection_seeds.into_iter().flat_map(|s| s.iter().map(|seed| (seed, true)));
        seeds.iter().map(|seed| (seed, false)).chain(selection)
    };
    let mut slots = Vec::new();
    for arm in &setup.arms {
        for point in &arm.points {
            let recipe = Arc::new(with_task(point));
            for (seed, selection) in all_seeds() {
                let (start, axes) = (arm.start.clone(), point.axes.clone());
                let (experiment, arm) = (experiment.id.clone(), arm.name.clone());
                let cell = Cell { experiment, arm, axes, seed, selection };
                slots.push(Slot { cell, recipe: Arc::clone(&recipe), start, budget: point.budget });
            }
        }
    }
    Ok(Part {
        stage: experiment.stage,
        takes: experiment.takes.clone(),
        choosing_selection: setup.selection_seeds.is_some(),
        slots,
    })
}
