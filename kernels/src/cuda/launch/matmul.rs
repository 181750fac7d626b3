//! Matrix products: which tile a product is cut into.

use super::{Cohort, WARP, word};
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
    /// 64, by 128 threads.
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
            Self::T64 => 128,
            Self::T128 => 256,
        }
    }
    fn blocks(self, mm: &MatMul) -> usize {
        mm.m.div_ceil(self.edge()) * mm.n.div_ceil(self.edge())
    }
    /// Those that hold an element which is computed.
    fn visible_blocks(self, mm: &MatMul) -> usize {
        let (edge, across) = (self.edge(), mm.n.div_ceil(self.edge()));
        let of_row = |row: usize| match mm.columns {
            Columns::Full => across,
            Columns::UpToRow => across.min(((row + 1) * edge).min(mm.m).div_ceil(edge)),
        };
        (0..mm.m.div_ceil(edge)).map(of_row).sum()
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
    /// Blocks that a multiprocessor holds at a time: what the bounds in `matmul.cu` leave registers for.
    const fn resident(self) -> usize {
        match self {
            Self::T32 => 12,
            Self::T64 => 5,
            Self::T128 => 2,
        }
    }
    /// Multiply-adds that a multiprocessor full of blocks issues, of a hundred: by the common loop's instructions.
    const fn share(self) -> usize {
        match self {
            Self::T32 => 55,
            Self::T64 => 80,
            Self::T128 => 88,
        }
    }
    /// How long a product takes, in no unit: the blocks of the multiprocessor that has most of them, and longer where
    /// these are too few to hide each other's waiting.
    fn cost(self, mm: &MatMul, matrices: usize) -> usize {
        const MULTIPROCESSORS: usize = 132;
        // A warp that waits alone loses as much as four warps' turns.
        const WAITING: usize = 4;
        let blocks = (self.visible_blocks(mm) * matrices).div_ceil(MULTIPROCESSORS);
        let warps = (blocks.min(self.resident()) * self.threads() / WARP).max(1);
        blocks * self.edge().pow(2) * (warps + WAITING) * 1000 / (warps * self.share())
    }
    /// The tile of least cost on a large device (H100), the larger of equals.
    fn choose(mm: &MatMul, matrices: usize) -> Self {
        if mm.trans_a && mm.trans_b {
            return Self::T32;
        }
        let [small, middle, large] = Self::ALL;
        [large, middle, small].into_iter().min_by_key(|tile| tile.cost(mm, matrices)).unwrap_or(small)
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
        residual,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn edge_of(mm: MatMul, matrices: usize) -> usize {
        TileEdge::choose(&mm, matrices).edge()
    }

    #[test]
    fn large_products_take_large_tiles_and_few_small_ones_small_tiles() {
        assert_eq!(edge_of(MatMul::nn(4096, 4096, 4096), 1), 128);
        assert_eq!(edge_of(MatMul::nn(2048, 256, 256), 8), 128, "two blocks on nearly every multiprocessor");
        assert_eq!(edge_of(MatMul::tn(256, 768, 2048), 8), 64, "of 128 there would be fewer than multiprocessors");
        assert_eq!(edge_of(MatMul::nn(2048, 64, 64), 64), 64, "half of a larger tile would be empty");
        assert_eq!(edge_of(MatMul::nn(16, 16, 16), 1), 32);
        assert_eq!(edge_of(MatMul { trans_a: true, trans_b: true, ..MatMul::nn(4096, 4096, 4096) }, 1), 32);
    }

    #[test]
    fn tiles_right_of_the_diagonal_do_not_count() {
        let mm = MatMul { columns: Columns::UpToRow, ..MatMul::nt(128, 128, 64) };
        assert_eq!(TileEdge::ALL.map(|tile| tile.visible_blocks(&mm)), [10, 3, 1]);
        let ragged = MatMul { columns: Columns::UpToRow, ..MatMul::nt(33, 97, 5) };
        assert_eq!(TileEdge::T32.visible_blocks(&ragged), 1 + 2);
        assert_eq!(edge_of(mm, 512), 64);
    }
}
