//! Matrix products of training steps against the peak, and against the `gemm` crate where this was built with it
//! (feature `peers`), in turns within one process.
//!
//! All rates are by the time on a core, so a neighbour's turns do not count.

use super::clock::{Moment, Span};
use super::peak::Peak;
use crate::exit::Failure;
use crate::lab::device::environment;
use preheat_kernels::aligned::Aligned;
use preheat_kernels::cpu::Cpu;
use preheat_kernels::ops::{MatMul, Ops, Start};
use preheat_kernels::rng::Stream;
use preheat_suites::stats::median::median;
use serde::Serialize;
use std::collections::BTreeMap;

/// Tokens of the steps whose products are measured: the sizes of the tables that this is compared with.
const TOKENS: usize = 2048;
/// Widths C of the models.
const WIDTHS: [usize; 3] = [64, 128, 256];
/// A sample repeats a product until it is expected to take this long, seconds: long beside reading the clocks.
const SAMPLE: f64 = 3e-4;

/// What a product is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// A linear layer's output (NN) or input gradient (NT).
    Linear,
    /// A linear layer's weight gradient (TN).
    WeightGradient,
    /// A head's scores and value gradient, every position visible.
    Attention,
    /// Wider than the models here.
    Wide,
}

/// One product.
#[derive(Clone, Debug, Serialize)]
pub struct GemmRow {
    /// What it is for.
    pub of: Use,
    /// NN, NT or TN.
    pub layout: &'static str,
    /// Rows, columns and terms.
    pub m: usize,
    /// See `m`.
    pub n: usize,
    /// See `m`.
    pub k: usize,
    /// GFLOP/s.
    pub gflops: f64,
    /// Share of the peak in turns with it.
    pub share: f64,
    /// GFLOP/s of the `gemm` crate.
    pub peer_gflops: Option<f64>,
    /// Median over rounds of ours over theirs.
    pub ratio: Option<f64>,
}

/// All products.
#[derive(Clone, Debug, Serialize)]
pub struct GemmReport {
    /// Layout version of this report.
    pub schema: u32,
    /// Turns of each product.
    pub rounds: usize,
    /// The products.
    pub rows: Vec<GemmRow>,
    /// Geometric means by name.
    pub summary: BTreeMap<&'static str, f64>,
    /// GFLOP/s of the chains of multiply-adds, median over products.
    pub peak_gflops: f64,
    /// Share of the wall time in which the thread had no core.
    pub waited: f64,
    /// The instruction set.
    pub simd: &'static str,
    /// The machine and the build.
    pub machine: BTreeMap<String, String>,
}

fn layout(mm: &MatMul) -> &'static str {
    match (mm.trans_a, mm.trans_b) {
        (false, false) => "NN",
        (false, true) => "NT",
        (true, false) => "TN",
        (true, true) => "TT",
    }
}

/// The products of the linear layers at [`WIDTHS`], and a few others.
fn products() -> Vec<(Use, MatMul)> {
    let mut all = Vec::new();
    for c in WIDTHS {
        // (in, out) of the projections to queries, keys and values, of attention's output, and of the feed-forward pair.
        for (i, o) in [(c, 3 * c), (c, c), (c, 4 * c), (4 * c, c)] {
            all.push((Use::Linear, MatMul::nn(TOKENS, o, i)));
            all.push((Use::Linear, MatMul::nt(TOKENS, i, o)));
            all.push((Use::WeightGradient, MatMul::tn(i, o, TOKENS)));
        }
    }
    all.push((Use::Attention, MatMul::nt(64, 64, 32)));
    all.push((Use::Attention, MatMul::nt(128, 128, 32)));
    all.push((Use::Attention, MatMul::tn(128, 64, 128)));
    all.push((Use::Wide, MatMul::nn(TOKENS, 512, 2048)));
    all
}

/// Operands and results of one product.
struct Buffers {
    a: Aligned<f32>,
    b: Aligned<f32>,
    ours: Aligned<f32>,
    theirs: Aligned<f32>,
}

impl Buffers {
    fn new(mm: &MatMul) -> Self {
        let normal = |stream, len| {
            let mut x = Aligned::<f32>::zeroed(len);
            Stream::new(1, stream).fill_normal(0, &mut x);
            x
        };
        let (ours, theirs) = (Aligned::zeroed(mm.m * mm.n), Aligned::zeroed(mm.m * mm.n));
        Self { a: normal(0, mm.m * mm.k), b: normal(1, mm.k * mm.n), ours, theirs }
    }

    fn run_ours(&mut self, cpu: Cpu, mm: &MatMul) {
        cpu.matmul(mm, &self.a, &self.b, Start::Zero, None, &mut self.ours);
    }

    /// Whether there is somebody to compare with.
    #[cfg(not(feature = "peers"))]
    fn run_theirs(&mut self, _: &MatMul) -> bool {
        false
    }

    /// Whether there is somebody to compare with.
    #[cfg(feature = "peers")]
    fn run_theirs(&mut self, mm: &MatMul) -> bool {
        // (column stride, row stride) of a matrix stored row by row, and of its transpose.
        let strides = |row: usize, transposed| {
            let row = isize::try_from(row).expect("a stride fits");
            if transposed { (row, 1) } else { (1, row) }
        };
        let ((a_cs, a_rs), (b_cs, b_rs)) = (strides(mm.lda, mm.trans_a), strides(mm.ldb, mm.trans_b));
        let (c_cs, c_rs) = strides(mm.ldc, false);
        let (c, a, b) = (self.theirs.as_mut_ptr(), self.a.as_ptr(), self.b.as_ptr());
        let none = gemm::Parallelism::None;
        // SAFETY: the buffers hold m·k, k·n and m·n elements, and the strides are those of the matrices in them.
        unsafe {
            let f = gemm::gemm;
            f(
                mm.m, mm.n, mm.k, c, c_cs, c_rs, false, a, a_cs, a_rs, b, b_cs, b_rs, 0.0, 1.0, false, false, false,
                none,
            );
        }
        true
    }

    /// Whether both have computed the same product, up to rounding.
    fn agree(&self, k: usize) -> bool {
        let bound = 1e-5 * (k as f32).sqrt();
        self.ours.iter().zip(self.theirs.iter()).all(|(x, y)| (x - y).abs() <= bound * (1.0 + x.abs()))
    }
}

/// Measures all products in `rounds` turns each.
///
/// # Errors
/// The two libraries do not compute the same product.
pub fn measure(cpu: Cpu, rounds: usize) -> Result<GemmReport, Failure> {
    let mut total = Span::default();
    let mut peaks = Vec::new();
    let mut rows = Vec::new();
    for (of, mm) in products() {
        let mut peak = Peak::new(cpu);
        rows.push(row(of, &mm, cpu, rounds, &mut peak, &mut total)?);
        peaks.push(peak.cpu_gflops());
    }
    Ok(GemmReport {
        schema: 1,
        rounds,
        summary: summary(&rows),
        rows,
        peak_gflops: median(peaks),
        waited: total.waited(),
        simd: cpu.simd().name(),
        machine: environment(&cpu),
    })
}

fn row(of: Use, mm: &MatMul, cpu: Cpu, rounds: usize, peak: &mut Peak, total: &mut Span) -> Result<GemmRow, Failure> {
    let mut buffers = Buffers::new(mm);
    buffers.run_ours(cpu, mm);
    let peer = buffers.run_theirs(mm);
    if peer && !buffers.agree(mm.k) {
        return Err(Failure::failed(format!("perf gemm: {} {}x{}x{}: the two differ", layout(mm), mm.m, mm.n, mm.k)));
    }
    let flop = 2.0 * (mm.m * mm.n * mm.k) as f64;
    // As if at half of what a fast core does: a slower one only makes samples longer.
    let repeats = (SAMPLE * 5e10 / flop).ceil() as usize;
    let mut sample = |ours: bool| {
        let start = Moment::now();
        for _ in 0..repeats {
            if ours {
                buffers.run_ours(cpu, mm);
            } else {
                buffers.run_theirs(mm);
            }
        }
        let span = start.elapsed();
        *total = *total + span;
        span.cpu
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        peak.sample();
        // Whoever comes second finds the other's operands in the caches, so they take turns.
        for first in [true, false] {
            let us = first == (round % 2 == 0);
            match (us, peer) {
                (true, _) => ours.push(sample(true)),
                (false, true) => theirs.push(sample(false)),
                (false, false) => {}
            }
        }
    }
    let rate = |seconds: &[f64]| flop * repeats as f64 / median(seconds.iter().copied()) / 1e9;
    let gflops = rate(&ours);
    Ok(GemmRow {
        of,
        layout: layout(mm),
        m: mm.m,
        n: mm.n,
        k: mm.k,
        gflops,
        share: gflops / peak.cpu_gflops(),
        peer_gflops: peer.then(|| rate(&theirs)),
        ratio: peer.then(|| median(ours.iter().zip(&theirs).map(|(us, them)| them / us))),
    })
}

/// Geometric means of shares and ratios.
fn summary(rows: &[GemmRow]) -> BTreeMap<&'static str, f64> {
    let mean = |values: Vec<f64>| libm::exp(values.iter().map(|v| libm::log(*v)).sum::<f64>() / values.len() as f64);
    let share = |of| mean(rows.iter().filter(|r| r.of == of).map(|r| r.share).collect());
    let mut found = BTreeMap::from([
        ("linears NN and NT at widths 64–256, share", share(Use::Linear)),
        ("weight gradients, share", share(Use::WeightGradient)),
    ]);
    for (name, layout) in [("against gemm, NN", "NN"), ("against gemm, NT", "NT"), ("against gemm, TN", "TN")] {
        let of = |r: &&GemmRow| r.layout == layout && matches!(r.of, Use::Linear | Use::WeightGradient);
        found.insert(name, mean(rows.iter().filter(of).filter_map(|r| r.ratio).collect()));
    }
    found.insert("against gemm, all", mean(rows.iter().filter_map(|r| r.ratio).collect()));
    found.retain(|_, value| value.is_finite());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(of: Use, layout: &'static str, share: f64, ratio: Option<f64>) -> GemmRow {
        GemmRow { of, layout, m: 1, n: 1, k: 1, gflops: 1.0, share, peer_gflops: ratio, ratio }
    }

    #[test]
    fn summaries_are_geometric_means_of_their_own_rows() {
        let rows = [
            row(Use::Linear, "NN", 0.5, Some(2.0)),
            row(Use::Linear, "NT", 0.5, Some(0.5)),
            row(Use::WeightGradient, "TN", 0.25, Some(1.0)),
            row(Use::Attention, "NT", 0.125, Some(1.0)),
        ];
        let expected = [
            ("against gemm, NN", 2.0),
            ("against gemm, NT", 0.5),
            ("against gemm, TN", 1.0),
            ("against gemm, all", 1.0),
            ("linears NN and NT at widths 64–256, share", 0.5),
            ("weight gradients, share", 0.25),
        ];
        for ((name, value), (expected_name, expected)) in summary(&rows).into_iter().zip(expected) {
            assert_eq!(name, expected_name);
            assert!((value - expected).abs() < 1e-12, "{name}: {value}");
        }
        // Without a peer there is nothing to be against.
        let alone: Vec<_> = rows.into_iter().map(|r| GemmRow { ratio: None, ..r }).collect();
        assert_eq!(summary(&alone).len(), 2);
    }

    #[test]
    fn every_product_is_measured_and_agrees_with_the_peer() {
        let cpu = Cpu::new(preheat_kernels::cpu::Simd::detect());
        for mm in [MatMul::nn(31, 33, 7), MatMul::nt(33, 1, 31), MatMul::tn(5, 31, 33)] {
            let row = super::row(Use::Wide, &mm, cpu, 2, &mut Peak::new(cpu), &mut Span::default()).unwrap();
            assert!(row.gflops > 0.0 && row.share > 0.0, "{row:?}");
            assert_eq!(
                (row.ratio.is_some(), row.peer_gflops.is_some()),
                (cfg!(feature = "peers"), cfg!(feature = "peers"))
            );
        }
    }
}
