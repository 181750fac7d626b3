//! The digest of a run: the canonical bits of its final parameters and of all that it measured.

use crate::record::{Outcome, Point};
use preheat_kernels::real::canonical_bits;
use std::collections::BTreeMap;

/// blake3 over outcome, parameters, curves and metrics, in this order.
pub(super) struct Digest {
    hasher: blake3::Hasher,
    bytes: Vec<u8>,
}

impl Digest {
    pub(super) fn new(outcome: &Outcome) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{outcome:?}\n").as_bytes());
        Self { hasher, bytes: Vec::new() }
    }

    /// Takes the next parameter.
    pub(super) fn param(&mut self, values: &[f32]) {
        self.bytes.clear();
        self.bytes.extend(values.iter().flat_map(|x| canonical_bits(*x).to_le_bytes()));
        self.hasher.update(&self.bytes);
    }

    /// In hexadecimal (32 digits).
    pub(super) fn finish(mut self, curves: &BTreeMap<String, Vec<Point>>, metrics: &BTreeMap<String, f64>) -> String {
        let hasher = &mut self.hasher;
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
}
