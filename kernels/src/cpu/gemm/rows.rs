//! Rows of A: read where they lie, unless their distance makes them collide in a cache. Then tiles have fewer rows, or,
//! where a cache holds few such lines, rows are copied to another distance; where A is transposed, tile by tile: a
//! tile's terms one after the other.

use std::ops::Range;

use super::isa::GemmIsa;
use super::shape::BLOCK_TERMS;
use super::{BLOCK_ROWS, Product, Split};
use crate::cpu::detect::first_level_ways;
use crate::ops::KRange;

/// Elements that a copy's rows lie farther apart than they are long.
const PAD: usize = 16;
/// Elements of the largest copy.
pub(super) const COPY: usize = (BLOCK_TERMS + PAD) * (BLOCK_ROWS + PAD);
/// Fewer columns than this read a copy too seldom.
const LEAST_COLUMNS: usize = 64;

/// A transposed A with at least so many rows is copied tile by tile where at least so many columns read it.
const LEAST_TILED: (usize, usize) = (64, 128);

/// Terms that are copied for all tiles of a group before the next ones.
const TERMS_AT_ONCE: usize = 32;

/// Rows of a tile whose rows collide and are not copied: their lines and a panel's share the places of one set.
const COLLIDING_ROWS: usize = 8;

/// Whether rows at this distance lie in one set of a first-level cache (4 KiB).
pub(super) fn collide(stride: usize) -> bool {
    stride.is_multiple_of(1024)
}

/// The rows of a group of tiles over one block of terms.
pub(super) struct RowsOfA {
    /// The rows.
    pub(super) group: Range<usize>,
    pub(super) copied: bool,
    a: *const f32,
    a_row: usize,
    a_term: usize,
    /// The first term of a copy by tiles, and how many there are.
    tiled: Option<(usize, usize)>,
}

/// Where a tile's elements of A lie: that of row r, term p at `a[r * a_row + p * a_term]`, and the next tile's
/// at a distance of `a_next`.
pub(super) struct TileOfA {
    pub(super) a: *const f32,
    pub(super) a_row: usize,
    pub(super) a_term: usize,
    pub(super) a_next: usize,
}

impl Product {
    /// Whether rows of A are copied tile by tile.
    pub(super) fn is_tiled(&self) -> bool {
        let (rows, columns) = LEAST_TILED;
        self.a_row == 1 && !self.is_wide() && self.k_range == KRange::Full && self.m >= rows && self.n >= columns
    }

    /// The most rows of a tile that has all columns.
    pub(super) fn most_rows(&self) -> usize {
        if self.a_term == 1 && collide(self.a_row) && fit_beside_a_panel() {
            self.shape.rows.min(COLLIDING_ROWS)
        } else {
            self.shape.rows
        }
    }
}

/// Whether a set of the first-level cache holds the lines of [`COLLIDING_ROWS`] rows and more.
fn fit_beside_a_panel() -> bool {
    first_level_ways().is_some_and(|ways| ways > COLLIDING_ROWS)
}

impl RowsOfA {
    /// The rows of tiles `first..end`, copied to `copy` where that pays.
    ///
    /// # Safety
    /// A is still alive.
    pub(super) unsafe fn new<S: GemmIsa>(
        s: S,
        product: &Product,
        tiles: (&Split, Range<usize>),
        terms: &Range<usize>,
        copy: &mut [f32],
    ) -> Self {
        let (split, tiles) = tiles;
        let group = split.part(tiles.start).start..split.part(tiles.end - 1).end;
        let &Product { a, a_row, a_term, .. } = product;
        let in_place = Self { group: group.clone(), copied: false, a, a_row, a_term, tiled: None };
        let (stride, full) = (a_row * a_term, product.k_range == KRange::Full);
        if product.is_tiled() {
            assert!(group.len() * terms.len() <= copy.len(), "a group fits its copy");
            // Some terms at a time, so that the tiles after the first find the lines near.
            for first in (0..terms.len()).step_by(TERMS_AT_ONCE) {
                let some = TERMS_AT_ONCE.min(terms.len() - first);
                for rows in tiles.clone().map(|tile| split.part(tile)) {
                    let to = copy[(rows.start - group.start) * terms.len() + first * rows.len()..].as_mut_ptr();
                    let from = a.wrapping_add(rows.start + (terms.start + first) * a_term);
                    // SAFETY: the tile's rows and the block's terms lie inside A, and the copy has room for them.
                    unsafe { s.pack_tile(from, a_term, some, rows.len(), to) };
                }
            }
            let tiled = Some((terms.start, terms.len()));
            return Self { copied: true, a: copy.as_ptr(), tiled, ..in_place };
        }
        let by_row = a_term == 1;
        if !full || product.n < LEAST_COLUMNS || !collide(stride) || by_row && fit_beside_a_panel() {
            return in_place;
        }
        let (outer, inner) = if by_row { (&group, terms) } else { (terms, &group) };
        let pitch = inner.len() + PAD;
        assert!(outer.len() * pitch <= copy.len(), "a group fits its copy");
        for (to, from) in copy.chunks_exact_mut(pitch).zip(outer.clone()) {
            // SAFETY: the group's rows and the block's terms lie inside A.
            let source = unsafe { std::slice::from_raw_parts(a.add(from * stride + inner.start), inner.len()) };
            to[..inner.len()].copy_from_slice(source);
        }
        let a = copy.as_ptr().wrapping_sub(outer.start * pitch + inner.start);
        let (a_row, a_term) = if by_row { (pitch, 1) } else { (1, pitch) };
        Self { copied: true, a, a_row, a_term, ..in_place }
    }

    /// The tile of `rows` from term `first` on.
    pub(super) fn tile(&self, rows: &Range<usize>, first: usize) -> TileOfA {
        match self.tiled {
            None => {
                let &Self { a, a_row, a_term, .. } = self;
                let a = a.wrapping_add(rows.start * a_row + first * a_term);
                TileOfA { a, a_row, a_term, a_next: rows.len() * a_row }
            }
            Some((start, terms)) => {
                let a = self.a.wrapping_add((rows.start - self.group.start) * terms + (first - start) * rows.len());
                TileOfA { a, a_row: 1, a_term: rows.len(), a_next: rows.len() * terms }
            }
        }
    }
}
