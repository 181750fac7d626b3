//! What a record answers for.

use preheat_suites::run::RunId;
use serde::{Deserialize, Serialize};

/// The conditions under which a record may stand in for training: the run, and everything that could
/// change its numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The run.
    pub run: RunId,
    /// The part that all runs of a bench share.
    pub conditions: Conditions,
    /// sha256 of the data file that the task reads, or `generated`.
    pub data: String,
}

/// Where and with which code the runs of one bench are trained.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// Version of the bit contract.
    pub numerics: u32,
    /// Hash of the sources of `kernels` and `suites` and of the lock file.
    pub code: String,
    /// `exact`, or `fast-` with how products are computed and by which cuBLAS.
    pub math: String,
    /// `cpu` or `cuda`.
    pub device: String,
    /// Instruction set, e.g. `avx512`.
    pub simd: String,
}

impl Conditions {
    /// Whether training again must give the same bits. In fast math a run's bits may depend on the runs beside it.
    pub fn is_exact(&self) -> bool {
        self.math == "exact"
    }
}

impl Key {
    /// The name of the run's files, without an extension.
    pub fn name(&self) -> String {
        let Conditions { numerics, code, math, device, simd } = &self.conditions;
        let text = format!("{}\n{numerics}\n{code}\n{math}\n{device}\n{simd}\n{}\n", self.run, self.data);
        blake3::hash(text.as_bytes()).to_hex()[..32].to_string()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn conditions() -> Conditions {
        Conditions {
            numerics: 1,
            code: "code".into(),
            math: "exact".into(),
            device: "cpu".into(),
            simd: "scalar".into(),
        }
    }

    #[test]
    fn every_part_changes_the_name() {
        let key = Key { run: RunId("a".into()), conditions: conditions(), data: "generated".into() };
        let mut names = vec![key.name()];
        let edits: [fn(&mut Key); 7] = [
            |k| k.run = RunId("b".into()),
            |k| k.conditions.numerics = 2,
            |k| k.conditions.code = "other".into(),
            |k| k.conditions.math = "fast".into(),
            |k| k.conditions.device = "cuda".into(),
            |k| k.conditions.simd = "avx2".into(),
            |k| k.data = "0123".into(),
        ];
        for edit in edits {
            let mut other = key.clone();
            edit(&mut other);
            names.push(other.name());
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 8);
    }
}
