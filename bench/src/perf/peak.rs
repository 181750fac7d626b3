//! The peak of fused multiply-adds on one core, measured between other work, since the clock drifts.

use super::clock::{Moment, Span};
use preheat_kernels::cpu::Cpu;
use preheat_suites::stats::median::median;

/// About how long a sample takes, seconds: short beside what it stands between, long beside reading the clocks.
const SAMPLE: f64 = 1e-3;

/// Samples of the peak in one run.
pub struct Peak {
    cpu: Cpu,
    steps: u64,
    /// Floating point operations of a sample.
    flop: f64,
    samples: Vec<Span>,
}

impl Peak {
    /// Finds how many steps make a sample.
    pub fn new(cpu: Cpu) -> Self {
        let mut steps = 1000;
        let seconds = loop {
            let start = Moment::now();
            cpu.fma_chains(steps);
            let seconds = start.elapsed().wall;
            if seconds > 0.1 * SAMPLE || steps > 1 << 40 {
                break seconds;
            }
            steps *= 4;
        };
        let steps = (steps as f64 * SAMPLE / seconds).ceil() as u64;
        let flop = cpu.fma_chains(steps) as f64;
        Self { cpu, steps, flop, samples: Vec::new() }
    }

    /// Measures once; this sample's GFLOP/s by the wall.
    pub fn sample(&mut self) -> f64 {
        let start = Moment::now();
        self.cpu.fma_chains(self.steps);
        let span = start.elapsed();
        self.samples.push(span);
        self.flop / span.wall / 1e9
    }

    /// Median GFLOP/s of the samples by the wall.
    pub fn gflops(&self) -> f64 {
        self.flop / median(self.samples.iter().map(|s| s.wall)) / 1e9
    }

    /// Median GFLOP/s of the samples by the time on a core.
    pub fn cpu_gflops(&self) -> f64 {
        self.flop / median(self.samples.iter().map(|s| s.cpu)) / 1e9
    }
}
