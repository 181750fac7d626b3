//! AVX2 and FMA: tiles of 6 rows by 16 columns (12 accumulators, 2 vectors of B, 1 broadcast of A).

use std::arch::x86_64::*;

use super::isa::{GemmIsa, compiled};
use crate::cpu::simd::{Avx2, Isa};

impl GemmIsa for Avx2 {
    compiled!(
        Avx2,
        "avx2,fma",
        wide: (6, 2),
        narrow: (6, 2),
        diagonal_rows: 6,
        kernels: [1 => [1, 2, 3, 4, 5, 6], 2 => [1, 2, 3, 4, 5, 6]]
    );

    #[inline(always)]
    unsafe fn load_at(self, p: *const f32) -> __m256 {
        // SAFETY: the caller's memory, the token's instruction set.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store_at(self, p: *mut f32, v: __m256) {
        // SAFETY: the caller's memory, the token's instruction set.
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_first_at(self, p: *const f32, n: usize) -> __m256 {
        let mask = self.bits(self.first(n));
        // SAFETY: the caller's memory, the token's instruction set.
        unsafe { _mm256_maskload_ps(p, mask) }
    }
    /// By halves: a masked store takes a dozen cycles on some cores.
    #[inline(always)]
    unsafe fn store_first_at(self, mut p: *mut f32, n: usize, v: __m256) {
        // SAFETY: the caller's memory, the token's instruction set.
        unsafe {
            if n == 8 {
                return _mm256_storeu_ps(p, v);
            }
            let mut x = _mm256_castps256_ps128(v);
            if n & 4 != 0 {
                _mm_storeu_ps(p, x);
                x = _mm256_extractf128_ps::<1>(v);
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
    unsafe fn load_transposed(self, source: *const f32, stride: usize) -> [__m256; 4] {
        // SAFETY: the caller's memory, the token's instruction set.
        unsafe {
            // Lane block b of x[q] is row 4b + q: what is left is a 4x4 transpose inside each 128-bit block.
            let mut x = [_mm256_setzero_ps(); 4];
            let mut q = 0;
            while q < 4 {
                let row = source.add(q * stride);
                let v = _mm256_castps128_ps256(_mm_loadu_ps(row));
                x[q] = _mm256_insertf128_ps::<1>(v, _mm_loadu_ps(row.add(4 * stride)));
                q += 1;
            }
            let (lo01, hi01) = (_mm256_unpacklo_ps(x[0], x[1]), _mm256_unpackhi_ps(x[0], x[1]));
            let (lo23, hi23) = (_mm256_unpacklo_ps(x[2], x[3]), _mm256_unpackhi_ps(x[2], x[3]));
            [
                _mm256_shuffle_ps::<0x44>(lo01, lo23),
                _mm256_shuffle_ps::<0xEE>(lo01, lo23),
                _mm256_shuffle_ps::<0x44>(hi01, hi23),
                _mm256_shuffle_ps::<0xEE>(hi01, hi23),
            ]
        }
    }
}
