//! The comparison of all instruction sets with the reference.

#[path = "inputs.rs"]
mod inputs;

pub(crate) use inputs::{Inputs, Kind, SIZES, for_sizes_and_kinds};

use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::ops::Ops;
use preheat_kernels::real::canonical_bits;
use preheat_kernels::reference::Reference;

/// What an op did: one buffer each result.
pub(crate) type Outputs = Vec<Vec<f32>>;

/// Runs `op` on the reference and on every instruction set of this machine, and compares all bits.
#[track_caller]
pub(crate) fn check(what: &str, op: impl Fn(&dyn Ops<f32>) -> Outputs) {
    let expect = op(&Reference);
    for simd in Simd::available() {
        let got = op(&Cpu::new(simd));
        assert_eq!(got.len(), expect.len());
        for (o, (got, expect)) in got.iter().zip(&expect).enumerate() {
            assert_eq!(got.len(), expect.len());
            for (i, (&g, &e)) in got.iter().zip(expect).enumerate() {
                assert!(canonical_bits(g) == canonical_bits(e), "{simd}: {what}: output {o}[{i}] is {g:e}, not {e:e}");
            }
        }
    }
}
