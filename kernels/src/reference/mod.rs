//! The specification: plain scalar definitions of every op, generic over `f32` and `f64`.
//!
//! They are short and slow on purpose. A fast path is right when it equals these bit for bit in `f32`;
//! a backward is right when it matches finite differences of these in `f64`.

mod attention;
pub(crate) mod column;
mod elementwise;
mod embedding;
pub(crate) mod image;
pub(crate) mod interval;
pub(crate) mod linear_bounds;
mod loss;
mod matmul;
mod norm;
mod reduce;

pub(crate) use attention::{HeadProducts, heads, scale as attention_scale};
pub(crate) use elementwise::{GELU_CUBIC, GELU_SCALE, NORMAL_PEAK};
pub(crate) use loss::weights as loss_weights;
pub(crate) use reduce::add_columns;
pub use reduce::{LANES, REDUCE_BLOCK, fold_lanes};

use crate::ops::{
    Activation, Attention, ColumnOps, CrossEntropy, ImageOps, IntervalOps, LinearBoundOps, MatMul, Ops, Start,
};
use crate::real::Real;
use crate::update::UpdateExpr;

/// The reference device.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl<T: Real> ColumnOps<T> for Reference {}
impl<T: Real> IntervalOps<T> for Reference {}
impl<T: Real> LinearBoundOps<T> for Reference {}
impl<T: Real> ImageOps<T> for Reference {}

impl<T: Real> Ops<T> for Reference {
    fn matmul(&self, mm: &MatMul, a: &[T], b: &[T], start: Start<'_, T>, residual: Option<&[T]>, c: &mut [T]) {
        matmul::matmul(mm, a, b, start, residual, c);
    }
    fn layer_norm(
        &self,
        width: usize,
        eps: f64,
        x: &[T],
        gamma: &[T],
        beta: &[T],
        y: &mut [T],
        mean: &mut [T],
        rstd: &mut [T],
    ) {
        norm::forward(width, eps, x, gamma, beta, y, mean, rstd);
    }
    fn layer_norm_dx(
        &self,
        width: usize,
        x: &[T],
        gamma: &[T],
        mean: &[T],
        rstd: &[T],
        dy: &[T],
        add: Option<&[T]>,
        dx: &mut [T],
    ) {
        norm::backward_input(width, x, gamma, mean, rstd, dy, add, dx);
    }
    fn layer_norm_dparams(
        &self,
        width: usize,
        x: &[T],
        mean: &[T],
        rstd: &[T],
        dy: &[T],
        dgamma: &mut [T],
        dbeta: &mut [T],
    ) {
        norm::backward_params(width, x, mean, rstd, dy, dgamma, dbeta);
    }
    fn attention(&self, shape: &Attention, qkv: &[T], out: &mut [T], probs: &mut [T]) {
        attention::forward(shape, qkv, out, probs);
    }
    fn attention_backward(
        &self,
        shape: &Attention,
        qkv: &[T],
        probs: &[T],
        dout: &[T],
        dqkv: &mut [T],
        scratch: &mut [T],
    ) {
        attention::backward(shape, qkv, probs, dout, dqkv, scratch);
    }
    fn activation(&self, f: Activation, x: &[T], y: &mut [T]) {
        elementwise::activation(f, x, y);
    }
    fn activation_backward(&self, f: Activation, x: &[T], dy: &[T], dx: &mut [T]) {
        elementwise::activation_backward(f, x, dy, dx);
    }
    fn embedding(&self, width: usize, tokens: &[u32], table: &[T], positions: Option<&[T]>, x: &mut [T]) {
        embedding::forward(width, tokens, table, positions, x);
    }
    fn embedding_backward(&self, width: usize, tokens: &[u32], dx: &[T], dtable: &mut [T]) {
        embedding::backward(width, tokens, dx, dtable);
    }
    fn column_sum(&self, width: usize, x: &[T], out: &mut [T]) {
        reduce::columns(width, x.len() / width, |i, j| x[i * width + j], out);
    }
    fn cross_entropy(&self, shape: &CrossEntropy, logits: &[T], targets: &[u32], losses: &mut [T], lse: &mut [T]) {
        loss::forward(shape, logits, targets, losses, lse);
    }
    fn cross_entropy_backward(
        &self,
        shape: &CrossEntropy,
        logits: &[T],
        targets: &[u32],
        lse: &[T],
        scale: T,
        dlogits: &mut [T],
    ) {
        loss::backward(shape, logits, targets, lse, scale, dlogits);
    }
    fn add(&self, a: &[T], b: &[T], out: &mut [T]) {
        for ((o, &x), &y) in out.iter_mut().zip(a).zip(b) {
            *o = x + y;
        }
    }
    fn mul(&self, a: &[T], b: &[T], out: &mut [T]) {
        for ((o, &x), &y) in out.iter_mut().zip(a).zip(b) {
            *o = x * y;
        }
    }
    fn scale(&self, s: T, a: &[T], out: &mut [T]) {
        for (o, &x) in out.iter_mut().zip(a) {
            *o = s * x;
        }
    }
    fn sum(&self, x: &[T]) -> T {
        reduce::lanes(x.len(), |i, acc| acc + x[i])
    }
    fn sum_squares(&self, x: &[T]) -> T {
        reduce::blocks(x, |block| reduce::lanes(block.len(), |i, acc| block[i].mul_add(block[i], acc)))
    }
    fn update(
        &self,
        expr: &UpdateExpr,
        scalars: &[T],
        grad_scale: Option<T>,
        param: &mut [T],
        grad: &[T],
        states: &mut [&mut [T]],
    ) {
        elementwise::update(expr, scalars, grad_scale, param, grad, states);
    }
}
