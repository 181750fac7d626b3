//! Workers: threads that each take the next run, train it on one thread, and keep its record. Numbers
//! depend neither on how many there are nor on the order in which they take runs.

use super::progress::Progress;
use super::work::{Training, Work};
use crate::store::Store;
use crate::store::key::Key;
use crate::store::throughput::Throughput;
use preheat_suites::record::{Outcome, Record};
use preheat_suites::run::{Run, RunId};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The name of every worker thread, by which the panic hook knows them.
pub const THREAD: &str = "preheat-worker";

/// How often a worker looks whether another bench has finished a run that it trains.
const POLL: Duration = Duration::from_millis(50);

/// One run to carry out.
#[derive(Clone, Debug)]
pub struct Job {
    /// The run.
    pub run: Run,
    /// Its place in the store.
    pub key: Key,
    /// `suite/experiment/arm seed`, for the reader.
    pub label: String,
    /// FLOPs of one step.
    pub step_flops: f64,
    /// Steps whose checkpoints other runs start from, ascending.
    pub keep_steps: Vec<u64>,
    /// The run and the step that this one starts from.
    pub start: Option<(Key, u64)>,
}

/// What the workers need besides the jobs.
pub struct Workers<'a> {
    /// Where records go.
    pub store: &'a Store,
    /// What trains.
    pub work: &'a dyn Work,
    /// Threads, at least 1.
    pub jobs: usize,
    /// Wall time between checkpoints. It decides when a checkpoint is written, never a number.
    pub checkpoint_every: Duration,
    /// Set by a signal: finish the step, checkpoint, stop.
    pub stop: &'a AtomicBool,
    /// What the user sees meanwhile.
    pub progress: &'a dyn Progress,
    /// Kept with every record.
    pub environment: &'a BTreeMap<String, String>,
}

/// What became of the jobs.
#[derive(Debug, Default)]
pub struct Carried {
    /// Finished records, from the store or trained now.
    pub records: BTreeMap<RunId, Record>,
    /// Runs trained to their end by this process.
    pub trained: usize,
    /// Runs that could not be carried out: label, one line, id.
    pub failures: Vec<(String, String, RunId)>,
    /// Stopped by a signal before all was done.
    pub interrupted: bool,
    /// What was trained here, for the expected time.
    pub throughput: Throughput,
}

enum End {
    Record(Box<Record>, bool),
    Busy,
    Stopped,
}

struct Shared {
    ready: VecDeque<Job>,
    /// Runs that another bench trains now.
    elsewhere: VecDeque<Job>,
    carried: Carried,
}

impl Workers<'_> {
    /// Carries out all jobs, longest first. One run's failure does not stop the others.
    pub fn carry_out(&self, jobs: Vec<Job>) -> Carried {
        let mut carried = Carried::default();
        let mut ready = Vec::new();
        for job in jobs {
            match self.finished(&job) {
                Some(record) => drop(carried.records.insert(job.key.run.clone(), record)),
                None => ready.push(job),
            }
        }
        let cost = |job: &Job| work(&job.run, job.step_flops);
        ready.sort_by(|a, b| cost(b).total_cmp(&cost(a)));
        self.progress.begin(ready.len(), ready.iter().map(cost).sum(), carried.records.len());
        let threads = self.jobs.clamp(1, ready.len().max(1));
        let shared = Mutex::new(Shared { ready: ready.into(), elsewhere: VecDeque::new(), carried });
        thread::scope(|scope| {
            for _ in 0..threads {
                let spawned =
                    thread::Builder::new().name(THREAD.into()).spawn_scoped(scope, || self.work_through(&shared));
                if let Err(e) = spawned {
                    self.progress.warn(&format!("a worker could not be started: {e}"));
                }
            }
        });
        // Without a single worker this thread does the work.
        self.work_through(&shared);
        self.progress.end();
        shared.into_inner().unwrap_or_else(|e| e.into_inner()).carried
    }

    fn work_through(&self, shared: &Mutex<Shared>) {
        loop {
            let (job, waits) = {
                let mut shared = lock(shared);
                if self.stop.load(Ordering::Relaxed) {
                    shared.carried.interrupted |= !(shared.ready.is_empty() && shared.elsewhere.is_empty());
                    return;
                }
                match shared.ready.pop_front() {
                    Some(job) => (job, false),
                    None => match shared.elsewhere.pop_front() {
                        Some(job) => (job, true),
                        None => return,
                    },
                }
            };
            if waits {
                thread::sleep(POLL);
            }
            let started = Instant::now();
            let mut steps = 0;
            let end = catch_unwind(AssertUnwindSafe(|| self.one(&job, &mut steps)))
                .unwrap_or_else(|payload| Err(format!("panicked: {}", panic_line(payload.as_ref()))));
            let mut shared = lock(shared);
            shared.carried.throughput.flops += steps as f64 * job.step_flops;
            if steps > 0 {
                shared.carried.throughput.seconds += started.elapsed().as_secs_f64();
            }
            match end {
                Ok(End::Record(record, trained)) => {
                    shared.carried.trained += usize::from(trained);
                    shared.carried.records.insert(job.key.run.clone(), *record);
                    self.progress.finished();
                }
                Ok(End::Busy) => shared.elsewhere.push_back(job),
                Ok(End::Stopped) => shared.carried.interrupted = true,
                Err(why) => {
                    self.progress.warn(&format!("{}: {why}", job.label));
                    shared.carried.failures.push((job.label, why, job.key.run));
                    self.progress.finished();
                }
            }
        }
    }

    /// Trains one run, or takes its record where another bench has just written it.
    fn one(&self, job: &Job, steps: &mut u64) -> Result<End, String> {
        let Some(lock) = self.store.lock(&job.key)? else { return Ok(End::Busy) };
        // Only now does nobody else write: look again.
        if let Some(record) = self.finished(job) {
            lock.remove();
            return Ok(End::Record(Box::new(record), false));
        }
        let mut training = self.resumed(job)?;
        let mut saved = Instant::now();
        self.keep_for_others(job, &*training)?;
        while !training.is_done() {
            if self.stop.load(Ordering::Relaxed) {
                self.store.keep_checkpoint(&job.key, &training.checkpoint())?;
                return Ok(End::Stopped);
            }
            if saved.elapsed() >= self.checkpoint_every {
                self.store.keep_checkpoint(&job.key, &training.checkpoint())?;
                saved = Instant::now();
            }
            training.advance();
            *steps += 1;
            self.keep_for_others(job, &*training)?;
            self.progress.advanced(job.step_flops);
        }
        let measured = training.finish();
        self.progress.advanced(job.step_flops);
        let record = Record { run: job.run.clone(), measured, environment: self.environment.clone() };
        self.store.keep(&job.key, &record)?;
        lock.remove();
        Ok(End::Record(Box::new(record), true))
    }

    /// The run's record, where all checkpoints that others start from are there too. A run that diverged
    /// before such a step has none to give.
    fn finished(&self, job: &Job) -> Option<Record> {
        let warn = |line: &str| self.progress.warn(line);
        let record = self.store.record(&job.key, &warn)?;
        let last = match record.measured.outcome {
            Outcome::Diverged { step } => step,
            _ => u64::MAX,
        };
        let mut needed = job.keep_steps.iter().filter(|step| **step < last);
        needed.all(|step| self.store.kept(&job.key, *step, &warn).is_some()).then_some(record)
    }

    fn keep_for_others(&self, job: &Job, training: &dyn Training) -> Result<(), String> {
        let step = training.step();
        if job.keep_steps.contains(&step) {
            self.store.keep_for_others(&job.key, step, &training.checkpoint())?;
        }
        Ok(())
    }

    /// The run at its checkpoint where there is a good one, else at its start.
    fn resumed(&self, job: &Job) -> Result<Box<dyn Training + '_>, String> {
        let warn = |line: &str| self.progress.warn(line);
        let mut training = self.fresh(job)?;
        let Some(bytes) = self.store.checkpoint(&job.key, &warn) else { return Ok(training) };
        if let Err(why) = training.restore(&bytes) {
            self.store.reject_checkpoint(&job.key, &why, &warn);
            return self.fresh(job);
        }
        let step = training.step();
        let mut passed = job.keep_steps.iter().filter(|kept| **kept < step);
        if passed.any(|kept| self.store.kept(&job.key, *kept, &warn).is_none()) {
            return self.fresh(job);
        }
        self.progress.resumed(&job.label, step, step as f64 * job.step_flops);
        Ok(training)
    }

    fn fresh(&self, job: &Job) -> Result<Box<dyn Training + '_>, String> {
        let Some((key, step)) = &job.start else { return self.work.start(&job.run, None) };
        let bytes = self.store.kept(key, *step, &|line| self.progress.warn(line));
        let bytes = bytes.ok_or_else(|| format!("no checkpoint of run {} at step {step} to start from", key.run))?;
        self.work.start(&job.run, Some(&bytes))
    }
}

/// FLOPs that a run is expected to cost: its steps, and about one more for what is measured before and after,
/// so that a run without steps has a cost too.
pub fn work(run: &Run, step_flops: f64) -> f64 {
    step_flops * (run.recipe.train.int("steps") + 1) as f64
}

/// A panic in one worker is that run's failure; what the others share stays whole, so poison is ignored.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// The first line of a panic's message.
fn panic_line(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    text.and_then(|x| x.lines().next()).unwrap_or("without a message").to_string()
}

#[cfg(test)]
#[path = "workers_tests.rs"]
mod tests;
