//! Attention: products over sequences and heads, with softmax rows between them.

use super::matmul::{Matrices, batched};
use super::{Cohort, word};
use crate::cuda::arguments::{Batched, Softmax};
use crate::cuda::gemm::{self, Axis};
use crate::cuda::{Launch, Operand, Work};
use crate::ops::{Attention, Columns, KRange, MatMul};
use crate::reference::{HeadProducts, attention_scale};

/// The heads' matrices of a shape.
struct Heads<'a>(&'a Attention);

impl Heads<'_> {
    /// Queries (`part` 0), keys (1) or values (2) in rows of 3C.
    fn packed(&self, qkv: Operand, part: usize) -> Batched {
        self.in_rows(qkv.offset(part * self.0.width()), 3)
    }
    /// Rows of C.
    fn output(&self, out: Operand) -> Batched {
        self.in_rows(out, 1)
    }
    fn in_rows(&self, operand: Operand, parts: usize) -> Batched {
        let outer = self.0.seq * parts * self.0.width();
        Batched { operand, outer_stride: outer as u64, inner_stride: self.0.head_dim as u64 }
    }
    /// T×T scores or probabilities, one head after the other.
    fn square(&self, operand: Operand) -> Batched {
        let inner = self.0.seq * self.0.seq;
        Batched { operand, outer_stride: (self.0.heads * inner) as u64, inner_stride: inner as u64 }
    }
    fn product(&self, cohort: &Cohort, mm: &MatMul, [a, b, c]: [Batched; 3]) -> Launch {
        batched(cohort, mm, &Matrices { outer: self.0.batch, inner: self.0.heads, a, b, c })
    }
    /// The same by a device that knows no masks: all terms of all columns.
    fn whole_product(&self, cohort: &Cohort, mm: &MatMul, operands: [Batched; 3]) -> Work {
        let mm = MatMul { k_range: KRange::Full, columns: Columns::Full, ..*mm };
        let axis = |count: usize, stride: fn(&Batched) -> u64| Axis { count, strides: operands.map(|o| stride(&o)) };
        let axes = [
            axis(cohort.runs, |o| o.operand.run_stride),
            axis(self.0.batch, |o| o.outer_stride),
            axis(self.0.heads, |o| o.inner_stride),
        ];
        Work::Product(gemm::batched(&mm, operands.map(|o| o.operand.at), &axes))
    }
    fn softmax(&self, cohort: &Cohort, kernel: &str, scores: Operand, probs: Operand) -> Launch {
        self.softmax_of(cohort, kernel, [scores, probs], u32::from(self.0.causal))
    }
    /// The same, and masked terms become zero.
    fn clearing_softmax(&self, cohort: &Cohort, kernel: &str, scores: Operand, probs: Operand) -> Work {
        self.softmax_of(cohort, kernel, [scores, probs], if self.0.causal { 2 } else { 0 }).into()
    }
    fn softmax_of(&self, cohort: &Cohort, kernel: &str, [scores, probs]: [Operand; 2], causal: u32) -> Launch {
        let (rows, active) = (self.0.batch * self.0.heads * self.0.seq, cohort.active);
        let width = word(self.0.seq);
        let args = Softmax { scores, probs, active, rows: word(rows), width, causal, scale: attention_scale(self.0) };
        cohort.rows(kernel, rows, args)
    }
}

/// out and probs from qkv. Masked probabilities are left untouched.
pub fn attention(cohort: &Cohort, shape: &Attention, [qkv, out, probs]: [Operand; 3]) -> [Launch; 3] {
    let (products, heads) = (HeadProducts::new(shape), Heads(shape));
    let (q, k, v) = (heads.packed(qkv, 0), heads.packed(qkv, 1), heads.packed(qkv, 2));
    let p = heads.square(probs);
    [
        heads.product(cohort, &products.scores, [q, k, p]),
        heads.softmax(cohort, "softmax", probs, Operand::ABSENT),
        heads.product(cohort, &products.output, [p, v, heads.output(out)]),
    ]
}

/// dqkv from qkv, probs and dout. `scratch` is as large as probs: all heads are computed at once.
pub fn attention_backward(
    cohort: &Cohort,
    shape: &Attention,
    [qkv, probs, dout, dqkv, scratch]: [Operand; 5],
) -> [Launch; 5] {
    let (products, heads) = (HeadProducts::new(shape), Heads(shape));
    let (p, ds, dout) = (heads.square(probs), heads.square(scratch), heads.output(dout));
    let (q, k, v) = (heads.packed(qkv, 0), heads.packed(qkv, 1), heads.packed(qkv, 2));
    let (dq, dk, dv) = (heads.packed(dqkv, 0), heads.packed(dqkv, 1), heads.packed(dqkv, 2));
    [
        heads.product(cohort, &products.grad_value, [p, dout, dv]),
        heads.product(cohort, &products.grad_probs, [dout, v, ds]),
        heads.softmax(cohort, "softmax_backward", scratch, probs),
        heads.product(cohort, &products.grad_query, [ds, k, dq]),
        heads.product(cohort, &products.grad_key, [ds, q, dk]),
    ]
}

/// [`attention`] on a device that multiplies by itself. Masked probabilities are zero.
pub fn attention_by_products(cohort: &Cohort, shape: &Attention, [qkv, out, probs]: [Operand; 3]) -> [Work; 3] {
    let (products, heads) = (HeadProducts::new(shape), Heads(shape));
    let (q, k, v) = (heads.packed(qkv, 0), heads.packed(qkv, 1), heads.packed(qkv, 2));
    let p = heads.square(probs);
    [
        heads.whole_product(cohort, &products.scores, [q, k, p]),
        heads.clearing_softmax(cohort, "softmax", probs, Operand::ABSENT),
        heads.whole_product(cohort, &products.output, [p, v, heads.output(out)]),
    ]
}

/// [`attention_backward`] on a device that multiplies by itself: masked probabilities must be zero.
pub fn attention_backward_by_products(
    cohort: &Cohort,
    shape: &Attention,
    [qkv, probs, dout, dqkv, scratch]: [Operand; 5],
) -> [Work; 5] {
    let (products, heads) = (HeadProducts::new(shape), Heads(shape));
    let (p, ds, dout) = (heads.square(probs), heads.square(scratch), heads.output(dout));
    let (q, k, v) = (heads.packed(qkv, 0), heads.packed(qkv, 1), heads.packed(qkv, 2));
    let (dq, dk, dv) = (heads.packed(dqkv, 0), heads.packed(dqkv, 1), heads.packed(dqkv, 2));
    [
        heads.whole_product(cohort, &products.grad_value, [p, dout, dv]),
        heads.whole_product(cohort, &products.grad_probs, [dout, v, ds]),
        heads.clearing_softmax(cohort, "softmax_backward", scratch, probs),
        heads.whole_product(cohort, &products.grad_query, [ds, k, dq]),
        heads.whole_product(cohort, &products.grad_key, [ds, q, dk]),
    ]
}
