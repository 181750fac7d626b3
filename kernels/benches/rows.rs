//! Row ops at the suites' sizes: elements a second on every instruction set of this machine.
//!
//! `cargo bench -p preheat-kernels --bench rows -- avx512/layer_norm`

use criterion::{BenchmarkId, Criterion, Throughput};
use preheat_kernels::aligned::Aligned;
use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::ops::{Activation, Attention, CrossEntropy, Ops};
use preheat_kernels::update::{UpdateBuilder, UpdateExpr};

const ROWS: usize = 2048;

fn buffer(n: usize, seed: u32) -> Aligned<f32> {
    let mut x = Aligned::zeroed(n);
    let mut state = seed;
    for v in x.iter_mut() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *v = (state >> 8) as f32 * (4.0 / (1 << 24) as f32) - 2.0;
    }
    x
}

/// AdamW's arithmetic (Loshchilov & Hutter 2019, Algorithm 2).
fn adamw() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (p, g, m, v) = (b.param(), b.grad(), b.state(0), b.state(1));
    let (beta1, rest1, beta2, rest2) = (b.constant(0.9), b.constant(0.1), b.constant(0.999), b.constant(0.001));
    let (step, correction, decay, eps) =
        (b.scalar("step"), b.scalar("correction"), b.scalar("decay"), b.constant(1e-8));
    let fresh = b.mul(rest1, g);
    let new_m = b.fma(beta1, m, fresh);
    let square = b.mul(g, g);
    let fresh = b.mul(rest2, square);
    let new_v = b.fma(beta2, v, fresh);
    let corrected = b.mul(new_v, correction);
    let root = b.sqrt(corrected);
    let root = b.add(root, eps);
    let ratio = b.div(new_m, root);
    let decayed = b.mul(p, decay);
    let new_p = b.fma(step, ratio, decayed);
    b.finish(new_p, vec![new_m, new_v])
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn rows(c: &mut Criterion) {
    for simd in Simd::available().into_iter().filter(|s| *s != Simd::Scalar) {
        let mut group = c.benchmark_group(simd.name());
        group.sample_size(20).warm_up_time(std::time::Duration::from_millis(200));
        group.measurement_time(std::time::Duration::from_millis(500));
        for width in [64, 256] {
            group.throughput(Throughput::Elements((ROWS * width) as u64));
            pointwise(&Cpu::new(simd), width, &mut group);
            norms_and_losses(&Cpu::new(simd), width, &mut group);
        }
        attention(&Cpu::new(simd), &mut group);
    }
}

fn pointwise(ops: &Cpu, width: usize, group: &mut Group<'_>) {
    let n = ROWS * width;
    let (x, dy, mut y) = (buffer(n, 1), buffer(n, 2), buffer(n, 3));
    let id = |name: &str| BenchmarkId::new(name, width);
    group.bench_function(id("copy"), |b| b.iter(|| y.copy_from_slice(&x)));
    group.bench_function(id("add"), |b| b.iter(|| ops.add(&x, &dy, &mut y)));
    group.bench_function(id("sum_squares"), |b| b.iter(|| ops.sum_squares(&x)));
    for f in [Activation::Relu, Activation::GeluTanh, Activation::GeluErf] {
        group.bench_function(id(&format!("{f:?}")), |b| b.iter(|| ops.activation(f, &x, &mut y)));
        group.bench_function(id(&format!("{f:?}_backward")), |b| {
            b.iter(|| ops.activation_backward(f, &x, &dy, &mut y));
        });
    }
    let (expr, scalars) = (adamw(), [-1e-3, 1.1, 0.999]);
    let (mut m, mut v) = (buffer(n, 4), Aligned::<f32>::zeroed(n));
    group.bench_function(id("adamw"), |b| {
        b.iter(|| ops.update(&expr, &scalars, Some(0.5), &mut y, &dy, &mut [&mut m[..], &mut v[..]]));
    });
}

fn norms_and_losses(ops: &Cpu, width: usize, group: &mut Group<'_>) {
    let n = ROWS * width;
    let (x, dy, add, mut y) = (buffer(n, 1), buffer(n, 2), buffer(n, 3), buffer(n, 4));
    let (gamma, beta) = (buffer(width, 5), buffer(width, 6));
    let (mut mean, mut rstd) = (buffer(ROWS, 7), buffer(ROWS, 8));
    let (mut dgamma, mut dbeta) = (buffer(width, 9), buffer(width, 10));
    let id = |name: &str| BenchmarkId::new(name, width);
    group.bench_function(id("layer_norm"), |b| {
        b.iter(|| ops.layer_norm(width, 1e-5, &x, &gamma, &beta, &mut y, &mut mean, &mut rstd));
    });
    group.bench_function(id("layer_norm_dx"), |b| {
        b.iter(|| ops.layer_norm_dx(width, &x, &gamma, &mean, &rstd, &dy, Some(&add), &mut y));
    });
    group.bench_function(id("layer_norm_dparams"), |b| {
        b.iter(|| ops.layer_norm_dparams(width, &x, &mean, &rstd, &dy, &mut dgamma, &mut dbeta));
    });
    group.bench_function(id("column_sum"), |b| b.iter(|| ops.column_sum(width, &x, &mut dbeta)));
    let shape = CrossEntropy { rows: ROWS, vocab: width, smoothing: 0.0 };
    let targets: Vec<u32> = (0..ROWS).map(|r| (r % width) as u32).collect();
    group.bench_function(id("cross_entropy"), |b| {
        b.iter(|| ops.cross_entropy(&shape, &x, &targets, &mut mean, &mut rstd));
    });
    group.bench_function(id("cross_entropy_backward"), |b| {
        b.iter(|| ops.cross_entropy_backward(&shape, &x, &targets, &rstd, 0.1, &mut y));
    });
}

/// Attention with its products; elements are the probabilities of the causal half.
fn attention(ops: &Cpu, group: &mut Group<'_>) {
    for seq in [64, 128] {
        let shape = Attention { batch: 16, seq, heads: 2, head_dim: 32, causal: true };
        let n = shape.batch * seq * shape.width();
        let (qkv, dout, mut out, mut dqkv) = (buffer(3 * n, 1), buffer(n, 2), buffer(n, 3), buffer(3 * n, 4));
        let (mut probs, mut scratch) = (buffer(shape.probs_len(), 5), buffer(seq * seq, 6));
        group.throughput(Throughput::Elements(shape.probs_len() as u64 / 2));
        group.bench_function(BenchmarkId::new("attention", seq), |b| {
            b.iter(|| ops.attention(&shape, &qkv, &mut out, &mut probs));
        });
        group.bench_function(BenchmarkId::new("attention_backward", seq), |b| {
            b.iter(|| ops.attention_backward(&shape, &qkv, &probs, &dout, &mut dqkv, &mut scratch));
        });
    }
}

// By hand: `criterion_group!` makes a public function without documentation.
fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    rows(&mut criterion);
    criterion.final_summary();
}
