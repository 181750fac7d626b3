//! The seam between the lab and what it drives: something that trains runs of one shape, step by step together.

use super::workers::Job;
use preheat_suites::record::Measured;
use preheat_suites::run::Run;

/// A run, and another run's checkpoint where it starts from one.
pub type Start<'a> = (&'a Run, Option<Vec<u8>>);

/// Starts runs. The real one is [`super::trainer::Trainers`]; tests plant crashes in a quick one.
pub trait Work: Sync {
    /// Runs at their start: fresh, or at the parameters of another run's checkpoint. They are one of the lists that
    /// [`Self::cohorts`] gives, or a part of one. The error is one line.
    fn start(&self, runs: &[Start<'_>]) -> Result<Box<dyn Training + '_>, String>;

    /// Which runs are trained together, in the order in which they are taken.
    fn cohorts(&self, jobs: Vec<Job>) -> Vec<Vec<Job>> {
        jobs.into_iter().map(|job| vec![job]).collect()
    }
}

/// Runs in progress, on one thread. Each is named by its place among those that were started.
pub trait Training {
    /// Steps that run `r` completed, as far as it is known: after [`Self::checkpoint`] it is.
    fn step(&self, r: usize) -> u64;
    /// Whether nothing of run `r` remains to be trained.
    fn is_done(&self, r: usize) -> bool;
    /// Trains one step of every run that is not done. The error is one line; the training is then unusable.
    fn advance(&mut self) -> Result<(), String>;
    /// Everything that run `r` needs to go on with the same bits, alone or among others.
    fn checkpoint(&mut self, r: usize) -> Result<Vec<u8>, String>;
    /// Run `r` goes on from a checkpoint of the same run. The error is one line; the training is then unusable.
    fn restore(&mut self, r: usize, bytes: &[u8]) -> Result<(), String>;
    /// Final measurements of each run.
    fn finish(self: Box<Self>) -> Result<Vec<Measured>, String>;
}
