//! What a GEMM needs of an instruction set beyond [`Isa`]: memory by pointer, a transposing load, and the
//! generic code compiled for it.

use super::kernel::Tile;
use super::shape::Shape;
use crate::cpu::simd::Isa;

/// Most rows a tile may have, over all instruction sets: 13 make 5 tiles of 64 rows, and each three strided rows have a
/// register for their address.
pub(super) const MAX_ROWS: usize = 13;

/// Computes one tile.
///
/// # Safety
/// The instruction set that it was compiled for is available; see [`super::kernel::run`].
pub(in crate::cpu) type Kernel = unsafe fn(&Tile);

/// An instruction set with its tile.
///
/// # Safety
/// The memory that a method names must be valid: `WIDTH` elements at `p`, or the first `n`. The operands
/// of a whole product are checked once, so that tiles need not be.
pub(in crate::cpu) trait GemmIsa: Isa {
    /// The tile that takes fewest instructions a multiply-add.
    const WIDE: Shape;
    /// The tile where columns are few.
    const NARROW: Shape;
    /// Rows of a tile when columns end at the diagonal: fewer compute less beyond it.
    const DIAGONAL_ROWS: usize;

    /// The lanes at `p`.
    unsafe fn load_at(self, p: *const f32) -> Self::F;
    /// The first `n` lanes at `p`, +0 elsewhere; `n <= WIDTH`. Touches no other memory.
    unsafe fn load_first_at(self, p: *const f32, n: usize) -> Self::F;
    /// Stores the lanes at `p`.
    unsafe fn store_at(self, p: *mut f32, v: Self::F);
    /// Stores the first `n` lanes at `p`; `n <= WIDTH`. Touches no other memory.
    unsafe fn store_first_at(self, p: *mut f32, n: usize, v: Self::F);
    /// Four consecutive elements of each of `WIDTH` rows, transposed: lane l of vector q is
    /// `source[l * stride + q]`.
    unsafe fn load_transposed(self, source: *const f32, stride: usize) -> [Self::F; 4];

    /// The kernel for tiles of `rows` rows and `vectors` vectors of columns, both at least 1, no more than a shape has.
    fn kernel(self, rows: usize, vectors: usize) -> Kernel;
    /// [`super::pack::rows`], compiled for the instruction set.
    unsafe fn pack_rows(
        self,
        source: *const f32,
        stride: usize,
        terms: usize,
        columns: usize,
        panel: *mut f32,
        pitch: usize,
    );
    /// [`super::pack::tile`], compiled for the instruction set.
    unsafe fn pack_tile(self, source: *const f32, stride: usize, terms: usize, rows: usize, to: *mut f32);
    /// [`super::pack::transposed`], compiled for the instruction set.
    unsafe fn pack_transposed(
        self,
        source: *const f32,
        stride: usize,
        terms: usize,
        columns: usize,
        panel: *mut f32,
        pitch: usize,
    );
}

/// The part of an implementation of [`GemmIsa`] that compiles the generic code. A shape is (rows, vectors of columns);
/// `kernels` names for each number of vectors, from 1 up, the numbers of rows, from 1 up.
macro_rules! compiled {
    (
        $isa:ident, $features:literal,
        wide: $wide:expr, narrow: $narrow:expr, diagonal_rows: $diagonal_rows:literal,
        kernels: [$($vectors:literal => [$($rows:literal),+]),+ $(,)?]
    ) => {
        const WIDE: $crate::cpu::gemm::shape::Shape = $crate::cpu::gemm::shape::Shape::new::<$isa>($wide);
        const NARROW: $crate::cpu::gemm::shape::Shape = $crate::cpu::gemm::shape::Shape::new::<$isa>($narrow);
        const DIAGONAL_ROWS: usize = $diagonal_rows;

        #[inline]
        fn kernel(self, rows: usize, vectors: usize) -> $crate::cpu::gemm::isa::Kernel {
            use $crate::cpu::gemm::isa::Kernel;
            use $crate::cpu::gemm::kernel::{self, Tile};

            #[target_feature(enable = $features)]
            unsafe fn tile<const ROWS: usize, const VECTORS: usize>(tile: &Tile) {
                // SAFETY: the instruction set is enabled; the rest is the caller's.
                unsafe { kernel::run::<$isa, ROWS, VECTORS>($isa::new(), tile) }
            }
            static KERNELS: &[&[Kernel]] = &[$(&[$(tile::<$rows, $vectors>),+]),+];
            KERNELS[vectors - 1][rows - 1]
        }

        #[target_feature(enable = $features)]
        unsafe fn pack_rows(
            self,
            source: *const f32,
            stride: usize,
            terms: usize,
            columns: usize,
            panel: *mut f32,
            pitch: usize,
        ) {
            // SAFETY: the caller's.
            unsafe { $crate::cpu::gemm::pack::rows(source, stride, terms, columns, panel, pitch) }
        }

        #[target_feature(enable = $features)]
        unsafe fn pack_tile(self, source: *const f32, stride: usize, terms: usize, rows: usize, to: *mut f32) {
            // SAFETY: the caller's.
            unsafe { $crate::cpu::gemm::pack::tile(self, source, stride, terms, rows, to) }
        }

        #[target_feature(enable = $features)]
        unsafe fn pack_transposed(
            self,
            source: *const f32,
            stride: usize,
            terms: usize,
            columns: usize,
            panel: *mut f32,
            pitch: usize,
        ) {
            // SAFETY: the caller's.
            unsafe { $crate::cpu::gemm::pack::transposed(self, source, stride, terms, columns, panel, pitch) }
        }
    };
}
pub(super) use compiled;
