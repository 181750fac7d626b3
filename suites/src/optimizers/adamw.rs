//! AdamW (Loshchilov & Hutter 2019, Algorithm 2).
//!
//! p ← (1 − lr·weight_decay)·p, then Adam's step from the raw gradient (see `adam.rs` for ε and corrections)
//!
//! As in PyTorch the decay comes first and is multiplied by the learning rate, schedule included. In the paper
//! the decay is η_t·λ with the schedule multiplier η_t alone: λ there is peak_lr·weight_decay here.

use super::Optimizer;
use super::adam::{BETA1, BETA2, EPS, Moments};
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};
use preheat_kernels::graph::Update;
use preheat_kernels::update::{UpdateBuilder, UpdateExpr};

pub(super) const ENTRY: Entry<Box<dyn Optimizer>> = Entry {
    name: "adamw",
    doc: "Adam with decoupled weight decay",
    params: &[BETA1, BETA2, EPS, ParamDef { default: Preset::Real(0.01), ..DECAY }],
    build,
};

/// Decoupled weight decay, none by default.
pub(super) const DECAY: ParamDef = ParamDef {
    name: "weight_decay",
    doc: "times the learning rate: the share of the parameter that a step takes away",
    kind: ParamKind::Real { min: 0.0, max: 1e3 },
    default: Preset::Real(0.0),
};

struct AdamW {
    moments: Moments,
    weight_decay: f64,
}

fn build(params: &Params) -> Result<Box<dyn Optimizer>, Invalid> {
    Ok(Box::new(AdamW { moments: Moments::new(params), weight_decay: params.real("weight_decay") }))
}

/// The step, whose first scalar is called `keep`: the share of the parameter that stays.
pub(super) fn step(keep: &'static str) -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (keep, p, g) = (b.scalar(keep), b.param(), b.grad());
    let p = b.mul(keep, p);
    let (p, states) = Moments::step(&mut b, p, g);
    b.finish(p, states)
}

impl Optimizer for AdamW {
    fn update(&self) -> Update {
        step("keep").into()
    }

    fn write_scalars(&self, step: u64, lr: f64, out: &mut Vec<f64>) {
        out.push(1.0 - lr * self.weight_decay);
        out.extend(self.moments.scalars(step, lr));
    }

    fn second_moment_decay(&self) -> Option<f64> {
        Some(self.moments.beta2())
    }
}
