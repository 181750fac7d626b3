//! AVX2 and FMA: tiles of 6 rows by 16 columns (12 accumulators, 2 vectors of B, 1 broadcast of A).

use std::arch::x86_64::*;

use super::vector::{Vector, compile};

#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256);

compile!(
    Avx2,
    "avx2,fma",
    available: is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
    rows: [1, 2, 3, 4, 5, 6],
    diagonal_rows: 6,
    vectors: [1, 2]
);

/// Eight set words, then eight clear ones: a mask of n lanes starts at word 8 - n.
static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

// SAFETY of every block: the trait's contract gives the instruction set and valid memory.
impl Vector for Avx2 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_setzero_ps() })
    }
    #[inline(always)]
    unsafe fn broadcast(p: *const f32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_broadcast_ss(&*p) })
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_loadu_ps(p) })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(p, self.0) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_fmadd_ps(self.0, b.0, c.0) })
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_add_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        // SAFETY: n <= 8, so that words 8 - n .. 16 - n lie in the table; the rest as above.
        unsafe {
            let mask = _mm256_loadu_si256(MASKS.as_ptr().add(8 - n).cast());
            Self(_mm256_maskload_ps(p, mask))
        }
    }
    /// By halves: a masked store takes a dozen cycles on some cores.
    #[inline(always)]
    unsafe fn store_first(self, mut p: *mut f32, n: usize) {
        // SAFETY: as above.
        unsafe {
            if n == 8 {
                return _mm256_storeu_ps(p, self.0);
            }
            let mut x = _mm256_castps256_ps128(self.0);
            if n & 4 != 0 {
                _mm_storeu_ps(p, x);
                x = _mm256_extractf128_ps::<1>(self.0);
                p = p.add(4);
            }
            if n & 2 != 0 {
                _mm_storel_pd(p.cast(), _mm_castps_pd(x));
                x = _mm_movehl_ps(x, x);
                p = p.add(2);
            }
            if n & 1 != 0 {
                _mm_store_ss(p, x);
            }
        }
    }
    #[inline(always)]
    unsafe fn load_transposed(src: *const f32, stride: usize) -> [Self; 4] {
        // SAFETY: as above.
        unsafe {
            // Lane block b of x[q] is row 4b + q: what is left is a 4x4 transpose inside each 128-bit block.
            let mut x = [_mm256_setzero_ps(); 4];
            let mut q = 0;
            while q < 4 {
                let row = src.add(q * stride);
                let v = _mm256_castps128_ps256(_mm_loadu_ps(row));
                x[q] = _mm256_insertf128_ps::<1>(v, _mm_loadu_ps(row.add(4 * stride)));
                q += 1;
            }
            let (lo01, hi01) = (_mm256_unpacklo_ps(x[0], x[1]), _mm256_unpackhi_ps(x[0], x[1]));
            let (lo23, hi23) = (_mm256_unpacklo_ps(x[2], x[3]), _mm256_unpackhi_ps(x[2], x[3]));
            [
                Self(_mm256_shuffle_ps::<0x44>(lo01, lo23)),
                Self(_mm256_shuffle_ps::<0xEE>(lo01, lo23)),
                Self(_mm256_shuffle_ps::<0x44>(hi01, hi23)),
                Self(_mm256_shuffle_ps::<0xEE>(hi01, hi23)),
            ]
        }
    }
}
