//! AVX-512: 16 lanes.

use std::arch::x86_64::*;

use super::Isa;

/// The machine has AVX-512 F, BW, DQ and VL, AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// # Safety
    ///
    /// The machine must have AVX-512 F, BW, DQ and VL, AVX2 and FMA.
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

/// The tree of a fold for four rows at once, where rows come in fours: each step halves a row's lanes and puts two
/// rows into a vector, so that all four take little more than one alone.
macro_rules! fold_by_four {
    ($rows:ident, $op:ident, |$row:ident| $alone:expr) => {{
        let mut folded = [0.0; R];
        if R.is_multiple_of(4) {
            for (four, to) in $rows.as_chunks::<4>().0.iter().zip(folded.as_chunks_mut::<4>().0) {
                // SAFETY: the token proves that the machine has the instruction set.
                *to = unsafe { fold_by_four!(@four $op, four) };
            }
        } else {
            for r in 0..R {
                let $row = $rows[r];
                folded[r] = $alone;
            }
        }
        folded
    }};
    (@four $op:ident, $rows:ident) => {{
        let (ab, cd) = (fold_by_four!(@two $op, $rows[0], $rows[1]), fold_by_four!(@two $op, $rows[2], $rows[3]));
        let v = $op(_mm512_shuffle_f32x4::<0x88>(ab, cd), _mm512_shuffle_f32x4::<0xDD>(ab, cd));
        let v = $op(v, _mm512_permute_ps::<0x4E>(v));
        let v = $op(v, _mm512_permute_ps::<0xB1>(v));
        [
            _mm512_cvtss_f32(v),
            _mm_cvtss_f32(_mm512_extractf32x4_ps::<1>(v)),
            _mm_cvtss_f32(_mm512_extractf32x4_ps::<2>(v)),
            _mm_cvtss_f32(_mm512_extractf32x4_ps::<3>(v)),
        ]
    }};
    (@two $op:ident, $a:expr, $b:expr) => {{
        let (a, b) = ($op($a[0], $a[1]), $op($b[0], $b[1]));
        $op(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xEE>(a, b))
    }};
}

impl Isa for Avx512 {
    type F = __m512;
    type I = __m512i;
    type M = __mmask16;
    type Block = [__m512; 2];
    const WIDTH: usize = 16;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        op!(_mm512_set1_ps(x))
    }
    #[inline(always)]
    fn splat_int(self, x: i32) -> __m512i {
        op!(_mm512_set1_epi32(x))
    }
    #[inline(always)]
    fn load(self, x: &[f32]) -> __m512 {
        let x = &x[..16];
        // SAFETY: the slice has 16 elements, and the token proves the instruction set.
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }
    #[inline(always)]
    fn load_first(self, x: &[f32]) -> __m512 {
        assert!(x.len() < 16);
        // SAFETY: only the slice's own elements are touched, and the token proves the instruction set.
        unsafe { _mm512_maskz_loadu_ps(self.first(x.len()), x.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, x: &mut [f32], v: __m512) {
        let x = &mut x[..16];
        // SAFETY: the slice has 16 elements, and the token proves the instruction set.
        unsafe { _mm512_storeu_ps(x.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn store_first(self, x: &mut [f32], v: __m512) {
        assert!(x.len() < 16);
        // SAFETY: the pieces make up the slice, and the token proves the instruction set.
        unsafe {
            let (mut to, mut v8) = (x.as_mut_ptr(), _mm512_castps512_ps256(v));
            if x.len() & 8 != 0 {
                _mm256_storeu_ps(to, v8);
                (to, v8) = (to.add(8), _mm512_extractf32x8_ps::<1>(v));
            }
            let mut v4 = _mm256_castps256_ps128(v8);
            if x.len() & 4 != 0 {
                _mm_storeu_ps(to, v4);
                (to, v4) = (to.add(4), _mm256_extractf128_ps::<1>(v8));
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
    fn first(self, n: usize) -> __mmask16 {
        ((1u32 << n) - 1) as __mmask16
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_div_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        op!(_mm512_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        op!(_mm512_sqrt_ps(a))
    }
    #[inline(always)]
    fn neg(self, a: __m512) -> __m512 {
        op!(_mm512_xor_ps(a, _mm512_set1_ps(-0.0)))
    }
    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        op!(_mm512_andnot_ps(_mm512_set1_ps(-0.0), a))
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // The instruction returns its second operand unless the first one is strictly greater.
        op!(_mm512_max_ps(b, a))
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // The instruction returns its second operand unless the first one is strictly smaller.
        op!(_mm512_min_ps(b, a))
    }
    #[inline(always)]
    fn lt(self, a: __m512, b: __m512) -> __mmask16 {
        op!(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b))
    }
    #[inline(always)]
    fn eq(self, a: __m512, b: __m512) -> __mmask16 {
        op!(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b))
    }
    #[inline(always)]
    fn select(self, m: __mmask16, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_mask_blend_ps(m, b, a))
    }
    #[inline(always)]
    fn bits(self, a: __m512) -> __m512i {
        op!(_mm512_castps_si512(a))
    }
    #[inline(always)]
    fn number(self, a: __m512i) -> __m512 {
        op!(_mm512_castsi512_ps(a))
    }
    #[inline(always)]
    fn add_int(self, a: __m512i, b: __m512i) -> __m512i {
        op!(_mm512_add_epi32(a, b))
    }
    #[inline(always)]
    fn sub_int(self, a: __m512i, b: __m512i) -> __m512i {
        op!(_mm512_sub_epi32(a, b))
    }
    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        op!(_mm512_and_si512(a, b))
    }
    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        op!(_mm512_xor_si512(a, b))
    }
    #[inline(always)]
    fn shl(self, a: __m512i, n: i32) -> __m512i {
        op!(_mm512_sllv_epi32(a, _mm512_set1_epi32(n)))
    }
    #[inline(always)]
    fn shr(self, a: __m512i, n: i32) -> __m512i {
        op!(_mm512_srav_epi32(a, _mm512_set1_epi32(n)))
    }
    #[inline(always)]
    fn convert(self, a: __m512i) -> __m512 {
        op!(_mm512_cvtepi32_ps(a))
    }
    #[inline(always)]
    fn times_power_of_two(self, a: __m512, n: __m512, _: __m512i) -> __m512 {
        op!(_mm512_scalef_ps(a, n))
    }
    #[inline(always)]
    fn block(self, x: f32) -> Self::Block {
        [self.splat(x); 2]
    }
    #[inline(always)]
    fn fold(self, lanes: Self::Block) -> f32 {
        // SAFETY: the token proves that the machine has the instruction set.
        unsafe {
            let v = _mm512_add_ps(lanes[0], lanes[1]);
            let v = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
            let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
        }
    }
    #[inline(always)]
    fn fold_max(self, lanes: Self::Block) -> f32 {
        // SAFETY: the token proves that the machine has the instruction set.
        unsafe {
            let v = _mm512_max_ps(lanes[0], lanes[1]);
            let v = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
            let v = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_max_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)))
        }
    }
    #[inline(always)]
    fn fold_rows<const R: usize>(self, rows: [Self::Block; R]) -> [f32; R] {
        fold_by_four!(rows, _mm512_add_ps, |row| self.fold(row))
    }
    #[inline(always)]
    fn fold_max_rows<const R: usize>(self, rows: [Self::Block; R]) -> [f32; R] {
        fold_by_four!(rows, _mm512_max_ps, |row| self.fold_max(row))
    }
}
