//! Times a cohort's step, and one square matrix product, on any device, as a trainer meets them.

use super::shape::StepShape;
use super::step::{Budget, WARM_UP};
use crate::exit::Failure;
use crate::lab::device::Chosen;
use preheat_kernels::device::{DeviceError, Place, Replay};
use preheat_kernels::graph::{EntryId, Graph};
use preheat_suites::run::Run;
use preheat_suites::stats::median::median;
use preheat_suites::train::Cohort;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// What a step of a cohort costs, by the wall.
#[derive(Clone, Debug, Serialize)]
pub struct CohortReport {
    /// Layout version of this report.
    pub schema: u32,
    /// What was timed.
    #[serde(flatten)]
    pub shape: StepShape,
    /// `cpu` or `cuda`.
    pub device: &'static str,
    /// Runs together.
    pub cohort: usize,
    /// Steps counted.
    pub steps: usize,
    /// Time of a step of all runs, batches and host scalars included, ms: the median over stretches of as many steps as the
    /// device may work ahead.
    pub median_ms: f64,
    /// Tokens a second, of all runs.
    pub tokens_per_s: f64,
    /// GFLOP/s of the matrix products, of all runs.
    pub gflops: f64,
    /// Loss of the first run's first step, nats/token.
    pub first_loss: Option<f64>,
    /// The machine and the build.
    pub machine: BTreeMap<String, String>,
}

/// Times `cohort` runs of `shape` that differ in their seeds.
///
/// # Errors
/// A shape that does not hold (2), a device that fails or lacks the memory (5).
pub fn measure(shape: &StepShape, device: &Chosen, cohort: usize, budget: Budget) -> Result<CohortReport, Failure> {
    let timed = shape.timed()?;
    let seed = |r: usize| Run { seed: r as u64 + 1, data_seed: r as u64 + 1, ..timed.run.clone() };
    let runs: Vec<Run> = (0..cohort).map(seed).collect();
    let members: Vec<_> = runs.iter().map(|run| (run, Arc::clone(&timed.task))).collect();
    let mut trained = Cohort::new(&members, device.shared()).map_err(Failure::failed)?;
    let (times, steps) = steps(&mut trained, budget).map_err(Failure::failed)?;
    if (0..cohort).any(|r| trained.is_done(r)) {
        return Err(Failure::failed("perf cohort: a run diverged"));
    }
    let seconds = median(times.iter().copied());
    let mut measured = trained.finish().map_err(Failure::failed)?;
    let curve = measured[0].curves.remove("train_loss").unwrap_or_default();
    Ok(CohortReport {
        schema: 1,
        shape: *shape,
        device: device.name(),
        cohort,
        steps,
        median_ms: 1e3 * seconds,
        tokens_per_s: (cohort * timed.tokens) as f64 / seconds,
        gflops: cohort as f64 * timed.flop / seconds / 1e9,
        first_loss: curve.first().and_then(|point| point.value),
        machine: device.environment(),
    })
}

/// Seconds of a step, a number a stretch, and how many steps that were. A device that works ahead takes a step in no time
/// and answers for several at once, so a stretch is as long as it may work ahead, and ends when it has answered.
fn steps(trained: &mut Cohort, budget: Budget) -> Result<(Vec<f64>, usize), DeviceError> {
    let ahead = trained.room();
    let mut stretch = || {
        (0..ahead).try_for_each(|_| trained.advance())?;
        trained.settle()
    };
    (0..WARM_UP.div_ceil(ahead)).try_for_each(|_| stretch())?;
    let stretches = times(budget, stretch)?;
    let steps = ahead * stretches.len();
    Ok((stretches.into_iter().map(|seconds| seconds / ahead as f64).collect(), steps))
}

/// What a square product costs, by the wall.
#[derive(Clone, Debug, Serialize)]
pub struct ProductReport {
    /// Layout version of this report.
    pub schema: u32,
    /// `cpu` or `cuda`.
    pub device: &'static str,
    /// M = N = K.
    pub size: usize,
    /// Stretches counted.
    pub steps: usize,
    /// Median time of a product, ms.
    pub median_ms: f64,
    /// GFLOP/s.
    pub gflops: f64,
    /// The machine and the build.
    pub machine: BTreeMap<String, String>,
}

/// Products that are given to the device at once, so that waiting for it does not count.
const AT_ONCE: usize = 8;

/// Times C\[n,n\] = A\[n,n\]·B\[n,n\].
///
/// # Errors
/// A device that fails or lacks the memory (5).
pub fn product(device: &Chosen, size: usize, budget: Budget) -> Result<ProductReport, Failure> {
    let mut graph = Graph::new();
    let (a, b, small) = (graph.input("a", &[size, size]), graph.param("b", &[size, size]), graph.input("small", &[1]));
    let c = graph.linear(a, b, None, None).map_err(Failure::failed)?;
    let program = Arc::new(graph.compile(1, &[("product", &[c])]));
    let entry = program.entry("product").expect("just compiled");
    let shared = device.shared();
    let mut session = shared.session(&program).map_err(Failure::failed)?;
    let values: Vec<f32> = (0..size * size).map(|i| (i % 251) as f32 / 251.0 - 0.5).collect();
    session.write(Place::Tensor(a), 0, &values).map_err(Failure::failed)?;
    session.write(Place::Params, 0, &padded(&values, program.flat_len())).map_err(Failure::failed)?;
    let mut stretch = || several(&mut *session, entry, Place::Tensor(small));
    stretch().map_err(Failure::failed)?;
    let times = times(budget, stretch).map_err(Failure::failed)?;
    let seconds = median(times.iter().copied()) / AT_ONCE as f64;
    Ok(ProductReport {
        schema: 1,
        device: device.name(),
        size,
        steps: times.len(),
        median_ms: 1e3 * seconds,
        gflops: 2.0 * size.pow(3) as f64 / seconds / 1e9,
        machine: device.environment(),
    })
}

/// Some products, and a copy from the device that waits for them.
fn several(session: &mut dyn Replay, entry: EntryId, small: Place) -> Result<(), DeviceError> {
    for _ in 0..AT_ONCE {
        session.run(entry)?;
    }
    session.read(small, 0).map(drop)
}

fn padded(values: &[f32], len: usize) -> Vec<f32> {
    values.iter().copied().chain(std::iter::repeat(0.0)).take(len).collect()
}

/// Seconds of each call of `once`, until the budget is used up; its steps are calls.
fn times(budget: Budget, mut once: impl FnMut() -> Result<(), DeviceError>) -> Result<Vec<f64>, DeviceError> {
    let begun = Instant::now();
    let mut times = Vec::new();
    loop {
        let start = Instant::now();
        once()?;
        times.push(start.elapsed().as_secs_f64());
        let over = match budget {
            Budget::Steps(steps) => times.len() as u64 >= steps,
            Budget::Seconds(seconds) => begun.elapsed().as_secs_f64() >= seconds,
        };
        if over {
            return Ok(times);
        }
    }
}

#[cfg(test)]
#[path = "ahead_tests.rs"]
mod ahead_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::shape::{OptimizerArg, Placement};
    use preheat_kernels::cpu::{Cpu, Simd};

    #[test]
    fn a_cohort_and_a_product_are_timed() {
        let (placement, optimizer) = (Placement::PreLn, OptimizerArg::Adamw);
        let shape = StepShape { layers: 1, width: 8, heads: 2, seq: 5, batch: 3, vocab: 16, placement, optimizer };
        let cpu = Chosen::Cpu(Cpu::new(Simd::detect()));
        let report = measure(&shape, &cpu, 3, Budget::Steps(4)).unwrap();
        assert_eq!((report.steps, report.cohort, report.device), (4, 3, "cpu"));
        let tokens = 1e3 * 45.0 / report.median_ms;
        assert!((report.tokens_per_s / tokens - 1.0).abs() < 1e-9 && report.gflops > 0.0, "{report:?}");
        assert!(report.first_loss.is_some_and(|loss| (loss - libm::log(16.0)).abs() < 0.5), "{report:?}");
        let report = product(&cpu, 33, Budget::Steps(2)).unwrap();
        assert!(report.steps == 2 && report.gflops > 0.0, "{report:?}");
    }
}
