//! Learning-rate schedules: linear warm-up over `warmup_steps`, then a decay.

use crate::registry::Entry;

/// A learning-rate schedule.
pub trait Schedule: Send + Sync {
    /// The learning rate of `step` (counted from 1) of a run of `steps` steps, in f64.
    fn lr(&self, step: u64, steps: u64) -> f64;
    /// Steps of linear warm-up, 0 for none. Must be below the run's steps.
    fn warmup_steps(&self) -> u64;
}

/// All schedules.
pub static SCHEDULES: &[Entry<Box<dyn Schedule>>] = &[];
