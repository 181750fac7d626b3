//! What is asked for while a tile is computed, because it will be read next: in a training step operands
//! come from far memory, and a processor's own guesses miss tiles of strided rows. It changes no bit.

use std::ops::Range;

use super::isa::GemmIsa;
use super::kernel::Ahead;
use super::rows::RowsOfA;
use super::{BLOCK_COLUMNS, Panel, Product};

/// Elements of a cache line.
const LINE: usize = 16;

impl Product {
    /// Lines of A, and of B or of what the caller needs next. `terms` counts those of all repeated tiles.
    pub(super) fn lines_ahead<S: GemmIsa>(
        &self,
        rows: &Range<usize>,
        terms: usize,
        block: &Range<usize>,
        panel: &Panel,
        group: &RowsOfA,
    ) -> [Ahead; 2] {
        if self.given {
            return [0, 1].map(|stream| self.given(stream, terms, block));
        }
        if self.streams() {
            return self.next_block::<S>(rows, block, panel);
        }
        let first_panel = panel.columns.start.is_multiple_of(BLOCK_COLUMNS);
        let of_a = if group.copied && first_panel {
            self.next_group(block, group)
        } else if self.a_term == 1 && !group.copied {
            self.next_rows(rows, block)
        } else {
            self.nothing()
        };
        let of_b = if group.group.start == 0 && !self.trans_b {
            let at = self.b.wrapping_add(block.end * self.ldb + panel.columns.start);
            Ahead { at, step: self.ldb, next: LINE }
        } else {
            self.nothing()
        };
        [of_a, of_b]
    }

    /// The lines that the caller named, one a term, while there are some.
    fn given(&self, stream: usize, terms: usize, block: &Range<usize>) -> Ahead {
        let (start, end) = self.ahead[stream].get();
        self.ahead[stream].set((start.wrapping_add(terms * LINE), end));
        if start < end { Ahead { at: start, step: LINE, next: block.len() * LINE } } else { self.nothing() }
    }

    /// A line that is near already.
    fn nothing(&self) -> Ahead {
        Ahead { at: self.a, step: 0, next: 0 }
    }

    /// Whether both operands lie with their terms one after the other and without gaps: weight gradients.
    fn streams(&self) -> bool {
        self.a_row == 1 && self.a_term == self.m && self.ldb == self.n && self.n <= BLOCK_COLUMNS && !self.trans_b
    }

    /// The next block of terms of both operands, spread evenly over the tiles of this one.
    fn next_block<S: GemmIsa>(&self, rows: &Range<usize>, block: &Range<usize>, panel: &Panel) -> [Ahead; 2] {
        let (tiles, panels) = (self.m.div_ceil(S::ROWS), self.n.div_ceil(S::PANEL));
        let done = (panel.columns.start / S::PANEL * tiles + rows.start / S::ROWS) * block.len();
        let spread = |from: *const f32, width: usize| {
            let step = width / (tiles * panels) + 1;
            Ahead { at: from.wrapping_add(block.end * width + done * step), step, next: block.len() * step }
        };
        [spread(self.a, self.m), spread(self.b, self.n)]
    }

    /// Rows of the next group, or of the next block's first: a column of lines a tile.
    fn next_group(&self, block: &Range<usize>, group: &RowsOfA) -> Ahead {
        let next = group.group.end;
        let (row, term) = if next < self.m { (next, block.start) } else { (0, block.end) };
        let at = self.a.wrapping_add(row * self.a_row + term * self.a_term);
        Ahead { at, step: self.a_row * self.a_term, next: LINE }
    }

    /// The rows of the next tile.
    fn next_rows(&self, rows: &Range<usize>, block: &Range<usize>) -> Ahead {
        let at = self.a.wrapping_add(rows.end * self.a_row + block.start);
        Ahead { at, step: rows.len(), next: rows.len() * self.a_row }
    }
}
