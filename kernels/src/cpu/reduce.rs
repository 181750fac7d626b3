//! Sums of whole buffers and of columns.

use super::simd::{Full, Isa, Span, Tail, dispatch, each_lane};
use crate::ops::Ops;
use crate::reference::{LANES, REDUCE_BLOCK, Reference, fold_lanes};

dispatch!(pub(super) fn sum(x: &[f32]) -> f32 = sum_of, scalar Reference.sum(x));
dispatch!(pub(super) fn sum_squares(x: &[f32]) -> f32 = sum_squares_of, scalar Reference.sum_squares(x));
dispatch!(pub(super) fn column_sum(width: usize, x: &[f32], out: &mut [f32]) = column_sum_of,
    scalar Reference.column_sum(width, x, out));
dispatch!(pub(super) fn column_sum_rows(width: usize, x: &[f32], first: bool, partial: &mut [f32]) =
    column_sum_rows_of, scalar Reference.column_sum_rows(width, x, first, partial));
dispatch!(pub(super) fn fold_columns(width: usize, partial: &[f32], out: &mut [f32]) = fold_columns_of,
    scalar Reference.fold_columns(width, partial, out));

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
            s.fetch_ahead(block, at);
            let v = span.load(s, block, at);
            acc[k] = span.keep(s, s.fma(v, v, acc[k]), acc[k]);
        });
        partial[b % LANES] += s.fold(acc);
    }
    fold_lanes(partial)
}

/// Rows between one whose terms are added and one that is asked for meanwhile.
pub(super) const ROWS_AHEAD: usize = 8;

/// The terms of `N` column sums over the same rows.
pub(super) trait ColumnTerms<S: Isa, const N: usize> {
    /// `acc` with row `row`'s terms of the columns from `at` added.
    fn add(&self, s: S, row: usize, at: usize, span: impl Span<S>, acc: [S::F; N]) -> [S::F; N];
}

/// Runs `$body` for tiles of columns so narrow that the partial rows stay in the first-level cache: `$vectors` vectors
/// from column `$at`, the last of them `$span`.
macro_rules! each_tile {
    ($s:ty, $width:expr, |$at:ident, $vectors:ident, $span:ident| $body:expr) => {{
        let mut $at = 0;
        while $width - $at >= 4 * <$s>::WIDTH {
            const $vectors: usize = 4;
            let $span = Full;
            $body;
            $at += 4 * <$s>::WIDTH;
        }
        while $width - $at >= <$s>::WIDTH {
            const $vectors: usize = 1;
            let $span = Full;
            $body;
            $at += <$s>::WIDTH;
        }
        if $at < $width {
            const $vectors: usize = 1;
            let $span = Tail($width - $at);
            $body;
        }
    }};
}

/// Column sums by the rule: 32 strided partial rows, then the tree.
#[inline(always)]
pub(super) fn columns<S: Isa, const N: usize>(
    s: S,
    width: usize,
    rows: usize,
    terms: &impl ColumnTerms<S, N>,
    mut out: [&mut [f32]; N],
) {
    each_tile!(S, width, |at, V, span| {
        let mut partial = [[[s.splat(0.0); N]; V]; LANES];
        add_rows(s, rows, at, span, terms, &mut partial);
        fold_tile(s, &mut partial);
        for (v, sums) in partial[0].iter().enumerate() {
            for (out, sum) in out.iter_mut().zip(sums) {
                span.store(s, out, at + v * S::WIDTH, *sum);
            }
        }
    });
}

/// Adds rows to the partial rows \[32, width\] of each of `N` column sums, from zero where they are the `first`.
#[inline(always)]
pub(super) fn columns_rows<S: Isa, const N: usize>(
    s: S,
    width: usize,
    rows: usize,
    terms: &impl ColumnTerms<S, N>,
    first: bool,
    mut kept: [&mut [f32]; N],
) {
    each_tile!(S, width, |at, V, span| {
        let mut partial = [[[s.splat(0.0); N]; V]; LANES];
        if !first {
            each_sum(&mut partial, |lane, v, n, sum| {
                *sum = span.load(s, kept[n], lane * width + at + v * S::WIDTH);
            });
        }
        add_rows(s, rows, at, span, terms, &mut partial);
        each_sum(&mut partial, |lane, v, n, sum| {
            span.store(s, kept[n], lane * width + at + v * S::WIDTH, *sum);
        });
    });
}

/// Each partial sum of a tile, with its lane, vector and column sum.
#[inline(always)]
fn each_sum<F, const N: usize, const V: usize>(
    partial: &mut [[[F; N]; V]; LANES],
    mut body: impl FnMut(usize, usize, usize, &mut F),
) {
    for (lane, row) in partial.iter_mut().enumerate() {
        for (v, sums) in row.iter_mut().enumerate() {
            for (n, sum) in sums.iter_mut().enumerate() {
                body(lane, v, n, sum);
            }
        }
    }
}

/// Adds the rows of one tile to its partial rows.
#[inline(always)]
fn add_rows<S: Isa, const N: usize, const V: usize>(
    s: S,
    rows: usize,
    at: usize,
    span: impl Span<S>,
    terms: &impl ColumnTerms<S, N>,
    partial: &mut [[[S::F; N]; V]; LANES],
) {
    for row in 0..rows {
        let partial = &mut partial[row % LANES];
        for (v, acc) in partial.iter_mut().enumerate() {
            *acc = terms.add(s, row, at + v * S::WIDTH, span, *acc);
        }
    }
}

/// The tree over the partial rows of one tile.
#[inline(always)]
fn fold_tile<S: Isa, const N: usize, const V: usize>(s: S, partial: &mut [[[S::F; N]; V]; LANES]) {
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
}

#[inline(always)]
fn fold_columns_of<S: Isa>(s: S, width: usize, kept: &[f32], out: &mut [f32]) {
    each_tile!(S, width, |at, V, span| {
        let mut partial = [[[s.splat(0.0); 1]; V]; LANES];
        each_sum(&mut partial, |lane, v, _, sum| *sum = span.load(s, kept, lane * width + at + v * S::WIDTH));
        fold_tile(s, &mut partial);
        for (v, sum) in partial[0].iter().enumerate() {
            span.store(s, out, at + v * S::WIDTH, sum[0]);
        }
    });
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
pub(super) fn column_sum_of<S: Isa>(s: S, width: usize, x: &[f32], out: &mut [f32]) {
    columns(s, width, x.len() / width, &Elements { width, x }, [out]);
}

#[inline(always)]
fn column_sum_rows_of<S: Isa>(s: S, width: usize, x: &[f32], first: bool, partial: &mut [f32]) {
    columns_rows(s, width, x.len() / width, &Elements { width, x }, first, [partial]);
}
