//! Times the trainer's own step, in turns with the peak.

use super::clock::{Moment, Span};
use super::peak::Peak;
use super::shape::{STEPS, StepShape, Timed};
use crate::exit::Failure;
use crate::lab::device::environment;
use preheat_kernels::cpu::Cpu;
use preheat_suites::stats::median::median;
use preheat_suites::train::Trainer;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// Steps that are not counted: the first sizes buffers, caches and page tables fill.
pub(super) const WARM_UP: usize = 2;
/// The peak is sampled between stretches of steps of at least this length, seconds.
const STRETCH: f64 = 0.05;

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// So many steps.
    Steps(u64),
    /// Until so many seconds have passed, one step at least.
    Seconds(f64),
}

/// What a step costs. Rates by the wall, unless their name says `cpu`, which is the time on a core.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// Layout version of this report.
    pub schema: u32,
    /// What was timed.
    #[serde(flatten)]
    pub shape: StepShape,
    /// Learnable parameters.
    pub parameters: u64,
    /// Floating point operations of a step's matrix products, causal attention at half.
    pub flop: f64,
    /// Steps counted.
    pub steps: usize,
    /// Median wall time of a step, ms.
    pub median_ms: f64,
    /// Median time on a core of a step, ms.
    pub cpu_ms: f64,
    /// Median time on a core of making the step's batch, ms; it is part of the step.
    pub batch_ms: f64,
    /// Share of the wall time in which the thread had no core.
    pub waited: f64,
    /// Loss of the first step, nats/token: near ln V + 1/8 at these initial scales.
    pub first_loss: Option<f64>,
    /// Tokens a second.
    pub tokens_per_s: f64,
    /// GFLOP/s.
    pub gflops: f64,
    /// GFLOP/s of the chains of multiply-adds, in turns with the steps.
    pub peak_gflops: f64,
    /// The same by the time on a core.
    pub cpu_peak_gflops: f64,
    /// Share of the peak.
    pub share: f64,
    /// Share of the peak, both by the time on a core.
    pub cpu_share: f64,
    /// The instruction set.
    pub simd: &'static str,
    /// The machine and the build.
    pub machine: BTreeMap<String, String>,
}

/// Times `shape` on `cpu` with one thread.
///
/// # Errors
/// A shape that does not hold.
pub fn measure(shape: &StepShape, cpu: Cpu, budget: Budget) -> Result<StepReport, Failure> {
    let timed = shape.timed()?;
    let mut trainer = timed.trainer(cpu)?;
    for _ in 0..WARM_UP {
        step(&mut trainer)?;
    }
    let mut peak = Peak::new(cpu);
    let spans = in_turns(&mut trainer, &mut peak, budget)?;
    let curve = trainer.finish().curves.remove("train_loss").unwrap_or_default();
    let first_loss = curve.first().and_then(|point| point.value);
    Ok(report(shape, &timed, cpu, &spans, &peak, first_loss))
}

/// One step.
///
/// # Errors
/// The run diverged.
pub(super) fn step(trainer: &mut Trainer) -> Result<Span, Failure> {
    let start = Moment::now();
    trainer.advance();
    let span = start.elapsed();
    if trainer.is_done() { Err(Failure::failed("perf step: the run diverged")) } else { Ok(span) }
}

fn in_turns(trainer: &mut Trainer, peak: &mut Peak, budget: Budget) -> Result<Vec<Span>, Failure> {
    let most = match budget {
        Budget::Steps(steps) => steps.min(STEPS - WARM_UP as u64 - 1),
        Budget::Seconds(_) => STEPS - WARM_UP as u64 - 1,
    };
    let started = Instant::now();
    let over = |steps: u64| match budget {
        Budget::Seconds(seconds) => steps >= most || started.elapsed().as_secs_f64() >= seconds,
        Budget::Steps(_) => steps >= most,
    };
    let mut spans = Vec::new();
    peak.sample();
    loop {
        let mut stretch = 0.0;
        while stretch < STRETCH {
            let span = step(trainer)?;
            stretch += span.wall;
            spans.push(span);
            if over(spans.len() as u64) {
                peak.sample();
                return Ok(spans);
            }
        }
        peak.sample();
    }
}

fn report(
    shape: &StepShape,
    timed: &Timed,
    cpu: Cpu,
    spans: &[Span],
    peak: &Peak,
    first_loss: Option<f64>,
) -> StepReport {
    let median_s = median(spans.iter().map(|s| s.wall));
    let cpu_s = median(spans.iter().map(|s| s.cpu));
    let total = spans.iter().fold(Span::default(), |sum, span| sum + *span);
    let gflops = timed.flop / median_s / 1e9;
    StepReport {
        schema: 1,
        shape: *shape,
        parameters: timed.parameters,
        flop: timed.flop,
        steps: spans.len(),
        median_ms: median_s * 1e3,
        cpu_ms: cpu_s * 1e3,
        batch_ms: batch_seconds(timed) * 1e3,
        waited: total.waited(),
        first_loss,
        tokens_per_s: timed.tokens as f64 / median_s,
        gflops,
        peak_gflops: peak.gflops(),
        cpu_peak_gflops: peak.cpu_gflops(),
        share: gflops / peak.gflops(),
        cpu_share: timed.flop / cpu_s / 1e9 / peak.cpu_gflops(),
        simd: cpu.simd().name(),
        machine: environment(&cpu),
    }
}

/// Median time on a core of filling a batch.
fn batch_seconds(timed: &Timed) -> f64 {
    let (mut inputs, mut targets) = (vec![0; timed.tokens], vec![0; timed.tokens]);
    let seconds = (0..5).map(|step| {
        let start = Moment::now();
        timed.task.batch(timed.run.data_seed, step, &mut inputs, &mut targets);
        start.elapsed().cpu
    });
    median(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::shape::{OptimizerArg, Placement};
    use preheat_kernels::cpu::Simd;

    #[test]
    fn a_report_holds_what_was_timed() {
        let (placement, optimizer) = (Placement::PreLn, OptimizerArg::Adamw);
        let (layers, width, heads, seq, batch, vocab) = (1, 32, 1, 31, 3, 33);
        let shape = StepShape { layers, width, heads, seq, batch, vocab, placement, optimizer };
        let report = measure(&shape, Cpu::new(Simd::detect()), Budget::Steps(3)).unwrap();
        assert_eq!((report.steps, report.shape), (3, shape));
        let first = report.first_loss.unwrap();
        assert!((first - libm::log(33.0)).abs() < 0.5, "{first}");
        assert!(report.gflops > 0.0 && report.share > 0.0 && report.cpu_share > 0.0, "{report:?}");
        assert_eq!(measure(&shape, Cpu::new(Simd::detect()), Budget::Seconds(0.0)).unwrap().steps, 1);
    }
}
