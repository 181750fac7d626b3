//! The microkernel: one tile of C, its accumulators held in registers over a block of terms.

use std::ops::Range;

use super::vector::{MAX_ROWS, MAX_VECTORS, Vector};

/// One tile's work. Terms come in three groups, in increasing order of k, from `a` and `b` on:
/// a head that rows join one by one, the terms of all rows, a tail that rows leave one by one.
///
/// The element of A for row r and term p is `a[r * a_row + p * a_term]`; of B, for column j,
/// `b[p * b_term + j]`. Rows of B are read in whole vectors.
pub(super) struct Tile {
    pub(super) a: *const f32,
    pub(super) a_row: usize,
    pub(super) a_term: usize,
    pub(super) b: *const f32,
    pub(super) b_term: usize,
    /// Each step t of the head is one term, of rows `0..=t`.
    pub(super) head: Range<usize>,
    /// Terms of all rows.
    pub(super) body: usize,
    /// Each step t of the tail is one term, of rows `t..`.
    pub(super) tail: Range<usize>,
    /// Where row r's accumulators start: `start[r * start_row..]`, or +0 if null.
    pub(super) start: *const f32,
    pub(super) start_row: usize,
    pub(super) c: *mut f32,
    /// Distance of rows of C and of the residual.
    pub(super) c_row: usize,
    /// Added after the last term; null for none.
    pub(super) residual: *const f32,
    /// Columns of the tile.
    pub(super) columns: usize,
    /// Row r has `min(columns, diagonal + r)` columns (none if that is negative).
    pub(super) diagonal: isize,
}

impl Tile {
    /// Columns of row r in the tile's vector v.
    #[inline(always)]
    fn lanes<V: Vector>(&self, r: usize, v: usize) -> usize {
        let columns = (self.diagonal + r as isize).max(0).min(self.columns as isize) as usize;
        columns.saturating_sub(v * V::LANES).min(V::LANES)
    }
}

/// Rows of A reached from three-row groups: each group has a pointer, and the address modes do the rest.
struct Rows {
    groups: [*const f32; MAX_ROWS / 3],
    row: usize,
}

impl Rows {
    #[inline(always)]
    fn at(&self, r: usize) -> *const f32 {
        self.groups[r / 3].wrapping_add(r % 3 * self.row)
    }
    #[inline(always)]
    fn advance(&mut self, by: usize) {
        for group in &mut self.groups {
            *group = group.wrapping_add(by);
        }
    }
}

/// Runs the body for each index below the bound, written out: an index that is a constant from the start
/// lets the accumulators live in registers. (A loop is unrolled too late for that, and closures would not
/// inherit the target features.)
macro_rules! unroll {
    (rows $r:ident < $bound:expr => $body:block) => {
        const { assert!($bound <= MAX_ROWS && MAX_ROWS == 12) };
        unroll!($r < $bound => $body; 0 1 2 3 4 5 6 7 8 9 10 11);
    };
    (vectors $v:ident < $bound:expr => $body:block) => {
        const { assert!($bound <= MAX_VECTORS && MAX_VECTORS == 4) };
        unroll!($v < $bound => $body; 0 1 2 3);
    };
    ($i:ident < $bound:expr => $body:block; $($n:literal)+) => {
        $(
            let $i: usize = $n;
            if $i < $bound $body
        )+
    };
}

/// Adds one term to the accumulators of `rows`.
#[inline(always)]
unsafe fn term<V: Vector, const R: usize, const N: usize>(
    acc: &mut [[V; N]; R],
    rows: Range<usize>,
    a: &Rows,
    b: *const f32,
) {
    // SAFETY: the caller's: rows of A in `rows` and N vectors of B exist.
    unsafe {
        let mut y = [V::zero(); N];
        unroll!(vectors v < N => { y[v] = V::load(b.wrapping_add(v * V::LANES)); });
        unroll!(rows r < R => {
            if rows.start <= r && r < rows.end {
                let x = V::broadcast(a.at(r));
                unroll!(vectors v < N => { acc[r][v] = x.mul_add(y[v], acc[r][v]); });
            }
        });
    }
}

/// Computes a tile of `R` rows and `N` vectors of columns.
///
/// # Safety
/// The instruction set of `V` is available, and all elements that the tile names exist.
#[inline(always)]
pub(super) unsafe fn run<V: Vector, const R: usize, const N: usize>(tile: &Tile) {
    // SAFETY: the caller's.
    unsafe {
        let whole = tile.columns == N * V::LANES && tile.diagonal >= tile.columns as isize;
        let mut acc = [[V::zero(); N]; R];
        if !tile.start.is_null() {
            acc = load(tile, whole, tile.start, tile.start_row);
        }

        let (row, first) = (tile.a_row, tile.a);
        let mut a = Rows {
            groups: [first, first.wrapping_add(3 * row), first.wrapping_add(6 * row), first.wrapping_add(9 * row)],
            row,
        };
        let mut b = tile.b;
        if !tile.head.is_empty() {
            unroll!(rows step < R => {
                if tile.head.contains(&step) {
                    term(&mut acc, 0..step + 1, &a, b);
                    a.advance(tile.a_term);
                    b = b.wrapping_add(tile.b_term);
                }
            });
        }
        for _ in 0..tile.body {
            term(&mut acc, 0..R, &a, b);
            a.advance(tile.a_term);
            b = b.wrapping_add(tile.b_term);
        }
        if !tile.tail.is_empty() {
            unroll!(rows step < R => {
                if tile.tail.contains(&step) {
                    term(&mut acc, step..R, &a, b);
                    a.advance(tile.a_term);
                    b = b.wrapping_add(tile.b_term);
                }
            });
        }

        if !tile.residual.is_null() {
            let residual: [[V; N]; R] = load(tile, whole, tile.residual, tile.c_row);
            unroll!(rows r < R => {
                unroll!(vectors v < N => { acc[r][v] = residual[r][v].add(acc[r][v]); });
            });
        }
        store(tile, whole, &acc);
    }
}

/// Loads the tile's elements at `from`, whose rows lie `stride` apart.
#[inline(always)]
unsafe fn load<V: Vector, const R: usize, const N: usize>(
    tile: &Tile,
    whole: bool,
    from: *const f32,
    stride: usize,
) -> [[V; N]; R] {
    // SAFETY: the caller's; a lane is read only if its column belongs to the row.
    unsafe {
        let mut x = [[V::zero(); N]; R];
        if whole {
            unroll!(rows r < R => {
                unroll!(vectors v < N => { x[r][v] = V::load(from.wrapping_add(r * stride + v * V::LANES)); });
            });
        } else {
            unroll!(rows r < R => {
                unroll!(vectors v < N => {
                    x[r][v] = V::load_first(from.wrapping_add(r * stride + v * V::LANES), tile.lanes::<V>(r, v));
                });
            });
        }
        x
    }
}

#[inline(always)]
unsafe fn store<V: Vector, const R: usize, const N: usize>(tile: &Tile, whole: bool, acc: &[[V; N]; R]) {
    // SAFETY: the caller's; a lane is written only if its column belongs to the row.
    unsafe {
        if whole {
            unroll!(rows r < R => {
                unroll!(vectors v < N => { acc[r][v].store(tile.c.wrapping_add(r * tile.c_row + v * V::LANES)); });
            });
        } else {
            unroll!(rows r < R => {
                unroll!(vectors v < N => {
                    acc[r][v].store_first(tile.c.wrapping_add(r * tile.c_row + v * V::LANES), tile.lanes::<V>(r, v));
                });
            });
        }
    }
}
