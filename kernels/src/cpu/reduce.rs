//! Sums of whole buffers and of columns.

use super::simd::{Full, Isa, Span, Tail, dispatch, each_lane};
use crate::ops::Ops;
use crate::reference::{LANES, REDUCE_BLOCK, Reference, fold_lanes};

dispatch!(pub(super) fn sum(x: &[f32]) -> f32 = sum_of, scalar Reference.sum(x));
dispatch!(pub(super) fn sum_squares(x: &[f32]) -> f32 = sum_squares_of, scalar Reference.sum_squares(x));
dispatch!(pub(super) fn column_sum(width: usize, x: &[f32], out: &mut [f32]) = column_sum_of,
    scalar Reference.column_sum(width, x, out));

/// Σ x by the 32-lane rule.
#[inline(always)]
pub(super) fn sum_of<S: Isa>(s: S, x: &[f32]) -> f32 {
    let mut acc = s.block(0.0);
    each_lane!(S, x.len(), |at, k, span| {
        acc[k] = span.keep(s, s.add(acc[k], span.load(s, x, at)), acc[k]);
    });
    s.fold(acc)
}

#[inline(always)]
fn sum_squares_of<S: Isa>(s: S, x: &[f32]) -> f32 {
    let mut partial = [0.0_f32; LANES];
    for (b, block) in x.chunks(REDUCE_BLOCK).enumerate() {
        let mut acc = s.block(0.0);
        each_lane!(S, block.len(), |at, k, span| {
            let v = span.load(s, block, at);
            acc[k] = span.keep(s, s.fma(v, v, acc[k]), acc[k]);
        });
        partial[b % LANES] += s.fold(acc);
    }
    fold_lanes(partial)
}

/// The terms of `N` column sums over the same rows.
pub(super) trait ColumnTerms<S: Isa, const N: usize> {
    /// `acc` with row `row`'s terms of the columns from `at` added.
    fn add(&self, s: S, row: usize, at: usize, span: impl Span<S>, acc: [S::F; N]) -> [S::F; N];
}

/// Column sums by the rule: 32 strided partial rows, then the tree. Works in tiles of columns so that the
/// partial rows stay in the first-level cache.
#[inline(always)]
pub(super) fn columns<S: Isa, const N: usize>(
    s: S,
    width: usize,
    rows: usize,
    terms: &impl ColumnTerms<S, N>,
    mut out: [&mut [f32]; N],
) {
    let mut at = 0;
    while width - at >= 4 * S::WIDTH {
        tile::<S, N, 4>(s, rows, at, Full, terms, &mut out);
        at += 4 * S::WIDTH;
    }
    while width - at >= S::WIDTH {
        tile::<S, N, 1>(s, rows, at, Full, terms, &mut out);
        at += S::WIDTH;
    }
    if at < width {
        tile::<S, N, 1>(s, rows, at, Tail(width - at), terms, &mut out);
    }
}

/// One tile of `V` vectors of columns.
#[inline(always)]
fn tile<S: Isa, const N: usize, const V: usize>(
    s: S,
    rows: usize,
    at: usize,
    span: impl Span<S>,
    terms: &impl ColumnTerms<S, N>,
    out: &mut [&mut [f32]; N],
) {
    let mut partial = [[[s.splat(0.0); N]; V]; LANES];
    for row in 0..rows {
        let partial = &mut partial[row % LANES];
        for (v, acc) in partial.iter_mut().enumerate() {
            *acc = terms.add(s, row, at + v * S::WIDTH, span, *acc);
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        let (low, high) = partial.split_at_mut(half);
        for (a, b) in low.as_flattened_mut().iter_mut().zip(high.as_flattened()) {
            for (a, b) in a.iter_mut().zip(b) {
                *a = s.add(*a, *b);
            }
        }
        half /= 2;
    }
    for (v, sums) in partial[0].iter().enumerate() {
        for (out, sum) in out.iter_mut().zip(sums) {
            span.store(s, out, at + v * S::WIDTH, *sum);
        }
    }
}

/// The elements themselves.
struct Elements<'a> {
    width: usize,
    x: &'a [f32],
}

impl<S: Isa> ColumnTerms<S, 1> for Elements<'_> {
    #[inline(always)]
    fn add(&self, s: S, row: usize, at: usize, span: impl Span<S>, acc: [S::F; 1]) -> [S::F; 1] {
        [s.add(acc[0], span.load(s, self.x, row * self.width + at))]
    }
}

#[inline(always)]
fn column_sum_of<S: Isa>(s: S, width: usize, x: &[f32], out: &mut [f32]) {
    columns(s, width, x.len() / width, &Elements { width, x }, [out]);
}
