//! Linear warm-up, then half a cosine (Loshchilov & Hutter 2017, eq. 5, one cycle without restarts).
//!
//! factor(t) = r + (1 − r)·(1 + cos(π·(t − s)/(steps − s)))/2 for t > s, with r = min_ratio and s = decay_from.

use super::{DECAY_FROM, Decay, PEAK_LR, Schedule, WARMUP_STEPS, progress, start, warmed};
use crate::registry::{Entry, ParamDef, ParamKind, Preset};

pub(super) const ENTRY: Entry<Box<dyn Schedule>> = Entry {
    name: "cosine",
    doc: "linear warm-up, then half a cosine down to min_ratio·peak_lr at the last step",
    params: &[
        PEAK_LR,
        WARMUP_STEPS,
        DECAY_FROM,
        ParamDef {
            name: "min_ratio",
            doc: "the last step's rate over peak_lr",
            kind: ParamKind::Real { min: 0.0, max: 1.0 },
            default: Preset::Real(0.0),
        },
    ],
    build: |params| warmed(params, Cosine { from: start(params, "decay_from")?, min_ratio: params.real("min_ratio") }),
};

struct Cosine {
    from: u64,
    min_ratio: f64,
}

impl Decay for Cosine {
    fn factor(&self, step: u64, steps: u64) -> f64 {
        let angle = std::f64::consts::PI * progress(step, self.from, steps);
        self.min_ratio + (1.0 - self.min_ratio) * (0.5 * (1.0 + libm::cos(angle)))
    }
}
