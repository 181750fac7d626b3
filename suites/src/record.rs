//! What is kept of a run.

use crate::run::Run;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a run ended. Divergence is an outcome, not an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All steps done, all numbers finite.
    Finished,
    /// A loss or gradient norm was not finite at this step (counted from 1).
    Diverged {
        /// The step.
        step: u64,
    },
    /// Could not be carried out.
    Failed {
        /// One line.
        why: String,
    },
}

/// A value measured after `step` completed steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Completed steps.
    pub step: u64,
    /// The value; not finite values are kept as `null`.
    pub value: Option<f64>,
}

/// What training measured: pure data, the same on every machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// How the run ended.
    pub outcome: Outcome,
    /// Step curves by name: `train_loss`, `val_loss` (nats/token), `lr`, `grad_norm`, `param_norm`, `update_norm`.
    pub curves: BTreeMap<String, Vec<Point>>,
    /// Final metrics by name, e.g. `val_loss`, `stalled`, `unigram_entropy`, `entropy_rate`, `init.grad_norm.last`.
    pub metrics: BTreeMap<String, f64>,
    /// blake3 of the canonical bits of all final parameters and of all metrics, hexadecimal.
    pub digest: String,
}

/// A finished run as the store keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The run.
    pub run: Run,
    /// What it measured.
    pub measured: Measured,
    /// Where it ran (commit, dirty flag, rustc, CPU, SIMD path): kept for the reader, never compared.
    pub environment: BTreeMap<String, String>,
}

/// A record seen from a suite: which cell of which experiment it fills. What `judge` reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Experiment id within the suite.
    pub experiment: String,
    /// Arm name within the experiment.
    pub arm: String,
    /// Grid axes, e.g. `schedule.peak_lr` → `0.006`, by dotted path.
    pub axes: BTreeMap<String, crate::registry::Scalar>,
    /// The run's seed, by which arms are paired.
    pub seed: u64,
    /// Used to choose rates only, never in a claim's effect.
    pub selection: bool,
    /// What was measured.
    pub measured: Measured,
}
