//! Attention: the device's own products, with softmax rows between them. Where a sequence is short, a row's scores
//! stay in registers from the product to the softmax (`short`).

#[cfg(target_arch = "x86_64")]
mod short;

use super::Cpu;
use super::gemm;
use super::softmax::{softmax_rows, softmax_rows_backward};
use crate::ops::{Attention, MatMul, Ops, Start};
use crate::reference::{HeadProducts, attention_scale, heads};

pub(super) fn forward(cpu: &Cpu, shape: &Attention, qkv: &[f32], out: &mut [f32], probs: &mut [f32]) {
    let t = shape.seq;
    let products = HeadProducts::new(shape);
    for head in heads(shape) {
        let (p, later) = probs[head.probs..].split_at_mut(t * t);
        let ahead = [next_projections(shape, qkv, head.probs), next_probs(t, later)];
        let scores = Rows { shape, product: &products.scores, left: &qkv[head.q..], right: &qkv[head.k..], ahead };
        scores.probabilities(cpu, p);
        cpu.matmul(&products.output, p, &qkv[head.v..], Start::Zero, None, &mut out[head.out..]);
    }
}

/// A product of one head, [T, T], whose rows then go through the softmax or its gradient.
struct Rows<'a> {
    shape: &'a Attention,
    product: &'a MatMul,
    /// Queries or output gradients, [T, D].
    left: &'a [f32],
    /// Keys or values, [T, D].
    right: &'a [f32],
    /// What the next heads read: projections and probabilities.
    ahead: [&'a [f32]; 2],
}

impl Rows<'_> {
    /// p = softmax(scale · left·rightᵀ)
    fn probabilities(&self, cpu: &Cpu, p: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if short::takes(cpu.simd, self.shape) {
            return short::probabilities(self, p);
        }
        let scale = attention_scale::<f32>(self.shape);
        gemm::matmul_and_fetch(cpu.simd, self.product, self.left, self.right, p, self.ahead);
        softmax_rows(cpu.simd, self.shape.seq, self.shape.causal, scale, p);
    }

    /// ds = p·(dp − Σ dp·p)·scale, where dp = left·rightᵀ
    fn score_gradients(&self, cpu: &Cpu, p: &[f32], ds: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if short::takes(cpu.simd, self.shape) {
            return short::score_gradients(self, p, ds);
        }
        let scale = attention_scale::<f32>(self.shape);
        gemm::matmul_and_fetch(cpu.simd, self.product, self.left, self.right, ds, self.ahead);
        softmax_rows_backward(cpu.simd, self.shape.seq, self.shape.causal, scale, p, ds);
    }
}

/// This head's share of the next sequence's projections, which its heads will read; empty behind the last sequence.
/// `probs` is where the head's probabilities begin.
fn next_projections<'a>(shape: &Attention, qkv: &'a [f32], probs: usize) -> &'a [f32] {
    let at = probs / (shape.seq * shape.seq);
    let (sequence, head) = (at / shape.heads, at % shape.heads);
    let len = shape.seq * 3 * shape.head_dim;
    let start = ((sequence + 1) * shape.heads + head) * len;
    qkv.get(start..start + len).unwrap_or_default()
}

/// The next head's probabilities.
fn next_probs(seq: usize, later: &[f32]) -> &[f32] {
    &later[..later.len().min(seq * seq)]
}

pub(super) fn backward(
    cpu: &Cpu,
    shape: &Attention,
    qkv: &[f32],
    probs: &[f32],
    dout: &[f32],
    dqkv: &mut [f32],
    scratch: &mut [f32],
) {
    let t = shape.seq;
    let products = HeadProducts::new(shape);
    let scratch = &mut scratch[..t * t];
    for head in heads(shape) {
        let (p, later) = probs[head.probs..].split_at(t * t);
        let ahead = [next_projections(shape, qkv, head.probs), next_probs(t, later)];
        let dout = &dout[head.out..];
        cpu.matmul(&products.grad_value, p, dout, Start::Zero, None, &mut dqkv[head.v..]);
        let grads = Rows { shape, product: &products.grad_probs, left: dout, right: &qkv[head.v..], ahead };
        grads.score_gradients(cpu, p, scratch);
        cpu.matmul(&products.grad_query, scratch, &qkv[head.k..], Start::Zero, None, &mut dqkv[head.q..]);
        cpu.matmul(&products.grad_key, scratch, &qkv[head.q..], Start::Zero, None, &mut dqkv[head.k..]);
    }
}
