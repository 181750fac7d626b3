//! Models. One file each.

use crate::registry::{Entry, Invalid, Params};

/// A model's shape-independent description; built into a graph by [`crate::train`].
pub trait Model: Send + Sync {
    /// Learnable parameters for vocabulary `vocab` and sequence length `seq`.
    fn parameters(&self, vocab: usize, seq: usize) -> u64;
    /// Floating point operations of one training step over `batch` sequences (GEMMs only, forward and backward).
    fn step_flops(&self, batch: usize, vocab: usize, seq: usize) -> f64;
}

/// All models.
pub static MODELS: &[Entry<Box<dyn Model>>] = &[];

#[expect(dead_code, reason = "the shape of a registry line")]
fn shape(_: &Params) -> Result<Box<dyn Model>, Invalid> {
    Err(Invalid::new("", "no model"))
}
