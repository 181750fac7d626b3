//! Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011).
//!
//! A value is a function of (seed, stream, step, index) alone, so neither order, nor threads, nor
//! resuming can change it.

use crate::real::Real;

pub(crate) const MULTIPLIERS: (u32, u32) = (0xD251_1F53, 0xCD9E_8D57);
pub(crate) const WEYL: (u32, u32) = (0x9E37_79B9, 0xBB67_AE85);

/// The Philox4x32-10 block function: 128 random bits from a 128-bit counter and a 64-bit key.
pub const fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    let mut round = 0;
    while round < 10 {
        let p0 = MULTIPLIERS.0 as u64 * c0 as u64;
        let p1 = MULTIPLIERS.1 as u64 * c2 as u64;
        (c0, c1, c2, c3) = ((p1 >> 32) as u32 ^ c1 ^ k0, p1 as u32, (p0 >> 32) as u32 ^ c3 ^ k1, p0 as u32);
        k0 = k0.wrapping_add(WEYL.0);
        k1 = k1.wrapping_add(WEYL.1);
        round += 1;
    }
    [c0, c1, c2, c3]
}

/// One named stream of random numbers under a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: [u32; 2],
    stream: u32,
}

impl Stream {
    /// The stream `stream` of `seed`. Streams of one seed, and one stream of two seeds, are independent.
    pub const fn new(seed: u64, stream: u32) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], stream }
    }

    /// Four random words at (`step`, `index`).
    pub const fn words(self, step: u32, index: u64) -> [u32; 4] {
        philox4x32_10([index as u32, (index >> 32) as u32, step, self.stream], self.key)
    }

    /// 64 random bits at (`step`, `index`).
    pub const fn bits(self, step: u32, index: u64) -> u64 {
        let w = self.words(step, index);
        w[0] as u64 | (w[1] as u64) << 32
    }

    /// Uniform in [0, 1) with 24 bits, exactly representable in `f32`.
    pub fn uniform(self, step: u32, index: u64) -> f32 {
        (self.words(step, index)[0] >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// A uniform integer in `0..bound` by multiply-high (bias below 2^-64 · bound).
    pub fn below(self, step: u32, index: u64, bound: u64) -> u64 {
        ((u128::from(self.bits(step, index)) * u128::from(bound)) >> 64) as u64
    }

    /// Fills `out` with standard normals (Box–Muller on the project's own `ln`, `sin`, `cos`).
    pub fn fill_normal(self, step: u32, out: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the machine has the instructions.
            return unsafe { self.fill_normal_fma(step, out) };
        }
        self.box_muller(step, out);
    }

    /// The same bits with the machine's fused multiply-add instead of a call to the C library's.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn fill_normal_fma(self, step: u32, out: &mut [f32]) {
        self.box_muller(step, out);
    }

    #[inline(always)]
    fn box_muller(self, step: u32, out: &mut [f32]) {
        for (pair, chunk) in out.chunks_mut(2).enumerate() {
            let w = self.words(step, pair as u64);
            // (0, 1], so that the logarithm is finite.
            let u = ((w[0] >> 8) + 1) as f32 * (1.0 / 16_777_216.0);
            let v = (w[1] >> 8) as f32 * (1.0 / 16_777_216.0);
            let radius = Real::sqrt(-2.0 * Real::ln(u));
            let (sin, cos) = Real::sin_cos(std::f32::consts::TAU * v);
            chunk[0] = radius * cos;
            if let Some(second) = chunk.get_mut(1) {
                *second = radius * sin;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_known_answers() {
        // Random123's kat_vectors for philox4x32 10.
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox4x32_10(counter, key), expected);
        }
    }

    #[test]
    fn normals_have_the_same_bits_with_and_without_fma_instructions() {
        let (mut fast, mut plain) = ([0.0f32; 1001], [0.0f32; 1001]);
        Stream::new(3, 2).fill_normal(5, &mut fast);
        Stream::new(3, 2).box_muller(5, &mut plain);
        assert_eq!(fast.map(f32::to_bits), plain.map(f32::to_bits));
    }

    #[test]
    fn normals_have_unit_moments() {
        let mut x = vec![0.0f32; 100_001];
        Stream::new(7, 1).fill_normal(0, &mut x);
        let n = x.len() as f64;
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let var = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>() / n;
        assert!(mean.abs() < 0.01, "mean {mean}");
        assert!((var - 1.0).abs() < 0.02, "variance {var}");
        assert!(x.iter().all(|v| v.is_finite()));
    }
}
