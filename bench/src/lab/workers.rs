//! Workers: threads that each take the next run, or the next cohort of runs, train it on one thread, and keep the
//! records. Numbers depend neither on how many there are, nor on the order in which they take runs, nor on cohorts.

use super::progress::Progress;
use super::work::{Training, Trouble, Work};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::key::Key;
use crate::store::throughput::Throughput;
use preheat_suites::record::{Measured, Outcome, Record};
use preheat_suites::run::{Run, RunId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

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
    /// Time since some moment. It may jump: it decides when a checkpoint is written and what the expected time is.
    pub clock: &'a (dyn Fn() -> Duration + Sync),
    /// Set by a signal: finish the step, checkpoint, stop.
    pub stop: &'a AtomicBool,
    /// What the user sees meanwhile.
    pub progress: &'a dyn Progress,
    /// Kept with every record.
    pub environment: &'a (dyn Fn() -> BTreeMap<String, String> + Sync),
    /// The curves that anyone reads after training. The others stay in the store: they are most of a record.
    pub curves: &'a BTreeSet<String>,
}

/// What became of the jobs.
#[derive(Debug, Default)]
pub struct Carried {
    /// What finished runs measured, from the store or trained now.
    pub measured: BTreeMap<RunId, Measured>,
    /// Runs trained to their end by this process.
    pub trained: usize,
    /// Runs that could not be carried out: label, one line, id.
    pub failures: Vec<(String, String, RunId)>,
    /// Stopped by a signal before all was done.
    pub interrupted: bool,
    /// Why the rest was not tried.
    pub halt: Option<Halt>,
    /// What was trained here, for the expected time.
    pub throughput: Throughput,
}

/// What every further run would meet. One line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The store takes nothing more.
    #[error("the store takes nothing more: {0}")]
    Store(String),
    /// The device is lost to this process.
    #[error("{0}")]
    Device(String),
}

impl Halt {
    /// The same with what to do, before the line that goes on.
    pub fn told(&self) -> String {
        match self {
            Self::Store(_) => format!("{self}; make room and go on with"),
            Self::Device(_) => {
                format!("{self}; nothing more is trained in this process, finished runs are kept; go on with")
            }
        }
    }
}

enum End {
    Measured(Box<Measured>, bool),
    Busy,
    Stopped,
}

/// Why a run did not come to its end.
enum Fault {
    /// This run's own trouble.
    Run(String),
    /// It would meet every other run too.
    All(Halt),
}

impl From<String> for Fault {
    fn from(line: String) -> Self {
        Self::Run(line)
    }
}

impl From<StoreError> for Fault {
    fn from(e: StoreError) -> Self {
        if e.whole { Self::All(Halt::Store(e.to_string())) } else { Self::Run(e.to_string()) }
    }
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Own(line) | Trouble::Checkpoint(line) => Self::Run(line),
            Trouble::Lost(line) => Self::All(Halt::Device(line)),
        }
    }
}

struct Shared {
    queue: Mutex<Queue>,
    /// Set where nothing more is to be trained.
    halt: AtomicBool,
}

struct Queue {
    /// Each is trained together.
    ready: VecDeque<Vec<Job>>,
    /// Runs that another bench trains now.
    elsewhere: VecDeque<Job>,
    carried: Carried,
}

impl Workers<'_> {
    /// Carries out all jobs, longest first. One run's failure does not stop the others.
    pub fn carry_out(&self, jobs: Vec<Job>) -> Carried {
        let (carried, mut ready) = self.take(jobs, |job| self.finished(job));
        let cost = |job: &Job| work(&job.run, job.step_flops);
        ready.sort_by(|a, b| cost(b).total_cmp(&cost(a)));
        self.progress.begin(ready.len(), ready.iter().map(cost).sum(), carried.measured.len());
        let ready = self.work.cohorts(ready);
        let threads = self.jobs.clamp(1, ready.len().max(1));
        let queue = Queue { ready: ready.into(), elsewhere: VecDeque::new(), carried };
        let shared = Shared { queue: Mutex::new(queue), halt: AtomicBool::new(false) };
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
        shared.queue.into_inner().unwrap_or_else(|e| e.into_inner()).carried
    }

    /// Takes what the store holds and trains nothing.
    pub fn look(&self, jobs: Vec<Job>) -> Carried {
        self.take(jobs, |job| self.store.record(&job.key, &|line| self.progress.warn(line))).0
    }

    /// The finished jobs, and those that are not.
    fn take(&self, jobs: Vec<Job>, finished: impl Fn(&Job) -> Option<Record>) -> (Carried, Vec<Job>) {
        let mut carried = Carried::default();
        let mut rest = Vec::new();
        for job in jobs {
            match finished(&job) {
                Some(record) => {
                    self.store.tidy(&job.key);
                    carried.measured.insert(job.key.run, self.read(record.measured));
                }
                None => rest.push(job),
            }
        }
        (carried, rest)
    }

    /// What is read of a run after training.
    pub fn read(&self, mut measured: Measured) -> Measured {
        measured.curves.retain(|name, _| self.curves.contains(name));
        measured
    }

    fn work_through(&self, shared: &Shared) {
        loop {
            let (group, waits) = {
                let mut queue = lock(&shared.queue);
                if shared.halt.load(Ordering::Relaxed) {
                    return;
                }
                if self.stop.load(Ordering::Relaxed) {
                    queue.carried.interrupted |= !(queue.ready.is_empty() && queue.elsewhere.is_empty());
                    return;
                }
                match queue.ready.pop_front() {
                    Some(group) => (group, false),
                    None => match queue.elsewhere.pop_front() {
                        Some(job) => (vec![job], true),
                        None => return,
                    },
                }
            };
            if waits {
                thread::sleep(POLL);
            }
            let started = (self.clock)();
            let mut steps = 0;
            let ends = catch_unwind(AssertUnwindSafe(|| self.group(&group, &mut steps, &shared.halt)))
                .unwrap_or_else(|payload| Err(Fault::Run(format!("panicked: {}", panic_line(payload.as_ref())))));
            let mut queue = lock(&shared.queue);
            if steps > 0 {
                queue.carried.throughput.flops += steps as f64 * group[0].step_flops;
                queue.carried.throughput.seconds += (self.clock)().saturating_sub(started).as_secs_f64();
            }
            match ends {
                Ok(ends) => group.into_iter().zip(ends).for_each(|(job, end)| self.ended(job, end, &mut queue)),
                Err(Fault::Run(why)) if group.len() > 1 => {
                    // One run's fault, or too much for the device: each half is tried alone. What the halves meet may be
                    // another reason, so this one is told now.
                    let (runs, label) = (group.len(), &group[0].label);
                    self.progress
                        .warn(&format!("{runs} runs together, {label} first: {why}; each half is tried alone"));
                    let mut first = group;
                    let second = first.split_off(first.len() / 2);
                    queue.ready.push_front(second);
                    queue.ready.push_front(first);
                }
                Err(Fault::Run(why)) => {
                    for job in group {
                        self.progress.warn(&format!("{}: {why}", job.label));
                        queue.carried.failures.push((job.label, why.clone(), job.key.run));
                        self.progress.finished();
                    }
                }
                Err(Fault::All(halt)) => {
                    // The others meet the same: the first line says it all.
                    shared.halt.store(true, Ordering::Relaxed);
                    queue.carried.halt.get_or_insert_with(|| halt.at(&group));
                }
            }
        }
    }

    fn ended(&self, job: Job, end: End, queue: &mut Queue) {
        match end {
            End::Measured(measured, trained) => {
                queue.carried.trained += usize::from(trained);
                queue.carried.measured.insert(job.key.run, *measured);
                self.progress.finished();
            }
            End::Busy => queue.elsewhere.push_back(job),
            End::Stopped => queue.carried.interrupted |= self.stop.load(Ordering::Relaxed),
        }
    }

    /// Trains the runs of a group together, save for those that another bench trains or has just finished.
    fn group(&self, group: &[Job], steps: &mut u64, halt: &AtomicBool) -> Result<Vec<End>, Fault> {
        let mut ends: Vec<End> = Vec::new();
        let mut own = Vec::new();
        for (place, job) in group.iter().enumerate() {
            ends.push(End::Busy);
            let Some(lock) = self.store.lock(&job.key)? else { continue };
            // Only now does nobody else write: look again.
            if let Some(record) = self.finished(job) {
                self.store.drop_checkpoint(&job.key);
                lock.remove();
                ends[place] = End::Measured(Box::new(self.read(record.measured)), false);
            } else {
                own.push((place, lock));
            }
        }
        let jobs: Vec<&Job> = own.iter().map(|(place, _)| &group[*place]).collect();
        if jobs.is_empty() {
            return Ok(ends);
        }
        let measured = self.train(&jobs, steps, halt)?;
        let Some(measured) = measured else {
            own.iter().for_each(|(place, _)| ends[*place] = End::Stopped);
            return Ok(ends);
        };
        for ((place, lock), measured) in own.into_iter().zip(measured) {
            let job = &group[place];
            self.progress.advanced(job.step_flops);
            let record = Record { run: job.run.clone(), measured, environment: (self.environment)() };
            self.store.keep(&job.key, &record)?;
            lock.remove();
            ends[place] = End::Measured(Box::new(self.read(record.measured)), true);
        }
        Ok(ends)
    }

    /// Trains `jobs` to their ends, in step. `None` where it is told to stop: then each is checkpointed.
    fn train(&self, jobs: &[&Job], steps: &mut u64, halt: &AtomicBool) -> Result<Option<Vec<Measured>>, Fault> {
        let mut training = self.resumed(jobs)?;
        let mut saved = (self.clock)();
        let mut running: Vec<usize> = (0..jobs.len()).collect();
        self.keep_for_others(jobs, &running, &mut *training)?;
        loop {
            running.retain(|r| !training.is_done(*r));
            if running.is_empty() {
                return Ok(Some(training.finish()?));
            }
            let stopped = self.stop.load(Ordering::Relaxed) || halt.load(Ordering::Relaxed);
            let now = (self.clock)();
            // A clock that went back must not put the next checkpoint off.
            if stopped || now < saved || now - saved >= self.checkpoint_every {
                for (r, job) in jobs.iter().enumerate() {
                    self.store.keep_checkpoint(&job.key, &training.checkpoint(r)?)?;
                }
                saved = now;
            }
            if stopped {
                return Ok(None);
            }
            training.advance()?;
            *steps += running.len() as u64;
            self.keep_for_others(jobs, &running, &mut *training)?;
            running.iter().for_each(|r| self.progress.advanced(jobs[*r].step_flops));
        }
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

    /// Keeps the checkpoints that others start from, of the runs `moved`.
    fn keep_for_others(&self, jobs: &[&Job], moved: &[usize], training: &mut dyn Training) -> Result<(), Fault> {
        for &r in moved {
            let (job, step) = (jobs[r], training.step(r));
            if job.keep_steps.contains(&step) {
                let bytes = training.checkpoint(r)?;
                // A device that works ahead may have diverged before.
                if training.step(r) == step {
                    self.store.keep_for_others(&job.key, step, &bytes)?;
                }
            }
        }
        Ok(())
    }

    /// The runs, each at its checkpoint where there is a good one, else at its start.
    fn resumed(&self, jobs: &[&Job]) -> Result<Box<dyn Training + '_>, Fault> {
        let warn = |line: &str| self.progress.warn(line);
        let mut kept: Vec<Option<Vec<u8>>> = jobs.iter().map(|job| self.store.checkpoint(&job.key, &warn)).collect();
        loop {
            let mut training = self.fresh(jobs)?;
            let mut bad = None;
            for (r, job) in jobs.iter().enumerate() {
                if !self.restored(job, r, kept[r].as_deref(), &mut *training)? {
                    bad = Some(r);
                    break;
                }
            }
            let Some(bad) = bad else {
                for (r, job) in jobs.iter().enumerate().filter(|(r, _)| kept[*r].is_some()) {
                    let step = training.step(r);
                    self.progress.resumed(&job.label, step, step as f64 * job.step_flops);
                }
                return Ok(training);
            };
            kept[bad] = None;
        }
    }

    /// Whether run `r` is where it should be; `training` is unusable where it is not.
    fn restored(
        &self,
        job: &Job,
        r: usize,
        bytes: Option<&[u8]>,
        training: &mut dyn Training,
    ) -> Result<bool, Trouble> {
        let warn = |line: &str| self.progress.warn(line);
        let Some(bytes) = bytes else { return Ok(true) };
        match training.restore(r, bytes) {
            Ok(()) => {}
            Err(Trouble::Checkpoint(why)) => {
                self.store.reject_checkpoint(&job.key, &why, &warn);
                return Ok(false);
            }
            // A device that fails says nothing of the checkpoint, which stays.
            Err(trouble) => return Err(trouble),
        }
        let step = training.step(r);
        let mut passed = job.keep_steps.iter().filter(|kept| **kept < step);
        Ok(passed.all(|kept| self.store.kept(&job.key, *kept, &warn).is_some()))
    }

    fn fresh(&self, jobs: &[&Job]) -> Result<Box<dyn Training + '_>, Trouble> {
        let from = |job: &Job| {
            let Some((key, step)) = &job.start else { return Ok(None) };
            let bytes = self.store.kept(key, *step, &|line| self.progress.warn(line));
            bytes.map(Some).ok_or_else(|| format!("no checkpoint of run {} at step {step} to start from", key.run))
        };
        let runs = jobs.iter().map(|job| Ok((&job.run, from(job)?))).collect::<Result<Vec<_>, String>>()?;
        self.work.start(&runs)
    }
}

impl Halt {
    /// A lost device says what was trained on it then: who is to blame, maybe.
    fn at(self, group: &[Job]) -> Self {
        let Self::Device(why) = self else { return self };
        let others = match group.len() - 1 {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        Self::Device(format!("{}{others}: {why}", group[0].label))
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
