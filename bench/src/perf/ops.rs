//! Where a training step's time goes: the time on a core of each kind of op.

use super::clock::{Moment, Span};
use super::peak::Peak;
use super::shape::StepShape;
use super::step::{Budget, WARM_UP, step};
use crate::exit::Failure;
use crate::lab::device::environment;
use preheat_kernels::cpu::Cpu;
use preheat_suites::stats::median::median;
use preheat_suites::train::Trainer;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// Steps at most: each one is kept until the medians are taken.
const MOST: u64 = 10_000;

/// One kind of op.
#[derive(Clone, Debug, Serialize)]
pub struct OpRow {
    /// Its name.
    pub op: &'static str,
    /// Calls a step.
    pub calls: u64,
    /// Median time on a core a step, ms.
    pub cpu_ms: f64,
    /// Share of the step's.
    pub of_step: f64,
    /// GFLOP/s of its matrix products, where it has some.
    pub gflops: Option<f64>,
    /// Share of the peak, where it has matrix products.
    pub share: Option<f64>,
}

/// All kinds of ops of a step, the costliest first.
#[derive(Clone, Debug, Serialize)]
pub struct OpsReport {
    /// Layout version of this report.
    pub schema: u32,
    /// What was timed.
    #[serde(flatten)]
    pub shape: StepShape,
    /// Steps counted.
    pub steps: usize,
    /// The ops; what lies between them (batches, records) is the row `rest`.
    pub rows: Vec<OpRow>,
    /// Median time on a core of a step, ms. It includes reading the clocks.
    pub cpu_ms: f64,
    /// GFLOP/s of the chains of multiply-adds, in turns with the steps, by the time on a core.
    pub peak_gflops: f64,
    /// Share of the wall time in which the thread had no core.
    pub waited: f64,
    /// The instruction set.
    pub simd: &'static str,
    /// The machine and the build.
    pub machine: BTreeMap<String, String>,
}

/// What one kind of op took in a step.
#[derive(Clone, Copy, Default)]
struct Taken {
    calls: u64,
    flop: u64,
    seconds: f64,
}

/// The name of what is no op.
const REST: &str = "rest";

/// Times each op of `shape` on `cpu` with one thread.
///
/// # Errors
/// A shape that does not hold.
pub fn measure(shape: &StepShape, cpu: Cpu, budget: Budget) -> Result<OpsReport, Failure> {
    let mut trainer = shape.timed()?.trainer(cpu)?;
    for _ in 0..WARM_UP {
        step(&mut trainer)?;
    }
    let mut peak = Peak::new(cpu);
    let (mut steps, mut spans) = (Vec::new(), Vec::new());
    let started = Instant::now();
    loop {
        if spans.len().is_multiple_of(4) {
            peak.sample();
        }
        let (ops, span) = watched(&mut trainer)?;
        steps.push(ops);
        spans.push(span);
        let over = match budget {
            Budget::Steps(most) => spans.len() as u64 >= most.min(MOST),
            Budget::Seconds(s) => started.elapsed().as_secs_f64() >= s || spans.len() as u64 >= MOST,
        };
        if over {
            break;
        }
    }
    let cpu_s = median(spans.iter().map(|s| s.cpu));
    let total = spans.iter().fold(Span::default(), |sum, span| sum + *span);
    Ok(OpsReport {
        schema: 1,
        shape: *shape,
        steps: spans.len(),
        rows: rows(&steps, cpu_s, peak.cpu_gflops()),
        cpu_ms: cpu_s * 1e3,
        peak_gflops: peak.cpu_gflops(),
        waited: total.waited(),
        simd: cpu.simd().name(),
        machine: environment(&cpu),
    })
}

/// One step, each op timed from the end of the one before.
fn watched(trainer: &mut Trainer) -> Result<(BTreeMap<&'static str, Taken>, Span), Failure> {
    let mut ops: BTreeMap<&'static str, Taken> = BTreeMap::new();
    let start = Moment::now();
    let mut last = None::<Moment>;
    trainer.advance_watched(&mut |name, flop| {
        let now = Moment::now();
        // What came before the first op is counted with the rest.
        let seconds = last.replace(now).map_or(0.0, |last| now.since(&last).cpu);
        let taken = ops.entry(name).or_default();
        *taken = Taken { calls: taken.calls + 1, flop: taken.flop + flop, seconds: taken.seconds + seconds };
    });
    let span = start.elapsed();
    if trainer.is_done() {
        return Err(Failure::failed("perf step: the run diverged"));
    }
    let rest = span.cpu - ops.values().map(|taken| taken.seconds).sum::<f64>();
    ops.insert(REST, Taken { calls: 1, flop: 0, seconds: rest.max(0.0) });
    Ok((ops, span))
}

fn rows(steps: &[BTreeMap<&'static str, Taken>], step_s: f64, peak: f64) -> Vec<OpRow> {
    let Some(first) = steps.first() else { return Vec::new() };
    let mut rows: Vec<OpRow> = first
        .iter()
        .map(|(op, taken)| {
            let seconds = median(steps.iter().map(|ops| ops.get(op).map_or(0.0, |taken| taken.seconds)));
            let gflops = (taken.flop > 0).then(|| taken.flop as f64 / seconds / 1e9);
            let share = gflops.map(|gflops| gflops / peak);
            OpRow { op, calls: taken.calls, cpu_ms: seconds * 1e3, of_step: seconds / step_s, gflops, share }
        })
        .collect();
    rows.sort_by(|a, b| b.cpu_ms.total_cmp(&a.cpu_ms));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::shape::{OptimizerArg, Placement};
    use preheat_kernels::cpu::Simd;

    #[test]
    fn every_op_of_a_step_has_a_row() {
        let (placement, optimizer) = (Placement::PreLn, OptimizerArg::Adamw);
        let (layers, width, heads, seq, batch, vocab) = (2, 32, 1, 31, 3, 33);
        let shape = StepShape { layers, width, heads, seq, batch, vocab, placement, optimizer };
        let report = measure(&shape, Cpu::new(Simd::detect()), Budget::Steps(3)).unwrap();
        let find = |op: &str| report.rows.iter().find(|row| row.op == op).unwrap_or_else(|| panic!("no row {op}"));
        assert_eq!((report.steps, find("update").calls, find("attention").calls), (3, 1, 2));
        assert!(find("attention").gflops.is_some() && find("layer norm").gflops.is_none());
        assert_eq!(find("linear").calls, find("linear dx").calls);
        let shares = report.rows.iter().map(|row| row.of_step).sum::<f64>();
        assert!(shares > 0.5, "{shares}");
    }
}
