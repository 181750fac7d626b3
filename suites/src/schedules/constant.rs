//! Linear warm-up, then the peak rate to the end (as in Porian et al. 2024).

use super::{Decay, PEAK_LR, Schedule, WARMUP_STEPS, warmed};
use crate::registry::Entry;

pub(super) const ENTRY: Entry<Box<dyn Schedule>> = Entry {
    name: "constant",
    doc: "linear warm-up, then constant",
    params: &[PEAK_LR, WARMUP_STEPS],
    build: |params| warmed(params, Constant),
};

struct Constant;

impl Decay for Constant {
    fn factor(&self, _step: u64, _steps: u64) -> f64 {
        1.0
    }
}
