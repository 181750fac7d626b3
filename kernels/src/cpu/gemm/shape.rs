//! How large tiles and blocks are: by how a product lies, and by its columns.

use super::isa::GemmIsa;
use super::{BLOCK_COLUMNS, Product};
use crate::cpu::simd::Isa;
use crate::ops::{Columns, MatMul};

/// Terms of the longest block of B.
pub(super) const BLOCK_TERMS: usize = 256;
/// The same where A is copied tile by tile: then a panel and a tile's rows lie in the first-level cache together.
const TILED_TERMS: usize = 192;
/// The same where the rows of a transposed A are read in place, a line a term, beside a wide panel.
const IN_PLACE_TERMS: usize = 128;
/// Columns of a block of wide panels.
const WIDE_COLUMNS: usize = 256;
/// Rows of a weight gradient that is computed from rows of B in place.
const IN_PLACE_ROWS: usize = 64;
/// Columns of panels that are wide.
const WIDE: usize = 64;

/// How large a tile may be.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Shape {
    pub(super) rows: usize,
    /// Columns: the width of a panel.
    pub(super) panel: usize,
}

impl Shape {
    /// (rows, vectors of columns)
    pub(super) const fn new<S: Isa>((rows, vectors): (usize, usize)) -> Self {
        Self { rows, panel: vectors * S::WIDTH }
    }

    /// The tiles of a product with `n` columns. A last panel that is half empty costs a wide tile more than a narrow one.
    pub(super) fn of<S: GemmIsa>(mm: &MatMul, n: usize) -> Self {
        let half = S::WIDE.panel / 2;
        let rest = n % S::WIDE.panel;
        let few = n <= half || rest > 0 && rest <= half && n < 4 * S::WIDE.panel;
        if few || mm.columns == Columns::UpToRow { S::NARROW } else { S::WIDE }
    }
}

impl Product {
    /// Whether a panel is so wide that rows of a transposed A are best read where they lie.
    pub(super) fn is_wide(&self) -> bool {
        self.shape.panel >= WIDE
    }

    /// Columns of a block. Its part of C is read and written once a block of terms; narrow panels would copy A again for each.
    pub(super) fn block_columns(&self) -> usize {
        if self.is_wide() { WIDE_COLUMNS } else { BLOCK_COLUMNS }
    }

    /// Terms of a block.
    pub(super) fn block_terms(&self) -> usize {
        match (self.is_wide(), self.a_row == 1) {
            _ if self.is_tiled() => TILED_TERMS,
            (true, true) => IN_PLACE_TERMS,
            _ => BLOCK_TERMS,
        }
    }

    /// Whether B is read where it lies: it is a panel by itself, or a weight gradient has few rows to read it.
    pub(super) fn takes_b_in_place(&self) -> bool {
        let few = self.is_wide() && self.a_row == 1 && self.m <= IN_PLACE_ROWS;
        !self.trans_b && (self.ldb == self.shape.panel || few)
    }
}
