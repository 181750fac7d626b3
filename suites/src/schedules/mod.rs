//! Learning-rate schedules: linear warm-up over `warmup_steps`, then a decay.
//!
//! lr(t) = peak_lr·t/warmup_steps for t ≤ warmup_steps, then peak_lr·factor(t), t counted from 1. The decay
//! factor never depends on the warm-up once `decay_from` (or `timescale`) is given: two arms, one with and one
//! without warm-up, then have the same rate at every step after the warm-up. Without it the decay starts where
//! the warm-up ends.

mod constant;
mod cosine;
mod cosine_floor;
mod inverse_sqrt;
mod linear;
mod step;
mod untuned;

pub use untuned::{UNTUNED, untuned_warmup};

use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};

/// A learning-rate schedule.
pub trait Schedule: Send + Sync {
    /// The learning rate of `step` (counted from 1) of a run of `steps` steps, in f64.
    fn lr(&self, step: u64, steps: u64) -> f64;
    /// Steps of linear warm-up, 0 for none. Must be below the run's steps.
    fn warmup_steps(&self) -> u64;
}

/// All schedules.
pub static SCHEDULES: &[Entry<Box<dyn Schedule>>] =
    &[constant::ENTRY, cosine::ENTRY, cosine_floor::ENTRY, inverse_sqrt::ENTRY, linear::ENTRY, step::ENTRY];

const PEAK_LR: ParamDef = ParamDef {
    name: "peak_lr",
    doc: "the learning rate at the end of warm-up, before any decay",
    kind: ParamKind::Real { min: f64::MIN_POSITIVE, max: 1e6 },
    default: Preset::Required,
};
const WARMUP_STEPS: ParamDef = ParamDef {
    name: "warmup_steps",
    doc: "steps over which the rate rises linearly to peak_lr; 0 or 1 for none; untuned for 2/(1 − beta2)",
    kind: ParamKind::IntOr { min: 0, max: 10_000_000, word: UNTUNED },
    default: Preset::Int(0),
};
const DECAY_FROM: ParamDef = ParamDef {
    name: "decay_from",
    doc: "completed steps after which the decay starts, at least warmup_steps; 0 takes warmup_steps",
    kind: ParamKind::Int { min: 0, max: 10_000_000 },
    default: Preset::Int(0),
};

/// What comes after warm-up.
trait Decay: Send + Sync {
    /// lr/peak_lr at `step` > warmup_steps, 1 at the end of warm-up.
    fn factor(&self, step: u64, steps: u64) -> f64;
}

struct Warmed<D> {
    peak_lr: f64,
    warmup_steps: u64,
    decay: D,
}

impl<D: Decay> Schedule for Warmed<D> {
    fn lr(&self, step: u64, steps: u64) -> f64 {
        let factor = if step <= self.warmup_steps {
            step as f64 / self.warmup_steps as f64
        } else {
            self.decay.factor(step, steps)
        };
        self.peak_lr * factor
    }
    fn warmup_steps(&self) -> u64 {
        self.warmup_steps
    }
}

fn warmed<D: Decay + 'static>(params: &Params, decay: D) -> Result<Box<dyn Schedule>, Invalid> {
    let warmup_steps = params.size("warmup_steps") as u64;
    Ok(Box::new(Warmed { peak_lr: params.real("peak_lr"), warmup_steps, decay }))
}

/// The step that parameter `key` names, `warmup_steps` where it is 0. It may not lie within the warm-up.
fn start(params: &Params, key: &str) -> Result<u64, Invalid> {
    let (start, warmup) = (params.size(key) as u64, params.size("warmup_steps") as u64);
    match start {
        0 => Ok(warmup),
        s if s < warmup => {
            let wrong = format!("{s} lies within the warm-up of {warmup} steps; allowed: 0 or from {warmup} on");
            Err(Invalid::new(key, wrong))
        }
        s => Ok(s),
    }
}

/// How much of the way from `from` to `steps` is done, in [0, 1].
fn progress(step: u64, from: u64, steps: u64) -> f64 {
    match steps.checked_sub(from) {
        None | Some(0) => 0.0,
        Some(length) => (step.saturating_sub(from) as f64 / length as f64).min(1.0),
    }
}

#[cfg(test)]
mod tests;
