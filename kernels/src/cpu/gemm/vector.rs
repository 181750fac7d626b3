//! What a microkernel needs of an instruction set.

use super::kernel::Tile;

/// Most rows a tile may have, over all instruction sets. Twelve strided rows are what the address
/// registers of x86-64 hold without spilling.
pub(super) const MAX_ROWS: usize = 12;
/// Most vectors of columns a tile may have, over all instruction sets.
pub(super) const MAX_VECTORS: usize = 4;

/// A vector of `f32` lanes.
///
/// Every method is `#[inline(always)]`, so that it takes on the target features of the kernel it is used
/// in.
///
/// # Safety
/// Every method needs the instruction set that the vector stands for. Memory that a method touches must
/// be valid: `LANES` elements at `p`, or the first `n`.
pub(super) trait Vector: Copy {
    /// Elements of one vector.
    const LANES: usize;

    /// All lanes +0.
    unsafe fn zero() -> Self;
    /// All lanes `*p`.
    unsafe fn broadcast(p: *const f32) -> Self;
    /// The lanes at `p`.
    unsafe fn load(p: *const f32) -> Self;
    /// Stores the lanes at `p`.
    unsafe fn store(self, p: *mut f32);
    /// `self * b + c`, rounded once.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// `self + b`.
    unsafe fn add(self, b: Self) -> Self;

    /// The first `n` lanes at `p`, +0 elsewhere; `n <= LANES`. Touches no other memory.
    unsafe fn load_first(p: *const f32, n: usize) -> Self;
    /// Stores the first `n` lanes at `p`; `n <= LANES`. Touches no other memory.
    unsafe fn store_first(self, p: *mut f32, n: usize);

    /// Four consecutive elements of each of `LANES` rows, transposed: lane l of vector q is
    /// `src[l * stride + q]`.
    unsafe fn load_transposed(src: *const f32, stride: usize) -> [Self; 4];
}

/// Computes one tile.
pub(super) type Kernel = unsafe fn(&Tile);

/// A vector type with its tile and the kernels compiled for it.
pub(super) trait Isa: Vector {
    /// Rows of the largest tile.
    const ROWS: usize;
    /// Rows of a tile when columns end at the diagonal: fewer compute less beyond it.
    const DIAGONAL_ROWS: usize;
    /// Columns of the largest tile: the width of a packed panel.
    const PANEL: usize;

    /// Whether this machine has the instruction set.
    fn available() -> bool;
    /// The kernel for tiles of `rows` rows and `vectors` vectors of columns, both at least 1.
    fn kernel(rows: usize, vectors: usize) -> Kernel;
    /// [`super::pack::rows`], compiled for the instruction set.
    ///
    /// # Safety
    /// See there; and the instruction set must be available.
    unsafe fn pack_rows(source: *const f32, stride: usize, terms: usize, columns: usize, panel: *mut f32);
    /// [`super::pack::transposed`], compiled for the instruction set.
    ///
    /// # Safety
    /// See there; and the instruction set must be available.
    unsafe fn pack_transposed(source: *const f32, stride: usize, terms: usize, columns: usize, panel: *mut f32);
}

/// Compiles the generic code for one vector type. `rows` and `vectors` count up from 1.
macro_rules! compile {
    ($vector:ident, $features:literal, available: $available:expr, rows: [$($rows:literal),+], diagonal_rows: $diagonal_rows:literal, vectors: [$($vectors:literal),+]) => {
        impl $crate::cpu::gemm::vector::Isa for $vector {
            const ROWS: usize = [$($rows),+].len();
            const DIAGONAL_ROWS: usize = $diagonal_rows;
            const PANEL: usize = [$($vectors),+].len() * <Self as $crate::cpu::gemm::vector::Vector>::LANES;

            #[inline]
            fn available() -> bool {
                $available
            }

            #[inline]
            fn kernel(rows: usize, vectors: usize) -> $crate::cpu::gemm::vector::Kernel {
                use $crate::cpu::gemm::kernel::{self, Tile};
                use $crate::cpu::gemm::vector::Kernel;

                #[target_feature(enable = $features)]
                unsafe fn tile<const ROWS: usize, const VECTORS: usize>(tile: &Tile) {
                    // SAFETY: the features are enabled; the rest is the caller's.
                    unsafe { kernel::run::<$vector, ROWS, VECTORS>(tile) }
                }
                const fn by_rows<const VECTORS: usize>() -> [Kernel; $vector::ROWS] {
                    [$(tile::<$rows, VECTORS>),+]
                }
                static KERNELS: [[Kernel; $vector::ROWS]; [$($vectors),+].len()] = [$(by_rows::<$vectors>()),+];
                KERNELS[vectors - 1][rows - 1]
            }

            #[target_feature(enable = $features)]
            unsafe fn pack_rows(source: *const f32, stride: usize, terms: usize, columns: usize, panel: *mut f32) {
                // SAFETY: the features are enabled; the rest is the caller's.
                unsafe { $crate::cpu::gemm::pack::rows::<$vector>(source, stride, terms, columns, panel) }
            }

            #[target_feature(enable = $features)]
            unsafe fn pack_transposed(source: *const f32, stride: usize, terms: usize, columns: usize, panel: *mut f32) {
                // SAFETY: the features are enabled; the rest is the caller's.
                unsafe { $crate::cpu::gemm::pack::transposed::<$vector>(source, stride, terms, columns, panel) }
            }
        }
    };
}
pub(super) use compile;
