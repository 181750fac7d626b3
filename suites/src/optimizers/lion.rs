//! Lion (Chen et al. 2023, Algorithm 2).
//!
//! c = β1·m + (1−β1)·g;  p ← p − lr·(sign(c) + weight_decay·p);  m ← β2·m + (1−β2)·g
//!
//! As published: no bias correction, no ε, decoupled decay at the full learning rate, m starts at 0. The sign of zero
//! is 0. β2 is the decay of a first moment, so the untuned warm-up of 2/(1−β2) steps does not apply. The paper's rates
//! are 3 to 10 times smaller than Adam's, and its decay as much larger.

use super::Optimizer;
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};
use preheat_kernels::graph::Update;
use preheat_kernels::update::UpdateBuilder;

pub(super) const ENTRY: Entry<Box<dyn Optimizer>> = Entry {
    name: "lion",
    doc: "steps of one size along the sign of a momentum; weight decay is decoupled",
    params: &[
        ParamDef {
            name: "beta1",
            doc: "share of the momentum in what a step takes the sign of",
            kind: ParamKind::Real { min: 0.0, max: 0.999_999 },
            default: Preset::Real(0.9),
        },
        ParamDef {
            name: "beta2",
            doc: "decay of the momentum",
            kind: ParamKind::Real { min: 0.0, max: 0.999_999 },
            default: Preset::Real(0.99),
        },
        super::adamw::DECAY,
    ],
    build,
};

struct Lion {
    beta1: f64,
    beta2: f64,
    weight_decay: f64,
}

fn build(params: &Params) -> Result<Box<dyn Optimizer>, Invalid> {
    let [beta1, beta2, weight_decay] = ["beta1", "beta2", "weight_decay"].map(|key| params.real(key));
    Ok(Box::new(Lion { beta1, beta2, weight_decay }))
}

impl Optimizer for Lion {
    fn update(&self) -> Update {
        let mut b = UpdateBuilder::new();
        let (beta1, weight1) = (b.scalar("beta1"), b.scalar("one_minus_beta1"));
        let (beta2, weight2) = (b.scalar("beta2"), b.scalar("one_minus_beta2"));
        let (decay, minus_lr) = (b.scalar("weight_decay"), b.scalar("minus_lr"));
        let (p, g, m) = (b.param(), b.grad(), b.state(0));
        let kept = b.mul(beta1, m);
        let c = b.fma(weight1, g, kept);
        let direction = b.sign(c);
        let direction = b.fma(decay, p, direction);
        let p = b.fma(minus_lr, direction, p);
        let kept = b.mul(beta2, m);
        let m = b.fma(weight2, g, kept);
        b.finish(p, vec![m]).into()
    }

    fn write_scalars(&self, _step: u64, lr: f64, out: &mut Vec<f64>) {
        let Self { beta1, beta2, weight_decay } = *self;
        out.extend([beta1, 1.0 - beta1, beta2, 1.0 - beta2, weight_decay, -lr]);
    }
}
