//! AVX2 with FMA: 8 lanes.

use std::arch::x86_64::*;

use super::Isa;

/// The machine has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    ///
    /// The machine must have AVX2 and FMA.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

/// An operation that needs nothing but the instruction set.
macro_rules! op {
    ($e:expr) => {
        // SAFETY: the token proves that the machine has the instruction set.
        unsafe { $e }
    };
}

impl Isa for Avx2 {
    type F = __m256;
    type I = __m256i;
    type M = __m256;
    type Block = [__m256; 4];
    const WIDTH: usize = 8;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        op!(_mm256_set1_ps(x))
    }
    #[inline(always)]
    fn splat_int(self, x: i32) -> __m256i {
        op!(_mm256_set1_epi32(x))
    }
    #[inline(always)]
    fn load(self, x: &[f32]) -> __m256 {
        let x = &x[..8];
        // SAFETY: the slice has 8 elements, and the token proves the instruction set.
        unsafe { _mm256_loadu_ps(x.as_ptr()) }
    }
    #[inline(always)]
    fn load_first(self, x: &[f32]) -> __m256 {
        assert!(x.len() < 8);
        let mask = self.bits(self.first(x.len()));
        // SAFETY: only the slice's own elements are touched, and the token proves the instruction set.
        unsafe { _mm256_maskload_ps(x.as_ptr(), mask) }
    }
    #[inline(always)]
    fn store(self, x: &mut [f32], v: __m256) {
        let x = &mut x[..8];
        // SAFETY: the slice has 8 elements, and the token proves the instruction set.
        unsafe { _mm256_storeu_ps(x.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn store_first(self, x: &mut [f32], v: __m256) {
        assert!(x.len() < 8);
        // In pieces of 4, 2 and 1: some machines take far longer for a masked store.
        // SAFETY: the pieces make up the slice, and the token proves the instruction set.
        unsafe {
            let (mut to, mut v4) = (x.as_mut_ptr(), _mm256_castps256_ps128(v));
            if x.len() & 4 != 0 {
                _mm_storeu_ps(to, v4);
                (to, v4) = (to.add(4), _mm256_extractf128_ps::<1>(v));
            }
            if x.len() & 2 != 0 {
                _mm_storel_pd(to.cast(), _mm_castps_pd(v4));
                (to, v4) = (to.add(2), _mm_movehl_ps(v4, v4));
            }
            if x.len() & 1 != 0 {
                _mm_store_ss(to, v4);
            }
        }
    }
    #[inline(always)]
    fn first(self, n: usize) -> __m256 {
        op!({
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), lanes))
        })
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_div_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        op!(_mm256_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn sqrt(self, a: __m256) -> __m256 {
        op!(_mm256_sqrt_ps(a))
    }
    #[inline(always)]
    fn neg(self, a: __m256) -> __m256 {
        op!(_mm256_xor_ps(a, _mm256_set1_ps(-0.0)))
    }
    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        op!(_mm256_andnot_ps(_mm256_set1_ps(-0.0), a))
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // The instruction returns its second operand unless the first one is strictly greater.
        op!(_mm256_max_ps(b, a))
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        // The instruction returns its second operand unless the first one is strictly smaller.
        op!(_mm256_min_ps(b, a))
    }
    #[inline(always)]
    fn lt(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_cmp_ps::<_CMP_LT_OQ>(a, b))
    }
    #[inline(always)]
    fn eq(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_cmp_ps::<_CMP_EQ_OQ>(a, b))
    }
    #[inline(always)]
    fn select(self, m: __m256, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_blendv_ps(b, a, m))
    }
    #[inline(always)]
    fn bits(self, a: __m256) -> __m256i {
        op!(_mm256_castps_si256(a))
    }
    #[inline(always)]
    fn number(self, a: __m256i) -> __m256 {
        op!(_mm256_castsi256_ps(a))
    }
    #[inline(always)]
    fn add_int(self, a: __m256i, b: __m256i) -> __m256i {
        op!(_mm256_add_epi32(a, b))
    }
    #[inline(always)]
    fn sub_int(self, a: __m256i, b: __m256i) -> __m256i {
        op!(_mm256_sub_epi32(a, b))
    }
    #[inline(always)]
    fn and(self, a: __m256i, b: __m256i) -> __m256i {
        op!(_mm256_and_si256(a, b))
    }
    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        op!(_mm256_xor_si256(a, b))
    }
    #[inline(always)]
    fn shl(self, a: __m256i, n: i32) -> __m256i {
        op!(_mm256_sllv_epi32(a, _mm256_set1_epi32(n)))
    }
    #[inline(always)]
    fn shr(self, a: __m256i, n: i32) -> __m256i {
        op!(_mm256_srav_epi32(a, _mm256_set1_epi32(n)))
    }
    #[inline(always)]
    fn convert(self, a: __m256i) -> __m256 {
        op!(_mm256_cvtepi32_ps(a))
    }
    #[inline(always)]
    fn block(self, x: f32) -> Self::Block {
        [self.splat(x); 4]
    }
    #[inline(always)]
    fn fold(self, lanes: Self::Block) -> f32 {
        // SAFETY: the token proves that the machine has the instruction set.
        unsafe {
            let v = _mm256_add_ps(_mm256_add_ps(lanes[0], lanes[2]), _mm256_add_ps(lanes[1], lanes[3]));
            let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
        }
    }
    #[inline(always)]
    fn fold_max(self, lanes: Self::Block) -> f32 {
        // SAFETY: the token proves that the machine has the instruction set.
        unsafe {
            let v = _mm256_max_ps(_mm256_max_ps(lanes[0], lanes[2]), _mm256_max_ps(lanes[1], lanes[3]));
            let v = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_max_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)))
        }
    }
}
