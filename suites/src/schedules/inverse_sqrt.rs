//! Linear warm-up, then the inverse square root of the step (Vaswani et al. 2017, eq. 3; Xiong et al. 2020, eq. 1).
//!
//! factor(t) = √(s/t) for t > s, with s = timescale; 1 for warmup_steps < t ≤ s. With the default timescale
//! (warmup_steps) this is the continuous form lr = peak_lr·min(t/w, √(w/t)). An arm without warm-up shares
//! the decay of an arm with warm-up w when its timescale is w. Neither given, s = 1: lr = peak_lr/√t.

use super::{Decay, PEAK_LR, Schedule, WARMUP_STEPS, start, warmed};
use crate::registry::{Entry, ParamDef, ParamKind, Preset};

pub(super) const ENTRY: Entry<Box<dyn Schedule>> = Entry {
    name: "inverse-sqrt",
    doc: "linear warm-up, then decay with the inverse square root of the step",
    params: &[
        PEAK_LR,
        WARMUP_STEPS,
        ParamDef {
            name: "timescale",
            doc: "step s of the decay √(s/t), at least warmup_steps; 0 takes warmup_steps",
            kind: ParamKind::Int { min: 0, max: 10_000_000 },
            default: Preset::Int(0),
        },
    ],
    build: |params| warmed(params, InverseSqrt { timescale: start(params, "timescale")?.max(1) }),
};

struct InverseSqrt {
    timescale: u64,
}

impl Decay for InverseSqrt {
    fn factor(&self, step: u64, _steps: u64) -> f64 {
        if step <= self.timescale { 1.0 } else { (self.timescale as f64 / step as f64).sqrt() }
    }
}
