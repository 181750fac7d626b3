//! Linear warm-up, then drops by a factor at fractions of the run (Liu et al. 2020, appendix B: ×0.1 at
//! epochs 81 and 122).
//!
//! factor(t) = drop^k, k the number of `at`, `then_at` with t > fraction·steps. It does not depend on the
//! warm-up, so arms share it as it is.

use super::{Decay, PEAK_LR, Schedule, WARMUP_STEPS, warmed};
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Preset};

pub(super) const ENTRY: Entry<Box<dyn Schedule>> = Entry {
    name: "step",
    doc: "linear warm-up, then drops by a factor at one or two fractions of the run",
    params: &[
        PEAK_LR,
        WARMUP_STEPS,
        ParamDef {
            name: "factor",
            doc: "what each drop multiplies the rate by",
            kind: ParamKind::Real { min: 0.0, max: 1.0 },
            default: Preset::Real(0.1),
        },
        ParamDef {
            name: "at",
            doc: "the first drop, as a fraction of the run's steps",
            kind: ParamKind::Real { min: 0.0, max: 1.0 },
            default: Preset::Real(0.5),
        },
        ParamDef {
            name: "then_at",
            doc: "the second drop, as a fraction of the run's steps, not before `at`; 1 for none",
            kind: ParamKind::Real { min: 0.0, max: 1.0 },
            default: Preset::Real(1.0),
        },
    ],
    build: |params| {
        let at = [params.real("at"), params.real("then_at")];
        if at[1] < at[0] {
            return Err(Invalid::new("then_at", format!("{} lies before at; allowed: {} to 1.0", at[1], at[0])));
        }
        warmed(params, Step { drop: params.real("factor"), at })
    },
};

struct Step {
    drop: f64,
    at: [f64; 2],
}

impl Decay for Step {
    fn factor(&self, step: u64, steps: u64) -> f64 {
        let passed = self.at.iter().filter(|&&at| step as f64 > at * steps as f64);
        passed.fold(1.0, |factor, _| factor * self.drop)
    }
}
