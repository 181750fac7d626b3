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
        let (p, next) = probs[head.probs..].split_at_mut(t * t);
        gemm::matmul_and_fetch(cpu.simd, &products.scores, &qkv[head.q..], &qkv[head.k..], p, next);
        softmax_rows(cpu.simd, t, shape.causal, scale, p);
        cpu.matmul(&products.output, p, &qkv[head.v..], Start::Zero, None, &mut out[head.out..]);
    }
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
        let (p, next) = probs[head.probs..].split_at(t * t);
        let dout = &dout[head.out..];
        cpu.matmul(&products.grad_value, p, dout, Start::Zero, None, &mut dqkv[head.v..]);
        gemm::matmul_and_fetch(cpu.simd, &products.grad_probs, dout, &qkv[head.v..], scratch, next);
        softmax_rows_backward(cpu.simd, t, shape.causal, scale, p, scratch);
        cpu.matmul(&products.grad_query, scratch, &qkv[head.k..], Start::Zero, None, &mut dqkv[head.q..]);
        cpu.matmul(&products.grad_key, scratch, &qkv[head.q..], Start::Zero, None, &mut dqkv[head.k..]);
    }
}
