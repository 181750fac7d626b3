//! GI-Adam (Kalra & Barkeshli 2024): Adam whose second moment starts at the square of the first gradient, v_0 = g_0².
//!
//! AdamW's step (see `adamw.rs`) with v_1 = β2·g_1² + (1−β2)·g_1² = g_1². Deviation: the gradient of step 1 is g_0, while the
//! authors' training scripts take g_0 from a batch of its own before the first step, so that their v_1 mixes two batches.
//! Decoupled weight decay is an option here and none by default. Both bias corrections stay. Since v needs none, dividing it by 1 − β2^t makes early steps
//! smaller: Adam with an automatic warm-up √(1−β2^t). m starts at 0; steps count from 1; ε stands as in `adam`.

use super::Optimizer;
use super::adam::{BETA1, BETA2, EPS, Moments};
use crate::registry::{Entry, Invalid, Params};
use preheat_kernels::graph::Update;

pub(super) const ENTRY: Entry<Box<dyn Optimizer>> = Entry {
    name: "gi-adam",
    doc: "Adam whose second moment starts at the first gradient's square; weight decay is decoupled",
    params: &[BETA1, BETA2, EPS, super::adamw::DECAY],
    build,
};

struct GiAdam {
    moments: Moments,
    weight_decay: f64,
}

fn build(params: &Params) -> Result<Box<dyn Optimizer>, Invalid> {
    Ok(Box::new(GiAdam { moments: Moments::new(params), weight_decay: params.real("weight_decay") }))
}

impl Optimizer for GiAdam {
    fn update(&self) -> Update {
        super::adamw::step("keep").into()
    }

    fn write_scalars(&self, step: u64, lr: f64, out: &mut Vec<f64>) {
        out.push(1.0 - lr * self.weight_decay);
        let [weight1, beta2, weight2, root, eps, minus_step] = self.moments.scalars(step, lr);
        // The state is 0 before step 1: v ← 0·v + 1·g².
        let (beta2, weight2) = if step == 1 { (0.0, 1.0) } else { (beta2, weight2) };
        out.extend([weight1, beta2, weight2, root, eps, minus_step]);
    }

    fn second_moment_decay(&self) -> Option<f64> {
        Some(self.moments.beta2())
    }
}
