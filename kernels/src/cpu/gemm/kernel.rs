//! The microkernel: one tile of C, its accumulators held in registers over a block of terms.

use std::ops::Range;

use super::isa::{GemmIsa, MAX_ROWS};
use crate::cpu::simd::Isa;
use crate::cpu::unroll::unroll;

/// Memory that is asked for meanwhile: at term p of repeated tile t, or at every second one, the line at
/// `at[t * next + p * step]`.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    pub(super) at: *const f32,
    pub(super) step: usize,
    pub(super) next: usize,
}

/// How a tile's operands lie, where that makes addresses of several terms constants.
#[derive(Clone, Copy)]
pub(super) enum Layout {
    /// B is a panel, and a row of A has its terms one after the other.
    Rows,
    /// B is a panel, and A holds the tile's rows alone: those of a term, then those of the next.
    Tiles,
    /// B is a panel, and A holds the rows of a term one after the other.
    Columns,
    /// As `Columns`, and B lies where it may.
    InPlace,
    /// Any other way.
    Other,
}

/// One tile's work. Terms come in three groups, in increasing order of k, from `a` and `b` on:
/// a head that rows join one by one, the terms of all rows, a tail that rows leave one by one.
///
/// The element of A for row r and term p is `a[r * a_row + p * a_term]`; of B, for column j,
/// `b[p * b_term + j]`. Rows of B are read in whole vectors.
pub(in crate::cpu) struct Tile {
    /// So many tiles of the same columns, one below the other.
    pub(super) repeat: usize,
    /// How much later the first term of each next tile is.
    pub(super) later: usize,
    /// How many more terms its body has; wraps, so as to mean fewer.
    pub(super) longer: usize,
    pub(super) a: *const f32,
    pub(super) a_row: usize,
    pub(super) a_term: usize,
    /// How far the next tile's rows are from this one's.
    pub(super) a_next: usize,
    pub(super) b: *const f32,
    pub(super) b_term: usize,
    /// Where the panel is copied to while the one tile takes its terms; null for nowhere. Then there is neither
    /// head nor tail, and `repeat` is 1.
    pub(super) copy: *mut f32,
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
    /// C and the residual are too large to lie in a near cache: their lines are asked for in time.
    pub(super) cold: bool,
    /// How far below this tile the lines of C are asked for: 0, or a tile where this one starts from C.
    pub(super) fetch_c: usize,
    /// What is needed later.
    pub(super) ahead: [Ahead; 2],
    /// How A and B lie.
    pub(super) layout: Layout,
    /// Columns of the tile.
    pub(super) columns: usize,
    /// Row r has `min(columns, diagonal + r)` columns (none if that is negative).
    pub(super) diagonal: isize,
}

/// Terms ahead of which B's lines are asked for while they are copied.
const COPIED_AHEAD: usize = 16;

/// Terms before a tile's last ones when lines of C are asked for: in time for most of them, and late enough not to
/// be displaced by a panel and a tile's rows, which fill a first-level cache.
const C_AHEAD: usize = 24;

/// Where the next term is. Each three rows of A have a pointer; address modes do the rest, so that the
/// addresses fit the registers.
struct Cursor {
    a: [*const f32; MAX_ROWS.div_ceil(3)],
    b: *const f32,
    /// Three terms later; of [`Layout::InPlace`] only.
    b_3: *const f32,
    copy: *mut f32,
}

impl Cursor {
    #[inline(always)]
    fn new(tile: &Tile, place: &Place) -> Self {
        let row = |r: usize| place.a.wrapping_add(r * tile.a_row);
        Self { a: [row(0), row(3), row(6), row(9), row(12)], b: place.b, b_3: place.b, copy: tile.copy }
    }
    #[inline(always)]
    fn a(&self, tile: &Tile, r: usize) -> *const f32 {
        self.a[r / 3].wrapping_add(r % 3 * tile.a_row)
    }
    #[inline(always)]
    fn advance(&mut self, tile: &Tile) {
        for a in &mut self.a {
            *a = in_register(a.wrapping_add(tile.a_term));
        }
        self.b = in_register(self.b.wrapping_add(tile.b_term));
    }
}

/// The pointer, of which the compiler knows nothing any more. Otherwise it keeps a pointer for each row of A,
/// more than there are registers, and reads most of them back from the stack at each term.
#[inline(always)]
#[expect(clippy::pointers_in_nomem_asm_block, reason = "nothing is read or written: there is no instruction")]
fn in_register(mut p: *const f32) -> *const f32 {
    // SAFETY: no instruction at all.
    unsafe { std::arch::asm!("/* {0} */", inout(reg) p, options(pure, nomem, nostack, preserves_flags)) };
    p
}

/// Adds the term at `at` to the accumulators of `rows`, and goes on to the next. With `COPY` its part of B is copied.
///
/// # Safety
/// A has the rows and B has N vectors there, and so has the copy.
#[inline(always)]
unsafe fn term<S: GemmIsa, const R: usize, const N: usize, const COPY: bool>(
    s: S,
    acc: &mut [[S::F; N]; R],
    rows: Range<usize>,
    tile: &Tile,
    at: &mut Cursor,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut y = [s.splat(0.0); N];
        unroll!(v < N, at most 4 => { y[v] = s.load_at(at.b.wrapping_add(v * S::WIDTH)); });
        if COPY {
            unroll!(v < N, at most 4 => { s.store_at(at.copy.wrapping_add(v * S::WIDTH), y[v]); });
            at.copy = at.copy.wrapping_add(N * S::WIDTH);
        }
        unroll!(r < R, at most 13 => {
            if rows.start <= r && r < rows.end {
                let x = s.splat(*at.a(tile, r));
                unroll!(v < N, at most 4 => { acc[r][v] = s.fma(x, y[v], acc[r][v]); });
            }
        });
    }
    at.advance(tile);
}

/// Terms that are written out one after the other: a term's own instructions are then little more than its
/// multiply-adds and what they load, which matters where another thread shares the core.
const QUAD: usize = 4;

/// Adds `n` terms to the accumulators of all rows, and asks for a line of each stream with every one.
///
/// # Safety
/// A has the rows and B has N vectors there.
#[inline(always)]
unsafe fn terms<S: GemmIsa, const R: usize, const N: usize>(
    s: S,
    acc: &mut [[S::F; N]; R],
    n: usize,
    tile: &Tile,
    at: &mut Cursor,
    ahead: &mut [*const f32; 2],
) {
    // SAFETY: the caller's.
    unsafe {
        let quads = if let Layout::Other = tile.layout { 0 } else { n / QUAD };
        macro_rules! quads {
            ($layout:expr) => {
                for _ in 0..quads {
                    quad::<S, R, N, { $layout as u8 }>(s, acc, tile, at, ahead);
                }
            };
        }
        match tile.layout {
            Layout::Rows => quads!(Layout::Rows),
            Layout::Tiles => quads!(Layout::Tiles),
            Layout::Columns => {
                // The fourth term's rows: the others are a register and its double away.
                at.a[1] = at.a[0].wrapping_add(3 * tile.a_term);
                quads!(Layout::Columns);
            }
            Layout::InPlace => {
                at.a[1] = at.a[0].wrapping_add(3 * tile.a_term);
                at.b_3 = at.b.wrapping_add(3 * tile.b_term);
                quads!(Layout::InPlace);
            }
            Layout::Other => {}
        }
        if let Layout::Tiles | Layout::Columns | Layout::InPlace = tile.layout {
            // One term's rows again.
            for i in 1..at.a.len() {
                at.a[i] = at.a[0].wrapping_add(3 * i);
            }
        }
        for _ in quads * QUAD..n {
            *ahead = fetch(s, tile, *ahead);
            term::<S, R, N, false>(s, acc, 0..R, tile, at);
        }
    }
}

/// Wider tiles ask for the two streams in turns, every second term: there are more of them over the same matrix, and
/// what they save is instructions.
const FEW_VECTORS: usize = 2;

const TILES: u8 = Layout::Tiles as u8;
const COLUMNS: u8 = Layout::Columns as u8;
const IN_PLACE: u8 = Layout::InPlace as u8;

/// Adds [`QUAD`] terms; their addresses are constants beside a few pointers, which are moved once.
///
/// # Safety
/// As for [`terms`]; A and B lie as the layout says.
#[inline(always)]
unsafe fn quad<S: GemmIsa, const R: usize, const N: usize, const LAYOUT: u8>(
    s: S,
    acc: &mut [[S::F; N]; R],
    tile: &Tile,
    at: &mut Cursor,
    ahead: &mut [*const f32; 2],
) {
    // SAFETY: the caller's.
    unsafe {
        unroll!(q < QUAD, at most 4 => {
            if N <= FEW_VECTORS {
                *ahead = fetch(s, tile, *ahead);
            } else if q.is_multiple_of(2) {
                s.fetch(ahead[0]);
                ahead[0] = ahead[0].wrapping_add(2 * tile.ahead[0].step);
            } else {
                s.fetch_near(ahead[1]);
                ahead[1] = ahead[1].wrapping_add(2 * tile.ahead[1].step);
            }
            let mut y = [s.splat(0.0); N];
            let b = match (LAYOUT, q) {
                (IN_PLACE, 3) => at.b_3,
                (IN_PLACE, _) => at.b.wrapping_add(q * tile.b_term),
                _ => at.b.wrapping_add(q * N * S::WIDTH),
            };
            unroll!(v < N, at most 4 => { y[v] = s.load_at(b.wrapping_add(v * S::WIDTH)); });
            unroll!(r < R, at most 13 => {
                let x = s.splat(match LAYOUT {
                    TILES => *at.a[0].wrapping_add(q * R + r),
                    COLUMNS | IN_PLACE => *at.a[q / 3].wrapping_add(q % 3 * tile.a_term + r),
                    _ => *at.a(tile, r).wrapping_add(q),
                });
                unroll!(v < N, at most 4 => { acc[r][v] = s.fma(x, y[v], acc[r][v]); });
            });
        });
    }
    let (pointers, moved) = match LAYOUT {
        TILES => (1, QUAD * R),
        COLUMNS | IN_PLACE => (2, QUAD * tile.a_term),
        _ => (at.a.len(), QUAD),
    };
    for a in &mut at.a[..pointers] {
        *a = in_register(a.wrapping_add(moved));
    }
    if LAYOUT == IN_PLACE {
        at.b = in_register(at.b.wrapping_add(QUAD * tile.b_term));
        at.b_3 = in_register(at.b_3.wrapping_add(QUAD * tile.b_term));
    } else {
        at.b = in_register(at.b.wrapping_add(QUAD * N * S::WIDTH));
    }
}

/// Computes tiles of `R` rows and `N` vectors of columns.
///
/// # Safety
/// All elements that the tiles name exist.
#[inline(always)]
pub(super) unsafe fn run<S: GemmIsa, const R: usize, const N: usize>(s: S, tile: &Tile) {
    let &Tile { a, b, c, start, residual, body, diagonal, .. } = tile;
    let mut place = Place { a, b, c, start, residual, body, diagonal, ahead: tile.ahead.map(|x| x.at) };
    for _ in 0..tile.repeat {
        // SAFETY: the caller's.
        unsafe { one::<S, R, N>(s, tile, &place) };
        place.a = place.a.wrapping_add(tile.a_next + tile.later * tile.a_term);
        place.b = place.b.wrapping_add(tile.later * tile.b_term);
        place.c = place.c.wrapping_add(R * tile.c_row);
        if !place.start.is_null() {
            place.start = place.start.wrapping_add(R * tile.start_row);
        }
        if !place.residual.is_null() {
            place.residual = place.residual.wrapping_add(R * tile.c_row);
        }
        place.ahead =
            [place.ahead[0].wrapping_add(tile.ahead[0].next), place.ahead[1].wrapping_add(tile.ahead[1].next)];
        place.body = place.body.wrapping_add(tile.longer);
        place.diagonal = place.diagonal.wrapping_add(R as isize);
    }
}

/// What differs between repeated tiles; see [`Tile`].
struct Place {
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    start: *const f32,
    residual: *const f32,
    body: usize,
    diagonal: isize,
    ahead: [*const f32; 2],
}

impl Place {
    /// Columns of row r in the tile's vector v.
    #[inline(always)]
    fn lanes<S: Isa>(&self, tile: &Tile, r: usize, v: usize) -> usize {
        let columns = (self.diagonal + r as isize).max(0).min(tile.columns as isize) as usize;
        columns.saturating_sub(v * S::WIDTH).min(S::WIDTH)
    }
}

/// Computes one tile.
///
/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn one<S: GemmIsa, const R: usize, const N: usize>(s: S, tile: &Tile, place: &Place) {
    // SAFETY: the caller's.
    unsafe {
        let whole = tile.columns == N * S::WIDTH && place.diagonal >= tile.columns as isize;
        let mut acc = [[s.splat(0.0); N]; R];
        if !place.start.is_null() {
            acc = load(s, tile, place, whole, place.start, tile.start_row);
        }

        let mut at = Cursor::new(tile, place);
        if !tile.head.is_empty() {
            unroll!(step < R, at most 13 => {
                if tile.head.contains(&step) {
                    term::<S, R, N, false>(s, &mut acc, 0..step + 1, tile, &mut at);
                }
            });
        }
        let mut ahead = place.ahead;
        let first = if tile.cold { place.body.min(R) } else { 0 };
        if tile.copy.is_null() {
            let before = if first > 0 { (place.body - first).saturating_sub(C_AHEAD) } else { 0 };
            terms(s, &mut acc, before, tile, &mut at, &mut ahead);
            // A row's lines at a time, as a core waits for few lines at once.
            for row in 0..first {
                fetch_row::<S, N>(s, tile, place, row);
                ahead = fetch(s, tile, ahead);
                term::<S, R, N, false>(s, &mut acc, 0..R, tile, &mut at);
            }
            terms(s, &mut acc, place.body - before - first, tile, &mut at, &mut ahead);
        } else {
            for p in 0..place.body {
                if p < first {
                    fetch_row::<S, N>(s, tile, place, p);
                }
                ahead = fetch(s, tile, ahead);
                let later = at.b.wrapping_add(COPIED_AHEAD * tile.b_term);
                unroll!(v < N, at most 4 => { s.fetch(later.wrapping_add(v * S::WIDTH)); });
                term::<S, R, N, true>(s, &mut acc, 0..R, tile, &mut at);
            }
        }
        if !tile.tail.is_empty() {
            unroll!(step < R, at most 13 => {
                if tile.tail.contains(&step) {
                    term::<S, R, N, false>(s, &mut acc, step..R, tile, &mut at);
                }
            });
        }

        if !place.residual.is_null() {
            let residual: [[S::F; N]; R] = load(s, tile, place, whole, place.residual, tile.c_row);
            unroll!(r < R, at most 13 => {
                unroll!(v < N, at most 4 => { acc[r][v] = s.add(residual[r][v], acc[r][v]); });
            });
        }
        store(s, tile, place, whole, &acc);
    }
}

/// Asks for a line of each stream, and returns where the next ones are.
#[inline(always)]
fn fetch<S: GemmIsa>(s: S, tile: &Tile, at: [*const f32; 2]) -> [*const f32; 2] {
    s.fetch(at[0]);
    s.fetch_near(at[1]);
    [at[0].wrapping_add(tile.ahead[0].step), at[1].wrapping_add(tile.ahead[1].step)]
}

/// Asks for the lines that row `r` of this tile or of the next one ends with.
#[inline(always)]
fn fetch_row<S: GemmIsa, const N: usize>(s: S, tile: &Tile, place: &Place, r: usize) {
    let at = tile.fetch_c + r * tile.c_row;
    unroll!(v < N, at most 4 => { s.fetch_to_write(place.c.wrapping_add(at + v * S::WIDTH)); });
    if !place.residual.is_null() {
        unroll!(v < N, at most 4 => { s.fetch(place.residual.wrapping_add(at + v * S::WIDTH)); });
    }
}

/// Loads the tile's elements at `from`, whose rows lie `stride` apart.
#[inline(always)]
unsafe fn load<S: GemmIsa, const R: usize, const N: usize>(
    s: S,
    tile: &Tile,
    place: &Place,
    whole: bool,
    from: *const f32,
    stride: usize,
) -> [[S::F; N]; R] {
    // SAFETY: the caller's; a lane is read only if its column belongs to the row.
    unsafe {
        let mut x = [[s.splat(0.0); N]; R];
        if whole {
            unroll!(r < R, at most 13 => {
                unroll!(v < N, at most 4 => { x[r][v] = s.load_at(from.wrapping_add(r * stride + v * S::WIDTH)); });
            });
        } else {
            unroll!(r < R, at most 13 => {
                unroll!(v < N, at most 4 => {
                    x[r][v] = s.load_first_at(from.wrapping_add(r * stride + v * S::WIDTH), place.lanes::<S>(tile, r, v));
                });
            });
        }
        x
    }
}

#[inline(always)]
unsafe fn store<S: GemmIsa, const R: usize, const N: usize>(
    s: S,
    tile: &Tile,
    place: &Place,
    whole: bool,
    acc: &[[S::F; N]; R],
) {
    // SAFETY: the caller's; a lane is written only if its column belongs to the row.
    unsafe {
        if whole {
            unroll!(r < R, at most 13 => {
                unroll!(v < N, at most 4 => {
                    let to = place.c.wrapping_add(r * tile.c_row + v * S::WIDTH);
                    s.store_at(to, acc[r][v]);
                });
            });
        } else {
            unroll!(r < R, at most 13 => {
                unroll!(v < N, at most 4 => {
                    let to = place.c.wrapping_add(r * tile.c_row + v * S::WIDTH);
                    s.store_first_at(to, place.lanes::<S>(tile, r, v), acc[r][v]);
                });
            });
        }
    }
}
