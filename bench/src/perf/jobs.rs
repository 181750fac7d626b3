//! Several trainers at once, one thread each as the lab's workers have them, in turns with one alone.

use super::clock::{Moment, Span};
use super::peak::Peak;
use super::shape::{StepShape, Timed};
use super::step::{Budget, WARM_UP, step};
use crate::exit::Failure;
use crate::lab::device::environment;
use preheat_kernels::cpu::Cpu;
use preheat_suites::stats::median::median;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

/// A phase lasts at least this long, seconds, and at least [`PHASE_STEPS`] steps, so that its ends do not count.
const PHASE: f64 = 0.3;
const PHASE_STEPS: u64 = 3;

/// What several jobs train together, against one alone.
#[derive(Clone, Debug, Serialize)]
pub struct JobsReport {
    /// Layout version of this report.
    pub schema: u32,
    /// What was timed.
    #[serde(flatten)]
    pub shape: StepShape,
    /// Trainers at once.
    pub jobs: usize,
    /// Turns of one alone, then all.
    pub rounds: usize,
    /// Median tokens a second of one alone, by the wall.
    pub alone_tokens_per_s: f64,
    /// Median tokens a second of all together, by the wall.
    pub together_tokens_per_s: f64,
    /// Median over rounds of together over alone; `jobs` would be perfect.
    pub ratio: f64,
    /// The same of steps by the time on a core: what sharing caches and memory costs, waiting for cores left out.
    pub cpu_ratio: f64,
    /// The same of the peak of multiply-adds, by the wall: what the cores have to give.
    pub peak_ratio: f64,
    /// Share of the wall time in which the threads had no core.
    pub waited: f64,
    /// The instruction set.
    pub simd: &'static str,
    /// The machine and the build.
    pub machine: BTreeMap<String, String>,
}

/// What one worker did in one phase.
#[derive(Clone, Copy)]
struct Done {
    steps: f64,
    span: Span,
    /// GFLOP/s of a sample of the peak at the phase's start, by the wall.
    peak: f64,
}

/// One round: the first worker alone, then all of them.
struct Round {
    alone: Done,
    together: Vec<Done>,
}

/// A worker's mailbox: an order is a number of steps.
struct Worker {
    orders: Sender<u64>,
    results: Receiver<Result<Done, Failure>>,
}

/// Times `jobs` trainers of `shape` together and one alone, in turns.
///
/// # Errors
/// A shape that does not hold, a thread that cannot be had.
pub fn measure(shape: &StepShape, cpu: Cpu, budget: Budget, jobs: usize) -> Result<JobsReport, Failure> {
    let timed = shape.timed()?;
    let rounds = thread::scope(|scope| {
        let mut workers = Vec::new();
        for _ in 0..jobs {
            let (orders, inbox) = channel();
            let (outbox, results) = channel();
            let timed = &timed;
            thread::Builder::new()
                .spawn_scoped(scope, move || work(timed, cpu, &inbox, &outbox))
                .map_err(|e| Failure::failed(format!("perf step: no thread: {e}")))?;
            workers.push(Worker { orders, results });
        }
        in_turns(&workers, budget)
    })?;
    Ok(report(shape, &timed, cpu, jobs, &rounds))
}

/// Trains as many steps as it is told, until nobody gives orders any more.
fn work(timed: &Timed, cpu: Cpu, orders: &Receiver<u64>, results: &Sender<Result<Done, Failure>>) {
    let mut ready = timed.trainer(cpu).map(|trainer| (trainer, Peak::new(cpu)));
    for steps in orders {
        let done = ready.as_mut().map_err(|e| e.clone()).and_then(|(trainer, peak)| {
            let peak = peak.sample();
            let start = Moment::now();
            (0..steps).try_for_each(|_| step(trainer).map(drop))?;
            Ok(Done { steps: steps as f64, span: start.elapsed(), peak })
        });
        if results.send(done).is_err() {
            return;
        }
    }
}

/// Has all of `workers` train `steps` steps at the same time.
fn phase(workers: &[Worker], steps: u64) -> Result<Vec<Done>, Failure> {
    let gone = |_| Failure::failed("perf step: a worker stopped");
    for worker in workers {
        worker.orders.send(steps).map_err(|_| gone(()))?;
    }
    workers.iter().map(|worker| worker.results.recv().map_err(|_| gone(()))?).collect()
}

fn in_turns(workers: &[Worker], budget: Budget) -> Result<Vec<Round>, Failure> {
    let warm = phase(workers, WARM_UP as u64)?;
    let slowest = warm.iter().map(|d| d.span.wall / d.steps).fold(0.0, f64::max);
    let steps = ((PHASE / slowest).ceil() as u64).max(PHASE_STEPS);
    let started = Instant::now();
    let mut rounds = Vec::new();
    loop {
        let alone = phase(&workers[..1], steps)?[0];
        rounds.push(Round { alone, together: phase(workers, steps)? });
        let over = match budget {
            Budget::Steps(most) => rounds.len() as u64 * 2 * steps >= most,
            Budget::Seconds(seconds) => started.elapsed().as_secs_f64() >= seconds,
        };
        if over {
            return Ok(rounds);
        }
    }
}

fn report(shape: &StepShape, timed: &Timed, cpu: Cpu, jobs: usize, rounds: &[Round]) -> JobsReport {
    let wall = |d: &Done| d.steps / d.span.wall;
    let on_core = |d: &Done| d.steps / d.span.cpu;
    let peak = |d: &Done| d.peak;
    let sum = |round: &Round, rate: &dyn Fn(&Done) -> f64| round.together.iter().map(rate).sum::<f64>();
    let ratio = |rate: &dyn Fn(&Done) -> f64| median(rounds.iter().map(|r| sum(r, rate) / rate(&r.alone)));
    let spans = rounds.iter().flat_map(|r| r.together.iter().chain([&r.alone]).map(|d| d.span));
    let total = spans.fold(Span::default(), |sum, span| sum + span);
    let tokens = timed.tokens as f64;
    JobsReport {
        schema: 1,
        shape: *shape,
        jobs,
        rounds: rounds.len(),
        alone_tokens_per_s: tokens * median(rounds.iter().map(|r| wall(&r.alone))),
        together_tokens_per_s: tokens * median(rounds.iter().map(|r| sum(r, &wall))),
        ratio: ratio(&wall),
        cpu_ratio: ratio(&on_core),
        peak_ratio: ratio(&peak),
        waited: total.waited(),
        simd: cpu.simd().name(),
        machine: environment(&cpu),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::shape::{OptimizerArg, Placement};
    use preheat_kernels::cpu::Simd;

    const TINY: StepShape = StepShape {
        layers: 1,
        width: 4,
        heads: 2,
        seq: 3,
        batch: 2,
        vocab: 5,
        placement: Placement::PostLn,
        optimizer: OptimizerArg::Sgd,
    };

    fn done(steps: f64, wall: f64, cpu: f64, peak: f64) -> Done {
        Done { steps, span: Span { wall, cpu }, peak }
    }

    #[test]
    fn ratios_are_of_sums_over_one_alone() {
        let cpu = Cpu::new(Simd::detect());
        let round = |slow: f64| Round {
            alone: done(10.0, 1.0, 1.0, 100.0),
            together: vec![done(10.0, 2.0, 1.0, 50.0), done(10.0, 2.0 * slow, 1.0, 100.0)],
        };
        let report = report(&TINY, &TINY.timed().unwrap(), cpu, 2, &[round(1.0), round(1.0), round(5.0)]);
        assert_eq!((report.ratio, report.cpu_ratio, report.peak_ratio), (1.0, 2.0, 1.5));
        assert_eq!((report.alone_tokens_per_s, report.together_tokens_per_s), (60.0, 60.0));
        assert_eq!((report.rounds, report.waited), (3, 1.0 - 9.0 / 23.0));
    }

    #[test]
    fn workers_train_in_turns_until_the_budget_is_spent() {
        let report = measure(&TINY, Cpu::new(Simd::detect()), Budget::Steps(1), 2).unwrap();
        assert!(report.rounds == 1 && report.ratio > 0.0 && report.peak_ratio > 0.0, "{report:?}");
    }
}
