//! AVX-512: tiles of 12 rows by 32 columns (24 accumulators, 2 vectors of B, 1 broadcast of A).

use std::arch::x86_64::*;

use super::vector::{Vector, compile};

#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512);

compile!(
    Avx512,
    "avx512f,avx512vl,avx512bw,avx512dq",
    available: is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq"),
    rows: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    diagonal_rows: 8,
    vectors: [1, 2]
);

/// Selects the first `n` lanes.
#[inline(always)]
const fn first(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as __mmask16
}

// SAFETY of every block: the trait's contract gives the instruction set and valid memory.
impl Vector for Avx512 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_setzero_ps() })
    }
    #[inline(always)]
    unsafe fn broadcast(p: *const f32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_set1_ps(*p) })
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_loadu_ps(p) })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(p, self.0) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_add_ps(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_maskz_loadu_ps(first(n), p) })
    }
    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        // SAFETY: as above.
        unsafe { _mm512_mask_storeu_ps(p, first(n), self.0) }
    }
    #[inline(always)]
    unsafe fn load_transposed(src: *const f32, stride: usize) -> [Self; 4] {
        // SAFETY: as above.
        unsafe {
            // Lane block b of x[q] is row 4b + q: what is left is a 4x4 transpose inside each 128-bit block.
            let mut x = [_mm512_setzero_ps(); 4];
            let mut q = 0;
            while q < 4 {
                let row = src.add(q * stride);
                let v = _mm512_castps128_ps512(_mm_loadu_ps(row));
                let v = _mm512_insertf32x4::<1>(v, _mm_loadu_ps(row.add(4 * stride)));
                let v = _mm512_insertf32x4::<2>(v, _mm_loadu_ps(row.add(8 * stride)));
                x[q] = _mm512_insertf32x4::<3>(v, _mm_loadu_ps(row.add(12 * stride)));
                q += 1;
            }
            let (lo01, hi01) = (_mm512_unpacklo_ps(x[0], x[1]), _mm512_unpackhi_ps(x[0], x[1]));
            let (lo23, hi23) = (_mm512_unpacklo_ps(x[2], x[3]), _mm512_unpackhi_ps(x[2], x[3]));
            [
                Self(_mm512_shuffle_ps::<0x44>(lo01, lo23)),
                Self(_mm512_shuffle_ps::<0xEE>(lo01, lo23)),
                Self(_mm512_shuffle_ps::<0x44>(hi01, hi23)),
                Self(_mm512_shuffle_ps::<0xEE>(hi01, hi23)),
            ]
        }
    }
}
