//! One bench from its words to its results: the part that `bench` and `accept` share.

use super::carry::{self, Extent, Missing, Outcome, Suite};
use super::device::Chosen;
use super::part::{self, Part};
use super::shard::{Deal, Shard};
use super::trainer::Trainers;
use super::workers::{Halt, Workers};
use super::{Options, progress};
use crate::exit::Failure;
use crate::results::SuiteResult;
use crate::say::tell;
use crate::store::Store;
use crate::store::key::{Conditions, Key};
use crate::table;
use preheat_suites::run::{Run, RunId};
use preheat_suites::train::Early;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Set by SIGINT, SIGTERM and SIGHUP.
static STOP: AtomicBool = AtomicBool::new(false);

/// A device, the tasks opened on it, and the conditions that its records carry.
pub struct Session {
    options: Options,
    conditions: Conditions,
    trainers: Trainers,
}

/// What a bench came to.
pub struct Done {
    /// A result a suite, of what is there.
    pub results: Vec<SuiteResult>,
    /// Per suite: what went wrong, one line each.
    pub failures: Vec<Vec<String>>,
    /// Per suite, where nothing was trained: what the store does not hold.
    pub missing: Vec<Missing>,
    /// Stopped by a signal.
    pub interrupted: bool,
    /// Why nothing more is trained.
    pub halt: Option<Halt>,
    /// Where each planned run is kept.
    keys: BTreeMap<RunId, Key>,
}

impl Session {
    /// A session on `device`, with at most `cohort` runs together, or as many as suit the device.
    pub fn new(options: Options, device: Chosen, cohort: Option<usize>) -> Self {
        let jobs = options.jobs.unwrap_or_else(|| device.jobs());
        Self { options, conditions: device.conditions(), trainers: Trainers::on(device, cohort, jobs) }
    }

    /// What was asked for.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What trains.
    pub fn trainers(&self) -> &Trainers {
        &self.trainers
    }

    /// Threads that train.
    pub fn jobs(&self) -> usize {
        self.trainers.workers()
    }

    /// The machine class whose throughput is kept.
    pub fn class(&self) -> String {
        format!("{}-{}", self.conditions.device, self.conditions.simd)
    }

    /// Carries out `suites` and judges them. Where `train` is not set, what the store holds is judged.
    ///
    /// # Errors
    /// A store that cannot be written.
    pub fn carry(&self, suites: &[Suite], train: bool) -> Result<Done, Failure> {
        let outcome = self.with_workers(suites, |workers| {
            let outcome = carry::carry_out(suites, &self.conditions, workers, &self.trainers, train);
            workers.store.keep_throughput(&self.class(), outcome.throughput);
            outcome
        })?;
        tell!("{} runs trained, {} from the store", outcome.trained, outcome.reused);
        let judged = suites.iter().zip(outcome.observed).zip(&outcome.extents);
        let results = judged.map(|((suite, observed), extent)| carry::result(suite, scale(extent), observed)).collect();
        let Outcome { failures, missing, interrupted, halt, keys, .. } = outcome;
        Ok(Done { results, failures, missing, interrupted, halt, keys })
    }

    /// How the runs of a bench begin: their curves, which no memory holds, are read from the store.
    ///
    /// # Errors
    /// The store went away.
    pub fn beginnings(&self, done: &Done) -> Result<BTreeMap<RunId, Early>, Failure> {
        let store = Store::open(&self.options.store).map_err(Failure::failed)?;
        let of = |(id, key): (&RunId, &Key)| {
            let record = store.record(key, &|line| tell!("{line}"))?;
            Some((id.clone(), Early::of(&record.run, &record.measured).ok()?))
        };
        Ok(done.keys.iter().filter_map(of).collect())
    }

    /// Whether numbers have the same bits everywhere.
    pub fn is_exact(&self) -> bool {
        self.conditions.is_exact()
    }

    /// Carries out one shard's part of `suites`; nothing is judged.
    ///
    /// # Errors
    /// A store that cannot be written, a plan that cannot be drafted.
    pub fn carry_part(&self, suites: &[Suite], shard: Shard) -> Result<Part, Failure> {
        let deal = Deal::new(suites, shard.of, &|run| self.run_flops(run)).map_err(Failure::usage)?;
        self.with_workers(suites, |workers| {
            let part = part::carry_out(suites, (shard, &deal), &self.conditions, workers, &self.trainers);
            workers.store.keep_throughput(&self.class(), part.throughput);
            part
        })
    }

    /// FLOPs of a whole run, by which shards are dealt.
    pub fn run_flops(&self, run: &Run) -> f64 {
        self.trainers.run_flops(run).unwrap_or(0.0)
    }

    fn with_workers<T>(&self, suites: &[Suite], f: impl FnOnce(&Workers<'_>) -> T) -> Result<T, Failure> {
        let store = Store::open(&self.options.store).map_err(Failure::failed)?;
        on_signal();
        let progress = progress::on_stderr();
        let begun = Instant::now();
        Ok(f(&Workers {
            store: &store,
            work: &self.trainers,
            jobs: self.jobs(),
            checkpoint_every: self.options.checkpoint_every,
            clock: &|| begun.elapsed(),
            stop: &STOP,
            progress: &*progress,
            environment: &|| self.trainers.device().environment(),
            curves: &carry::curves_read(suites),
        }))
    }
}

/// At which scale runs were trained, in words: `21.4 k–85.2 k parameters, 300 steps`.
fn scale(extent: &Extent) -> String {
    let range = |[low, high]: [String; 2]| if low == high { low } else { format!("{low}–{high}") };
    match (extent.parameters, extent.steps) {
        (Some(parameters), Some(steps)) => {
            let parameters = range(parameters.map(|x| table::count(x as f64)));
            format!("{parameters} parameters, {} steps", range(steps.map(|x| x.to_string())))
        }
        _ => "no runs".into(),
    }
}

/// The first signal asks the workers to checkpoint; a second one ends the process at once.
fn on_signal() {
    let handler = || {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(crate::exit::Exit::Interrupted.code()));
        }
        tell!("stopping: each run finishes its step and is checkpointed");
    };
    // A second session of one process finds the handler in place.
    let _ = ctrlc::set_handler(handler);
}

/// The line that goes on with an interrupted bench.
pub fn resume_line() -> String {
    let words = std::env::args().skip(1).map(|word| quoted(&word));
    [door()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

/// The command as its user knows it.
fn door() -> String {
    std::env::var("PREHEAT_DOOR").unwrap_or_else(|_| "preheat".into())
}

/// The line that judges what the shards of this command trained.
pub fn judge_line() -> String {
    let line = [door()].into_iter().chain(whole(std::env::args().skip(1)).map(|word| quoted(&word)));
    line.collect::<Vec<_>>().join(" ")
}

/// The words without `--shard I/N`.
fn whole(words: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut value = false;
    words.filter(move |word| {
        let skip = std::mem::replace(&mut value, word == "--shard");
        !(skip || value || word.starts_with("--shard="))
    })
}

/// A word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_judges_has_all_words_but_the_shard() {
        let line = |words: &str| whole(words.split(' ').map(String::from)).collect::<Vec<_>>().join(" ");
        assert_eq!(line("bench --shard 1/3 tiny --jobs 2"), "bench tiny --jobs 2");
        assert_eq!(line("bench tiny --shard=1/3"), "bench tiny");
        assert_eq!(line("bench --list"), "bench --list");
    }

    #[test]
    fn words_survive_a_shell() {
        let cases = [("--tier=quick", "--tier=quick"), ("a b", "'a b'"), ("", "''"), ("it's", r"'it'\''s'")];
        for (word, expected) in cases {
            assert_eq!(quoted(word), expected);
        }
    }
}
