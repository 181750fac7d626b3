//! Adam-2k (Liu et al. 2020, section 3.1): Adam whose first `freeze_steps` steps move the second moment only.
//!
//! t ≤ freeze_steps: v ← β2·v + (1−β2)·g²; parameters, m and weight decay rest.
//! t > freeze_steps: AdamW's step (see `adamw.rs`), with the corrections of the total step t.
//!
//! So m starts from 0 when the freeze ends while 1 − β1^t is already near 1, as in the authors' code: momentum
//! builds up over about 1/(1−β1) steps. Deviation: ε is added to the bias-corrected root as in `adam`, where the
//! authors' code adds it to √v; with `freeze_steps: 0` this is `adamw`.

use super::Optimizer;
use super::adam::{BETA1, BETA2, EPS, Moments};
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};
use preheat_kernels::graph::Update;

pub(super) const ENTRY: Entry<Box<dyn Optimizer>> = Entry {
    name: "adam-2k",
    doc: "Adam whose first steps only gather the second moment; weight decay is decoupled",
    params: &[
        BETA1,
        BETA2,
        EPS,
        ParamDef {
            name: "freeze_steps",
            doc: "steps in which only the second moment moves",
            kind: ParamKind::Int { min: 0, max: 10_000_000 },
            default: Preset::Int(2000),
        },
        super::adamw::DECAY,
    ],
    build,
};

struct Adam2k {
    moments: Moments,
    freeze_steps: u64,
    weight_decay: f64,
}

fn build(params: &Params) -> Result<Box<dyn Optimizer>, Invalid> {
    let freeze_steps = params.size("freeze_steps") as u64;
    Ok(Box::new(Adam2k { moments: Moments::new(params), freeze_steps, weight_decay: params.real("weight_decay") }))
}

impl Optimizer for Adam2k {
    fn update(&self) -> Update {
        super::adamw::step("keep").into()
    }

    fn write_scalars(&self, step: u64, lr: f64, out: &mut Vec<f64>) {
        let frozen = step <= self.freeze_steps;
        out.push(if frozen { 1.0 } else { 1.0 - lr * self.weight_decay });
        let [weight1, beta2, weight2, root, eps, minus_step] = self.moments.scalars(step, lr);
        // With ε = 1 the direction m/(√v̂ + ε) = 0/(√v̂ + 1) is 0 for every v, so nothing moves.
        out.extend(if frozen {
            [0.0, beta2, weight2, root, 1.0, 0.0]
        } else {
            [weight1, beta2, weight2, root, eps, minus_step]
        });
    }

    fn second_moment_decay(&self) -> Option<f64> {
        Some(self.moments.beta2())
    }
}
