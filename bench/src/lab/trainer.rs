//! The real work: trainers on a device, and tasks that are opened once and shared by all runs.

use super::carry::Sizes;
use super::data;
use super::device::Chosen;
use super::work::{Start, Training, Trouble, Work};
use super::workers::Job;
use crate::store::key::{Conditions, Key};
use preheat_kernels::cpu::Cpu;
use preheat_kernels::cuda::device_bytes;
use preheat_suites::models::MODELS;
use preheat_suites::record::Measured;
use preheat_suites::registry::{Invalid, build};
use preheat_suites::run::Run;
use preheat_suites::tasks::Task;
use preheat_suites::train::{Cohort, Trainer, program, run_flops, shape};
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Starts real runs.
pub struct Trainers {
    device: Chosen,
    cohort: Option<usize>,
    /// Cohorts that are trained at a time, which share the device's memory.
    workers: usize,
    tasks: Mutex<BTreeMap<String, Arc<dyn Task>>>,
}

impl Trainers {
    /// Trainers on a CPU, each run alone.
    pub fn new(cpu: Cpu) -> Self {
        Self::on(Chosen::Cpu(cpu), None, 1)
    }

    /// Trainers on `device`, with at most `cohort` runs together, or as many as suit the device where `workers` threads
    /// train a cohort each.
    pub fn on(device: Chosen, cohort: Option<usize>, workers: usize) -> Self {
        Self { device, cohort, workers, tasks: Mutex::new(BTreeMap::new()) }
    }

    /// What trains.
    pub fn device(&self) -> &Chosen {
        &self.device
    }

    /// Threads that train.
    pub fn workers(&self) -> usize {
        self.workers
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

    /// A run at its start on this machine's processor: fresh, or at `from`, another run's checkpoint, of which it takes
    /// what its start says.
    ///
    /// # Errors
    /// One line: data, recipe or checkpoint do not fit.
    pub fn trainer(&self, run: &Run, from: Option<&[u8]>) -> Result<Trainer, String> {
        let task = self.task(run).map_err(|e| e.to_string())?;
        let cpu = match &self.device {
            Chosen::Cpu(cpu) => *cpu,
            Chosen::Cuda(cuda) => cuda.host(),
        };
        let mut trainer = Trainer::new(run, task, cpu).map_err(|e| e.to_string())?;
        if let Some(bytes) = from {
            trainer.start_from(bytes, run.takes_optimizer_state())?;
        }
        Ok(trainer)
    }

    /// How many runs of the shape of `run` are trained together at most.
    fn together(&self, run: &Run) -> usize {
        match &self.device {
            Chosen::Cpu(_) => self.cohort.unwrap_or(1),
            Chosen::Cuda(cuda) => {
                let most = self.cohort.unwrap_or(COHORT);
                let task = self.task(run).ok();
                let program = task.and_then(|task| program(run, &*task, 1).ok().flatten());
                let free = cuda.gpu().free_bytes().ok();
                program
                    .zip(free)
                    .map_or(most, |(program, free)| fitting(free, self.workers, device_bytes(&program), most))
            }
        }
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

/// Runs together on a GPU where nobody says how many: more did not fit anything better into the papers' shapes.
const COHORT: usize = 64;

/// Share of a GPU's free memory that cohorts may take: kernels and the driver take some too.
const SHARE: f64 = 0.8;

/// Runs of `run_bytes` each that fit together where `workers` cohorts share `free_bytes`: at most `most`, at least 1.
fn fitting(free_bytes: u64, workers: usize, run_bytes: usize, most: usize) -> usize {
    let share = free_bytes as f64 * SHARE / workers.max(1) as f64;
    ((share / run_bytes.max(1) as f64) as usize).clamp(1, most.max(1))
}

impl Work for Trainers {
    fn start(&self, runs: &[Start<'_>]) -> Result<Box<dyn Training + '_>, Trouble> {
        let tasks = runs.iter().map(|(run, _)| Ok((*run, self.task(run).map_err(|e| e.to_string())?)));
        let members = tasks.collect::<Result<Vec<_>, String>>()?;
        let mut cohort = Cohort::new(&members, self.device.shared())?;
        for (r, (run, from)) in runs.iter().enumerate() {
            if let Some(bytes) = from {
                cohort.start_from(r, bytes, run.takes_optimizer_state())?;
            }
        }
        Ok(Box::new(Together(cohort)))
    }

    fn cohorts(&self, jobs: Vec<Job>) -> Vec<Vec<Job>> {
        self.grouped(jobs)
    }
}

impl Borrow<Run> for Job {
    fn borrow(&self) -> &Run {
        &self.run
    }
}

impl Trainers {
    /// Runs of one shape together, in the order of the first of them. A run that cannot be built stays alone and says
    /// why.
    pub fn grouped<J: Borrow<Run>>(&self, jobs: Vec<J>) -> Vec<Vec<J>> {
        if matches!((&self.device, self.cohort), (Chosen::Cpu(_), None | Some(1))) {
            return jobs.into_iter().map(|job| vec![job]).collect();
        }
        let mut cohorts: Vec<Vec<J>> = Vec::new();
        // Of each shape, the cohort that is being filled and how many it takes.
        let mut filling: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for job in jobs {
            let run: &Run = job.borrow();
            let shape = self.task(run).and_then(|task| shape(run, &*task));
            let open = shape.as_ref().ok().and_then(|shape| filling.get(shape).copied());
            match open.filter(|(at, room)| cohorts[*at].len() < *room) {
                Some((at, _)) => cohorts[at].push(job),
                None => {
                    if let Ok(shape) = shape {
                        let room = open.map_or_else(|| self.together(run), |(_, room)| room);
                        filling.insert(shape, (cohorts.len(), room));
                    }
                    cohorts.push(vec![job]);
                }
            }
        }
        cohorts
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

struct Together(Cohort);

impl Training for Together {
    fn step(&self, r: usize) -> u64 {
        self.0.step(r)
    }
    fn is_done(&self, r: usize) -> bool {
        self.0.is_done(r)
    }
    fn advance(&mut self) -> Result<(), Trouble> {
        Ok(self.0.advance()?)
    }
    fn checkpoint(&mut self, r: usize) -> Result<Vec<u8>, Trouble> {
        Ok(self.0.checkpoint(r)?)
    }
    fn restore(&mut self, r: usize, bytes: &[u8]) -> Result<(), Trouble> {
        Ok(self.0.restore(r, bytes)?)
    }
    fn finish(self: Box<Self>) -> Result<Vec<Measured>, Trouble> {
        Ok(self.0.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_the_device_s_memory() {
        let fits = |workers, run_bytes| fitting(1_000, workers, run_bytes, 64);
        assert_eq!([1, 2, 3, 4].map(|workers| fits(workers, 20)), [40, 20, 13, 10]);
        // All cohorts of all workers stay inside the share.
        for workers in 1..=20 {
            for run_bytes in [1, 7, 19, 40] {
                let taken = workers * fits(workers, run_bytes) * run_bytes;
                assert!(taken <= 800 || fits(workers, run_bytes) == 1, "{workers} × {run_bytes}: {taken}");
            }
        }
        assert_eq!([fits(1, 1), fits(1, 5_000), fits(0, 20), fitting(0, 2, 20, 64)], [64, 1, 40, 1]);
    }
}
