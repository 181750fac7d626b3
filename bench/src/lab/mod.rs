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

use crate::cli::DeviceArg;
use clap::ValueEnum;
use preheat_kernels::cuda::gemm::MathMode;
use preheat_suites::claims::Tier;
use std::path::PathBuf;
use std::time::Duration;

/// Exact or fast arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MathArg {
    /// The same bits on every machine.
    Exact,
    /// cuBLAS; the same as tf32.
    Fast,
    /// cuBLAS in f32, without tensor cores.
    F32,
    /// cuBLAS on tensor cores, inputs rounded to TF32, sums in f32.
    Tf32,
    /// cuBLAS on tensor cores, inputs rounded to bf16, sums and parameters in f32.
    Bf16,
}

impl MathArg {
    /// The math where nobody says which.
    pub const fn of(device: DeviceArg) -> Self {
        match device {
            DeviceArg::Cpu => Self::Exact,
            DeviceArg::Cuda => Self::Fast,
        }
    }
    /// The word of the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Fast => "fast",
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }
    /// How cuBLAS multiplies; `None` in exact math.
    pub const fn mode(self) -> Option<MathMode> {
        match self {
            Self::Exact => None,
            Self::F32 => Some(MathMode::F32),
            Self::Fast | Self::Tf32 => Some(MathMode::Tf32),
            Self::Bf16 => Some(MathMode::Bf16),
        }
    }
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
