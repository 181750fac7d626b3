//! Attention: the device's own products, with fused softmax rows between them.

use super::Cpu;
use super::gemm;
use super::softmax::{softmax_rows, softmax_rows_backward};
use crate::ops::{Attention, Ops, Start};
use crate::reference::{HeadProducts, attention_scale, heads};

pub(super) fn forward(cpu: &Cpu, shape: &Attention, qkv: &[f32], out: &mut [f32], probs: &mut [f32]) {
    let (t, scale) = (shape.seq, attention_scale::<f32>(shape));
    let products = HeadProducts::new(shape);
    for head in heads(shape) {
        let (p, later) = probs[head.probs..].split_at_mut(t * t);
        let ahead = [next_projections(shape, qkv, head.probs), next_probs(t, later)];
        gemm::matmul_and_fetch(cpu.simd, &products.scores, &qkv[head.q..], &qkv[head.k..], p, ahead);
        softmax_rows(cpu.simd, t, shape.causal, scale, p);
        cpu.matmul(&products.output, p, &qkv[head.v..], Start::Zero, None, &mut out[head.out..]);
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
    let (t, scale) = (shape.seq, attention_scale::<f32>(shape));
    let products = HeadProducts::new(shape);
    let scratch = &mut scratch[..t * t];
    for head in heads(shape) {
        let (p, later) = probs[head.probs..].split_at(t * t);
        let ahead = [next_projections(shape, qkv, head.probs), next_probs(t, later)];
        let dout = &dout[head.out..];
        cpu.matmul(&products.grad_value, p, dout, Start::Zero, None, &mut dqkv[head.v..]);
        gemm::matmul_and_fetch(cpu.simd, &products.grad_probs, dout, &qkv[head.v..], scratch, ahead);
        softmax_rows_backward(cpu.simd, t, shape.causal, scale, p, scratch);
        cpu.matmul(&products.grad_query, scratch, &qkv[head.k..], Start::Zero, None, &mut dqkv[head.q..]);
        cpu.matmul(&products.grad_key, scratch, &qkv[head.q..], Start::Zero, None, &mut dqkv[head.k..]);
    }
}
