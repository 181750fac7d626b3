//! Optimizers. One file each: host scalars per step in f64 and an elementwise update expression.
//!
//! Every hyper-parameter reaches the expression as a host scalar, never as a constant, so runs of one
//! shape with different coefficients share one expression.

mod adam;
mod adamw;
mod sgd;

use crate::registry::Entry;
use preheat_kernels::update::UpdateExpr;

/// An optimizer as data.
pub trait Optimizer: Send + Sync {
    /// The elementwise update.
    fn expr(&self) -> UpdateExpr;
    /// Appends the host scalars of `step` (counted from 1) at learning rate `lr`, in the order of
    /// `expr().scalars`, computed in f64; each is rounded to f32 once by the caller. Allocates nothing
    /// where `out` has room.
    fn write_scalars(&self, step: u64, lr: f64, out: &mut Vec<f64>);
    /// The same as a new vector.
    fn scalars(&self, step: u64, lr: f64) -> Vec<f64> {
        let mut out = Vec::new();
        self.write_scalars(step, lr, &mut out);
        out
    }
}

/// All optimizers.
pub static OPTIMIZERS: &[Entry<Box<dyn Optimizer>>] = &[adam::ENTRY, adamw::ENTRY, sgd::ENTRY];

#[cfg(test)]
mod tests;
