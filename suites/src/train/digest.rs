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

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(outcome: &Outcome, params: &[f32], curve: (&str, u64, Option<f64>), metric: (&str, f64)) -> String {
        let mut digest = Digest::new(outcome);
        digest.param(params);
        let points = vec![Point { step: curve.1, value: curve.2 }];
        let curves = BTreeMap::from([(curve.0.to_string(), points)]);
        digest.finish(&curves, &BTreeMap::from([(metric.0.to_string(), metric.1)]))
    }

    #[test]
    fn every_part_changes_the_digest() {
        let (done, curve, metric) = (Outcome::Finished, ("loss", 3, Some(1.5)), ("m", 2.5));
        let mut digests = vec![
            digest(&done, &[1.0, 2.0], curve, metric),
            digest(&Outcome::Diverged { step: 3 }, &[1.0, 2.0], curve, metric),
            digest(&Outcome::Diverged { step: 4 }, &[1.0, 2.0], curve, metric),
            digest(&done, &[1.0, -2.0], curve, metric),
            digest(&done, &[1.0, 2.0], ("lost", 3, Some(1.5)), metric),
            digest(&done, &[1.0, 2.0], ("loss", 4, Some(1.5)), metric),
            digest(&done, &[1.0, 2.0], ("loss", 3, Some(1.25)), metric),
            digest(&done, &[1.0, 2.0], ("loss", 3, None), metric),
            digest(&done, &[1.0, 2.0], curve, ("n", 2.5)),
            digest(&done, &[1.0, 2.0], curve, ("m", 2.75)),
        ];
        let all = digests.len();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), all);
    }

    #[test]
    fn all_nans_are_one() {
        let of = |bits: u32| digest(&Outcome::Finished, &[f32::from_bits(bits)], ("loss", 1, None), ("m", 0.0));
        assert_eq!(of(0x7fc0_0000), of(0xffc0_1234));
        assert_ne!(of(0x7fc0_0000), of(0x7f80_0000), "infinity is another number");
    }
}
