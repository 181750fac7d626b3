//! Advanced SIMD of arm64: 4 lanes.

use std::arch::aarch64::*;

use super::Isa;

/// The machine has Advanced SIMD.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

/// An operation that needs nothing but the instruction set.
macro_rules! op {
    ($e:expr) => {
        // SAFETY: the token proves that the machine has the instruction set.
        unsafe { $e }
    };
}

impl Neon {
    /// # Safety
    ///
    /// The machine must have Advanced SIMD.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }

    /// The first `n` lanes at `p`, +0 elsewhere; `n < 4`. There are no masked loads: a pair and a single, each
    /// where `n` has it.
    ///
    /// # Safety
    ///
    /// `n` elements at `p` can be read; no others are.
    #[inline(always)]
    pub(crate) unsafe fn load_few(self, mut p: *const f32, n: usize) -> float32x4_t {
        // SAFETY: the caller's memory, the token's instruction set.
        unsafe {
            let zero = vdup_n_f32(0.0);
            let mut pair = zero;
            if n & 2 != 0 {
                pair = vld1_f32(p);
                p = p.add(2);
            }
            let mut single = zero;
            if n & 1 != 0 {
                single = vld1_lane_f32::<0>(p, zero);
            }
            if n & 2 != 0 { vcombine_f32(pair, single) } else { vcombine_f32(single, zero) }
        }
    }

    /// Stores the first `n` lanes at `p`; `n < 4`.
    ///
    /// # Safety
    ///
    /// `n` elements at `p` can be written; no others are.
    #[inline(always)]
    pub(crate) unsafe fn store_few(self, mut p: *mut f32, n: usize, v: float32x4_t) {
        // SAFETY: the caller's memory, the token's instruction set.
        unsafe {
            let mut rest = vget_low_f32(v);
            if n & 2 != 0 {
                vst1_f32(p, rest);
                p = p.add(2);
                rest = vget_high_f32(v);
            }
            if n & 1 != 0 {
                vst1_lane_f32::<0>(p, rest);
            }
        }
    }
}

impl Isa for Neon {
    type F = float32x4_t;
    type I = int32x4_t;
    type M = uint32x4_t;
    type Block = [float32x4_t; 8];
    const WIDTH: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        op!(vdupq_n_f32(x))
    }
    #[inline(always)]
    fn splat_int(self, x: i32) -> int32x4_t {
        op!(vdupq_n_s32(x))
    }
    #[inline(always)]
    fn load(self, x: &[f32]) -> float32x4_t {
        let x = &x[..4];
        // SAFETY: the slice has 4 elements, and the token proves the instruction set.
        unsafe { vld1q_f32(x.as_ptr()) }
    }
    #[inline(always)]
    fn load_first(self, x: &[f32]) -> float32x4_t {
        assert!(x.len() < 4);
        // SAFETY: only the slice's own elements are touched.
        unsafe { self.load_few(x.as_ptr(), x.len()) }
    }
    #[inline(always)]
    fn store(self, x: &mut [f32], v: float32x4_t) {
        let x = &mut x[..4];
        // SAFETY: the slice has 4 elements, and the token proves the instruction set.
        unsafe { vst1q_f32(x.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn store_first(self, x: &mut [f32], v: float32x4_t) {
        assert!(x.len() < 4);
        // SAFETY: only the slice's own elements are touched.
        unsafe { self.store_few(x.as_mut_ptr(), x.len(), v) }
    }
    #[inline(always)]
    fn first(self, n: usize) -> uint32x4_t {
        const LANES: [u32; 4] = [0, 1, 2, 3];
        // SAFETY: the array has 4 elements, and the token proves the instruction set.
        unsafe { vcgtq_u32(vdupq_n_u32(n as u32), vld1q_u32(LANES.as_ptr())) }
    }
    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vaddq_f32(a, b))
    }
    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vsubq_f32(a, b))
    }
    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vmulq_f32(a, b))
    }
    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vdivq_f32(a, b))
    }
    #[inline(always)]
    fn fma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        op!(vfmaq_f32(c, a, b))
    }
    #[inline(always)]
    fn sqrt(self, a: float32x4_t) -> float32x4_t {
        op!(vsqrtq_f32(a))
    }
    #[inline(always)]
    fn neg(self, a: float32x4_t) -> float32x4_t {
        op!(vnegq_f32(a))
    }
    #[inline(always)]
    fn abs(self, a: float32x4_t) -> float32x4_t {
        op!(vabsq_f32(a))
    }
    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // The instruction for the maximum orders zeros and returns any NaN, so it is not used.
        op!(vbslq_f32(vcgtq_f32(b, a), b, a))
    }
    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vbslq_f32(vcltq_f32(b, a), b, a))
    }
    #[inline(always)]
    fn lt(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        op!(vcltq_f32(a, b))
    }
    #[inline(always)]
    fn eq(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        op!(vceqq_f32(a, b))
    }
    #[inline(always)]
    fn select(self, m: uint32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vbslq_f32(m, a, b))
    }
    #[inline(always)]
    fn bits(self, a: float32x4_t) -> int32x4_t {
        op!(vreinterpretq_s32_f32(a))
    }
    #[inline(always)]
    fn number(self, a: int32x4_t) -> float32x4_t {
        op!(vreinterpretq_f32_s32(a))
    }
    #[inline(always)]
    fn add_int(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        op!(vaddq_s32(a, b))
    }
    #[inline(always)]
    fn sub_int(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        op!(vsubq_s32(a, b))
    }
    #[inline(always)]
    fn and(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        op!(vandq_s32(a, b))
    }
    #[inline(always)]
    fn xor(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        op!(veorq_s32(a, b))
    }
    #[inline(always)]
    fn shl(self, a: int32x4_t, n: i32) -> int32x4_t {
        op!(vshlq_s32(a, vdupq_n_s32(n)))
    }
    #[inline(always)]
    fn shr(self, a: int32x4_t, n: i32) -> int32x4_t {
        // The instruction shifts to the left; less than nothing is to the right.
        op!(vshlq_s32(a, vdupq_n_s32(-n)))
    }
    #[inline(always)]
    fn convert(self, a: int32x4_t) -> float32x4_t {
        op!(vcvtq_f32_s32(a))
    }
    #[inline(always)]
    fn block(self, x: f32) -> Self::Block {
        [self.splat(x); 8]
    }
    #[inline(always)]
    fn fold(self, v: Self::Block) -> f32 {
        let (v0, v1) = (self.add(v[0], v[4]), self.add(v[1], v[5]));
        let (v2, v3) = (self.add(v[2], v[6]), self.add(v[3], v[7]));
        let v = self.add(self.add(v0, v2), self.add(v1, v3));
        op!({
            let v = vadd_f32(vget_low_f32(v), vget_high_f32(v));
            vget_lane_f32::<0>(v) + vget_lane_f32::<1>(v)
        })
    }
    #[inline(always)]
    fn fold_max(self, v: Self::Block) -> f32 {
        let (v0, v1) = (self.max(v[0], v[4]), self.max(v[1], v[5]));
        let (v2, v3) = (self.max(v[2], v[6]), self.max(v[3], v[7]));
        let v = self.max(self.max(v0, v2), self.max(v1, v3));
        let v = self.max(v, op!(vextq_f32::<2>(v, v)));
        let v = self.max(v, op!(vextq_f32::<1>(v, v)));
        op!(vgetq_lane_f32::<0>(v))
    }
}
