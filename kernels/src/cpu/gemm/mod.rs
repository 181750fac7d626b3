//! GEMM for the CPU: register tiles over blocks of B, with the bits of the reference.
//!
//! Why the bits are the same: a lane of an accumulator is one output element, and it takes its terms in
//! increasing order of k by fused multiply-adds. A block of terms ends by storing the accumulators to C
//! and the next one starts by loading them, which changes nothing. What a tile computes beyond an edge
//! (columns that do not exist or are masked) is never stored; terms are never padded.
//!
//! Loops, from the outside: columns, terms (blocks of both: `shape`; here B may be copied
//! into panels), rows by [`BLOCK_ROWS`], panels, tiles. A is read where it lies, since copying costs more
//! than strided reads at the widths of small networks; rows that collide in a cache are copied (`rows`).
//! What comes next is asked for meanwhile (`ahead`).

mod ahead;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod isa;
mod kernel;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pack;
mod rows;
mod shape;

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::ptr;

pub(super) use self::isa::GemmIsa;
use self::kernel::{Layout, Tile};
use self::rows::{RowsOfA, TileOfA};
use self::shape::{BLOCK_TERMS, Shape};
use super::Simd;
#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use crate::aligned::Aligned;
use crate::ops::{Columns, KRange, MOST_LATER, MatMul, Ops, Start};
use crate::reference::Reference;

/// Most columns of one block of B, a multiple of every panel's width.
const BLOCK_COLUMNS: usize = 512;
/// Rows of A that should stay in the L2 cache while the panels pass.
const BLOCK_ROWS: usize = 208;
/// Elements of C that lie in a near cache by themselves.
const NEAR: usize = 16_384;
/// While at most this many narrow tiles read each panel, a row-major B is read where it lies.
const DIRECT_TILES: usize = 12;

thread_local! {
    /// One block of B and one group of rows of A, copied. It is allocated once a thread; pages that are
    /// never used cost nothing.
    static COPIES: RefCell<Aligned<f32>> = RefCell::new(Aligned::zeroed(BLOCK_TERMS * BLOCK_COLUMNS + rows::COPY));
}

/// [`matmul`] from +0. Meanwhile what `ahead` names is brought near, since it is needed next.
pub(crate) fn matmul_and_fetch(simd: Simd, mm: &MatMul, a: &[f32], b: &[f32], c: &mut [f32], ahead: [&[f32]; 2]) {
    let ahead = [&ahead[..1], &ahead[1..]];
    matmul(simd, &Operands { mm, a, b, start: Start::Zero, residual: None, own_first: false, ahead }, c);
}

/// What a product reads.
pub(super) struct Operands<'a> {
    pub(super) mm: &'a MatMul,
    pub(super) a: &'a [f32],
    pub(super) b: &'a [f32],
    pub(super) start: Start<'a, f32>,
    pub(super) residual: Option<&'a [f32]>,
    /// Whether the product asks for what it needs itself and then for the second stream of `ahead`, or for `ahead` alone.
    pub(super) own_first: bool,
    /// What the caller needs next: two streams, each of one place after the other.
    pub(super) ahead: [&'a [&'a [f32]]; 2],
}

/// C = start + A·B (+ residual), as [`Ops::matmul_before`], with the instructions of `simd`.
///
/// # Panics
/// If an operand is too short for its shape, or if rows of C overlap.
pub(super) fn matmul(simd: Simd, o: &Operands<'_>, c: &mut [f32]) {
    match simd {
        // SAFETY: a `Cpu` exists only for an instruction set that the machine has.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => run(unsafe { Avx512::new() }, o, c),
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => run(unsafe { Avx2::new() }, o, c),
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Simd::Neon => run(unsafe { Neon::new() }, o, c),
        _ => Reference.matmul(o.mm, o.a, o.b, o.start, o.residual, c),
    }
}

fn run<S: GemmIsa>(s: S, o: &Operands<'_>, c: &mut [f32]) {
    let Some(product) = Product::new::<S>(o, c) else { return };
    COPIES.with_borrow_mut(|copies| {
        // SAFETY: `new` checked the operands, and they outlive the call.
        unsafe { product.run(s, copies) }
    });
}

/// A checked product: every element that it names exists.
struct Product {
    m: usize,
    n: usize,
    k: usize,
    k_range: KRange,
    columns: Columns,
    /// The largest tile.
    shape: Shape,
    a: *const f32,
    /// Distances of A's rows (output rows) and terms.
    a_row: usize,
    a_term: usize,
    b: *const f32,
    ldb: usize,
    trans_b: bool,
    start: *const f32,
    start_row: usize,
    c: *mut f32,
    ldc: usize,
    residual: *const f32,
    /// Whether it asks for what it needs itself.
    own_first: bool,
    /// What the caller needs next, as far as it has not been asked for.
    ahead: [Cell<[Range<*const f32>; MOST_LATER]>; 2],
}

/// Elements from the first to the last of a matrix of `rows` by `columns`; 0 if it is empty.
fn extent(rows: usize, columns: usize, stride: usize) -> usize {
    if rows == 0 || columns == 0 {
        return 0;
    }
    (rows - 1).checked_mul(stride).and_then(|last| last.checked_add(columns)).expect("a matrix fits the address space")
}

impl Product {
    /// `None` if C is empty.
    fn new<S: GemmIsa>(o: &Operands<'_>, c: &mut [f32]) -> Option<Self> {
        let &Operands { mm, a, b, start, residual, own_first, ahead } = o;
        // What no row has is no part of the shape.
        let m = mm.m;
        let n = if mm.columns == Columns::UpToRow { mm.n.min(m) } else { mm.n };
        let k = if mm.k_range == KRange::UpToRow { mm.k.min(m) } else { mm.k };
        let rows_with_terms = if mm.k_range == KRange::FromRow { m.min(k) } else { m };
        if m == 0 || n == 0 {
            return None;
        }
        let stored = |transposed, rows, columns, stride| {
            if transposed { extent(columns, rows, stride) } else { extent(rows, columns, stride) }
        };
        assert!(a.len() >= stored(mm.trans_a, rows_with_terms, k, mm.lda), "A is too short");
        assert!(b.len() >= stored(mm.trans_b, k, n, mm.ldb), "B is too short");
        assert!(c.len() >= extent(m, n, mm.ldc), "C is too short");
        assert!(m == 1 || mm.ldc >= n, "rows of C overlap");
        if let Some(residual) = residual {
            assert!(residual.len() >= extent(m, n, mm.ldc), "the residual is too short");
        }
        let (a_row, a_term) = if mm.trans_a { (1, mm.lda) } else { (mm.lda, 1) };
        let c = c.as_mut_ptr();
        let (start, start_row) = match start {
            Start::Zero => (ptr::null(), 0),
            Start::Accumulate => (c.cast_const(), mm.ldc),
            Start::Bias(bias) => {
                assert!(bias.len() >= n, "the bias is too short");
                (bias.as_ptr(), 0)
            }
        };
        Some(Self {
            m,
            n,
            k,
            k_range: mm.k_range,
            columns: mm.columns,
            shape: Shape::of::<S>(mm, n),
            a: a.as_ptr(),
            a_row,
            a_term,
            b: b.as_ptr(),
            ldb: mm.ldb,
            trans_b: mm.trans_b,
            start,
            start_row,
            c,
            ldc: mm.ldc,
            residual: residual.map_or(ptr::null(), <[f32]>::as_ptr),
            own_first,
            ahead: ahead.map(|places| {
                let place = |i: usize| places.get(i).copied().unwrap_or_default().as_ptr_range();
                Cell::new(std::array::from_fn(place))
            }),
        })
    }

    /// # Safety
    /// The operands are still alive, and C is not borrowed elsewhere.
    unsafe fn run<S: GemmIsa>(&self, s: S, copies: &mut [f32]) {
        let (of_b, of_a) = copies.split_at_mut(BLOCK_TERMS * BLOCK_COLUMNS);
        const { assert!(BLOCK_COLUMNS.is_multiple_of(S::WIDE.panel) && BLOCK_COLUMNS.is_multiple_of(S::NARROW.panel)) };
        let most = if self.columns == Columns::UpToRow { S::DIAGONAL_ROWS } else { self.most_rows() };
        let tiles = Split::new(self.m, most);
        let blocks = Split::new(self.k, self.block_terms());
        let width = self.block_columns();
        for j in (0..self.n).step_by(width) {
            let columns = j..self.n.min(j + width);
            // Without terms there is still one block: it stores the start.
            for block in 0..blocks.parts.max(1) {
                let terms = blocks.part(block);
                // SAFETY: the caller's.
                unsafe {
                    let panels = self.panels(s, &columns, &terms, tiles.parts, of_b);
                    self.block(s, &tiles, columns.clone(), &terms, &panels, of_a);
                }
            }
        }
    }

    /// Computes all rows of `columns` over the terms of one block.
    ///
    /// # Safety
    /// The operands are still alive, and C is not borrowed elsewhere.
    unsafe fn block<S: GemmIsa>(
        &self,
        s: S,
        tiles: &Split,
        columns: Range<usize>,
        terms: &Range<usize>,
        panels: &Panels,
        copy: &mut [f32],
    ) {
        // All rows' terms begin or end at the diagonal inside this block, or not at all.
        let regular = self.k_range == KRange::Full || *terms == (0..self.k) && self.m <= self.k;
        let group = BLOCK_ROWS / self.shape.rows;
        for first in (0..tiles.parts).step_by(group) {
            let end = tiles.parts.min(first + group);
            // SAFETY: the caller's.
            let a = unsafe { RowsOfA::new(s, self, (tiles, first..end), terms, copy) };
            for j in columns.clone().step_by(self.shape.panel) {
                let mut panel = panels.at::<S>(self, terms, j..columns.end.min(j + self.shape.panel));
                let mut t = first;
                if !panel.copy.is_null() {
                    if first == 0 {
                        // SAFETY: the caller's; a panel has its columns in whole vectors.
                        unsafe { self.tile(s, tiles.part(0), 1, terms, &panel, &a) };
                        t = 1;
                    }
                    panel = Panel {
                        b: panel.copy,
                        b_term: pitch::<S>(panel.columns.len()),
                        copy: ptr::null_mut(),
                        ..panel
                    };
                }
                while t < end {
                    let rows = tiles.part(t);
                    let all_columns = self.columns == Columns::Full || rows.end >= panel.columns.end;
                    let repeat = if regular && all_columns { tiles.alike(t, end) } else { 1 };
                    // SAFETY: the caller's; a panel has its columns in whole vectors.
                    unsafe { self.tile(s, rows, repeat, terms, &panel, &a) };
                    t += repeat;
                }
            }
        }
    }

    /// Copies to `buffer` what must not be read in place: all of a transposed B or of one that many rows
    /// read, otherwise only a last panel that is not a whole number of vectors. Where all rows have all terms and
    /// columns, the first tile copies what the others read.
    ///
    /// # Safety
    /// B is still alive.
    unsafe fn panels<S: GemmIsa>(
        &self,
        s: S,
        columns: &Range<usize>,
        terms: &Range<usize>,
        tiles: usize,
        buffer: &mut [f32],
    ) -> Panels {
        let dense = self.k_range == KRange::Full && self.columns == Columns::Full;
        let in_place = self.takes_b_in_place();
        let by_first_tile = !self.trans_b && !in_place && dense && tiles > 1;
        let many = !in_place && (self.m > DIRECT_TILES * S::NARROW.rows || self.m > 64 && rows::collide(self.ldb));
        let copied_from = if self.trans_b || many && !by_first_tile {
            columns.start
        } else if (columns.end - columns.start).is_multiple_of(S::WIDTH) {
            columns.end
        } else {
            columns.end - (columns.end - columns.start) % self.shape.panel
        };
        assert!(terms.len() * columns.len().next_multiple_of(S::WIDTH) <= buffer.len(), "a block of B fits its copy");
        let first = columns.start;
        let panels = Panels { buffer: buffer.as_mut_ptr(), first, copied_from, by_first_tile };
        for j in (copied_from..columns.end).step_by(self.shape.panel) {
            let width = (columns.end - j).min(self.shape.panel);
            let (to, pitch) = (panels.copy(terms, j), pitch::<S>(width));
            // SAFETY: the columns and terms lie inside B; the buffer has room for whole vectors of each panel's columns.
            unsafe {
                if self.trans_b {
                    let source = self.b.wrapping_add(j * self.ldb + terms.start);
                    s.pack_transposed(source, self.ldb, terms.len(), width, to, pitch);
                } else {
                    let source = self.b.wrapping_add(terms.start * self.ldb + j);
                    s.pack_rows(source, self.ldb, terms.len(), width, to, pitch);
                }
            }
        }
        panels
    }

    /// Computes `repeat` tiles, the first of which has `rows`, over one block of terms. More than one must
    /// have all the panel's columns, and as many rows each.
    ///
    /// # Safety
    /// The operands are still alive, C is not borrowed elsewhere, and the panel is one of the block.
    unsafe fn tile<S: GemmIsa>(
        &self,
        s: S,
        rows: Range<usize>,
        repeat: usize,
        block: &Range<usize>,
        panel: &Panel,
        rows_of_a: &RowsOfA,
    ) {
        let Panel { columns, b, b_term, copy } = panel;
        let (i, j) = (rows.start, columns.start);
        let (width, diagonal) = match self.columns {
            Columns::Full => (columns.len(), columns.len() as isize),
            Columns::UpToRow if j >= rows.end => return,
            Columns::UpToRow => (columns.len().min(rows.end - j), i as isize + 1 - j as isize),
        };
        let Terms { first, head, body, tail, later, longer } = Terms::new(self.k_range, &rows, block);
        let (is_first, is_last) = (block.start == 0, block.end == self.k);
        let residual = if is_last { self.residual } else { ptr::null() };
        if !is_first && residual.is_null() && head.is_empty() && body == 0 && tail.is_empty() {
            return;
        }
        let (at, vectors) = (i * self.ldc + j, width.div_ceil(S::WIDTH));
        let (start, start_row) = if is_first { (self.start, self.start_row) } else { (self.c.cast_const(), self.ldc) };
        let starts_from_c = start == self.c.cast_const();
        let TileOfA { a, a_row, a_term, a_next } = rows_of_a.tile(&rows, first);
        let tile = Tile {
            repeat,
            later,
            longer,
            a,
            a_row,
            a_term,
            a_next,
            b: b.wrapping_add((first - block.start) * b_term),
            b_term: *b_term,
            copy: *copy,
            head,
            body,
            tail,
            start: if start.is_null() { start } else { start.wrapping_add(i * start_row + j) },
            start_row,
            c: self.c.wrapping_add(at),
            c_row: self.ldc,
            residual: if residual.is_null() { residual } else { residual.wrapping_add(at) },
            cold: self.m * self.n > NEAR || self.ldc != self.n,
            ahead: self.lines_ahead(&rows, repeat * body, block, panel, rows_of_a),
            layout: match (a_row, a_term) {
                (1, _) if *b_term != vectors * S::WIDTH => Layout::InPlace,
                _ if *b_term != vectors * S::WIDTH => Layout::Other,
                (_, 1) => Layout::Rows,
                (1, term) if term == rows.len() => Layout::Tiles,
                (1, _) => Layout::Columns,
                _ => Layout::Other,
            },
            fetch_c: if starts_from_c { rows.len() * self.ldc } else { 0 },
            columns: width,
            diagonal,
        };
        // SAFETY: the operands were checked in `new`, and the tile lies inside them.
        unsafe { s.kernel(rows.len(), vectors)(&tile) }
    }
}

/// A range cut into equal parts, the longer ones first.
struct Split {
    parts: usize,
    length: usize,
    longer: usize,
}

impl Split {
    fn new(total: usize, at_most: usize) -> Self {
        let parts = total.div_ceil(at_most);
        let divisor = parts.max(1);
        Self { parts, length: total / divisor, longer: total % divisor }
    }
    fn part(&self, index: usize) -> Range<usize> {
        let start = |index: usize| index * self.length + index.min(self.longer);
        start(index)..start(index + 1)
    }
    /// How many parts from `index` to before `end` have the length of part `index`.
    fn alike(&self, index: usize, end: usize) -> usize {
        if index < self.longer { end.min(self.longer) - index } else { end - index }
    }
}

/// Where the panels of one block of B are.
struct Panels {
    buffer: *mut f32,
    /// The block's first column.
    first: usize,
    /// Columns from here on are in the buffer.
    copied_from: usize,
    /// The columns before are copied there by the first tile.
    by_first_tile: bool,
}

impl Panels {
    /// The panel of `columns`.
    fn at<S: GemmIsa>(&self, product: &Product, terms: &Range<usize>, columns: Range<usize>) -> Panel {
        let j = columns.start;
        let copy = self.copy(terms, j);
        if j >= self.copied_from {
            return Panel { b_term: pitch::<S>(columns.len()), columns, b: copy, copy: ptr::null_mut() };
        }
        let b = product.b.wrapping_add(terms.start * product.ldb + j);
        Panel { columns, b, b_term: product.ldb, copy: if self.by_first_tile { copy } else { ptr::null_mut() } }
    }

    /// Where the panel from column `j` on has its copy.
    fn copy(&self, terms: &Range<usize>, j: usize) -> *mut f32 {
        self.buffer.wrapping_add((j - self.first) * terms.len())
    }
}

/// Columns of B over a block of terms, in whole vectors.
struct Panel {
    columns: Range<usize>,
    /// The first term's row.
    b: *const f32,
    /// Distance of the terms.
    b_term: usize,
    /// Where the first tile copies it to, for the others; null if nobody does.
    copy: *mut f32,
}

/// Distance of the terms in the copy of a panel.
fn pitch<S: GemmIsa>(columns: usize) -> usize {
    columns.next_multiple_of(S::WIDTH)
}

/// The terms that a tile takes from a block, from term `first` on. See [`Tile`].
struct Terms {
    first: usize,
    head: Range<usize>,
    body: usize,
    tail: Range<usize>,
    later: usize,
    longer: usize,
}

impl Terms {
    fn new(k_range: KRange, rows: &Range<usize>, block: &Range<usize>) -> Self {
        let i = rows.start;
        match k_range {
            KRange::Full => Self { first: block.start, head: 0..0, body: block.len(), tail: 0..0, later: 0, longer: 0 },
            // Row i + t has the terms 0..=i + t: those after i lose the rows above them.
            KRange::UpToRow => Self {
                first: block.start,
                head: 0..0,
                body: block.end.min(i + 1).saturating_sub(block.start),
                tail: block.start.max(i + 1) - i..block.end.min(rows.end).saturating_sub(i),
                later: 0,
                longer: rows.len(),
            },
            // Row i + t has the terms i + t..k: those before the last row's first lack the rows below them.
            KRange::FromRow => Self {
                first: block.start.max(i),
                head: block.start.max(i) - i..block.end.min(rows.end - 1).saturating_sub(i),
                body: block.end.saturating_sub(block.start.max(rows.end - 1)),
                tail: 0..0,
                later: rows.len(),
                longer: rows.len().wrapping_neg(),
            },
        }
    }
}
