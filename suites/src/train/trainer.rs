//! One run in progress on a CPU: a cohort of one that cannot fail.

use super::Cohort;
use super::cohort::StartError;
use crate::record::Measured;
use crate::registry::Invalid;
use crate::run::Run;
use crate::tasks::Task;
use preheat_kernels::cpu::Cpu;
use preheat_kernels::graph::Watch;
use std::sync::Arc;

/// What a step reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More steps remain.
    Running,
    /// The run is over: finished or diverged.
    Done,
}

/// One run in progress on a CPU.
pub struct Trainer(pub(super) Cohort);

/// Why a result of a CPU is there.
pub(super) const CPU: &str = "a CPU does not fail";

impl Trainer {
    /// Builds the graph, plans memory, initialises parameters and measures at initialisation.
    /// Errors name the recipe's key, e.g. `model.heads`.
    pub fn new(run: &Run, task: Arc<dyn Task>, device: Cpu) -> Result<Self, Invalid> {
        match Cohort::new(&[(run, task)], Arc::new(device)) {
            Ok(cohort) => Ok(Self(cohort)),
            Err(StartError::Recipe(invalid)) => Err(invalid),
            Err(StartError::Device(e)) => panic!("{CPU}: {e}"),
        }
    }

    /// Steps completed.
    pub fn step(&self) -> u64 {
        self.0.step(0)
    }
    /// Steps in all.
    pub fn steps(&self) -> u64 {
        self.0.steps()
    }
    /// Whether nothing remains to be trained.
    pub fn is_done(&self) -> bool {
        self.0.is_done(0)
    }
    /// Floating point operations of a step's matrix products.
    pub fn step_flops(&self) -> u64 {
        self.0.step_flops()
    }

    /// Trains one step, and evaluates where it is due.
    pub fn advance(&mut self) -> Progress {
        self.advance_watched(&mut |_, _| ())
    }

    /// [`Self::advance`], telling `done` each op of the training step.
    pub fn advance_watched(&mut self, done: Watch<'_>) -> Progress {
        self.0.advance_watched(done).expect(CPU);
        if self.is_done() { Progress::Done } else { Progress::Running }
    }

    /// See [`Cohort::checkpoint`].
    pub fn checkpoint(&self) -> Vec<u8> {
        self.0.settled_checkpoint(0).expect(CPU)
    }

    /// Goes on from [`Self::checkpoint`] of the same run. An error is one line; the trainer is then unusable.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.0.restore(0, bytes).map_err(|e| e.to_string())
    }

    /// See [`Cohort::start_from`].
    pub fn start_from(&mut self, bytes: &[u8], optimizer_state: bool) -> Result<(), String> {
        self.0.start_from(0, bytes, optimizer_state).map_err(|e| e.to_string())
    }

    /// Final evaluation, metrics and digest.
    pub fn finish(self) -> Measured {
        self.0.finish().expect(CPU).remove(0)
    }
}
