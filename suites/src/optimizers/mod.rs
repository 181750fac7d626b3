//! Optimizers. One file each: host scalars per step in f64, and what a step does as data: one elementwise expression, or
//! stages of expressions, sums and products for each tensor.
//!
//! Every hyper-parameter reaches the expression as a host scalar, never as a constant, so runs of one
//! shape with different coefficients share one expression.

mod adafactor;
mod adam;
mod adam_2k;
mod adamw;
mod gi_adam;
mod lamb;
mod lion;
mod muon;
mod novograd;
mod radam;
mod sgd;

pub(crate) use radam::{lengths, rectification};

use crate::registry::Entry;
use preheat_kernels::graph::Update;

/// An optimizer as data.
pub trait Optimizer: Send + Sync {
    /// What a step does to the parameters.
    fn update(&self) -> Update;
    /// Appends the host scalars of `step` (counted from 1) at learning rate `lr`, in the order of
    /// `update().scalars()`, computed in f64; each is rounded to f32 once by the caller. Allocates nothing
    /// where `out` has room.
    fn write_scalars(&self, step: u64, lr: f64, out: &mut Vec<f64>);
    /// The same as a new vector.
    fn scalars(&self, step: u64, lr: f64) -> Vec<f64> {
        let mut out = Vec::new();
        self.write_scalars(step, lr, &mut out);
        out
    }
    /// β2 where it is the decay of a second moment: what the untuned warm-up of 2/(1−β2) steps is made from.
    fn second_moment_decay(&self) -> Option<f64> {
        None
    }
}

/// All optimizers.
pub static OPTIMIZERS: &[Entry<Box<dyn Optimizer>>] = &[
    adafactor::ENTRY,
    adam::ENTRY,
    adam_2k::ENTRY,
    adamw::ENTRY,
    gi_adam::ENTRY,
    lamb::ENTRY,
    lion::ENTRY,
    muon::ENTRY,
    novograd::ENTRY,
    radam::ENTRY,
    sgd::ENTRY,
];

#[cfg(test)]
mod tests;
