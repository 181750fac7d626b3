//! Training: the pure step loop over a graph. No files, no clocks, no threads.

use crate::record::Measured;
use crate::registry::{Invalid, ParamDef, ParamKind, Preset};
use crate::run::Run;
use crate::tasks::Task;
use preheat_kernels::cpu::Cpu;
use std::sync::Arc;

/// Parameters of a recipe's `train` section.
pub static PARAMS: &[ParamDef] = &[
    ParamDef {
        name: "steps",
        doc: "optimizer steps; 0 measures at initialisation only",
        kind: ParamKind::Int { min: 0, max: 10_000_000 },
        default: Preset::Required,
    },
    ParamDef {
        name: "batch",
        doc: "sequences a step",
        kind: ParamKind::Int { min: 1, max: 65_536 },
        default: Preset::Required,
    },
    ParamDef {
        name: "eval_every",
        doc: "steps between evaluations; 0 evaluates at the end only",
        kind: ParamKind::Int { min: 0, max: 10_000_000 },
        default: Preset::Int(0),
    },
    ParamDef {
        name: "eval_sequences",
        doc: "sequences of the validation set, a multiple of batch",
        kind: ParamKind::Int { min: 1, max: 1_000_000 },
        default: Preset::Required,
    },
    ParamDef {
        name: "clip",
        doc: "largest global gradient norm; 0 does not clip",
        kind: ParamKind::Real { min: 0.0, max: 1e9 },
        default: Preset::Real(0.0),
    },
    ParamDef {
        name: "label_smoothing",
        doc: "weight spread over all classes in the training loss",
        kind: ParamKind::Real { min: 0.0, max: 0.999 },
        default: Preset::Real(0.0),
    },
    ParamDef {
        name: "probe",
        doc: "what is measured at initialisation and at the end",
        kind: ParamKind::Choice(&["none", "signal"]),
        default: Preset::Text("none"),
    },
];

/// What a step reports, for progress and checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More steps remain.
    Running,
    /// The run is over: finished or diverged.
    Done,
}

/// One run in progress on one device.
pub struct Trainer {
    run: Run,
    step: u64,
}

impl Trainer {
    /// Builds the graph, plans memory, initialises parameters and measures at initialisation.
    /// Errors name the recipe's key, e.g. `model.heads`.
    pub fn new(run: &Run, task: Arc<dyn Task>, device: Cpu) -> Result<Self, Invalid> {
        let _ = (task, device);
        Ok(Self { run: run.clone(), step: 0 })
    }
    /// Steps completed.
    pub fn step(&self) -> u64 {
        self.step
    }
    /// Steps in all.
    pub fn steps(&self) -> u64 {
        self.run.recipe.train.int("steps") as u64
    }
    /// Trains one step, and evaluates where it is due.
    pub fn advance(&mut self) -> Progress {
        self.step += 1;
        if self.step < self.steps() { Progress::Running } else { Progress::Done }
    }
    /// Whether nothing remains to be trained.
    pub fn is_done(&self) -> bool {
        self.step >= self.steps()
    }
    /// Everything needed to go on with the same bits: parameters, states, step, curves. Opaque bytes with
    /// a length-checked layout; the lab adds its own checksum.
    pub fn checkpoint(&self) -> Vec<u8> {
        Vec::new()
    }
    /// Goes on from [`Self::checkpoint`] of the same run. An error is one line; the trainer is then unusable.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        let _ = bytes;
        Err("no checkpoint".into())
    }
    /// Final evaluation, metrics and digest.
    pub fn finish(self) -> Measured {
        unreachable!("built with the graph")
    }
}
