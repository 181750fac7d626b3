//! The CPU device: AVX-512, AVX2+FMA, NEON or plain scalar code, chosen at run time, with the same bits.

mod activation;
mod attention;
mod column;
mod detect;
mod elementwise;
mod embedding;
mod gemm;
mod image;
mod interval;
mod linear_bounds;
mod loss;
mod norm;
mod peak;
mod reduce;
pub(crate) mod simd;
mod softmax;
mod unroll;
mod update;

pub use detect::{FloatEnvironmentError, SIMD_VARIABLE, Simd, SimdError, check_float_environment};

use crate::ops::{Activation, Attention, CrossEntropy, MatMul, Ops, Start};
use crate::reference::Reference;
use crate::update::UpdateExpr;

/// The CPU as a device.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    simd: Simd,
}

impl Cpu {
    /// A device that uses `simd`.
    ///
    /// # Panics
    ///
    /// This machine lacks it.
    pub fn new(simd: Simd) -> Self {
        assert!(simd.is_available(), "this machine lacks {simd}");
        Self { simd }
    }
    /// The instruction set in use.
    pub const fn simd(&self) -> Simd {
        self.simd
    }
}

impl Ops<f32> for Cpu {
    fn matmul(
        &self,
        mm: &MatMul,
        a: &[f32],
        b: &[f32],
        start: Start<'_, f32>,
        residual: Option<&[f32]>,
        c: &mut [f32],
    ) {
        self.matmul_before(mm, a, b, start, residual, c, &[]);
    }
    fn matmul_before(
        &self,
        mm: &MatMul,
        a: &[f32],
        b: &[f32],
        start: Start<'_, f32>,
        residual: Option<&[f32]>,
        c: &mut [f32],
        later: &[&[f32]],
    ) {
        let o = gemm::Operands { mm, a, b, start, residual, own_first: true, ahead: [&[], later] };
        gemm::matmul(self.simd, &o, c);
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
        norm::layer_norm(self.simd, width, eps, x, gamma, beta, y, mean, rstd);
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
        norm::layer_norm_dx(self.simd, width, x, gamma, mean, rstd, dy, add, dx);
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
        norm::layer_norm_dparams(self.simd, width, x, mean, rstd, dy, dgamma, dbeta);
    }
    fn attention(&self, shape: &Attention, qkv: &[f32], out: &mut [f32], probs: &mut [f32]) {
        match self.simd {
            Simd::Scalar => Reference.attention(shape, qkv, out, probs),
            _ => attention::forward(self, shape, qkv, out, probs),
        }
    }
    fn attention_backward(
        &self,
        shape: &Attention,
        qkv: &[f32],
        probs: &[f32],
        dout: &[f32],
        dqkv: &mut [f32],
        scratch: &mut [f32],
    ) {
        match self.simd {
            Simd::Scalar => Reference.attention_backward(shape, qkv, probs, dout, dqkv, scratch),
            _ => attention::backward(self, shape, qkv, probs, dout, dqkv, scratch),
        }
    }
    fn activation(&self, f: Activation, x: &[f32], y: &mut [f32]) {
        activation::activation(self.simd, f, x, y);
    }
    fn activation_backward(&self, f: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        activation::activation_backward(self.simd, f, x, dy, dx);
    }
    fn embedding(&self, width: usize, tokens: &[u32], table: &[f32], positions: Option<&[f32]>, x: &mut [f32]) {
        embedding::embedding(self.simd, width, tokens, table, positions, x);
    }
    fn embedding_backward(&self, width: usize, tokens: &[u32], dx: &[f32], dtable: &mut [f32]) {
        embedding::embedding_backward(self.simd, width, tokens, dx, dtable);
    }
    fn column_sum(&self, width: usize, x: &[f32], out: &mut [f32]) {
        reduce::column_sum(self.simd, width, x, out);
    }
    fn column_sum_rows(&self, width: usize, x: &[f32], first: bool, partial: &mut [f32]) {
        reduce::column_sum_rows(self.simd, width, x, first, partial);
    }
    fn layer_norm_dparams_rows(
        &self,
        width: usize,
        x: &[f32],
        mean: &[f32],
        rstd: &[f32],
        dy: &[f32],
        first: bool,
        partial: &mut [f32],
    ) {
        norm::layer_norm_dparams_rows(self.simd, width, x, mean, rstd, dy, first, partial);
    }
    fn fold_columns(&self, width: usize, partial: &[f32], out: &mut [f32]) {
        reduce::fold_columns(self.simd, width, partial, out);
    }
    fn cross_entropy(
        &self,
        shape: &CrossEntropy,
        logits: &[f32],
        targets: &[u32],
        losses: &mut [f32],
        lse: &mut [f32],
    ) {
        loss::cross_entropy(self.simd, shape, logits, targets, losses, lse);
    }
    fn cross_entropy_backward(
        &self,
        shape: &CrossEntropy,
        logits: &[f32],
        targets: &[u32],
        lse: &[f32],
        scale: f32,
        dlogits: &mut [f32],
    ) {
        loss::cross_entropy_backward(self.simd, shape, logits, targets, lse, scale, dlogits);
    }
    fn add(&self, a: &[f32], b: &[f32], out: &mut [f32]) {
        elementwise::add(self.simd, a, b, out);
    }
    fn mul(&self, a: &[f32], b: &[f32], out: &mut [f32]) {
        elementwise::mul(self.simd, a, b, out);
    }
    fn scale(&self, s: f32, a: &[f32], out: &mut [f32]) {
        elementwise::scale(self.simd, s, a, out);
    }
    fn sum(&self, x: &[f32]) -> f32 {
        reduce::sum(self.simd, x)
    }
    fn sum_squares(&self, x: &[f32]) -> f32 {
        reduce::sum_squares(self.simd, x)
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
        update::update(self.simd, expr, scalars, grad_scale, param, grad, states);
    }
}
