//! GEMM: one chain of fused multiply-adds per output element.

use crate::ops::{MatMul, Start};
use crate::real::Real;

pub(super) fn matmul<T: Real>(mm: &MatMul, a: &[T], b: &[T], start: Start<'_, T>, residual: Option<&[T]>, c: &mut [T]) {
    for i in 0..mm.m {
        let terms = mm.terms_of(i);
        for j in 0..mm.columns_of(i) {
            let at = i * mm.ldc + j;
            let mut acc = match start {
                Start::Zero => T::ZERO,
                Start::Accumulate => c[at],
                Start::Bias(bias) => bias[j],
            };
            for p in terms.clone() {
                let x = if mm.trans_a { a[p * mm.lda + i] } else { a[i * mm.lda + p] };
                let y = if mm.trans_b { b[j * mm.ldb + p] } else { b[p * mm.ldb + j] };
                acc = x.mul_add(y, acc);
            }
            c[at] = match residual {
                Some(r) => r[at] + acc,
                None => acc,
            };
        }
    }
}
