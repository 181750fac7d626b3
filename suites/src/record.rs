//! What is kept of a run.

use crate::readings::Reading;
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
    #[serde(with = "reals")]
    pub metrics: BTreeMap<String, f64>,
    /// blake3 of the canonical bits of all final parameters and of all metrics, hexadecimal.
    pub digest: String,
}

impl Measured {
    /// A final metric, or what its name reads off a curve ([`Reading`]).
    pub fn value(&self, name: &str) -> Option<f64> {
        self.metrics.get(name).copied().or_else(|| Reading::parse(name)?.of(self))
    }
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

/// Metrics as JSON that gives back what was written: a value that is not finite is kept as the word
/// `NaN`, `inf` or `-inf`, which JSON numbers cannot hold.
mod reals {
    use crate::registry::Scalar;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::collections::BTreeMap;

    pub(super) fn serialize<S: Serializer>(metrics: &BTreeMap<String, f64>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(metrics.iter().map(|(name, value)| {
            let kept = if value.is_finite() { Scalar::Real(*value) } else { Scalar::Text(value.to_string()) };
            (name, kept)
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, f64>, D::Error> {
        let read = |value: Scalar| match value {
            Scalar::Real(x) => Ok(x),
            Scalar::Int(x) => Ok(x as f64),
            Scalar::Text(word) => word.parse().map_err(|_| D::Error::custom(format!("not a number: {word}"))),
            Scalar::Flag(x) => Err(D::Error::custom(format!("not a number: {x}"))),
        };
        BTreeMap::<String, Scalar>::deserialize(from)?.into_iter().map(|(k, v)| Ok((k, read(v)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_survives_json_bit_for_bit() {
        let values = [0.0, -0.0, 3.0, 0.1, 1e300, 5e-324, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 2.0_f64.sqrt()];
        let metrics = values.iter().enumerate().map(|(i, x)| (format!("m{i}"), *x)).collect();
        let measured = Measured { outcome: Outcome::Finished, curves: BTreeMap::new(), metrics, digest: String::new() };
        let text = serde_json::to_string(&measured).unwrap();
        let back: Measured = serde_json::from_str(&text).unwrap();
        for (i, x) in values.iter().enumerate() {
            assert_eq!(back.metrics[&format!("m{i}")].to_bits(), x.to_bits(), "{x}");
        }
    }
}
