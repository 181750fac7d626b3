//! The real work: trainers on a device, and tasks that are opened once and shared by all runs.

use super::work::{Training, Work};
use crate::store::key::{Conditions, Key};
use preheat_kernels::cpu::Cpu;
use preheat_suites::models::MODELS;
use preheat_suites::record::Measured;
use preheat_suites::registry::{Invalid, Params, Scalar, Spec, build};
use preheat_suites::run::Run;
use preheat_suites::tasks::{Corpus, TASKS, Task};
use preheat_suites::train::Trainer;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
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
        let files = Files { sha256: given(&spec.params, "sha256") };
        let task: Arc<dyn Task> = Arc::from(build("task", TASKS, spec)?.open(&files, sequences)?);
        tasks.insert(name, Arc::clone(&task));
        Ok(task)
    }

    /// A run at its start: fresh, or at the parameters of `from`, another run's checkpoint.
    ///
    /// # Errors
    /// One line: data, recipe or checkpoint do not fit.
    pub fn trainer(&self, run: &Run, from: Option<&[u8]>) -> Result<Trainer, String> {
        let task = self.task(run).map_err(|e| e.to_string())?;
        let mut trainer = Trainer::new(run, task, self.device).map_err(|e| e.to_string())?;
        if let Some(bytes) = from {
            // Parameters only: the new run's optimizer may be another one, so its moments start at zero.
            trainer.start_from(bytes, false)?;
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

    /// Learnable parameters of a run's model.
    ///
    /// # Errors
    /// A recipe that cannot be built.
    pub fn parameters(&self, run: &Run) -> Result<u64, Invalid> {
        let task = self.task(run)?;
        Ok(build("model", MODELS, &run.recipe.model)?.parameters(task.vocab(), task.seq()))
    }
}

/// A text parameter that is there and not empty.
fn given(params: &Params, name: &str) -> Option<String> {
    match params.0.get(name) {
        Some(Scalar::Text(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

/// What a run's numbers depend on besides code and recipe: the hash of its data file.
pub fn data_hash(task: &Spec) -> String {
    given(&task.params, "sha256").unwrap_or_else(|| "generated".into())
}

/// Where a run's record is kept.
pub fn key(run: &Run, conditions: &Conditions) -> Key {
    Key { run: run.id(), conditions: conditions.clone(), data: data_hash(&run.recipe.task) }
}

/// sha256 of `bytes` in hexadecimal, as upstreams publish it.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Files below the current folder, by the path that the suite names; the hash must be as stated.
struct Files {
    sha256: Option<String>,
}

impl Corpus for Files {
    fn read(&self, path: &str) -> Result<Vec<u8>, Invalid> {
        let bytes = fs::read(path).map_err(|e| Invalid::new("path", format!("{path}: {e}")))?;
        let found = sha256(&bytes);
        match &self.sha256 {
            Some(stated) if !stated.eq_ignore_ascii_case(&found) => {
                Err(Invalid::new("sha256", format!("{path} has {found}, the suite states {stated}")))
            }
            _ => Ok(bytes),
        }
    }
}

struct OnCpu(Trainer);

impl Work for Trainers {
    fn start(&self, run: &Run, from: Option<&[u8]>) -> Result<Box<dyn Training + '_>, String> {
        Ok(Box::new(OnCpu(self.trainer(run, from)?)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_must_have_the_stated_hash() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        fs::write(&path, "abc").unwrap();
        let path = path.to_str().unwrap();
        // The hash of "abc" in FIPS 180-2, appendix B.1.
        let stated = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Files { sha256: Some(stated.into()) }.read(path).unwrap(), b"abc");
        assert_eq!(Files { sha256: None }.read(path).unwrap(), b"abc");
        let wrong = Files { sha256: Some("00".into()) }.read(path).unwrap_err();
        assert!(wrong.message.contains(stated) && wrong.message.contains("00"), "{wrong}");
        assert_eq!(Files { sha256: None }.read("no/such/file").unwrap_err().key, "path");
    }

    #[test]
    fn the_data_hash_is_the_files() {
        let params = |text: &str| Params(BTreeMap::from([("sha256".to_string(), Scalar::Text(text.into()))]));
        assert_eq!(data_hash(&Spec { name: "text".into(), params: params("ab") }), "ab");
        assert_eq!(data_hash(&Spec { name: "text".into(), params: params("") }), "generated");
        assert_eq!(data_hash(&Spec { name: "markov".into(), params: Params::default() }), "generated");
    }
}
