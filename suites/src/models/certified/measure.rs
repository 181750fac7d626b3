//! What is measured of the bounds on a validation set, from sums that the graph takes.

use super::{Certified, Layer};
use preheat_kernels::ops::INTERVAL_SUMS;
use std::collections::BTreeMap;

/// Shares of wrong images as they are and in the worst case within ε; L_tightness and L_relu (without their weight), means
/// over layers; mean shares of hidden units whose interval lies above 0 and below.
pub(crate) const NAMES: [&str; 6] =
    ["standard_error", "verified_error", "tightness_loss", "relu_loss", "active", "inactive"];

/// The means over batches of what [`crate::models::Network::measured`] holds: two errors, the input's mean radius, then each
/// layer's [`INTERVAL_SUMS`] sums.
struct Means<'m> {
    errors: [f64; 2],
    first_radius: f64,
    layers: std::slice::ChunksExact<'m, f64>,
}

fn read(means: &[f64]) -> Means<'_> {
    let (head, sums) = means.split_at(3);
    Means { errors: [head[0], head[1]], first_radius: head[2], layers: sums.chunks_exact(INTERVAL_SUMS) }
}

/// ReLU(τ − ratio)/τ.
fn below(tau: f64, ratio: f64) -> f64 {
    (tau - ratio).max(0.0) / tau
}

/// [`below`] of the smaller over the larger of two sums, nothing where a side is empty.
fn imbalance(tau: f64, a: f64, b: f64) -> f64 {
    if a > 0.0 && b > 0.0 { below(tau, a.min(b) / a.max(b)) } else { 0.0 }
}

/// Appends the numbers of [`NAMES`].
pub(super) fn all(tau: f64, hidden: impl Iterator<Item = Layer>, batch: usize, means: &[f64], out: &mut Vec<f64>) {
    let Means { errors, first_radius, layers } = read(means);
    let count = layers.len() as f64;
    let (mut tightness, mut balance, mut active, mut inactive) = (0.0, 0.0, 0.0, 0.0);
    for (sums, layer) in layers.zip(hidden) {
        let units = layer.count(batch);
        tightness += below(tau, first_radius / (sums[0] / units));
        balance += imbalance(tau, sums[4], -sums[5]) + imbalance(tau, sums[6], sums[7]);
        active += sums[2] / units;
        inactive += sums[3] / units;
    }
    out.extend(errors);
    out.extend([tightness, balance, active, inactive].map(|sum| sum / count));
}

/// At initialisation, by hidden layer: `width_gain.{l}`, the mean radius before ReLU over that of the layer before (the image
/// before the first), and `width_gain_over_theory.{l}`, over n·E|w| of the layer's n inputs, half of it behind a ReLU (eq. 5).
/// `width_growth` is the last layer's radius over the first one's.
pub(super) fn gains(model: &Certified, hidden: &[Layer], batch: usize, means: &[f64]) -> BTreeMap<String, f64> {
    let Means { first_radius, layers, .. } = read(means);
    let radii: Vec<f64> = layers.zip(hidden).map(|(sums, layer)| sums[0] / layer.count(batch)).collect();
    let mut out = BTreeMap::new();
    let mut before = first_radius;
    for (i, (radius, layer)) in radii.iter().zip(hidden).enumerate() {
        let share = if i == 0 { 1.0 } else { 0.5 };
        let theory = share * layer.inputs as f64 * layer.mean_size(model.init);
        let gain = radius / before;
        out.insert(format!("width_gain.{}", i + 1), gain);
        out.insert(format!("width_gain_over_theory.{}", i + 1), gain / theory);
        before = *radius;
    }
    if let (Some(first), Some(last)) = (radii.first(), radii.last()) {
        out.insert("width_growth".into(), last / first);
    }
    out
}

impl Layer {
    /// Intervals of a batch.
    fn count(&self, batch: usize) -> f64 {
        (batch * self.units * self.places) as f64
    }
}
