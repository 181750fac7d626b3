//! Sums of whole buffers and of columns.

use super::Simd;
use super::gemm::{BLOCK_COLUMNS, Follow};
use super::simd::{Isa, Plain, Span, dispatch, each_lane, each_vector};
use crate::aligned::Aligned;
use crate::ops::Ops;
use crate::reference::{LANES, REDUCE_BLOCK, Reference, fold_lanes};
use std::cell::RefCell;
use std::ops::Range;

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
    let mut partial = [[[0.0; COLUMNS]; N]; LANES];
    for at in (0..width).step_by(COLUMNS) {
        let partial = partial.as_flattened_mut().as_flattened_mut();
        partial.fill(0.0);
        let columns = (width - at).min(COLUMNS);
        tile(s, 0..rows, 0, at, columns, terms, partial);
        fold_tile(s, at, columns, partial, &mut out);
    }
}

/// Columns of a tile.
const COLUMNS: usize = 64;
/// Columns whose partial sums are kept while something else is done between rows.
pub(super) const MOST_COLUMNS: usize = BLOCK_COLUMNS;

thread_local! {
    /// Partial rows of two sums, tile by tile. Allocated once a thread.
    static PARTIAL: RefCell<Aligned<f32>> = RefCell::new(Aligned::zeroed(2 * LANES * MOST_COLUMNS));
}

/// Lends the memory for partial rows.
pub(super) fn with_partial<R>(f: impl FnOnce(&mut [f32]) -> R) -> R {
    PARTIAL.with_borrow_mut(|partial| f(partial))
}

/// Partial rows of `sums` sums over `columns` columns, at +0.
pub(super) fn clear(partial: &mut [f32], sums: usize, columns: usize) -> &mut [f32] {
    let partial = &mut partial[..columns.div_ceil(COLUMNS) * COLUMNS * LANES * sums];
    partial.fill(0.0);
    partial
}

/// The terms of some rows over some columns join the partial rows; `before` rows joined already.
#[inline(always)]
pub(super) fn add_rows<S: Isa, const N: usize>(
    s: S,
    columns: Range<usize>,
    rows: Range<usize>,
    before: usize,
    terms: &impl ColumnTerms<S, N>,
    partial: &mut [f32],
) {
    for (at, partial) in columns.clone().step_by(COLUMNS).zip(partial.chunks_exact_mut(LANES * N * COLUMNS)) {
        tile(s, rows.clone(), before, at, (columns.end - at).min(COLUMNS), terms, partial);
    }
}

/// The sums over `width` columns of what [`add_rows`] gathered.
#[inline(always)]
pub(super) fn fold<S: Isa, const N: usize>(s: S, width: usize, partial: &mut [f32], mut out: [&mut [f32]; N]) {
    for (at, partial) in (0..width).step_by(COLUMNS).zip(partial.chunks_exact_mut(LANES * N * COLUMNS)) {
        fold_tile(s, at, (width - at).min(COLUMNS), partial, &mut out);
    }
}

/// Rows join one tile's partial rows. A partial row has [`COLUMNS`] elements for each sum.
#[inline(always)]
fn tile<S: Isa, const N: usize>(
    s: S,
    rows: Range<usize>,
    before: usize,
    at: usize,
    columns: usize,
    terms: &impl ColumnTerms<S, N>,
    partial: &mut [f32],
) {
    // A count that the compiler knows.
    if columns == COLUMNS {
        some_columns(s, rows, before, at, COLUMNS, terms, partial);
    } else {
        some_columns(s, rows, before, at, columns, terms, partial);
    }
}

#[inline(always)]
fn some_columns<S: Isa, const N: usize>(
    s: S,
    rows: Range<usize>,
    before: usize,
    at: usize,
    columns: usize,
    terms: &impl ColumnTerms<S, N>,
    partial: &mut [f32],
) {
    for (i, row) in rows.enumerate() {
        let partial = &mut partial[(before + i) % LANES * N * COLUMNS..][..N * COLUMNS];
        each_vector!(S, columns, |v, span| {
            let mut acc = [s.splat(0.0); N];
            for (n, acc) in acc.iter_mut().enumerate() {
                *acc = span.load(s, partial, n * COLUMNS + v);
            }
            let acc = terms.add(s, row, at + v, span, acc);
            for (n, acc) in acc.into_iter().enumerate() {
                span.store(s, partial, n * COLUMNS + v, acc);
            }
        });
    }
}

/// The tree over a tile's partial rows.
#[inline(always)]
fn fold_tile<S: Isa, const N: usize>(s: S, at: usize, columns: usize, partial: &mut [f32], out: &mut [&mut [f32]; N]) {
    let mut half = LANES / 2;
    while half > 0 {
        let (low, high) = partial.split_at_mut(half * N * COLUMNS);
        let n = low.len();
        each_vector!(S, n, |v, span| {
            let sum = s.add(span.load(s, low, v), span.load(s, high, v));
            span.store(s, low, v, sum);
        });
        half /= 2;
    }
    for (out, sums) in out.iter_mut().zip(partial.chunks_exact(COLUMNS)) {
        out[at..at + columns].copy_from_slice(&sums[..columns]);
    }
}

/// The column sums of a product's B, taken block by block of its terms.
pub(super) struct ColumnSums<'a> {
    pub(super) simd: Simd,
    /// \[terms, width\]
    pub(super) x: &'a [f32],
    pub(super) width: usize,
    pub(super) partial: &'a mut [f32],
    pub(super) sums: &'a mut [f32],
}

impl Follow for ColumnSums<'_> {
    fn terms(&mut self, terms: Range<usize>, columns: Range<usize>) {
        let Self { simd, x, width, .. } = *self;
        if terms.start == 0 {
            clear(self.partial, 1, columns.len());
        }
        add_elements(simd, width, x, terms.clone(), columns.clone(), self.partial);
        if terms.end == x.len() / width {
            fold_elements(simd, self.partial, &mut self.sums[columns]);
        }
    }
}

dispatch!(fn add_elements(width: usize, x: &[f32], rows: Range<usize>, columns: Range<usize>, partial: &mut [f32])
    = add_elements_of, scalar add_elements_of(Plain, width, x, rows, columns, partial));
dispatch!(fn fold_elements(partial: &mut [f32], out: &mut [f32])
    = fold_elements_of, scalar fold_elements_of(Plain, partial, out));

#[inline(always)]
fn add_elements_of<S: Isa>(
    s: S,
    width: usize,
    x: &[f32],
    rows: Range<usize>,
    columns: Range<usize>,
    partial: &mut [f32],
) {
    let before = rows.start;
    add_rows(s, columns, rows, before, &Elements { width, x }, partial);
}

#[inline(always)]
fn fold_elements_of<S: Isa>(s: S, partial: &mut [f32], out: &mut [f32]) {
    fold(s, out.len(), partial, [out]);
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
