//! Throughput of the CPU's GEMM by shape and instruction set. One "element" is one floating-point
//! operation, two for each term, so that criterion's Gelem/s reads as GFLOP/s; masked terms do not count.
//! The group `peak` measures independent chains of fused multiply-adds: what the core could do.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use preheat_kernels::aligned::Aligned;
use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::ops::{Columns, KRange, MatMul, Ops, Start};

/// Steps of a peak measurement.
const PEAK_STEPS: u64 = 100_000;

/// All that this machine has, but the definitions.
fn vectorised() -> impl Iterator<Item = Simd> {
    Simd::available().into_iter().filter(|simd| *simd != Simd::Scalar)
}

fn bench_peak(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("peak");
    for simd in vectorised() {
        let cpu = Cpu::new(simd);
        group.throughput(Throughput::Elements(cpu.fma_chains(PEAK_STEPS)));
        group.bench_function(format!("{simd:?}"), |bencher| bencher.iter(|| cpu.fma_chains(black_box(PEAK_STEPS))));
    }
}

fn terms(mm: &MatMul) -> u64 {
    let row = |i: usize| (mm.columns_of(i) * mm.terms_of(i).len()) as u64;
    (0..mm.m).map(row).sum()
}

/// The products of one causal head of width `d` in packed rows of four heads: scores, output, value
/// gradient.
fn attention(t: usize, d: usize) -> [MatMul; 3] {
    let c = 4 * d;
    [
        MatMul { lda: 3 * c, ldb: 3 * c, columns: Columns::UpToRow, ..MatMul::nt(t, t, d) },
        MatMul { ldb: 3 * c, ldc: c, k_range: KRange::UpToRow, ..MatMul::nn(t, d, t) },
        MatMul { ldb: c, ldc: 3 * c, k_range: KRange::FromRow, ..MatMul::tn(t, d, t) },
    ]
}

fn shapes() -> Vec<MatMul> {
    let mut shapes = vec![
        MatMul::nn(512, 32, 32),
        MatMul::nn(512, 96, 32),
        MatMul::nn(512, 128, 32),
        MatMul::nn(512, 32, 128),
        MatMul::nn(512, 256, 32),
        MatMul::nt(512, 32, 32),
        MatMul::nt(512, 32, 96),
        MatMul::nt(512, 32, 128),
        MatMul::nt(512, 128, 32),
        MatMul::nt(512, 32, 256),
        MatMul::tn(32, 32, 512),
        MatMul::tn(32, 96, 512),
        MatMul::tn(32, 128, 512),
        MatMul::tn(128, 32, 512),
        MatMul::nn(1024, 64, 64),
        MatMul::nn(2048, 256, 64),
        MatMul::nn(2048, 64, 256),
        MatMul::nn(1024, 128, 512),
        MatMul::nn(2048, 256, 256),
        MatMul::nn(1024, 1024, 256),
        MatMul::nn(1024, 256, 1024),
        MatMul::nt(1024, 256, 1024),
        MatMul::nt(2048, 64, 192),
        MatMul::tn(64, 256, 2048),
        MatMul::tn(256, 64, 2048),
        MatMul::tn(256, 256, 1024),
        MatMul::tn(256, 1024, 1024),
    ];
    for (t, d) in [(64, 16), (64, 32), (128, 32), (128, 64)] {
        shapes.extend(attention(t, d));
    }
    shapes
}

fn name(mm: &MatMul) -> String {
    let layout = |transposed| if transposed { 'T' } else { 'N' };
    let causal = mm.columns == Columns::UpToRow || mm.k_range != KRange::Full;
    let causal = if causal { " causal" } else { "" };
    format!("{}{} {}x{}x{}{causal}", layout(mm.trans_a), layout(mm.trans_b), mm.m, mm.n, mm.k)
}

fn bench_gemm(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gemm");
    for mm in shapes() {
        let stored = |transposed, rows, columns| if transposed { columns } else { rows };
        let filled = |len: usize| {
            let mut x = Aligned::<f32>::zeroed(len);
            x.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 13) as f32 * 0.125 - 0.75);
            x
        };
        let a = filled(stored(mm.trans_a, mm.m, mm.k) * mm.lda);
        let b = filled(stored(mm.trans_b, mm.k, mm.n) * mm.ldb);
        let mut c = filled(mm.m * mm.ldc);
        group.throughput(Throughput::Elements(2 * terms(&mm)));
        for simd in vectorised() {
            group.bench_function(BenchmarkId::new(name(&mm), format!("{simd:?}")), |bencher| {
                bencher.iter(|| Cpu::new(simd).matmul(black_box(&mm), &a, &b, Start::Zero, None, &mut c));
            });
        }
    }
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(30))
        .measurement_time(Duration::from_millis(150))
        .sample_size(20)
        .without_plots()
}

// By hand: `criterion_group!` makes a public function without documentation.
fn main() {
    let mut criterion = short().configure_from_args();
    bench_peak(&mut criterion);
    bench_gemm(&mut criterion);
    criterion.final_summary();
}
