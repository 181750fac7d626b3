//! The lab: plan → workers → records → judge → compare. One way, and only records are written.

pub mod carry;
pub mod cubins;
pub mod data;
pub mod device;
pub mod libraries;
pub mod load;
pub mod part;
pub mod progress;
pub mod session;
pub mod shard;
mod task_word;
pub mod trainer;
pub mod work;
pub mod workers;

use clap::ValueEnum;
use preheat_suites::claims::Tier;
use std::path::PathBuf;
use std::time::Duration;

/// Exact or fast arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MathArg {
    /// The same bits on every machine.
    Exact,
    /// The device's own libraries.
    Fast,
}

/// What is to be done, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Suites by name; all where none is named.
    pub suites: Vec<String>,
    /// A folder of YAML files instead of the built-in suites.
    pub suites_dir: Option<PathBuf>,
    /// How much is run.
    pub tier: Tier,
    /// Threads; the machine's cores where it is not given.
    pub jobs: Option<usize>,
    /// The store's folder.
    pub store: PathBuf,
    /// Wall time between checkpoints.
    pub checkpoint_every: Duration,
    /// Only cells that match all of these.
    pub filter: Vec<String>,
    /// Only the first N claim seeds.
    pub seeds: Option<u32>,
    /// `NAME=FILE[,KEY=VALUE…]`.
    pub task: Option<String>,
}

impl Options {
    /// Why this selection cannot be compared with golden, which holds whole suites as they are.
    pub fn partial(&self) -> Option<&'static str> {
        if !self.filter.is_empty() {
            Some("--filter selects a part")
        } else if self.seeds.is_some() {
            Some("--seeds limits the seeds")
        } else if self.task.is_some() {
            Some("--task trains on other data")
        } else {
            None
        }
    }
}
