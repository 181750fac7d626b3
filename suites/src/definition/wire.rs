//! The YAML of a suite as typed data, before names, ranges and references are checked.

use super::reader::Placed;
use super::section::{PatchWire, Values};
use crate::claims::ranking::Ranking;
use crate::claims::{Claim, FitLine, Tier};
use crate::registry::Scalar;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Deserialize as Derive, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// The paper that a suite takes its claims from.
#[derive(Clone, Debug, PartialEq, Derive, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Paper {
    /// Short name, e.g. `xiong2020`.
    pub key: String,
    /// Authors as they are cited.
    pub authors: String,
    /// Year.
    pub year: u64,
    /// arXiv number, in quotes: `"2002.04745"`.
    #[serde(default)]
    pub arxiv: Option<String>,
}

/// A suite of experiments and the claims that they decide.
#[derive(Derive, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SuiteWire {
    /// The suite's name: the file's name without `.yaml`.
    pub(crate) suite: Placed<String>,
    /// The title that tables carry.
    pub(crate) title: String,
    /// The paper.
    pub(crate) paper: Paper,
    /// Free Markdown for the report.
    #[serde(default)]
    pub(crate) prose: String,
    /// What is trained.
    pub(crate) experiments: Placed<Vec<ExperimentWire>>,
    /// What the paper says, and what would decide it.
    #[serde(default)]
    pub(crate) claims: Vec<Placed<Claim>>,
    /// Arms side by side.
    #[serde(default)]
    pub(crate) rankings: Vec<Placed<Ranking>>,
    /// Exponents that are reported beside the paper's.
    #[serde(default)]
    pub(crate) fits: Vec<Placed<FitLine>>,
}

/// Arms of one recipe, crossed with a grid and seeds.
#[derive(Derive, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExperimentWire {
    /// Unique within the suite.
    pub(crate) id: Placed<String>,
    /// One sentence.
    pub(crate) about: String,
    /// What all arms share.
    pub(crate) recipe: Placed<PatchWire>,
    /// What is compared: each arm is a patch of the recipe, and may start elsewhere.
    pub(crate) arms: Placed<Named<ArmWire>>,
    /// Values by dotted path `section.parameter`, crossed with each other.
    #[serde(default)]
    pub(crate) grid: Named<Axis>,
    /// Seeds that decide claims.
    pub(crate) seeds: Placed<SeedsWire>,
    /// Seeds that choose among grid values and decide nothing else.
    #[serde(default)]
    pub(crate) selection_seeds: Option<Placed<SeedsWire>>,
    /// Values by dotted path that earlier runs decide; makes a later stage.
    #[serde(default)]
    pub(crate) take: Named<Placed<TakeWire>>,
    /// Starts from the checkpoint of another run with the same seed; makes a later stage.
    #[serde(default)]
    pub(crate) start: Option<StartWire>,
    /// The metrics that its table shows, in this order, each with a column title; without one the metric's name.
    /// Where not given: `val_loss`, or the first few metrics of runs that have none.
    #[serde(default)]
    pub(crate) show: Option<Placed<Named<Placed<Title>>>>,
    /// What the report draws below its table.
    #[serde(default)]
    pub(crate) draw: Option<Placed<DrawWire>>,
    /// The tiers that run it, each with a patch.
    pub(crate) tiers: Placed<BTreeMap<Tier, TierWire>>,
}

/// What an arm changes. Its start goes before the tier's, which goes before the experiment's.
#[derive(Default, Derive, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArmWire {
    /// Patch of the model.
    #[serde(default)]
    pub(crate) model: Option<super::section::Section<super::section::Model>>,
    /// Patch of the task.
    #[serde(default)]
    pub(crate) task: Option<super::section::Section<super::section::Task>>,
    /// Patch of the optimizer.
    #[serde(default)]
    pub(crate) optimizer: Option<super::section::Section<super::section::Optimizer>>,
    /// Patch of the schedule.
    #[serde(default)]
    pub(crate) schedule: Option<super::section::Section<super::section::Schedule>>,
    /// Patch of batch, steps and evaluation.
    #[serde(default)]
    pub(crate) train: Option<Values>,
    /// Where this arm's runs start.
    #[serde(default)]
    pub(crate) start: Option<StartWire>,
}

/// The values of a grid axis.
pub(crate) type Axis = Placed<Vec<Placed<Scalar>>>;

/// What a tier changes. Sections patch the recipe before the arms do; a grid replaces the axes that it names.
#[derive(Default, Derive, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TierWire {
    /// Patch of the model.
    #[serde(default)]
    pub(crate) model: Option<super::section::Section<super::section::Model>>,
    /// Patch of the task.
    #[serde(default)]
    pub(crate) task: Option<super::section::Section<super::section::Task>>,
    /// Patch of the optimizer.
    #[serde(default)]
    pub(crate) optimizer: Option<super::section::Section<super::section::Optimizer>>,
    /// Patch of the schedule.
    #[serde(default)]
    pub(crate) schedule: Option<super::section::Section<super::section::Schedule>>,
    /// Patch of batch, steps and evaluation.
    #[serde(default)]
    pub(crate) train: Option<Values>,
    /// Axes that replace the experiment's.
    #[serde(default)]
    pub(crate) grid: Named<Axis>,
    /// The arms that are kept; all where not given.
    #[serde(default)]
    pub(crate) arms: Option<Placed<Vec<Placed<String>>>>,
    /// Replaces the experiment's seeds.
    #[serde(default)]
    pub(crate) seeds: Option<Placed<SeedsWire>>,
    /// Replaces the experiment's selection seeds.
    #[serde(default)]
    pub(crate) selection_seeds: Option<Placed<SeedsWire>>,
    /// Replaces the experiment's start.
    #[serde(default)]
    pub(crate) start: Option<StartWire>,
}

/// Curves that are drawn, means over seeds.
#[derive(Derive, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum DrawWire {
    /// One curve over the steps: a panel an arm, a line a point of the grid.
    Lines {
        /// The curve, e.g. `val_loss`.
        curve: Placed<String>,
    },
    /// The histogram of the probe `gradients`: a panel an arm, a line a step.
    Histogram {
        /// The steps, in order.
        steps: Placed<Vec<u64>>,
    },
}

/// `count` seeds from `first`.
#[derive(Clone, Copy, Derive, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeedsWire {
    /// The first seed.
    pub(crate) first: u64,
    /// How many.
    pub(crate) count: u64,
}

/// A rule that takes a value from earlier runs.
#[derive(Derive, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum TakeWire {
    /// The grid value with the smallest mean of `metric` over the selection seeds, or over the seeds where
    /// the experiment has no selection seeds.
    BestOf {
        /// The experiment that is searched.
        experiment: Placed<String>,
        /// Its arm; the one of the same name where not given.
        #[serde(default)]
        arm: Option<Placed<String>>,
        /// A final metric; smaller is better.
        metric: Placed<String>,
    },
}

/// Where runs start.
#[derive(Derive, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum StartWire {
    /// Initialised from the seed, as where no start is given.
    Fresh,
    /// From the checkpoint of a run with the same seed and the same values on shared axes.
    From(Box<FromWire>),
}

/// A run's checkpoint.
#[derive(Derive, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FromWire {
    /// The experiment.
    pub(crate) experiment: Placed<String>,
    /// Its arm.
    pub(crate) arm: Placed<String>,
    /// Completed steps of that run; its last where neither this nor a share is given.
    #[serde(default)]
    pub(crate) step: Option<Placed<u64>>,
    /// The same as a share of that run's steps, rounded to a whole step.
    #[serde(default)]
    pub(crate) share: Option<Placed<f64>>,
    /// What becomes of its optimizer's states and of the count of its steps; `reset` where not given.
    #[serde(default)]
    pub(crate) optimizer_state: Option<Placed<StateWire>>,
}

/// What becomes of an optimizer's states where a run starts from another's checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Derive, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StateWire {
    /// They go on, bias corrections included; the optimizer must be the same.
    Kept,
    /// They start at zero.
    Reset,
}

/// A column's title, or nothing.
pub(crate) struct Title(pub(crate) Option<String>);

impl<'de> Deserialize<'de> for Title {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl Visitor<'_> for One {
            type Value = Title;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, or nothing")
            }
            fn visit_unit<E>(self) -> Result<Title, E> {
                Ok(Title(None))
            }
            fn visit_str<E>(self, x: &str) -> Result<Title, E> {
                Ok(Title(Some(x.to_string())))
            }
        }
        deserializer.deserialize_any(One)
    }
}

impl JsonSchema for Title {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Title".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "null"], "pattern": "\\S"})
    }
}

/// A map in the order of writing.
pub(crate) struct Named<T>(pub(crate) Vec<(Placed<String>, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Named(pairs))
            }
        }
        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "additionalProperties": generator.subschema_for::<T>()})
    }
}

impl<T: JsonSchema> JsonSchema for Placed<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
