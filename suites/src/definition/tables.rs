//! The tables that a definition is checked against.

use super::budget::{self, Budget};
use super::error::{DefinitionError, Place};
use super::resolve;
use super::section::{PatchWire, Values};
use super::untuned;
use crate::models::{MODELS, Model};
use crate::optimizers::{OPTIMIZERS, Optimizer};
use crate::registry::{Entry, ParamDef, Scalar, build};
use crate::run::Recipe;
use crate::schedules::{SCHEDULES, Schedule};
use crate::tasks::{Asks, TASKS, TaskBuilder};
use crate::train::metrics::Named;
use std::borrow::Cow;

/// Everything that a suite can name. Tests bring smaller tables.
#[derive(Clone, Copy)]
pub struct Registry {
    /// Models.
    pub models: &'static [Entry<Box<dyn Model>>],
    /// Tasks.
    pub tasks: &'static [Entry<Box<dyn TaskBuilder>>],
    /// Optimizers.
    pub optimizers: &'static [Entry<Box<dyn Optimizer>>],
    /// Learning-rate schedules.
    pub schedules: &'static [Entry<Box<dyn Schedule>>],
    /// Parameters of the `train` section.
    pub train: &'static [ParamDef],
}

impl Registry {
    /// What this crate registers.
    pub fn builtin() -> Self {
        Self { models: MODELS, tasks: TASKS, optimizers: OPTIMIZERS, schedules: SCHEDULES, train: crate::train::PARAMS }
    }

    /// The names of what a recipe's task and model measure beside what all do.
    pub(crate) fn named(&self, recipe: &Recipe) -> Named {
        Named {
            sets: build("task", self.tasks, &recipe.task).map_or(&[], |task| task.set_names()),
            measures: build("model", self.models, &recipe.model).map_or(&[], |model| model.measures()),
        }
    }

    /// Checks names, types and ranges of what is written, also where a patch or a grid overrides it later.
    pub(crate) fn written(&self, patch: &PatchWire) -> Result<(), DefinitionError> {
        patch.model.as_ref().map_or(Ok(()), |s| resolve::written(self.models, s))?;
        patch.task.as_ref().map_or(Ok(()), |s| resolve::written(self.tasks, s))?;
        patch.optimizer.as_ref().map_or(Ok(()), |s| resolve::written(self.optimizers, s))?;
        let rest = |values: &Values, words: &'static [ParamDef]| {
            let (words_written, rest) = values.split(|name| words.iter().any(|def| def.name == name));
            resolve::each(words, &words_written, "a budget").map(|()| rest)
        };
        if let Some(schedule) = &patch.schedule {
            let mut plain = schedule.clone();
            plain.values = rest(&schedule.values, budget::SCHEDULE)?;
            resolve::written(self.schedules, &plain)?;
        }
        match &patch.train {
            Some(train) => resolve::each(self.train, &rest(train, budget::TRAIN)?, "train"),
            None => Ok(()),
        }
    }

    /// Resolves a merged recipe: every section is there, complete, in range, buildable, and they fit each other.
    pub(crate) fn recipe(
        &self,
        merged: &PatchWire,
        place: &Place,
    ) -> Result<(Recipe, Option<Budget>), DefinitionError> {
        let missing = |name: &str| {
            DefinitionError::at(place, format!("section `{name}` is missing"))
                .allowed("model, task, optimizer, schedule, train, all five")
        };
        let model = resolve::section(self.models, merged.model.as_ref().ok_or_else(|| missing("model"))?)?;
        let task = resolve::section(self.tasks, merged.task.as_ref().ok_or_else(|| missing("task"))?)?;
        let count = |vocab, seq| model.built.counted(vocab, seq);
        let (settled, budget) = match budget::settle(merged, &task.spec, count)? {
            Some((settled, budget)) => (Cow::Owned(settled), Some(budget)),
            None => (Cow::Borrowed(merged), None),
        };
        let merged = &*settled;
        let optimizer =
            resolve::section(self.optimizers, merged.optimizer.as_ref().ok_or_else(|| missing("optimizer"))?)?;
        let written = merged.schedule.as_ref().ok_or_else(|| missing("schedule"))?;
        let schedule = resolve::section(self.schedules, &*untuned::settle(written, &optimizer)?)?;
        let values = merged.train.as_ref().ok_or_else(|| missing("train"))?;
        let train_place = Place { key: format!("{}.train", place.key), ..place.clone() };
        let train = resolve::params(self.train, values, &train_place, "train")?;

        let (steps, warmup) = (train.int("steps") as u64, schedule.built.warmup_steps());
        if steps > 0 && warmup >= steps && !budget.is_some_and(|b| b.has_warmup()) {
            let at = written.values.get("warmup_steps").map_or(&written.name.place, |v| &v.place);
            let message = format!("warm-up of {warmup} steps is not below the run's {steps} steps");
            return Err(DefinitionError::at(at, message).allowed(format!("0 to {}", steps - 1)));
        }
        let (batch, sequences) = (train.int("batch"), train.int("eval_sequences"));
        if sequences % batch != 0 {
            let at = values.get("eval_sequences").map_or(&train_place, |v| &v.place);
            let message = format!("{sequences} is no multiple of batch {batch}");
            return Err(DefinitionError::at(at, message).allowed(format!("multiples of {batch}")));
        }
        if model.built.answers().is_some_and(|answers| answers != task.built.asks()) {
            let at = merged.task.as_ref().map_or(place, |t| &t.name.place);
            let (what, allowed) = match task.built.asks() {
                Asks::Tokens => ("asks for a token at each position", "tasks that ask for one label a sequence"),
                Asks::Label => ("asks for one label a sequence", "tasks that ask for a token at each position"),
            };
            let message = format!("{what}, which model `{}` does not answer", model.spec.name);
            return Err(DefinitionError::at(at, message).allowed(allowed));
        }
        if !model.built.has_signal() && train.0.get("probe") == Some(&Scalar::Text("signal".into())) {
            let at = values.get("probe").map_or(&train_place, |v| &v.place);
            let message = format!("looks at layers that model `{}` does not have", model.spec.name);
            return Err(DefinitionError::at(at, message).allowed("none, gradients, isoflop"));
        }
        let (model, task, optimizer) = (model.spec, task.spec, optimizer.spec);
        Ok((Recipe { model, task, optimizer, schedule: schedule.spec, train }, budget))
    }
}
