//! The seam between the lab and what it drives: something that trains runs of one shape, step by step together.

use super::workers::Job;
use preheat_kernels::device::DeviceError;
use preheat_suites::record::Measured;
use preheat_suites::run::Run;
use preheat_suites::train::{ResumeError, StartError};

/// A run, and another run's checkpoint where it starts from one.
pub type Start<'a> = (&'a Run, Option<Vec<u8>>);

/// Why runs are not trained. Each is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Theirs: what they ask for, or more than the device has room for.
    #[error("{0}")]
    Own(String),
    /// A checkpoint's, and not the runs'.
    #[error("{0}")]
    Checkpoint(String),
    /// The device is lost: every other run of this process would meet it.
    #[error("{0}")]
    Lost(String),
}

impl From<String> for Trouble {
    fn from(line: String) -> Self {
        Self::Own(line)
    }
}

impl From<Trouble> for String {
    fn from(trouble: Trouble) -> Self {
        trouble.to_string()
    }
}

impl From<DeviceError> for Trouble {
    fn from(e: DeviceError) -> Self {
        if e.lost { Self::Lost(e.line) } else { Self::Own(e.line) }
    }
}

impl From<StartError> for Trouble {
    fn from(e: StartError) -> Self {
        match e {
            StartError::Recipe(invalid) => Self::Own(invalid.to_string()),
            StartError::Device(e) => e.into(),
        }
    }
}

impl From<ResumeError> for Trouble {
    fn from(e: ResumeError) -> Self {
        match e {
            ResumeError::Checkpoint(line) => Self::Checkpoint(line),
            ResumeError::Device(e) => e.into(),
        }
    }
}

/// Starts runs. The real one is [`super::trainer::Trainers`]; tests plant crashes in a quick one.
pub trait Work: Sync {
    /// Runs at their start: fresh, or at the parameters of another run's checkpoint. They are one of the lists that
    /// [`Self::cohorts`] gives, or a part of one.
    fn start(&self, runs: &[Start<'_>]) -> Result<Box<dyn Training + '_>, Trouble>;

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
    /// Trains one step of every run that is not done. After an error the training is unusable.
    fn advance(&mut self) -> Result<(), Trouble>;
    /// Everything that run `r` needs to go on with the same bits, alone or among others.
    fn checkpoint(&mut self, r: usize) -> Result<Vec<u8>, Trouble>;
    /// Run `r` goes on from a checkpoint of the same run. After an error the training is unusable; it is
    /// [`Trouble::Checkpoint`] where the checkpoint is to blame.
    fn restore(&mut self, r: usize, bytes: &[u8]) -> Result<(), Trouble>;
    /// Final measurements of each run.
    fn finish(self: Box<Self>) -> Result<Vec<Measured>, Trouble>;
}
