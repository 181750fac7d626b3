//! Novograd (Ginsburg et al. 2019, Algorithm 1).
//!
//! v ← β2·v + (1−β2)·‖g‖²;  m ← β1·m + (g/(√v + ε) + weight_decay·p);  p ← p − lr·m
//!
//! v is one number a parameter tensor. It starts at ‖g_1‖², m at 0, so that step 1 gives the algorithm's first moments.
//! As published there is no bias correction, the new term of m has no weight 1−β1, and the decay is added to it
//! undivided. ε is added to the root; Algorithm 1 leaves it out of the very first moments, where this keeps it.

use super::Optimizer;
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};
use preheat_kernels::graph::{Given, TensorUpdate, Update};
use preheat_kernels::update::{UpdateBuilder, UpdateExpr};

pub(super) const ENTRY: Entry<Box<dyn Optimizer>> = Entry {
    name: "novograd",
    doc: "momentum of gradients that are divided by a running norm, one a tensor",
    params: &[
        ParamDef { default: Preset::Real(0.95), ..super::adam::BETA1 },
        ParamDef {
            doc: "decay of the running square of each tensor's gradient norm",
            default: Preset::Real(0.98),
            ..super::adam::BETA2
        },
        ParamDef {
            name: "eps",
            doc: "added to the running norm of a tensor's gradient",
            kind: ParamKind::Real { min: 0.0, max: 1e3 },
            default: Preset::Real(1e-8),
        },
        ParamDef {
            name: "weight_decay",
            doc: "times the parameter, added to the divided gradient",
            kind: ParamKind::Real { min: 0.0, max: 1e3 },
            default: Preset::Real(0.0),
        },
    ],
    build,
};

struct Novograd {
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
}

fn build(params: &Params) -> Result<Box<dyn Optimizer>, Invalid> {
    let [beta1, beta2, eps, weight_decay] = ["beta1", "beta2", "eps", "weight_decay"].map(|key| params.real(key));
    Ok(Box::new(Novograd { beta1, beta2, eps, weight_decay }))
}

/// The running square, from ‖g‖²; state 0 becomes √v + ε.
fn norm() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (beta2, weight2, eps) = (b.scalar("beta2"), b.scalar("one_minus_beta2"), b.scalar("eps"));
    let (v, gg) = (b.param(), b.grad());
    let kept = b.mul(beta2, v);
    let v = b.fma(weight2, gg, kept);
    let root = b.sqrt(v);
    let scale = b.add(root, eps);
    b.finish(v, vec![scale])
}

fn step() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (beta1, decay, minus_lr) = (b.scalar("beta1"), b.scalar("weight_decay"), b.scalar("minus_lr"));
    let (p, g, m, scale) = (b.param(), b.grad(), b.state(0), b.scalar("scale"));
    let divided = b.div(g, scale);
    let term = b.fma(decay, p, divided);
    let m = b.fma(beta1, m, term);
    let p = b.fma(minus_lr, m, p);
    b.finish(p, vec![m])
}

fn stages(t: &mut TensorUpdate<'_>) {
    let (p, g) = (t.param(), t.clipped_grad());
    let (v, m) = (t.moment("v", &[1]), t.moment_like_param("m"));
    let (gg, scale) = (t.graph().sum_squares(g), t.temp(&[1]));
    t.map(norm(), v, gg, &[scale], &[]);
    // The clipped gradient is the graph's own value here, so it is not clipped twice.
    t.map(step(), p, g, &[m], &[("scale", Given::Tensor(scale))]);
}

impl Optimizer for Novograd {
    fn update(&self) -> Update {
        Update::per_tensor(&["beta1", "beta2", "one_minus_beta2", "eps", "weight_decay", "minus_lr"], stages)
    }

    fn write_scalars(&self, step: u64, lr: f64, out: &mut Vec<f64>) {
        // v is 0 before step 1: v ← 0·v + 1·‖g‖².
        let (beta2, weight2) = if step == 1 { (0.0, 1.0) } else { (self.beta2, 1.0 - self.beta2) };
        out.extend([self.beta1, beta2, weight2, self.eps, self.weight_decay, -lr]);
    }

    fn second_moment_decay(&self) -> Option<f64> {
        Some(self.beta2)
    }
}
