//! A suite that holds: every name known, every parameter complete and in range, every reference answered.

use super::budget::Budget;
pub use super::wire::Paper;
use crate::claims::ranking::Ranking;
use crate::claims::{Claim, FitLine, Tier};
use crate::registry::{Params, Scalar};
use crate::run::Recipe;
use crate::train::metrics::Named;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A suite.
#[derive(Clone, Debug, PartialEq)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// The title that tables carry.
    pub title: String,
    /// The paper.
    pub paper: Paper,
    /// Free Markdown.
    pub prose: String,
    /// What is trained, as written.
    pub experiments: Vec<Experiment>,
    /// What is claimed, as written.
    pub claims: Vec<Claim>,
    /// Arms side by side, as written.
    pub rankings: Vec<Ranking>,
    /// Exponents that are reported, as written.
    pub fits: Vec<FitLine>,
}

/// Arms of one recipe, crossed with a grid and seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// Unique within the suite.
    pub id: String,
    /// One sentence.
    pub about: String,
    /// What each tier runs.
    pub setups: BTreeMap<Tier, Setup>,
    /// Values that earlier runs decide.
    pub takes: Vec<Take>,
    /// The columns of its table; empty where the definition leaves them to the table.
    pub show: Vec<Column>,
    /// What the report draws of it.
    pub draw: Option<Draw>,
    /// Its stage: experiments that it takes values or checkpoints from are in earlier ones.
    pub stage: usize,
}

/// A column of an experiment's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// A final metric.
    pub metric: String,
    /// What stands above it.
    pub title: String,
}

/// What the report draws of an experiment, means over seeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Draw {
    /// One curve over the steps: a panel an arm, a line a point of the grid.
    Lines {
        /// The curve.
        curve: String,
    },
    /// The histogram of absolute gradients: a panel an arm, a line a step.
    Histogram {
        /// The steps, in order, counted from 1.
        steps: Vec<u64>,
    },
}

impl Draw {
    /// The curves that it reads.
    pub fn curves(&self) -> Vec<&str> {
        match self {
            Self::Lines { curve } => vec![curve],
            Self::Histogram { .. } => crate::train::gradient_bins().map(|(curve, _)| curve).collect(),
        }
    }
}

/// What one tier runs of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// The arms, as written.
    pub arms: Vec<Arm>,
    /// Dotted paths of the grid's axes, as written.
    pub axes: Vec<String>,
    /// Seeds that decide claims.
    pub seeds: Seeds,
    /// Seeds that choose among grid values.
    pub selection_seeds: Option<Seeds>,
}

impl Setup {
    /// The seeds by which [`Take`] chooses: the selection seeds, or the claims' where there are none.
    pub fn choosing_seeds(&self) -> Seeds {
        self.selection_seeds.unwrap_or(self.seeds)
    }
}

/// One arm with its grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// Unique within the experiment.
    pub name: String,
    /// The run whose checkpoint its runs start from.
    pub start: Option<StartFrom>,
    /// One recipe a grid point, the last axis running fastest.
    pub points: Vec<GridPoint>,
}

/// One combination of grid values.
#[derive(Clone, Debug, PartialEq)]
pub struct GridPoint {
    /// Values by dotted path.
    pub axes: BTreeMap<String, Scalar>,
    /// The recipe. Where a value is taken from earlier runs it stands at the first candidate.
    pub recipe: Recipe,
    /// The names of what its task and its model measure beside what all do.
    pub named: Named,
    /// Its lengths in tokens, where the definition states them: steps follow a batch that is taken.
    pub budget: Option<Budget>,
}

/// `count` seeds from `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    /// The first.
    pub first: u64,
    /// How many, at least 1.
    pub count: u64,
}

impl Seeds {
    /// The seeds in order.
    pub fn iter(self) -> impl Iterator<Item = u64> {
        self.first..self.first + self.count
    }
    /// Whether the two share a seed.
    pub fn meets(self, other: Self) -> bool {
        self.first < other.first + other.count && other.first < self.first + self.count
    }
    /// Whether `seed` is one of them.
    pub fn contains(self, seed: u64) -> bool {
        (self.first..self.first + self.count).contains(&seed)
    }
}

/// The grid value at `path` with the smallest mean of `metric` in an arm of another experiment, among the grid
/// points that agree with the taking run on shared axes. The first wins a tie; a run without a finite value
/// rules its grid point out.
#[derive(Clone, Debug, PartialEq)]
pub struct Take {
    /// Dotted path of the value.
    pub path: String,
    /// The experiment that is searched.
    pub experiment: String,
    /// Its arm; the taking run's own where not given.
    pub arm: Option<String>,
    /// A final metric.
    pub metric: String,
}

/// The run of the same seed and the same values on shared axes, and a step of it.
#[derive(Clone, Debug, PartialEq)]
pub struct StartFrom {
    /// The experiment.
    pub experiment: String,
    /// Its arm.
    pub arm: String,
    /// Completed steps.
    pub step: u64,
    /// Takes the optimizer's states too.
    pub optimizer_state: bool,
}

impl Suite {
    /// An experiment by id.
    pub fn experiment(&self, id: &str) -> Option<&Experiment> {
        self.experiments.iter().find(|e| e.id == id)
    }
}

/// The parameters of a recipe's section.
pub(crate) fn section_mut<'r>(recipe: &'r mut Recipe, section: &str) -> Option<&'r mut Params> {
    match section {
        "model" => Some(&mut recipe.model.params),
        "task" => Some(&mut recipe.task.params),
        "optimizer" => Some(&mut recipe.optimizer.params),
        "schedule" => Some(&mut recipe.schedule.params),
        "train" => Some(&mut recipe.train),
        _ => None,
    }
}

/// The value at a dotted path.
pub(crate) fn value_mut<'r>(recipe: &'r mut Recipe, path: &str) -> Option<&'r mut Scalar> {
    let (section, parameter) = path.split_once('.')?;
    section_mut(recipe, section)?.0.get_mut(parameter)
}
