//! One bench from its words to its results: the part that `bench` and `accept` share.

use super::carry::{self, Suite};
use super::trainer::Trainers;
use super::workers::Workers;
use super::{Options, device, progress};
use crate::exit::Failure;
use crate::results::SuiteResult;
use crate::store::Store;
use crate::store::key::Conditions;
use crate::table;
use preheat_kernels::cpu::Cpu;
use preheat_suites::run::Run;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Set by SIGINT, SIGTERM and SIGHUP.
static STOP: AtomicBool = AtomicBool::new(false);

/// A device, the tasks opened on it, and the conditions that its records carry.
pub struct Session {
    options: Options,
    conditions: Conditions,
    environment: BTreeMap<String, String>,
    trainers: Trainers,
}

/// What a bench came to.
pub struct Done {
    /// A result a suite, of what is there.
    pub results: Vec<SuiteResult>,
    /// Per suite: what went wrong, one line each.
    pub failures: Vec<Vec<String>>,
    /// Stopped by a signal.
    pub interrupted: bool,
    /// Why the store takes nothing more. One line.
    pub full: Option<String>,
}

impl Session {
    /// A session on `cpu`.
    pub fn new(options: Options, cpu: Cpu) -> Self {
        Self {
            options,
            conditions: device::conditions(&cpu),
            environment: device::environment(&cpu),
            trainers: Trainers::new(cpu),
        }
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
        self.options.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get))
    }

    /// The machine class whose throughput is kept.
    pub fn class(&self) -> String {
        format!("{}-{}", self.conditions.device, self.conditions.simd)
    }

    /// Carries out `suites` and judges them.
    ///
    /// # Errors
    /// A store that cannot be written.
    pub fn carry(&self, suites: &[Suite]) -> Result<Done, Failure> {
        let store = Store::open(&self.options.store).map_err(Failure::failed)?;
        on_signal();
        let progress = progress::on_stderr();
        let begun = Instant::now();
        let workers = Workers {
            store: &store,
            work: &self.trainers,
            jobs: self.jobs(),
            checkpoint_every: self.options.checkpoint_every,
            clock: &|| begun.elapsed(),
            stop: &STOP,
            progress: &*progress,
            environment: &self.environment,
        };
        let flops = |run: &Run| self.trainers.step_flops(run).unwrap_or(0.0);
        let outcome = carry::carry_out(suites, &self.conditions, &workers, &flops);
        store.keep_throughput(&self.class(), outcome.throughput);
        eprintln!("preheat: {} runs trained, {} from the store", outcome.trained, outcome.reused);
        let results = suites.iter().zip(&outcome.observed).map(|(suite, observed)| {
            let runs = observed.iter().filter_map(|(id, _)| Some(&outcome.records.get(id)?.run));
            carry::result(suite, self.scale(runs), observed)
        });
        let results = results.collect();
        Ok(Done { results, failures: outcome.failures, interrupted: outcome.interrupted, full: outcome.full })
    }

    /// At which scale runs were trained, in words: `21.4 k–85.2 k parameters, 300 steps`.
    fn scale<'a>(&self, runs: impl Iterator<Item = &'a Run>) -> String {
        let mut parameters = Vec::new();
        let mut steps = Vec::new();
        for run in runs {
            parameters.extend(self.trainers.parameters(run).ok().map(|x| x as f64));
            steps.push(run.recipe.train.int("steps"));
        }
        let range = |low: String, high: String| if low == high { low } else { format!("{low}–{high}") };
        let extremes = parameters.iter().copied().reduce(f64::min).zip(parameters.iter().copied().reduce(f64::max));
        let size = extremes.map(|(low, high)| range(table::count(low), table::count(high)));
        let steps =
            steps.iter().min().zip(steps.iter().max()).map(|(low, high)| range(low.to_string(), high.to_string()));
        match (size, steps) {
            (Some(size), Some(steps)) => format!("{size} parameters, {steps} steps"),
            _ => "no runs".into(),
        }
    }
}

/// The first signal asks the workers to checkpoint; a second one ends the process at once.
fn on_signal() {
    let handler = || {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(crate::exit::Exit::Interrupted.code()));
        }
        eprintln!("preheat: stopping: each run finishes its step and is checkpointed");
    };
    // A second session of one process finds the handler in place.
    let _ = ctrlc::set_handler(handler);
}

/// The line that goes on with an interrupted bench.
pub fn resume_line() -> String {
    let door = std::env::var("PREHEAT_DOOR").unwrap_or_else(|_| "preheat".into());
    let words = std::env::args().skip(1).map(|word| quoted(&word));
    [door].into_iter().chain(words).collect::<Vec<_>>().join(" ")
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
    fn words_survive_a_shell() {
        let cases = [("--tier=quick", "--tier=quick"), ("a b", "'a b'"), ("", "''"), ("it's", r"'it'\''s'")];
        for (word, expected) in cases {
            assert_eq!(quoted(word), expected);
        }
    }
}
