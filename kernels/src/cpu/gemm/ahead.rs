//! What is asked for while a tile is computed, because it will be read next: in a training step operands
//! come from far memory, and a processor's own guesses miss tiles of strided rows. It changes no bit.

use std::ops::Range;

use super::kernel::Ahead;
use super::rows::RowsOfA;
use super::shape::Shape;
use super::{Panel, Product};

/// Elements of a cache line.
const LINE: usize = 16;

impl Product {
    /// Lines of A, and of B or, where the product needs no more of it, of what the caller needs next. `terms` counts those
    /// of all repeated tiles.
    pub(super) fn lines_ahead(
        &self,
        rows: &Range<usize>,
        terms: usize,
        block: &Range<usize>,
        panel: &Panel,
        group: &RowsOfA,
    ) -> [Ahead; 2] {
        if !self.own_first {
            return [0, 1].map(|stream| self.given(stream, terms, block).unwrap_or_else(|| self.nothing()));
        }
        let of_a = if self.a_row == 1 && self.a_term == self.m {
            self.next_block(self.a, self.m, rows, block, panel)
        } else if group.copied && panel.columns.start.is_multiple_of(self.block_columns()) {
            self.next_group(block, group)
        } else if self.a_term == 1 && !group.copied {
            self.next_rows(rows, block)
        } else {
            self.nothing()
        };
        let dense = self.ldb == self.n && self.n <= self.block_columns() && !self.trans_b;
        let of_b = if block.end < self.k && self.a_row == 1 && dense {
            self.next_block(self.b, self.n, rows, block, panel)
        } else {
            let next = self.next_of_b(block, panel, group).or_else(|| self.given(1, terms, block));
            next.or_else(|| self.after_b(block, panel, group)).unwrap_or_else(|| self.nothing())
        };
        [of_a, of_b]
    }

    /// The block of B after this one, where the tiles are among the first to read their panel.
    fn next_of_b(&self, block: &Range<usize>, panel: &Panel, group: &RowsOfA) -> Option<Ahead> {
        let at = panel.columns.start % self.block_columns();
        let column = panel.columns.start - at;
        let (column, term) = if block.end < self.k { (column, block.end) } else { (column + self.block_columns(), 0) };
        if group.group.start > 0 || column >= self.n {
            return None;
        }
        if !self.is_wide() {
            return if term > 0 { self.after_b(block, panel, group) } else { None };
        }
        // Every second row is asked for: the even ones with the first panel, the odd ones with the second.
        let odd = at / self.shape.panel;
        let from = if self.trans_b { column * self.ldb + term } else { term * self.ldb + column };
        (odd < 2).then_some(Ahead { at: self.b.wrapping_add(from + odd * self.ldb), step: self.ldb, next: LINE / 2 })
    }

    /// The panel's rows of B below this block, for narrow tiles. Below the last one lie those of a next product, where a
    /// caller goes through a batch.
    fn after_b(&self, block: &Range<usize>, panel: &Panel, group: &RowsOfA) -> Option<Ahead> {
        let at = self.b.wrapping_add(block.end * self.ldb + panel.columns.start);
        let reads = !self.is_wide() && !self.trans_b && group.group.start == 0;
        reads.then_some(Ahead { at, step: self.ldb, next: LINE })
    }

    /// Lines of what the caller named, one each time that lines are asked for, while there are some.
    fn given(&self, stream: usize, terms: usize, block: &Range<usize>) -> Option<Ahead> {
        // A term of a narrow tile is short: a line with each would be more than far memory gives.
        let step = match (self.is_wide(), self.own_first) {
            (true, _) => LINE / 2,
            (false, true) => LINE / 4,
            (false, false) => LINE,
        };
        let mut places = self.ahead[stream].take();
        let place = places.iter_mut().find(|place| place.start < place.end);
        let ahead = place.map(|place| {
            let at = place.start;
            place.start = at.wrapping_add(terms * step);
            Ahead { at, step, next: block.len() * step }
        });
        self.ahead[stream].set(places);
        ahead
    }

    /// A line that is near already.
    fn nothing(&self) -> Ahead {
        Ahead { at: self.a, step: 0, next: 0 }
    }

    /// The next block of terms of an operand whose terms lie one after the other, `width` elements each, spread evenly
    /// over the tiles of this block.
    fn next_block(
        &self,
        from: *const f32,
        width: usize,
        rows: &Range<usize>,
        block: &Range<usize>,
        panel: &Panel,
    ) -> Ahead {
        let Shape { rows: rows_of_tile, panel: width_of_panel } = self.shape;
        let tiles = self.m.div_ceil(rows_of_tile);
        let panels = self.n.min(self.block_columns()).div_ceil(width_of_panel);
        let done = panel.columns.start % self.block_columns() / width_of_panel * tiles + rows.start / rows_of_tile;
        let step = width / (tiles * panels) + 1;
        let at = from.wrapping_add(block.end * width + done * block.len() * step);
        Ahead { at, step, next: block.len() * step }
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

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::super::Operands;
    use super::*;
    use crate::cpu::simd::Avx2;
    use crate::ops::{MatMul, Start};

    /// What the caller needs is asked for line by line, one place after the other, and then no more.
    #[test]
    fn lines_of_later_places_follow_each_other() {
        let (data, mm) = ([0.0; 4096], MatMul::nn(8, 8, 8));
        let later = [&data[..64], &data[256..256 + 160]];
        let o = Operands {
            mm: &mm,
            a: &data[..64],
            b: &data[..64],
            start: Start::Zero,
            residual: None,
            own_first: true,
            ahead: [&[], &later],
        };
        let product = Product::new::<Avx2>(&o, &mut [0.0; 64]).expect("C has elements");
        let next = || {
            let Ahead { at, step, next } = product.given(1, 2 * 4, &(0..4))?;
            let first = (at as usize - data.as_ptr() as usize) / size_of::<f32>();
            Some((first, step, next))
        };
        // Two tiles of four terms take two lines: half of the first place, and a fifth of the second.
        let expect = [0, 32, 256, 288, 320, 352, 384].map(|first| Some((first, 4, 16)));
        assert_eq!(std::array::from_fn(|_| next()), expect);
        assert_eq!(next(), None);
    }
}
