//! The `signal` probe: gradients and hidden scales by layer, on the first validation batch.

use super::Compiled;
use preheat_kernels::device::{DeviceError, Place, Replay};
use std::collections::BTreeMap;

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

fn square_sum(x: &[f32]) -> f64 {
    x.iter().map(|&v| f64::from(v) * f64::from(v)).sum()
}
