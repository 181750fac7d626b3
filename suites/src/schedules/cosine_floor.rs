//! Linear warm-up from 0, half a cosine down to a floor, then the floor to the end (Gupta et al. 2023, §2 and §4).
//!
//! With T = horizon, T_w = warmup·T, T_d = decay·T and r = min_ratio, all in steps and not rounded:
//!
//! ```text
//! lr(t) = peak_lr·t/T_w                                              t ≤ T_w
//!       = peak_lr·(r + (1 − r)·(1 + cos(π·(t − T_w)/(T_d − T_w)))/2)   T_w < t ≤ T_d
//!       = peak_lr·r                                                  t > T_d
//! ```
//!
//! The horizon is a parameter and not the run's length: a run that is cut short is the beginning of the longer one.
//! The paper's T is 297 billion tokens and its T_d 240 billion, a share of 0.808.

use super::{PEAK_LR, Schedule};
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};

pub(super) const ENTRY: Entry<Box<dyn Schedule>> = Entry {
    name: "cosine-floor",
    doc: "linear warm-up and half a cosine down to min_ratio·peak_lr over shares of a horizon, then constant",
    params: &[
        PEAK_LR,
        ParamDef {
            name: "horizon",
            doc: "steps that `warmup` and `decay` are shares of; the run may be shorter or longer",
            kind: ParamKind::Int { min: 1, max: 10_000_000 },
            default: Preset::Required,
        },
        ParamDef {
            name: "warmup",
            doc: "share of the horizon over which the rate rises linearly from 0; 0 for none",
            kind: ParamKind::Real { min: 0.0, max: 1.0 },
            default: Preset::Real(0.0),
        },
        ParamDef {
            name: "decay",
            doc: "share of the horizon at which the rate reaches its floor, above `warmup`",
            kind: ParamKind::Real { min: 0.0, max: 1.0 },
            default: Preset::Real(1.0),
        },
        ParamDef {
            name: "min_ratio",
            doc: "the floor over peak_lr",
            kind: ParamKind::Real { min: 0.0, max: 1.0 },
            default: Preset::Real(0.1),
        },
    ],
    build,
};

struct CosineFloor {
    peak_lr: f64,
    /// T_w and T_d, in steps.
    warmup: f64,
    decay: f64,
    min_ratio: f64,
}

fn build(params: &Params) -> Result<Box<dyn Schedule>, Invalid> {
    let (warmup, decay) = (params.real("warmup"), params.real("decay"));
    if decay <= warmup {
        return Err(Invalid::new(
            "decay",
            format!("{decay:?} is not above the warm-up's share; allowed: above {warmup:?}"),
        ));
    }
    let horizon = params.size("horizon") as f64;
    Ok(Box::new(CosineFloor {
        peak_lr: params.real("peak_lr"),
        warmup: warmup * horizon,
        decay: decay * horizon,
        min_ratio: params.real("min_ratio"),
    }))
}

impl Schedule for CosineFloor {
    fn lr(&self, step: u64, _steps: u64) -> f64 {
        let t = step as f64;
        if t <= self.warmup {
            return self.peak_lr * (t / self.warmup);
        }
        let done = ((t - self.warmup) / (self.decay - self.warmup)).min(1.0);
        let fall = 0.5 * (1.0 + libm::cos(std::f64::consts::PI * done));
        self.peak_lr * (self.min_ratio + (1.0 - self.min_ratio) * fall)
    }
    fn warmup_steps(&self) -> u64 {
        self.warmup as u64
    }
}
