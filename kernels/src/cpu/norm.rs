//! Layer normalisation and its gradients, row by row.

#![expect(clippy::too_many_arguments, reason = "a kernel's operands")]

use super::reduce::{ColumnTerms, columns, columns_rows, sum_of};
use super::simd::{Isa, Span, dispatch, each_lane, each_vector};
use super::softmax::{SHORT, short_row};
use crate::ops::Ops;
use crate::reference::{LANES, Reference};

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
dispatch!(pub(super) fn layer_norm_dparams_rows(
        width: usize, x: &[f32], mean: &[f32], rstd: &[f32], dy: &[f32], first: bool, partial: &mut [f32],
    ) = layer_norm_dparams_rows_of,
    scalar Reference.layer_norm_dparams_rows(width, x, mean, rstd, dy, first, partial));

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
        if width <= SHORT * S::WIDTH {
            short_row!(S, width, |N, last| {
                (*mean, *rstd) = layer_norm_short::<S, N>(s, eps, x, gamma, beta, y, last);
            });
            continue;
        }
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

/// A row that stays in vector registers: its mean and rstd.
#[inline(always)]
fn layer_norm_short<S: Isa, const N: usize>(
    s: S,
    eps: f32,
    row: &[f32],
    gamma: &[f32],
    beta: &[f32],
    y: &mut [f32],
    last: impl Span<S>,
) -> (f32, f32) {
    let (at, count) = ((N - 1) * S::WIDTH, row.len() as f32);
    let (mut x, mut acc) = ([s.splat(0.0); N], s.block(0.0));
    for v in 0..N - 1 {
        x[v] = s.load(&row[v * S::WIDTH..]);
        acc[v % S::VECTORS] = s.add(acc[v % S::VECTORS], x[v]);
    }
    x[N - 1] = last.load(s, row, at);
    let k = (N - 1) % S::VECTORS;
    acc[k] = last.keep(s, s.add(acc[k], x[N - 1]), acc[k]);
    let mean = s.fold(acc) / count;
    let (m, mut acc) = (s.splat(mean), s.block(0.0));
    for v in 0..N {
        x[v] = s.sub(x[v], m);
        let sum = s.fma(x[v], x[v], acc[v % S::VECTORS]);
        acc[v % S::VECTORS] = if v == N - 1 { last.keep(s, sum, acc[k]) } else { sum };
    }
    let rstd = 1.0 / (s.fold(acc) / count + eps).sqrt();
    let rs = s.splat(rstd);
    for (v, x) in x.iter().enumerate().take(N - 1) {
        let at = v * S::WIDTH;
        s.store(&mut y[at..], s.fma(s.mul(*x, rs), s.load(&gamma[at..]), s.load(&beta[at..])));
    }
    let v = s.fma(s.mul(x[N - 1], rs), last.load(s, gamma, at), last.load(s, beta, at));
    last.store(s, y, at, v);
    (mean, rstd)
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
        if width <= SHORT * S::WIDTH {
            let add = add.map(|add| &add[row.clone()]);
            short_row!(S, width, |N, last| {
                layer_norm_dx_short::<S, N>(s, x, gamma, (m, rs), dy, add, dx, last);
            });
            continue;
        }
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

/// A row of which x̂ and dy·γ stay in vector registers.
#[inline(always)]
fn layer_norm_dx_short<S: Isa, const N: usize>(
    s: S,
    x: &[f32],
    gamma: &[f32],
    (m, rs): (S::F, S::F),
    dy: &[f32],
    add: Option<&[f32]>,
    dx: &mut [f32],
    last: impl Span<S>,
) {
    let (at, count) = ((N - 1) * S::WIDTH, x.len() as f32);
    let (mut hat, mut g) = ([m; N], [m; N]);
    let (mut sum_g, mut sum_gx) = (s.block(0.0), s.block(0.0));
    for v in 0..N - 1 {
        let at = v * S::WIDTH;
        hat[v] = s.mul(s.sub(s.load(&x[at..]), m), rs);
        g[v] = s.mul(s.load(&dy[at..]), s.load(&gamma[at..]));
        let k = v % S::VECTORS;
        (sum_g[k], sum_gx[k]) = (s.add(sum_g[k], g[v]), s.fma(g[v], hat[v], sum_gx[k]));
    }
    hat[N - 1] = s.mul(s.sub(last.load(s, x, at), m), rs);
    g[N - 1] = s.mul(last.load(s, dy, at), last.load(s, gamma, at));
    let k = (N - 1) % S::VECTORS;
    sum_g[k] = last.keep(s, s.add(sum_g[k], g[N - 1]), sum_g[k]);
    sum_gx[k] = last.keep(s, s.fma(g[N - 1], hat[N - 1], sum_gx[k]), sum_gx[k]);
    let (mean_g, mean_gx) = (s.splat(s.fold(sum_g) / count), s.splat(s.fold(sum_gx) / count));
    for v in 0..N {
        g[v] = s.fma(s.neg(hat[v]), mean_gx, s.sub(g[v], mean_g));
    }
    for (v, g) in g.iter().enumerate().take(N - 1) {
        let at = v * S::WIDTH;
        let v = match add {
            Some(add) => s.fma(*g, rs, s.load(&add[at..])),
            None => s.mul(*g, rs),
        };
        s.store(&mut dx[at..], v);
    }
    let v = match add {
        Some(add) => s.fma(g[N - 1], rs, last.load(s, add, at)),
        None => s.mul(g[N - 1], rs),
    };
    last.store(s, dx, at, v);
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

#[inline(always)]
fn layer_norm_dparams_rows_of<S: Isa>(
    s: S,
    width: usize,
    x: &[f32],
    mean: &[f32],
    rstd: &[f32],
    dy: &[f32],
    first: bool,
    partial: &mut [f32],
) {
    let (gamma, beta) = partial.split_at_mut(LANES * width);
    columns_rows(s, width, mean.len(), &Gradients { width, x, mean, rstd, dy }, first, [gamma, beta]);
}
