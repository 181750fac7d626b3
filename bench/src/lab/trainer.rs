//! The real work: trainers on a device, and tasks that are opened once and shared by all runs.

use super::carry::Sizes;
use super::data;
use super::work::{Training, Work};
use crate::store::key::{Conditions, Key};
use preheat_kernels::cpu::Cpu;
use preheat_suites::models::MODELS;
use preheat_suites::record::Measured;
use preheat_suites::registry::{Invalid, build};
use preheat_suites::run::{Run, Start};
use preheat_suites::tasks::Task;
use preheat_suites::train::{Trainer, run_flops};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Starts real runs.
pub struct Trainers {
    device: Cpu,
    tasks: Mutex<BTreeMap<String, Arc<dyn Task>>>,
}

impl Trainers {
    /// Trainers on `device`.
    pub fn new(device: Cpu) -> Self {
        Self { device, tasks: Mutex::new(BTreeMap::new()) }
    }

    /// The task of a run, opened at most once a process.
    ///
    /// # Errors
    /// A missing file, another hash, a task that does not fit.
    pub fn task(&self, run: &Run) -> Result<Arc<dyn Task>, Invalid> {
        let spec = &run.recipe.task;
        let sequences = run.recipe.train.size("eval_sequences");
        let name = format!("{spec} {sequences}");
        let mut tasks = self.tasks.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(task) = tasks.get(&name) {
            return Ok(Arc::clone(task));
        }
        let task: Arc<dyn Task> = Arc::from(data::open(spec, sequences)?);
        tasks.insert(name, Arc::clone(&task));
        Ok(task)
    }

    /// A run at its start: fresh, or at `from`, another run's checkpoint, of which it takes what its start says.
    ///
    /// # Errors
    /// One line: data, recipe or checkpoint do not fit.
    pub fn trainer(&self, run: &Run, from: Option<&[u8]>) -> Result<Trainer, String> {
        let task = self.task(run).map_err(|e| e.to_string())?;
        let mut trainer = Trainer::new(run, task, self.device).map_err(|e| e.to_string())?;
        if let Some(bytes) = from {
            let optimizer_state = matches!(run.start, Start::Checkpoint { optimizer_state: true, .. });
            trainer.start_from(bytes, optimizer_state)?;
        }
        Ok(trainer)
    }

    /// FLOPs of one training step of a run: the exact sum over its matrix products.
    ///
    /// # Errors
    /// A recipe that cannot be built.
    pub fn step_flops(&self, run: &Run) -> Result<f64, Invalid> {
        let task = self.task(run)?;
        let model = build("model", MODELS, &run.recipe.model)?;
        Ok(model.step_flops(run.recipe.train.size("batch"), task.vocab(), task.seq()))
    }

    /// FLOPs of a whole run: its steps, evaluations and probes.
    ///
    /// # Errors
    /// A recipe that cannot be built.
    pub fn run_flops(&self, run: &Run) -> Result<f64, Invalid> {
        // The task's own validation set, and those beside it.
        let sets = 1 + self.task(run)?.named_sets().iter().filter(|named| named.set.is_some()).count();
        Ok(run_flops(run, sets, self.step_flops(run)?))
    }

    /// Learnable parameters of a run's model.
    ///
    /// # Errors
    /// A recipe that cannot be built.
    pub fn parameters(&self, run: &Run) -> Result<u64, Invalid> {
        let task = self.task(run)?;
        Ok(build("model", MODELS, &run.recipe.model)?.parameters(task.vocab(), task.seq()))
    }
}

/// Where a run's record is kept.
pub fn key(run: &Run, conditions: &Conditions) -> Key {
    Key { run: run.id(), conditions: conditions.clone(), data: data::data_hash(&run.recipe.task) }
}

struct OnCpu(Trainer);

impl Work for Trainers {
    fn start(&self, run: &Run, from: Option<&[u8]>) -> Result<Box<dyn Training + '_>, String> {
        Ok(Box::new(OnCpu(self.trainer(run, from)?)))
    }
}

impl Sizes for Trainers {
    fn step_flops(&self, run: &Run) -> f64 {
        Trainers::step_flops(self, run).unwrap_or(0.0)
    }
    fn parameters(&self, run: &Run) -> Option<u64> {
        Trainers::parameters(self, run).ok()
    }
}

impl Training for OnCpu {
    fn step(&self) -> u64 {
        self.0.step()
    }
    fn is_done(&self) -> bool {
        self.0.is_done()
    }
    fn advance(&mut self) {
        self.0.advance();
    }
    fn checkpoint(&self) -> Vec<u8> {
        self.0.checkpoint()
    }
    fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.0.restore(bytes)
    }
    fn finish(self: Box<Self>) -> Measured {
        self.0.finish()
    }
}
