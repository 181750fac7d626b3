//! Reductions: 32 strided partial sums from +0, then the tree 16, 8, 4, 2, 1. Tail lanes are skipped.

use crate::real::Real;

/// Strided partial sums of every reduction: one warp on a GPU.
pub const LANES: usize = 32;
/// Whole-model sums go in blocks of this many elements.
pub const REDUCE_BLOCK: usize = 4096;

/// The tree over 32 partial sums: lane l takes l + 16, then + 8, 4, 2, 1.
pub fn fold_lanes<T: Real>(mut lanes: [T; LANES]) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] = lanes[l] + lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Reduces elements `0..n`; `step(i, acc)` adds element `i` to its lane's sum.
pub(crate) fn lanes<T: Real>(n: usize, step: impl Fn(usize, T) -> T) -> T {
    let mut partial = [T::ZERO; LANES];
    for i in 0..n {
        partial[i % LANES] = step(i, partial[i % LANES]);
    }
    fold_lanes(partial)
}

/// `inner` over blocks of [`REDUCE_BLOCK`], the blocks' results by the lane rule.
pub(crate) fn blocks<T: Real>(x: &[T], inner: impl Fn(&[T]) -> T) -> T {
    let mut partial = [T::ZERO; LANES];
    for (b, block) in x.chunks(REDUCE_BLOCK).enumerate() {
        partial[b % LANES] = partial[b % LANES] + inner(block);
    }
    fold_lanes(partial)
}

/// Column sums of an n×width matrix given by `at(i, j)`: the row index is the strided one.
pub(crate) fn columns<T: Real>(width: usize, rows: usize, at: impl Fn(usize, usize) -> T, out: &mut [T]) {
    for (j, o) in out.iter_mut().enumerate().take(width) {
        *o = lanes(rows, |i, acc| acc + at(i, j));
    }
}

/// Adds the rows of an n×width matrix to 32 partial rows, from zero where they are the `first`;
/// `step(at, row, acc)` adds element `at` of row `row`.
pub(crate) fn add_columns<T: Real>(
    width: usize,
    rows: usize,
    step: impl Fn(usize, usize, T) -> T,
    first: bool,
    partial: &mut [T],
) {
    if first {
        partial.fill(T::ZERO);
    }
    for row in 0..rows {
        for (j, acc) in partial[row % LANES * width..][..width].iter_mut().enumerate() {
            *acc = step(row * width + j, row, *acc);
        }
    }
}
