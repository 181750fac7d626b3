//! NEON: tiles of 6 rows by 16 columns (24 accumulators, 4 vectors of B, 1 broadcast of A, of 32 registers).

use std::arch::aarch64::*;

use super::isa::{GemmIsa, compiled};
use crate::cpu::simd::Neon;

impl GemmIsa for Neon {
    compiled!(
        Neon,
        "neon",
        wide: (6, 4),
        narrow: (6, 4),
        diagonal_rows: 6,
        kernels: [
            1 => [1, 2, 3, 4, 5, 6],
            2 => [1, 2, 3, 4, 5, 6],
            3 => [1, 2, 3, 4, 5, 6],
            4 => [1, 2, 3, 4, 5, 6],
        ]
    );

    #[inline(always)]
    unsafe fn load_at(self, p: *const f32) -> float32x4_t {
        // SAFETY: the caller's memory, the token's instruction set.
        unsafe { vld1q_f32(p) }
    }
    #[inline(always)]
    unsafe fn store_at(self, p: *mut f32, v: float32x4_t) {
        // SAFETY: the caller's memory, the token's instruction set.
        unsafe { vst1q_f32(p, v) }
    }
    #[inline(always)]
    unsafe fn load_first_at(self, p: *const f32, n: usize) -> float32x4_t {
        // SAFETY: the caller's memory, the token's instruction set.
        unsafe { if n == 4 { vld1q_f32(p) } else { self.load_few(p, n) } }
    }
    #[inline(always)]
    unsafe fn store_first_at(self, p: *mut f32, n: usize, v: float32x4_t) {
        // SAFETY: the caller's memory, the token's instruction set.
        unsafe { if n == 4 { vst1q_f32(p, v) } else { self.store_few(p, n, v) } }
    }
    #[inline(always)]
    unsafe fn load_transposed(self, source: *const f32, stride: usize) -> [float32x4_t; 4] {
        // SAFETY: the caller's memory, the token's instruction set.
        unsafe {
            let row = |l: usize| vld1q_f32(source.add(l * stride));
            let (rows01, rows23) = (vtrnq_f32(row(0), row(1)), vtrnq_f32(row(2), row(3)));
            [
                vcombine_f32(vget_low_f32(rows01.0), vget_low_f32(rows23.0)),
                vcombine_f32(vget_low_f32(rows01.1), vget_low_f32(rows23.1)),
                vcombine_f32(vget_high_f32(rows01.0), vget_high_f32(rows23.0)),
                vcombine_f32(vget_high_f32(rows01.1), vget_high_f32(rows23.1)),
            ]
        }
    }
}
