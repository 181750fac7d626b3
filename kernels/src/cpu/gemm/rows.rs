//! Rows of A: read where they lie, unless their distance makes them collide in a cache; then they are copied
//! to another distance.

use std::ops::Range;

use super::isa::MAX_ROWS;
use super::{BLOCK_TERMS, BLOCK_TILES, Product};
use crate::ops::KRange;

/// Elements that a copy's rows lie farther apart than they are long.
const PAD: usize = 16;
/// Elements of the largest copy.
pub(super) const COPY: usize = (BLOCK_TERMS + PAD) * (BLOCK_TILES * MAX_ROWS + PAD);
/// Fewer columns than this read a copy too seldom.
const LEAST_COLUMNS: usize = 64;

/// Whether rows at this distance lie in one set of a first-level cache (4 KiB).
pub(super) fn collide(stride: usize) -> bool {
    stride.is_multiple_of(1024)
}

/// The rows of a group of tiles over one block of terms: element (row, term) is
/// `a[row * a_row + term * a_term]`.
pub(super) struct RowsOfA {
    /// The rows.
    pub(super) group: Range<usize>,
    pub(super) copied: bool,
    pub(super) a: *const f32,
    pub(super) a_row: usize,
    pub(super) a_term: usize,
}

impl RowsOfA {
    /// The group's rows, copied to `copy` if they collide.
    ///
    /// # Safety
    /// A is still alive.
    pub(super) unsafe fn new(product: &Product, group: Range<usize>, terms: &Range<usize>, copy: &mut [f32]) -> Self {
        let &Product { a, a_row, a_term, .. } = product;
        let stride = a_row * a_term;
        if product.k_range != KRange::Full || product.n < LEAST_COLUMNS || !collide(stride) {
            return Self { group, copied: false, a, a_row, a_term };
        }
        let by_row = a_term == 1;
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
        Self { group, copied: true, a, a_row, a_term }
    }
}
