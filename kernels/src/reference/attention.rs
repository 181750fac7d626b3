//! Scaled dot-product attention (Vaswani et al. 2017, Eq 1), full softmax rows, no online softmax.

use super::Reference;
use super::reduce::lanes;
use crate::ops::{Attention, Columns, KRange, MatMul, Ops, Start};
use crate::real::Real;

/// 1/√D, computed in f64 and rounded once.
pub(crate) fn scale<T: Real>(shape: &Attention) -> T {
    T::from_f64(1.0 / (shape.head_dim as f64).sqrt())
}

/// The products of one head, with strides into the packed projections.
pub(crate) struct HeadProducts {
    pub(crate) scores: MatMul,
    pub(crate) output: MatMul,
    pub(crate) grad_value: MatMul,
    pub(crate) grad_probs: MatMul,
    pub(crate) grad_query: MatMul,
    pub(crate) grad_key: MatMul,
}

impl HeadProducts {
    pub(crate) fn new(shape: &Attention) -> Self {
        let (t, d, c) = (shape.seq, shape.head_dim, shape.width());
        let (columns, up_to, from) = if shape.causal {
            (Columns::UpToRow, KRange::UpToRow, KRange::FromRow)
        } else {
            (Columns::Full, KRange::Full, KRange::Full)
        };
        Self {
            scores: MatMul { lda: 3 * c, ldb: 3 * c, columns, ..MatMul::nt(t, t, d) },
            output: MatMul { ldb: 3 * c, ldc: c, k_range: up_to, ..MatMul::nn(t, d, t) },
            grad_value: MatMul { ldb: c, ldc: 3 * c, k_range: from, ..MatMul::tn(t, d, t) },
            grad_probs: MatMul { lda: c, ldb: 3 * c, columns, ..MatMul::nt(t, t, d) },
            grad_query: MatMul { ldb: 3 * c, ldc: 3 * c, k_range: up_to, ..MatMul::nn(t, d, t) },
            grad_key: MatMul { ldb: 3 * c, ldc: 3 * c, k_range: from, ..MatMul::tn(t, d, t) },
        }
    }
}

/// Offsets of one head: q, k, v in the packed rows, out in [N,C], probabilities in [B,H,T,T].
pub(crate) struct HeadOffsets {
    pub(crate) q: usize,
    pub(crate) k: usize,
    pub(crate) v: usize,
    pub(crate) out: usize,
    pub(crate) probs: usize,
}

pub(crate) fn heads(shape: &Attention) -> impl Iterator<Item = HeadOffsets> {
    let (t, d, c, h) = (shape.seq, shape.head_dim, shape.width(), shape.heads);
    (0..shape.batch * h).map(move |i| {
        let (batch, head) = (i / h, i % h);
        let q = batch * t * 3 * c + head * d;
        HeadOffsets { q, k: q + c, v: q + 2 * c, out: batch * t * c + head * d, probs: i * t * t }
    })
}

pub(super) fn forward<T: Real>(shape: &Attention, qkv: &[T], out: &mut [T], probs: &mut [T]) {
    let (t, scale) = (shape.seq, scale::<T>(shape));
    let products = HeadProducts::new(shape);
    for head in heads(shape) {
        let p = &mut probs[head.probs..head.probs + t * t];
        Reference.matmul(&products.scores, &qkv[head.q..], &qkv[head.k..], Start::Zero, None, p);
        for (i, row) in p.chunks_exact_mut(t).enumerate() {
            softmax(scale, &mut row[..if shape.causal { i + 1 } else { t }]);
        }
        Reference.matmul(&products.output, p, &qkv[head.v..], Start::Zero, None, &mut out[head.out..]);
    }
}

/// In place: p = exp(scale·s − max)·(1/Σ).
fn softmax<T: Real>(scale: T, row: &mut [T]) {
    let mut max = T::NEG_INFINITY;
    for x in row.iter_mut() {
        *x = *x * scale;
        max = max.select_max(*x);
    }
    for x in row.iter_mut() {
        *x = (*x - max).exp();
    }
    let inverse = T::ONE / lanes(row.len(), |j, acc| acc + row[j]);
    for x in row.iter_mut() {
        *x = *x * inverse;
    }
}

pub(super) fn backward<T: Real>(
    shape: &Attention,
    qkv: &[T],
    probs: &[T],
    dout: &[T],
    dqkv: &mut [T],
    scratch: &mut [T],
) {
    let (t, scale) = (shape.seq, scale::<T>(shape));
    let products = HeadProducts::new(shape);
    for head in heads(shape) {
        let p = &probs[head.probs..head.probs + t * t];
        let dout = &dout[head.out..];
        Reference.matmul(&products.grad_value, p, dout, Start::Zero, None, &mut dqkv[head.v..]);
        Reference.matmul(&products.grad_probs, dout, &qkv[head.v..], Start::Zero, None, scratch);
        for (i, (dp, p)) in scratch.chunks_exact_mut(t).zip(p.chunks_exact(t)).enumerate() {
            let n = if shape.causal { i + 1 } else { t };
            let dot = lanes(n, |j, acc| dp[j].mul_add(p[j], acc));
            for j in 0..n {
                dp[j] = (p[j] * (dp[j] - dot)) * scale;
            }
        }
        Reference.matmul(&products.grad_query, scratch, &qkv[head.k..], Start::Zero, None, &mut dqkv[head.q..]);
        Reference.matmul(&products.grad_key, scratch, &qkv[head.q..], Start::Zero, None, &mut dqkv[head.k..]);
    }
}
