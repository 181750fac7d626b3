//! Independent chains of fused multiply-adds: what the core could do if nothing else cost anything.
//!
//! There is no clock here. Whoever measures times [`Cpu::fma_chains`] and divides.

use super::Cpu;
use super::simd::{Isa, Plain, dispatch};
use std::hint::black_box;

/// Chains where a vector has 8 lanes: x86's AVX2 has 16 registers, and two hold the factors.
const FEW: usize = 12;
/// Chains elsewhere, out of 32 registers: more than latency times units on any core we know.
const MANY: usize = 24;

impl Cpu {
    /// Runs `steps` steps of independent chains of fused multiply-adds in registers, and returns the floating point
    /// operations that this took, two for each lane of each multiply-add.
    pub fn fma_chains(&self, steps: u64) -> u64 {
        fma_chains(self.simd, steps)
    }
}

dispatch! {
    fn fma_chains(steps: u64) -> u64 = chosen, scalar chosen(Plain, steps)
}

#[inline(always)]
fn chosen<S: Isa>(s: S, steps: u64) -> u64 {
    if S::WIDTH == 8 { chains::<S, FEW>(s, steps) } else { chains::<S, MANY>(s, steps) }
}

#[inline(always)]
fn chains<S: Isa, const CHAINS: usize>(s: S, steps: u64) -> u64 {
    // Opaque, so that nothing is folded; acc ← 0.999·acc + 0.001 stays near 1.
    let (x, y) = (s.splat(black_box(0.999)), s.splat(black_box(0.001)));
    let mut acc = [x; CHAINS];
    for _ in 0..steps {
        for chain in &mut acc {
            *chain = s.fma(*chain, x, y);
        }
    }
    black_box(acc);
    2 * (S::WIDTH * CHAINS) as u64 * steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Simd;

    #[test]
    fn operations_are_counted_by_lanes_and_chains() {
        for simd in Simd::available() {
            let a_step = match simd {
                Simd::Avx512 => 2 * 16 * 24,
                Simd::Avx2 => 2 * 8 * 12,
                Simd::Neon => 2 * 4 * 24,
                Simd::Scalar => 2 * 24,
            };
            assert_eq!((Cpu::new(simd).fma_chains(0), Cpu::new(simd).fma_chains(31)), (0, 31 * a_step), "{simd}");
        }
    }
}
