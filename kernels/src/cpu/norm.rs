//! Layer normalisation and its gradients, row by row.

#![expect(clippy::too_many_arguments, reason = "a kernel's operands")]

use super::reduce::{ColumnTerms, ROWS_AHEAD, columns, columns_rows, sum_of};
use super::simd::{Full, Isa, Span, dispatch, each_lane, each_vector};
use super::softmax::{SHORT, short_row};
use super::unroll::unroll;
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

/// Runs the body for each `$R` of `$rows` rows, first in groups of `$most` where `$vectors` vectors of each fit the
/// registers together: their sums hide each other's latency, and share the tree of a fold.
macro_rules! each_group {
    ($isa:ty, $vectors:expr, $rows:expr, $most:literal, |$group:ident, $R:ident| $body:block) => {{
        let (rows, mut first): (usize, usize) = ($rows, 0);
        while <$isa>::WIDTH == 16 && $vectors <= 4 && rows - first >= $most {
            const $R: usize = $most;
            let $group = first..first + $R;
            $body
            first += $R;
        }
        for row in first..rows {
            const $R: usize = 1;
            let $group = row..row + 1;
            $body
        }
    }};
}

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
    if width <= SHORT * S::WIDTH {
        short_row!(S, width, |N, last| {
            each_group!(S, N, mean.len(), 4, |group, R| {
                let at = group.start * width..group.end * width;
                let (x, y) = (&x[at.clone()], &mut y[at]);
                let (mean, rstd) = (&mut mean[group.clone()], &mut rstd[group]);
                layer_norm_short::<S, N, R>(s, eps, x, gamma, beta, y, mean, rstd, last);
            });
        });
        return;
    }
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
            s.fetch_ahead(x, at);
            s.fetch_ahead_to_write(y, at);
        });
    }
}

/// R rows that stay in vector registers.
#[inline(always)]
fn layer_norm_short<S: Isa, const N: usize, const R: usize>(
    s: S,
    eps: f32,
    rows: &[f32],
    gamma: &[f32],
    beta: &[f32],
    y: &mut [f32],
    mean: &mut [f32],
    rstd: &mut [f32],
    last: impl Span<S>,
) {
    let (width, count) = (gamma.len(), gamma.len() as f32);
    let (mut x, mut acc) = ([[s.splat(0.0); N]; R], [s.block(0.0); R]);
    unroll!(r < R, at most 4 => {
        unroll!(v < N, at most 8 => {
            let at = r * width + v * S::WIDTH;
            s.fetch_ahead(rows, at);
            s.fetch_ahead_to_write(y, at);
            x[r][v] = load::<S, N>(s, rows, at, v, last);
            let k = v % S::VECTORS;
            acc[r][k] = keep::<S, N>(s, v, last, s.add(acc[r][k], x[r][v]), acc[r][k]);
        });
    });
    let sums = s.fold_rows(acc);
    let mut acc = [s.block(0.0); R];
    unroll!(r < R, at most 4 => {
        mean[r] = sums[r] / count;
        let m = s.splat(mean[r]);
        unroll!(v < N, at most 8 => {
            x[r][v] = s.sub(x[r][v], m);
            let k = v % S::VECTORS;
            acc[r][k] = keep::<S, N>(s, v, last, s.fma(x[r][v], x[r][v], acc[r][k]), acc[r][k]);
        });
    });
    let sums = s.fold_rows(acc);
    let mut scale = [s.splat(0.0); R];
    unroll!(r < R, at most 4 => {
        rstd[r] = 1.0 / (sums[r] / count + eps).sqrt();
        scale[r] = s.splat(rstd[r]);
    });
    unroll!(v < N, at most 8 => {
        let at = v * S::WIDTH;
        let (gamma, beta) = (load::<S, N>(s, gamma, at, v, last), load::<S, N>(s, beta, at, v, last));
        unroll!(r < R, at most 4 => {
            store::<S, N>(s, y, r * width + at, v, last, s.fma(s.mul(x[r][v], scale[r]), gamma, beta));
        });
    });
}

/// Vector `v` of a row of N, of which `last` is the span of the last one.
#[inline(always)]
fn load<S: Isa, const N: usize>(s: S, x: &[f32], at: usize, v: usize, last: impl Span<S>) -> S::F {
    if v == N - 1 { last.load(s, x, at) } else { Full.load(s, x, at) }
}

/// The same, stored.
#[inline(always)]
fn store<S: Isa, const N: usize>(s: S, x: &mut [f32], at: usize, v: usize, last: impl Span<S>, value: S::F) {
    if v == N - 1 { last.store(s, x, at, value) } else { Full.store(s, x, at, value) }
}

/// The same of a sum: `new` in the lanes that take part.
#[inline(always)]
fn keep<S: Isa, const N: usize>(s: S, v: usize, last: impl Span<S>, new: S::F, old: S::F) -> S::F {
    if v == N - 1 { last.keep(s, new, old) } else { new }
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
    if width <= SHORT * S::WIDTH {
        short_row!(S, width, |N, last| {
            each_group!(S, N, mean.len(), 2, |group, R| {
                let at = group.start * width..group.end * width;
                let (x, dy, add, dx) = (&x[at.clone()], &dy[at.clone()], add.map(|add| &add[at.clone()]), &mut dx[at]);
                let stats = (&mean[group.clone()], &rstd[group]);
                layer_norm_dx_short::<S, N, R>(s, x, gamma, stats, dy, add, dx, last);
            });
        });
        return;
    }
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
            s.fetch_ahead(x, at);
            s.fetch_ahead(dy, at);
        });
        let (mean_g, mean_gx) = (s.splat(s.fold(sum_g) / count), s.splat(s.fold(sum_gx) / count));
        let add = add.map(|add| &add[row]);
        each_vector!(S, width, |at, span| {
            let hat = s.mul(s.sub(span.load(s, x, at), m), rs);
            let g = s.mul(span.load(s, dy, at), span.load(s, gamma, at));
            let centred = s.fma(s.neg(hat), mean_gx, s.sub(g, mean_g));
            let v = match add {
                Some(add) => {
                    s.fetch_ahead(add, at);
                    s.fma(centred, rs, span.load(s, add, at))
                }
                None => s.mul(centred, rs),
            };
            s.fetch_ahead_to_write(dx, at);
            span.store(s, dx, at, v);
        });
    }
}

/// R rows of which x̂ and dy·γ stay in vector registers.
#[inline(always)]
fn layer_norm_dx_short<S: Isa, const N: usize, const R: usize>(
    s: S,
    x: &[f32],
    gamma: &[f32],
    (mean, rstd): (&[f32], &[f32]),
    dy: &[f32],
    add: Option<&[f32]>,
    dx: &mut [f32],
    last: impl Span<S>,
) {
    let (width, count) = (gamma.len(), gamma.len() as f32);
    let (mut hat, mut g) = ([[s.splat(0.0); N]; R], [[s.splat(0.0); N]; R]);
    // Σ g and Σ g·x̂ of each row.
    let mut acc = [[s.block(0.0); R]; 2];
    unroll!(r < R, at most 4 => {
        let (m, rs) = (s.splat(mean[r]), s.splat(rstd[r]));
        unroll!(v < N, at most 8 => {
            let at = r * width + v * S::WIDTH;
            s.fetch_ahead(x, at);
            s.fetch_ahead(dy, at);
            s.fetch_ahead_to_write(dx, at);
            hat[r][v] = s.mul(s.sub(load::<S, N>(s, x, at, v, last), m), rs);
            g[r][v] = s.mul(load::<S, N>(s, dy, at, v, last), load::<S, N>(s, gamma, v * S::WIDTH, v, last));
            let k = v % S::VECTORS;
            acc[0][r][k] = keep::<S, N>(s, v, last, s.add(acc[0][r][k], g[r][v]), acc[0][r][k]);
            acc[1][r][k] = keep::<S, N>(s, v, last, s.fma(g[r][v], hat[r][v], acc[1][r][k]), acc[1][r][k]);
        });
    });
    let sums = fold_pairs(s, acc);
    unroll!(r < R, at most 4 => {
        let (mean_g, mean_gx) = (s.splat(sums[0][r] / count), s.splat(sums[1][r] / count));
        let rs = s.splat(rstd[r]);
        unroll!(v < N, at most 8 => {
            let at = r * width + v * S::WIDTH;
            let centred = s.fma(s.neg(hat[r][v]), mean_gx, s.sub(g[r][v], mean_g));
            let v_dx = match add {
                Some(add) => {
                    s.fetch_ahead(add, at);
                    s.fma(centred, rs, load::<S, N>(s, add, at, v, last))
                }
                None => s.mul(centred, rs),
            };
            store::<S, N>(s, dx, at, v, last, v_dx);
        });
    });
}

/// The folds of two sums of R rows; two rows' are folded as four.
#[inline(always)]
fn fold_pairs<S: Isa, const R: usize>(s: S, sums: [[S::Block; R]; 2]) -> [[f32; R]; 2] {
    if R == 2 {
        let [a, b, c, d] = s.fold_rows([sums[0][0], sums[0][R - 1], sums[1][0], sums[1][R - 1]]);
        let mut folded = [[a; R], [c; R]];
        (folded[0][R - 1], folded[1][R - 1]) = (b, d);
        return folded;
    }
    [s.fold_rows(sums[0]), s.fold_rows(sums[1])]
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
        s.fetch(self.x.as_ptr().wrapping_add(at + ROWS_AHEAD * self.width));
        s.fetch(self.dy.as_ptr().wrapping_add(at + ROWS_AHEAD * self.width));
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
