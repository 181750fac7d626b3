//! Layer normalisation and its gradients, row by row.

#![expect(clippy::too_many_arguments, reason = "a kernel's operands")]

use super::reduce::{ColumnTerms, columns, sum_of};
use super::simd::{Isa, Span, dispatch, each_lane, each_vector};
use crate::ops::Ops;
use crate::reference::Reference;

dispatch!(pub(super) fn layer_norm(
        width: usize, eps: f64, x: &[f32], gamma: &[f32], beta: &[f32],
        y: &mut [f32], mean: &mut [f32], rstd: &mut [f32],
    ) = layer_norm_of, scalar Reference.layer_norm(width, eps, x, gamma, beta, y, mean, rstd));
dispatch!(pub(super) fn layer_norm_dx(
        width: usize, x: &[f32], gamma: &[f32], mean: &[f32], rstd: &[f32], dy: &[f32],
        add: Option<&[f32]>, dx: &mut [f32],
    ) = layer_norm_dx_of, scalar Reference.layer_norm_dx(width, x, gamma, mean, rstd, dy, add, dx));
dispatch!(pub(super) fn layer_norm_dparams(
        width: usize, x: &[f32], mean: &[f32], rstd: &[f32], dy: &[f32],
        dgamma: &mut [f32], dbeta: &mut [f32],
    ) = layer_norm_dparams_of, scalar Reference.layer_norm_dparams(width, x, mean, rstd, dy, dgamma, dbeta));

#[inline(always)]
fn layer_norm_of<S: Isa>(
    s: S,
    width: usize,
    eps: f64,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    y: &mut [f32],
    mean: &mut [f32],
    rstd: &mut [f32],
) {
    let (gamma, beta, count, eps) = (&gamma[..width], &beta[..width], width as f32, eps as f32);
    let stats = mean.iter_mut().zip(rstd);
    for ((x, y), (mean, rstd)) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(stats) {
        *mean = sum_of(s, x) / count;
        let m = s.splat(*mean);
        let mut acc = s.block(0.0);
        each_lane!(S, width, |at, k, span| {
            let d = s.sub(span.load(s, x, at), m);
            acc[k] = span.keep(s, s.fma(d, d, acc[k]), acc[k]);
        });
        *rstd = 1.0 / (s.fold(acc) / count + eps).sqrt();
        let rs = s.splat(*rstd);
        each_vector!(S, width, |at, span| {
            let hat = s.mul(s.sub(span.load(s, x, at), m), rs);
            let v = s.fma(hat, span.load(s, gamma, at), span.load(s, beta, at));
            span.store(s, y, at, v);
        });
    }
}

#[inline(always)]
fn layer_norm_dx_of<S: Isa>(
    s: S,
    width: usize,
    x: &[f32],
    gamma: &[f32],
    mean: &[f32],
    rstd: &[f32],
    dy: &[f32],
    add: Option<&[f32]>,
    dx: &mut [f32],
) {
    let (gamma, count) = (&gamma[..width], width as f32);
    for r in 0..x.len() / width {
        let row = r * width..(r + 1) * width;
        let (x, dy, dx) = (&x[row.clone()], &dy[row.clone()], &mut dx[row.clone()]);
        let (m, rs) = (s.splat(mean[r]), s.splat(rstd[r]));
        let (mut sum_g, mut sum_gx) = (s.block(0.0), s.block(0.0));
        each_lane!(S, width, |at, k, span| {
            let hat = s.mul(s.sub(span.load(s, x, at), m), rs);
            let g = s.mul(span.load(s, dy, at), span.load(s, gamma, at));
            sum_g[k] = span.keep(s, s.add(sum_g[k], g), sum_g[k]);
            sum_gx[k] = span.keep(s, s.fma(g, hat, sum_gx[k]), sum_gx[k]);
        });
        let (mean_g, mean_gx) = (s.splat(s.fold(sum_g) / count), s.splat(s.fold(sum_gx) / count));
        let add = add.map(|add| &add[row]);
        each_vector!(S, width, |at, span| {
            let hat = s.mul(s.sub(span.load(s, x, at), m), rs);
            let g = s.mul(span.load(s, dy, at), span.load(s, gamma, at));
            let centred = s.fma(s.neg(hat), mean_gx, s.sub(g, mean_g));
            let v = match add {
                Some(add) => s.fma(centred, rs, span.load(s, add, at)),
                None => s.mul(centred, rs),
            };
            span.store(s, dx, at, v);
        });
    }
}

/// The terms of dγ, dy·x̂, and of dβ, dy.
struct Gradients<'a> {
    width: usize,
    x: &'a [f32],
    mean: &'a [f32],
    rstd: &'a [f32],
    dy: &'a [f32],
}

impl<S: Isa> ColumnTerms<S, 2> for Gradients<'_> {
    #[inline(always)]
    fn add(&self, s: S, row: usize, at: usize, span: impl Span<S>, acc: [S::F; 2]) -> [S::F; 2] {
        let at = row * self.width + at;
        let (x, dy) = (span.load(s, self.x, at), span.load(s, self.dy, at));
        let hat = s.mul(s.sub(x, s.splat(self.mean[row])), s.splat(self.rstd[row]));
        [s.fma(dy, hat, acc[0]), s.add(acc[1], dy)]
    }
}

#[inline(always)]
fn layer_norm_dparams_of<S: Isa>(
    s: S,
    width: usize,
    x: &[f32],
    mean: &[f32],
    rstd: &[f32],
    dy: &[f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    columns(s, width, x.len() / width, &Gradients { width, x, mean, rstd, dy }, [dgamma, dbeta]);
}
