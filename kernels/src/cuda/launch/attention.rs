//! Attention: products over sequences and heads, with softmax rows between them.

use super::matmul::{Matrices, batched};
use super::{Cohort, word};
use crate::cuda::arguments::{Batched, Softmax};
use crate::cuda::{Launch, Operand};
use crate::ops::{Attention, MatMul};
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
    fn softmax(&self, cohort: &Cohort, kernel: &str, scores: Operand, probs: Operand) -> Launch {
        let (rows, active) = (self.0.batch * self.0.heads * self.0.seq, cohort.active);
        let (width, causal) = (word(self.0.seq), u32::from(self.0.causal));
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
