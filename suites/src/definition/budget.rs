//! A run's length by its compute, and its warm-up in tokens: words of a definition that are settled into steps when the
//! recipe is resolved, so that a size, a batch or a budget can move and the steps follow. They are in no run's identity.

use super::error::{DefinitionError, Place};
use super::reader::Placed;
use super::section::{PatchWire, Values};
use crate::fits::accounting::{Convention, Shape};
use crate::registry::{ParamDef, ParamKind, Preset, Scalar, Spec};
use crate::run::Recipe;

type Result<T> = std::result::Result<T, DefinitionError>;

/// In place of `train.steps`.
pub(crate) const TRAIN: &[ParamDef] = &[
    ParamDef {
        name: "budget_flops",
        doc: "in place of steps: training compute C; steps follow from C = 6·N·D, N with the head",
        kind: ParamKind::Real { min: f64::MIN_POSITIVE, max: 1e30 },
        default: Preset::Required,
    },
    ParamDef {
        name: "most_tokens_per_param",
        doc: "beside budget_flops: at most so many tokens a parameter",
        kind: ParamKind::Real { min: f64::MIN_POSITIVE, max: 1e9 },
        default: Preset::Required,
    },
];
/// In place of `schedule.warmup_steps`.
pub(crate) const SCHEDULE: &[ParamDef] = &[ParamDef {
    name: "warmup_tokens",
    doc: "in place of warmup_steps: tokens of warm-up, or params, as many as the model has parameters with its head; it may be \
          longer than the run",
    kind: ParamKind::IntOr { min: 1, max: 1_000_000_000_000, word: PARAMS },
    default: Preset::Required,
}];
const PARAMS: &str = "params";

/// A recipe's lengths in tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Training tokens.
    tokens: Option<f64>,
    /// Warm-up tokens.
    warmup: Option<f64>,
    /// Tokens a sequence.
    seq: f64,
}

impl Budget {
    /// Steps of a batch, at least 1: the least that have all tokens.
    fn steps(tokens: f64, batch: i64, seq: f64) -> i64 {
        ((tokens / (batch as f64 * seq)).ceil() as i64).clamp(1, 10_000_000)
    }

    /// Sets steps and warm-up of a recipe from its batch.
    pub(crate) fn apply(&self, recipe: &mut Recipe) {
        let batch = recipe.train.int("batch");
        let steps = |tokens: f64| Scalar::Int(Self::steps(tokens, batch, self.seq));
        if let Some(tokens) = self.tokens {
            recipe.train.0.insert("steps".into(), steps(tokens));
        }
        if let Some(tokens) = self.warmup {
            recipe.schedule.params.0.insert("warmup_steps".into(), steps(tokens));
        }
    }

    /// Whether the warm-up may be longer than the run.
    pub(crate) const fn has_warmup(&self) -> bool {
        self.warmup.is_some()
    }
}

/// Takes the words out of a recipe as written and puts steps in their place. `shape` counts the model on the task.
pub(crate) fn settle(
    merged: &PatchWire,
    task: &Spec,
    shape: impl Fn(usize, usize) -> Option<Shape>,
) -> Result<Option<(PatchWire, Budget)>> {
    let written = |section: &Option<Values>, name: &str| section.as_ref().and_then(|v| v.get(name).cloned());
    let schedule = merged.schedule.as_ref().map(|s| s.values.clone());
    let [flops, most] = ["budget_flops", "most_tokens_per_param"].map(|name| written(&merged.train, name));
    let warmup = written(&schedule, "warmup_tokens");
    let Some(place) = [&flops, &most, &warmup].into_iter().flatten().map(|v| v.place.clone()).next() else {
        return Ok(None);
    };
    let rival = |section: &Option<Values>, name: &str, other: &str| match written(section, name) {
        Some(rival) => {
            Err(DefinitionError::at(&rival.place, format!("stands beside `{other}`")).allowed("one of the two"))
        }
        None => Ok(()),
    };
    let (vocab, seq) = sizes(task, &place)?;
    let params = || {
        let shape = shape(vocab as usize, seq as usize);
        shape.map(|shape| Convention::Standard.size(&shape)).ok_or_else(|| {
            DefinitionError::at(&place, "the model has no count of FLOPs").allowed("a causal transformer")
        })
    };
    let tokens = match (&flops, &most) {
        (None, None) => None,
        (None, Some(most)) => {
            return Err(DefinitionError::at(&most.place, "stands without `budget_flops`").allowed("both, or steps"));
        }
        (Some(flops), most) => {
            rival(&merged.train, "steps", "budget_flops")?;
            let params = params()?;
            let most = most.as_ref().and_then(|most| most.value.number()).map_or(f64::INFINITY, |most| most * params);
            flops.value.number().map(|flops| (flops / (6.0 * params)).min(most))
        }
    };
    let warmup = match &warmup {
        None => None,
        Some(written) => {
            rival(&schedule, "warmup_steps", "warmup_tokens")?;
            Some(written.value.number().map_or_else(params, Ok)?)
        }
    };
    let budget = Budget { tokens, warmup, seq: seq as f64 };
    Ok(Some((in_steps(merged, &budget, &place), budget)))
}

/// The recipe as written, in steps.
fn in_steps(merged: &PatchWire, budget: &Budget, place: &Place) -> PatchWire {
    let mut settled = merged.clone();
    let batch = match settled.train.as_ref().and_then(|t| t.get("batch")).map(|b| &b.value) {
        Some(Scalar::Int(batch)) => (*batch).max(1),
        _ => 1,
    };
    let placed =
        |tokens: f64| Placed { value: Scalar::Int(Budget::steps(tokens, batch, budget.seq)), place: place.clone() };
    let name = |word: &str| Placed { value: word.to_string(), place: place.clone() };
    if let Some(train) = &mut settled.train {
        train.0.retain(|v| !TRAIN.iter().any(|def| def.name == v.name.value));
        if let Some(tokens) = budget.tokens {
            train.set(name("steps"), placed(tokens));
        }
    }
    if let Some(schedule) = &mut settled.schedule {
        schedule.values.0.retain(|v| !SCHEDULE.iter().any(|def| def.name == v.name.value));
        if let Some(tokens) = budget.warmup {
            schedule.values.set(name("warmup_steps"), placed(tokens));
        }
    }
    settled
}

/// Vocabulary and sequence length of a task that states both.
fn sizes(task: &Spec, place: &Place) -> Result<(i64, i64)> {
    let size = |name: &str| match task.params.0.get(name) {
        Some(Scalar::Int(x)) => Ok(*x),
        _ => Err(DefinitionError::at(place, format!("task `{}` states no {name}", task.name))
            .allowed("a task with vocab and seq")),
    };
    Ok((size("vocab")?, size("seq")?))
}
