//! AVX-512: tiles of 6 rows by 64 columns (24 accumulators, 4 vectors of B, 1 broadcast of A) take 10 loads for 24
//! multiply-adds. Where columns are few, 13 rows by 32 (26, 2 and 1).

use std::arch::x86_64::*;

use super::isa::{GemmIsa, compiled};
use crate::cpu::simd::Avx512;

/// The first `n` lanes, where `n` may be 16.
#[inline(always)]
const fn up_to(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as __mmask16
}

impl GemmIsa for Avx512 {
    compiled!(
        Avx512,
        "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
        wide: (6, 4),
        narrow: (13, 2),
        diagonal_rows: 8,
        kernels: [
            1 => [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13],
            2 => [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13],
            3 => [1, 2, 3, 4, 5, 6],
            4 => [1, 2, 3, 4, 5, 6],
        ]
    );

    #[inline(always)]
    unsafe fn load_at(self, p: *const f32) -> __m512 {
        // SAFETY: the caller's memory, the token's instruction set.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store_at(self, p: *mut f32, v: __m512) {
        // SAFETY: the caller's memory, the token's instruction set.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_first_at(self, p: *const f32, n: usize) -> __m512 {
        // SAFETY: the caller's memory, the token's instruction set.
        unsafe { _mm512_maskz_loadu_ps(up_to(n), p) }
    }
    #[inline(always)]
    unsafe fn store_first_at(self, p: *mut f32, n: usize, v: __m512) {
        // SAFETY: the caller's memory, the token's instruction set.
        unsafe { _mm512_mask_storeu_ps(p, up_to(n), v) }
    }
    #[inline(always)]
    unsafe fn load_transposed(self, source: *const f32, stride: usize) -> [__m512; 4] {
        // SAFETY: the caller's memory, the token's instruction set.
        unsafe {
            // Lane block b of x[q] is row 4b + q: what is left is a 4x4 transpose inside each 128-bit block.
            let mut x = [_mm512_setzero_ps(); 4];
            let mut q = 0;
            while q < 4 {
                let row = source.add(q * stride);
                let v = _mm512_castps128_ps512(_mm_loadu_ps(row));
                let v = _mm512_insertf32x4::<1>(v, _mm_loadu_ps(row.add(4 * stride)));
                let v = _mm512_insertf32x4::<2>(v, _mm_loadu_ps(row.add(8 * stride)));
                x[q] = _mm512_insertf32x4::<3>(v, _mm_loadu_ps(row.add(12 * stride)));
                q += 1;
            }
            let (lo01, hi01) = (_mm512_unpacklo_ps(x[0], x[1]), _mm512_unpackhi_ps(x[0], x[1]));
            let (lo23, hi23) = (_mm512_unpacklo_ps(x[2], x[3]), _mm512_unpackhi_ps(x[2], x[3]));
            [
                _mm512_shuffle_ps::<0x44>(lo01, lo23),
                _mm512_shuffle_ps::<0xEE>(lo01, lo23),
                _mm512_shuffle_ps::<0x44>(hi01, hi23),
                _mm512_shuffle_ps::<0xEE>(hi01, hi23),
            ]
        }
    }
}
