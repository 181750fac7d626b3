//! A device that multiplies as tensor cores do: inputs of products are rounded to bf16, sums are f32, or bf16 too, which
//! is wrong. All else is a CPU's.

use preheat_kernels::cpu::Cpu;
use preheat_kernels::device::{Device, DeviceError, Replay};
use preheat_kernels::graph::{Program, Session};
use preheat_kernels::ops::{
    Activation, Attention, ColumnOps, Columns, CrossEntropy, ImageOps, IntervalOps, KRange, LinearBoundOps, MatMul,
    Ops, Start,
};
use preheat_kernels::real::Real;
use preheat_kernels::update::UpdateExpr;
use std::sync::Arc;

/// x as bf16, to nearest even. NaN stays NaN.
pub(crate) fn bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
    if x.is_finite() { f32::from_bits(rounded) } else { x }
}

/// Products of bf16 numbers.
#[derive(Clone, Copy)]
pub(crate) struct Rounded {
    host: Cpu,
    /// Sums are bf16 too.
    sums: bool,
}

impl Rounded {
    /// As a tensor core should be.
    pub(crate) fn new(host: Cpu) -> Self {
        Self { host, sums: false }
    }
    /// Sums are rounded after each term.
    pub(crate) fn accumulating_in_bf16(host: Cpu) -> Self {
        Self { host, sums: true }
    }
}

impl Device for Rounded {
    fn session(&self, program: &Arc<Program>) -> Result<Box<dyn Replay>, DeviceError> {
        Ok(Box::new(Session::new(Arc::clone(program), *self)))
    }
    fn sum_squares(&self, x: &[f32]) -> f32 {
        Ops::sum_squares(&self.host, x)
    }
}

fn rounded(x: &[f32]) -> Vec<f32> {
    x.iter().map(|x| bf16(*x)).collect()
}

/// As the reference's, each sum rounded to bf16.
fn crude(mm: &MatMul, a: &[f32], b: &[f32], start: Start<'_, f32>, residual: Option<&[f32]>, c: &mut [f32]) {
    for i in 0..mm.m {
        let terms = mm.terms_of(i);
        for j in 0..mm.columns_of(i) {
            let at = i * mm.ldc + j;
            let mut sum = match start {
                Start::Zero => 0.0,
                Start::Accumulate => c[at],
                Start::Bias(bias) => bias[j],
            };
            for p in terms.clone() {
                let x = if mm.trans_a { a[p * mm.lda + i] } else { a[i * mm.lda + p] };
                let y = if mm.trans_b { b[j * mm.ldb + p] } else { b[p * mm.ldb + j] };
                sum = bf16(x.mul_add(y, sum));
            }
            c[at] = sum + residual.map_or(0.0, |r| r[at]);
        }
    }
}

/// The products of one head in rows of `c` or 3·`c`.
struct Head {
    q: usize,
    out: usize,
    probs: usize,
}

fn heads(s: &Attention) -> impl Iterator<Item = Head> {
    let (t, d, c, h) = (s.seq, s.head_dim, s.width(), s.heads);
    (0..s.batch * h).map(move |i| {
        let (sequence, head) = (i / h, i % h);
        Head { q: sequence * t * 3 * c + head * d, out: sequence * t * c + head * d, probs: i * t * t }
    })
}

impl ColumnOps<f32> for Rounded {}
impl IntervalOps<f32> for Rounded {}
impl LinearBoundOps<f32> for Rounded {}
impl ImageOps<f32> for Rounded {}

impl Ops<f32> for Rounded {
    fn matmul(
        &self,
        mm: &MatMul,
        a: &[f32],
        b: &[f32],
        start: Start<'_, f32>,
        residual: Option<&[f32]>,
        c: &mut [f32],
    ) {
        let (a, b) = (rounded(a), rounded(b));
        if self.sums { crude(mm, &a, &b, start, residual, c) } else { self.host.matmul(mm, &a, &b, start, residual, c) }
    }

    fn attention(&self, s: &Attention, qkv: &[f32], out: &mut [f32], probs: &mut [f32]) {
        let (t, d, c) = (s.seq, s.head_dim, s.width());
        let scale = 1.0 / (d as f32).sqrt();
        let (columns, k_range) =
            if s.causal { (Columns::UpToRow, KRange::UpToRow) } else { (Columns::Full, KRange::Full) };
        let scores = MatMul { lda: 3 * c, ldb: 3 * c, columns, ..MatMul::nt(t, t, d) };
        let output = MatMul { ldb: 3 * c, ldc: c, k_range, ..MatMul::nn(t, d, t) };
        for head in heads(s) {
            let p = &mut probs[head.probs..head.probs + t * t];
            self.matmul(&scores, &qkv[head.q..], &qkv[head.q + c..], Start::Zero, None, p);
            for (i, row) in p.chunks_exact_mut(t).enumerate() {
                let row = &mut row[..if s.causal { i + 1 } else { t }];
                let most = row.iter().fold(f32::NEG_INFINITY, |m, x| m.select_max(*x * scale));
                row.iter_mut().for_each(|x| *x = Real::exp(*x * scale - most));
                let sum: f32 = row.iter().sum();
                row.iter_mut().for_each(|x| *x /= sum);
            }
            self.matmul(&output, p, &qkv[head.q + 2 * c..], Start::Zero, None, &mut out[head.out..]);
        }
    }

    fn attention_backward(
        &self,
        s: &Attention,
        qkv: &[f32],
        probs: &[f32],
        dout: &[f32],
        dqkv: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (t, d, c) = (s.seq, s.head_dim, s.width());
        let scale = 1.0 / (d as f32).sqrt();
        let (columns, up_to, from) = if s.causal {
            (Columns::UpToRow, KRange::UpToRow, KRange::FromRow)
        } else {
            (Columns::Full, KRange::Full, KRange::Full)
        };
        let value = MatMul { ldb: c, ldc: 3 * c, k_range: from, ..MatMul::tn(t, d, t) };
        let dprobs = MatMul { lda: c, ldb: 3 * c, columns, ..MatMul::nt(t, t, d) };
        let query = MatMul { ldb: 3 * c, ldc: 3 * c, k_range: up_to, ..MatMul::nn(t, d, t) };
        let key = MatMul { ldb: 3 * c, ldc: 3 * c, k_range: from, ..MatMul::tn(t, d, t) };
        for head in heads(s) {
            let (p, dout, q) = (&probs[head.probs..head.probs + t * t], &dout[head.out..], head.q);
            self.matmul(&value, p, dout, Start::Zero, None, &mut dqkv[q + 2 * c..]);
            self.matmul(&dprobs, dout, &qkv[q + 2 * c..], Start::Zero, None, scratch);
            for (i, (dp, p)) in scratch.chunks_exact_mut(t).zip(p.chunks_exact(t)).enumerate() {
                let n = if s.causal { i + 1 } else { t };
                let dot: f32 = dp[..n].iter().zip(p).map(|(dp, p)| dp * p).sum();
                dp[..n].iter_mut().zip(p).for_each(|(dp, p)| *dp = p * (*dp - dot) * scale);
            }
            self.matmul(&query, scratch, &qkv[q + c..], Start::Zero, None, &mut dqkv[q..]);
            self.matmul(&key, scratch, &qkv[q..], Start::Zero, None, &mut dqkv[q + c..]);
        }
    }

    fn layer_norm(
        &self,
        width: usize,
        eps: f64,
        x: &[f32],
        gamma: &[f32],
        beta: &[f32],
        y: &mut [f32],
        mean: &mut [f32],
        rstd: &mut [f32],
    ) {
        self.host.layer_norm(width, eps, x, gamma, beta, y, mean, rstd);
    }
    fn layer_norm_dx(
        &self,
        width: usize,
        x: &[f32],
        gamma: &[f32],
        mean: &[f32],
        rstd: &[f32],
        dy: &[f32],
        add: Option<&[f32]>,
        dx: &mut [f32],
    ) {
        self.host.layer_norm_dx(width, x, gamma, mean, rstd, dy, add, dx);
    }
    fn layer_norm_dparams(
        &self,
        width: usize,
        x: &[f32],
        mean: &[f32],
        rstd: &[f32],
        dy: &[f32],
        dgamma: &mut [f32],
        dbeta: &mut [f32],
    ) {
        self.host.layer_norm_dparams(width, x, mean, rstd, dy, dgamma, dbeta);
    }
    fn activation(&self, f: Activation, x: &[f32], y: &mut [f32]) {
        self.host.activation(f, x, y);
    }
    fn activation_backward(&self, f: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        self.host.activation_backward(f, x, dy, dx);
    }
    fn embedding(&self, width: usize, tokens: &[u32], table: &[f32], positions: Option<&[f32]>, x: &mut [f32]) {
        self.host.embedding(width, tokens, table, positions, x);
    }
    fn embedding_backward(&self, width: usize, tokens: &[u32], dx: &[f32], dtable: &mut [f32]) {
        self.host.embedding_backward(width, tokens, dx, dtable);
    }
    fn column_sum(&self, width: usize, x: &[f32], out: &mut [f32]) {
        self.host.column_sum(width, x, out);
    }
    fn cross_entropy(&self, s: &CrossEntropy, logits: &[f32], targets: &[u32], losses: &mut [f32], lse: &mut [f32]) {
        self.host.cross_entropy(s, logits, targets, losses, lse);
    }
    fn cross_entropy_backward(
        &self,
        s: &CrossEntropy,
        logits: &[f32],
        targets: &[u32],
        lse: &[f32],
        scale: f32,
        dlogits: &mut [f32],
    ) {
        self.host.cross_entropy_backward(s, logits, targets, lse, scale, dlogits);
    }
    fn add(&self, a: &[f32], b: &[f32], out: &mut [f32]) {
        self.host.add(a, b, out);
    }
    fn mul(&self, a: &[f32], b: &[f32], out: &mut [f32]) {
        self.host.mul(a, b, out);
    }
    fn scale(&self, s: f32, a: &[f32], out: &mut [f32]) {
        Ops::scale(&self.host, s, a, out);
    }
    fn sum(&self, x: &[f32]) -> f32 {
        Ops::sum(&self.host, x)
    }
    fn sum_squares(&self, x: &[f32]) -> f32 {
        Ops::sum_squares(&self.host, x)
    }
    fn update(
        &self,
        expr: &UpdateExpr,
        scalars: &[f32],
        grad_scale: Option<f32>,
        param: &mut [f32],
        grad: &[f32],
        states: &mut [&mut [f32]],
    ) {
        self.host.update(expr, scalars, grad_scale, param, grad, states);
    }
}
