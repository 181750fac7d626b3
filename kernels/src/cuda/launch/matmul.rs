//! Matrix products: which tile a product is cut into.

use super::{Cohort, word};
use crate::cuda::arguments::{Batched, Product};
use crate::cuda::{Launch, Operand};
use crate::ops::{Columns, KRange, MatMul};

/// Where the chains start, as [`crate::ops::Start`].
#[derive(Clone, Copy, Debug)]
pub enum Begin {
    /// +0.
    Zero,
    /// The old value of C.
    Accumulate,
    /// A bias row.
    Bias(Operand),
}

/// Rows and columns of the tile that a block computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileEdge {
    /// 32, by 64 threads.
    T32,
    /// 64, by 256 threads.
    T64,
    /// 128, by 256 threads.
    T128,
}

impl TileEdge {
    /// Each.
    pub const ALL: [Self; 3] = [Self::T32, Self::T64, Self::T128];

    const fn edge(self) -> usize {
        match self {
            Self::T32 => 32,
            Self::T64 => 64,
            Self::T128 => 128,
        }
    }
    const fn threads(self) -> usize {
        match self {
            Self::T32 => 64,
            Self::T64 | Self::T128 => 256,
        }
    }
    fn blocks(self, mm: &MatMul) -> usize {
        mm.m.div_ceil(self.edge()) * mm.n.div_ceil(self.edge())
    }
    /// Terms that are in shared memory at a time.
    const fn chunk(self) -> usize {
        match self {
            Self::T32 | Self::T64 => 16,
            Self::T128 => 8,
        }
    }
    /// Two buffers of a chunk of both operands, four spare elements a term.
    const fn shared_bytes(self) -> usize {
        2 * self.chunk() * 2 * (self.edge() + 4) * 4
    }
    /// The largest tile that still gives every multiprocessor of a large device two blocks, and wastes no half of a tile.
    fn choose(mm: &MatMul, matrices: usize) -> Self {
        if mm.trans_a && mm.trans_b {
            return Self::T32;
        }
        const ENOUGH_BLOCKS: usize = 2 * 132;
        let fits = |tile: &Self| 2 * mm.m.min(mm.n) > tile.edge() && tile.blocks(mm) * matrices >= ENOUGH_BLOCKS;
        [Self::T128, Self::T64].into_iter().find(fits).unwrap_or(Self::T32)
    }
}

/// The matrices of a product: outer × inner (sequences and heads) in each run.
#[derive(Clone, Copy)]
pub(super) struct Matrices {
    pub(super) outer: usize,
    pub(super) inner: usize,
    pub(super) a: Batched,
    pub(super) b: Batched,
    pub(super) c: Batched,
}

/// C = start + A·B (+ residual, unless it is absent).
pub fn matmul(cohort: &Cohort, mm: &MatMul, [a, b, c]: [Operand; 3], begin: Begin, residual: Operand) -> Launch {
    matmul_in_tiles(cohort, mm, [a, b, c], begin, residual, TileEdge::choose(mm, cohort.runs))
}

/// The same in tiles of a given size, which moves no bit. Where A and B are both transposed there is only
/// [`TileEdge::T32`].
pub fn matmul_in_tiles(
    cohort: &Cohort,
    mm: &MatMul,
    [a, b, c]: [Operand; 3],
    begin: Begin,
    residual: Operand,
    tile: TileEdge,
) -> Launch {
    let matrices = Matrices { outer: 1, inner: 1, a: a.into(), b: b.into(), c: c.into() };
    product(cohort, mm, &matrices, begin, residual, tile)
}

/// Many products of one shape.
pub(super) fn batched(cohort: &Cohort, mm: &MatMul, matrices: &Matrices) -> Launch {
    let tile = TileEdge::choose(mm, cohort.runs * matrices.outer * matrices.inner);
    product(cohort, mm, matrices, Begin::Zero, Operand::ABSENT, tile)
}

fn product(
    cohort: &Cohort,
    mm: &MatMul,
    matrices: &Matrices,
    begin: Begin,
    residual: Operand,
    tile: TileEdge,
) -> Launch {
    let Matrices { outer, inner, a, b, c } = *matrices;
    let (start, bias) = match begin {
        Begin::Zero => (0, Operand::ABSENT),
        Begin::Accumulate => (1, Operand::ABSENT),
        Begin::Bias(bias) => (2, bias),
    };
    let args = Product {
        a,
        b,
        c,
        residual: Batched { operand: residual, ..c },
        bias,
        active: cohort.active,
        m: word(mm.m),
        n: word(mm.n),
        k: word(mm.k),
        lda: word(mm.lda),
        ldb: word(mm.ldb),
        ldc: word(mm.ldc),
        k_range: match mm.k_range {
            KRange::Full => 0,
            KRange::UpToRow => 1,
            KRange::FromRow => 2,
        },
        up_to_row: u32::from(mm.columns == Columns::UpToRow),
        start,
        inner: word(inner),
    };
    let form = match (mm.trans_a, mm.trans_b) {
        (false, false) => "nn",
        (false, true) => "nt",
        (true, false) => "tn",
        (true, true) => "tt",
    };
    let kernel = format!("matmul_{form}_{}", tile.edge());
    cohort.launch(&kernel, [tile.blocks(mm), outer * inner], tile.threads(), tile.shared_bytes(), args)
}
