//! The probes. `signal`: gradients and hidden scales by layer, on the first validation batch. `gradients`: how large the
//! gradients of the first steps are, as a histogram.

use super::Compiled;
use crate::record::Point;
use preheat_kernels::device::{DeviceError, Place, Replay};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Share of the mean by which a hidden norm may exceed it (Xiong et al. 2020, §3.4: (0.1, 0.125)-bounded).
const EXCESS: f64 = 0.1;

/// Metrics of the gradients and hidden tensors of run `r` after `gradients` ran, each under `prefix`:
/// - `grad_norm.ffn_out.{l}`, `.last`: ‖∂L/∂W²‖_F, layers counted from 1;
/// - `hidden_scale.{l}`, and their `.mean`, `.min`, `.max`: mean over tokens of ‖x⁵‖²/C;
/// - `hidden_over_lower.min`, `hidden_over_upper.max`: against Lemma 2's (1 + l/2) and (1 + 3l/2);
/// - `hidden_excess.max`: the largest share, over layers, of tokens whose ‖x⁵‖² exceeds the mean by 10 %.
pub(super) fn signal(
    c: &Compiled,
    session: &dyn Replay,
    r: usize,
    prefix: &str,
) -> Result<BTreeMap<String, f64>, DeviceError> {
    let mut out = BTreeMap::new();
    let mut put = |name: String, value: f64| {
        out.insert(format!("{prefix}.{name}"), value);
    };
    for (l, weight) in c.ffn_out.iter().enumerate() {
        let grad = c.program.graph().grad_of(*weight).expect("a parameter");
        let norm = square_sum(&session.read(Place::Tensor(grad), r)?).sqrt();
        put(format!("grad_norm.ffn_out.{}", l + 1), norm);
        if l + 1 == c.ffn_out.len() {
            put("grad_norm.ffn_out.last".into(), norm);
        }
    }
    let (mut min, mut max, mut sum) = (f64::INFINITY, 0.0f64, 0.0);
    let (mut over_lower, mut over_upper, mut excess) = (f64::INFINITY, 0.0f64, 0.0f64);
    for (l, hidden) in c.hidden.iter().enumerate() {
        let width = c.program.graph().tensor(*hidden).width();
        let hidden = session.read(Place::Output(c.gradients, *hidden), r)?;
        let norms: Vec<f64> = hidden.chunks_exact(width).map(square_sum).collect();
        let mean = norms.iter().sum::<f64>() / norms.len() as f64;
        let scale = mean / width as f64;
        let layers = (l + 1) as f64;
        let above = norms.iter().filter(|z| **z > mean * (1.0 + EXCESS)).count();
        put(format!("hidden_scale.{}", l + 1), scale);
        (min, max) = (min.min(scale), max.max(scale));
        sum += scale;
        over_lower = over_lower.min(scale / (1.0 + layers / 2.0));
        over_upper = over_upper.max(scale / (1.0 + 1.5 * layers));
        excess = excess.max(above as f64 / norms.len() as f64);
    }
    put("hidden_scale.mean".into(), sum / c.hidden.len() as f64);
    put("hidden_scale.min".into(), min);
    put("hidden_scale.max".into(), max);
    put("hidden_over_lower.min".into(), over_lower);
    put("hidden_over_upper.max".into(), over_upper);
    put("hidden_excess.max".into(), excess);
    Ok(out)
}

/// Steps whose gradients are counted, from the first (Liu et al. 2020, Fig. 2: within ten updates).
pub const COUNTED_STEPS: u64 = 10;
/// Bins of a factor of two: bin i, from 1, is |g| in \[2^(1−i), 2^(2−i)), the first without an upper end and the last without
/// a lower one.
const BINS: usize = 32;
/// From this bin on a gradient is small: below 2^−12, a twentieth of the root mean square at initialisation of the
/// models that are trained here.
const SMALL_FROM: usize = 14;
/// Curves of the bins, in order.
static BIN_CURVES: LazyLock<[String; BINS]> =
    LazyLock::new(|| std::array::from_fn(|bin| format!("gradient_bin.{}", bin + 1)));

/// The curves of the `gradients` probe: a bin's share of the nonzero gradients, one point a counted step.
pub(super) fn bin_curves() -> impl Iterator<Item = &'static str> {
    BIN_CURVES.iter().map(String::as_str)
}

/// The curves of the bins, in order, each with the binary logarithm of its lower end; the last has none, and the first no
/// upper one.
pub fn gradient_bins() -> impl Iterator<Item = (&'static str, f64)> {
    bin_curves().enumerate().map(|(bin, curve)| (curve, -(bin as f64)))
}

/// The share of each bin among the nonzero gradients of the step that run `r` just took; not finite where all are zero.
/// Zeros are those of tokens that the batch lacks.
pub(super) fn bin_shares(c: &Compiled, session: &dyn Replay, r: usize) -> Result<[f64; BINS], DeviceError> {
    let (graph, mut counts) = (c.program.graph(), [0u32; BINS]);
    for param in graph.params() {
        let grad = graph.grad_of(param).expect("every parameter has a gradient");
        for g in session.read(Place::Tensor(grad), r)?.iter().filter(|g| **g != 0.0) {
            counts[bin(*g)] += 1;
        }
    }
    let all: u32 = counts.iter().sum();
    Ok(counts.map(|count| f64::from(count) / f64::from(all)))
}

/// The bin's place, from 0, by the exponent of a nonzero number.
fn bin(g: f32) -> usize {
    let exponent = (g.to_bits() >> 23 & 0xff) as usize;
    127usize.saturating_sub(exponent).min(BINS - 1)
}

/// `small_gradients.{t}`: the share of the nonzero gradients of step t that are below 2^−12.
pub(super) fn small_gradients(curves: &BTreeMap<String, Vec<Point>>) -> BTreeMap<String, f64> {
    let mut out: BTreeMap<String, f64> = BTreeMap::new();
    for point in bin_curves().skip(SMALL_FROM - 1).flat_map(|name| &curves[name]) {
        if let Some(share) = point.value {
            *out.entry(format!("small_gradients.{}", point.step)).or_default() += share;
        }
    }
    out
}

fn square_sum(x: &[f32]) -> f64 {
    x.iter().map(|&v| f64::from(v) * f64::from(v)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_powers_of_two() {
        let below_one = f32::from_bits(1.0f32.to_bits() - 1);
        let cases = [(8.0, 1), (1.0, 1), (-below_one, 2), (0.5, 2), (0.25, 3), (f32::MIN_POSITIVE, 32), (1e-45, 32)];
        for (g, expected) in cases {
            assert_eq!(bin(g) + 1, expected, "{g}");
        }
        let limit = libm::exp2f(-12.0);
        assert_eq!(bin(limit) + 1, SMALL_FROM - 1);
        assert_eq!(bin(f32::from_bits(limit.to_bits() - 1)) + 1, SMALL_FROM);
    }

    #[test]
    fn small_gradients_add_up_by_step() {
        let mut curves: BTreeMap<String, Vec<Point>> =
            bin_curves().map(|name| (name.to_string(), Vec::new())).collect();
        for (bin, step, share) in [(13, 1, 0.5), (14, 1, 0.25), (32, 1, 0.125), (14, 2, 1.0)] {
            curves.get_mut(&format!("gradient_bin.{bin}")).unwrap().push(Point { step, value: Some(share) });
        }
        let expected = [("small_gradients.1".to_string(), 0.375), ("small_gradients.2".to_string(), 1.0)];
        assert_eq!(small_gradients(&curves), expected.into());
    }
}
