//! The seam between the lab and what it drives: something that trains one run step by step.

use preheat_suites::record::Measured;
use preheat_suites::run::Run;

/// Starts runs. The real one is [`super::trainer::Trainers`]; tests plant crashes in a quick one.
pub trait Work: Sync {
    /// A run at its start: fresh, or at the parameters of `from`, another run's checkpoint. The error is one line.
    fn start(&self, run: &Run, from: Option<&[u8]>) -> Result<Box<dyn Training + '_>, String>;
}

/// One run in progress, on one thread.
pub trait Training {
    /// Steps completed.
    fn step(&self) -> u64;
    /// Whether nothing remains to be trained.
    fn is_done(&self) -> bool;
    /// Trains one step.
    fn advance(&mut self);
    /// Everything needed to go on with the same bits.
    fn checkpoint(&self) -> Vec<u8>;
    /// Goes on from a checkpoint of the same run. The error is one line; the training is then unusable.
    fn restore(&mut self, bytes: &[u8]) -> Result<(), String>;
    /// Final measurements.
    fn finish(self: Box<Self>) -> Measured;
}
