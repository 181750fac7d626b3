//! Row ops at the suites' sizes: elements a second on every instruction set of this machine.
//!
//! `cargo bench -p preheat-kernels --bench rows -- avx512/layer_norm`

use criterion::{BenchmarkId, Criterion, Throughput};
use preheat_kernels::aligned::Aligned;
use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::ops::{
    Activation, Attention, ColumnOps, CrossEntropy, ImageOps, IntervalOps, IntervalPenalty, MatMul, Ops, Patches, Start,
};
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
        statistics(&Cpu::new(simd), &mut group);
        bounds(&Cpu::new(simd), &mut group);
        images(&Cpu::new(simd), &mut group);
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

/// Rows and columns of a layer of a certified network.
const LAYER: usize = 128;

/// The parts of batch normalisation, beside one product of a layer.
fn statistics(ops: &Cpu, group: &mut Group<'_>) {
    let n = LAYER * LAYER;
    let (x, dy, mut y) = (buffer(n, 1), buffer(n, 2), buffer(n, 3));
    let [shift, scale, offset] = [4, 5, 6].map(|seed| buffer(LAYER, seed));
    let (mut mean, mut var) = (buffer(LAYER, 7), buffer(LAYER, 8));
    let id = |name: &str| BenchmarkId::new(name, LAYER);
    group.throughput(Throughput::Elements(n as u64));
    let product = MatMul::nn(LAYER, LAYER, LAYER);
    group.bench_function(id("product"), |b| b.iter(|| ops.matmul(&product, &x, &dy, Start::Zero, None, &mut y)));
    group.bench_function(id("column_moments"), |b| b.iter(|| ops.column_moments(LAYER, &x, &mut mean, &mut var)));
    group.bench_function(id("column_affine"), |b| b.iter(|| ops.column_affine(&x, &shift, &scale, &offset, &mut y)));
    group.bench_function(id("column_scale"), |b| b.iter(|| ops.column_scale(&x, &scale, &mut y)));
    group.bench_function(id("column_dot"), |b| b.iter(|| ops.column_dot(&x, Some(&shift), &dy, &mut mean)));
}

/// Interval bounds of a layer, and of ten classes.
fn bounds(ops: &Cpu, group: &mut Group<'_>) {
    let (n, classes) = (LAYER * LAYER, 10);
    let (c, mut r, dc_out, dr_out) = (buffer(n, 1), buffer(n, 2), buffer(n, 3), buffer(n, 4));
    r.iter_mut().for_each(|r| *r = r.abs() * 0.3);
    let (mut dc, mut dr, mut sums) = (buffer(n, 5), buffer(n, 6), [0.0; 8]);
    let id = |name: &str| BenchmarkId::new(name, LAYER);
    group.throughput(Throughput::Elements(n as u64));
    group.bench_function(id("input_box"), |b| b.iter(|| ops.input_box([0.0, 1.0], 0.1, &c, &mut dc, &mut dr)));
    group.bench_function(id("interval_relu"), |b| b.iter(|| ops.interval_relu(&c, &r, &mut dc, &mut dr)));
    group.bench_function(id("interval_relu_backward"), |b| {
        b.iter(|| ops.interval_relu_backward(&c, &r, [&dc_out, &dr_out], &mut dc, &mut dr));
    });
    let penalty = IntervalPenalty { width: LAYER, tau: 0.9, tightness: true, balance: true };
    group.bench_function(id("interval_penalty"), |b| {
        b.iter(|| ops.interval_penalty(&penalty, &c, &r, 0.1, &mut sums));
    });
    group.bench_function(id("interval_penalty_backward"), |b| {
        b.iter(|| ops.interval_penalty_backward(&penalty, &c, &r, &sums, [0.1, 0.7], &mut dc, &mut dr));
    });
    let (w, pairs) = (buffer(LAYER * classes, 7), buffer(LAYER * classes * classes, 8));
    let (mut of_class, mut of_pair) = (buffer(w.len(), 9), buffer(pairs.len(), 10));
    let targets: Vec<u32> = (0..LAYER).map(|row| (row % classes) as u32).collect();
    group.throughput(Throughput::Elements(pairs.len() as u64));
    group.bench_function(id("pair_distances"), |b| b.iter(|| ops.pair_distances(classes, &w, &mut of_pair)));
    group.bench_function(id("pair_distances_backward"), |b| {
        b.iter(|| ops.pair_distances_backward(classes, &w, &pairs, &mut of_class));
    });
    group.bench_function(id("margins"), |b| b.iter(|| ops.margins(classes, &w, &pairs, &targets, &mut of_class)));
    group.bench_function(id("margins_backward"), |b| {
        b.iter(|| ops.margins_backward(classes, &w, &targets, &mut of_class, &mut of_pair));
    });
}

/// Pixels, and windows over images of 14 by 14, of a few and of many channels.
fn images(ops: &Cpu, group: &mut Group<'_>) {
    let (bytes, mut x) = ((0..LAYER as u32 * 196).collect::<Vec<_>>(), buffer(LAYER * 196, 1));
    group.throughput(Throughput::Elements(bytes.len() as u64));
    group.bench_function(BenchmarkId::new("pixels", LAYER), |b| b.iter(|| ops.pixels(&bytes, &mut x)));
    for channels in [1, 16] {
        let shape = Patches { batch: LAYER, height: 14, width: 14, channels, kernel: 3, stride: 2, padding: 1 };
        let (mut image, taps) = (buffer(shape.batch * shape.image_len(), 2), shape.rows() * shape.patch_len());
        let mut patches = buffer(taps, 3);
        group.throughput(Throughput::Elements(taps as u64));
        group.bench_function(BenchmarkId::new("patches", channels), |b| {
            b.iter(|| ops.patches(&shape, &image, &mut patches));
        });
        group.bench_function(BenchmarkId::new("patches_backward", channels), |b| {
            b.iter(|| ops.patches_backward(&shape, &patches, &mut image));
        });
    }
}

// By hand: `criterion_group!` makes a public function without documentation.
fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    rows(&mut criterion);
    criterion.final_summary();
}
