//! The digest of a run: the canonical bits of its final parameters and of all that it measured.

use crate::record::{Outcome, Point};
use preheat_kernels::real::canonical_bits;
use std::collections::BTreeMap;

/// blake3 over outcome, parameters, curves and metrics, in hexadecimal (32 digits).
pub(super) fn digest<'p>(
    outcome: &Outcome,
    params: impl Iterator<Item = &'p [f32]>,
    curves: &BTreeMap<String, Vec<Point>>,
    metrics: &BTreeMap<String, f64>,
) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{outcome:?}\n").as_bytes());
    let mut bytes = Vec::new();
    for param in params {
        bytes.clear();
        bytes.extend(param.iter().flat_map(|x| canonical_bits(*x).to_le_bytes()));
        hasher.update(&bytes);
    }
    for (name, points) in curves {
        hasher.update(name.as_bytes());
        for p in points {
            hasher.update(&p.step.to_le_bytes());
            hasher.update(&p.value.map_or(u64::MAX, f64::to_bits).to_le_bytes());
        }
    }
    for (name, value) in metrics {
        hasher.update(name.as_bytes());
        hasher.update(&value.to_bits().to_le_bytes());
    }
    hasher.finalize().to_hex()[..32].to_string()
}
