//! One training run: its recipe, seeds and start, and the identity that follows from them.

use crate::registry::{Params, Spec};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Everything that decides a run's numbers except its seeds and start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// See [`crate::models`].
    pub model: Spec,
    /// See [`crate::tasks`].
    pub task: Spec,
    /// See [`crate::optimizers`].
    pub optimizer: Spec,
    /// See [`crate::schedules`].
    pub schedule: Spec,
    /// Batch, steps, evaluation: see [`crate::train::PARAMS`].
    pub train: Params,
}

/// Where a run's parameters come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Initialised from `seed`.
    Fresh,
    /// Another run's kept checkpoint.
    Checkpoint {
        /// The other run.
        run: RunId,
        /// Its step, counted in completed steps.
        step: u64,
        /// Takes the optimizer's states and its count of steps too; otherwise both start anew.
        #[serde(default)]
        optimizer_state: bool,
    },
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What is trained.
    pub recipe: Recipe,
    /// Seed of the initial parameters and of per-step randomness.
    pub seed: u64,
    /// Seed of the training batches.
    pub data_seed: u64,
    /// Where it starts.
    pub start: Start,
}

/// blake3 of a run's canonical text and the bit contract's version, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub String);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Run {
    /// Whether it starts from another run's checkpoint with that one's optimizer state.
    pub const fn takes_optimizer_state(&self) -> bool {
        matches!(self.start, Start::Checkpoint { optimizer_state: true, .. })
    }

    /// The text that identifies the run: one `key: value` line each, in a fixed order.
    pub fn canonical(&self) -> String {
        let Self { recipe, seed, data_seed, start } = self;
        let train = Spec { name: "train".into(), params: recipe.train.clone() };
        let start = match start {
            Start::Fresh => "fresh".to_string(),
            Start::Checkpoint { run, step, optimizer_state } => {
                format!("{run}@{step}{}", if *optimizer_state { " with optimizer state" } else { "" })
            }
        };
        format!(
            "numerics: {}\nmodel: {}\ntask: {}\noptimizer: {}\nschedule: {}\n{train}\nseed: {seed}\ndata_seed: {data_seed}\nstart: {start}\n",
            preheat_kernels::NUMERICS,
            recipe.model,
            recipe.task,
            recipe.optimizer,
            recipe.schedule,
        )
    }

    /// The run's identity.
    pub fn id(&self) -> RunId {
        RunId(blake3::hash(self.canonical().as_bytes()).to_hex()[..32].to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{Registry, parse_recipe};
    use crate::registry::Scalar;

    #[test]
    fn every_part_changes_the_identity() {
        let text = "{model: {transformer: {layers: 1, width: 8}}, task: {language: {}}, optimizer: {adam: {}}, schedule: {constant: {peak_lr: 1e-2}}, train: {steps: 3, batch: 2, eval_sequences: 4}}";
        let recipe = parse_recipe("test", text, &Registry::builtin()).unwrap_or_else(|e| panic!("{e}"));
        let run = Run { recipe, seed: 1, data_seed: 1, start: Start::Fresh };
        let from =
            |run: &str, step, optimizer_state| Start::Checkpoint { run: RunId(run.into()), step, optimizer_state };
        let edits: [&dyn Fn(&mut Run); 12] = [
            &|_| (),
            &|r| r.seed = 2,
            &|r| r.data_seed = 2,
            &|r| r.start = from("a", 1, false),
            &|r| r.start = from("b", 1, false),
            &|r| r.start = from("a", 2, false),
            &|r| r.start = from("a", 1, true),
            &|r| r.recipe.train.0.extend([("batch".to_string(), Scalar::Int(4))]),
            &|r| r.recipe.model.params.0.extend([("width".to_string(), Scalar::Int(16))]),
            &|r| r.recipe.task.params.0.extend([("seq".to_string(), Scalar::Int(9))]),
            &|r| r.recipe.optimizer.params.0.extend([("eps".to_string(), Scalar::Real(1e-4))]),
            &|r| r.recipe.schedule.params.0.extend([("peak_lr".to_string(), Scalar::Real(0.5))]),
        ];
        let id = |edit: &&dyn Fn(&mut Run)| {
            let mut run = run.clone();
            edit(&mut run);
            run.id()
        };
        let ids: std::collections::BTreeSet<RunId> = edits.iter().map(id).collect();
        assert_eq!(ids.len(), edits.len());
    }
}
