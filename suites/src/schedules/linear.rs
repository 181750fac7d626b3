//! Linear warm-up, then a straight line to 0 at the run's last step.
//!
//! factor(t) = (steps − t)/(steps − s) for t > s, with s = decay_from; 1 for warmup_steps < t ≤ s. An arm with
//! warmup_steps 100 and an arm with warmup_steps 0, decay_from 100 have the same rate at every t ≥ 100.

use super::{DECAY_FROM, Decay, PEAK_LR, Schedule, WARMUP_STEPS, progress, start, warmed};
use crate::registry::Entry;

pub(super) const ENTRY: Entry<Box<dyn Schedule>> = Entry {
    name: "linear",
    doc: "linear warm-up, then linear decay to 0 at the last step",
    params: &[PEAK_LR, WARMUP_STEPS, DECAY_FROM],
    build: |params| warmed(params, Linear { from: start(params, "decay_from")? }),
};

struct Linear {
    from: u64,
}

impl Decay for Linear {
    fn factor(&self, step: u64, steps: u64) -> f64 {
        1.0 - progress(step, self.from, steps)
    }
}
