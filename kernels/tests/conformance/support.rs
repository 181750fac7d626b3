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
        compare(&format!("{simd}: {what}"), &op(&Cpu::new(simd)), &expect);
        #[cfg(target_arch = "aarch64")]
        compare(&format!("{simd}, default NaN: {what}"), &with_default_nan(|| op(&Cpu::new(simd))), &expect);
    }
}

#[track_caller]
fn compare(what: &str, got: &Outputs, expect: &Outputs) {
    assert_eq!(got.len(), expect.len());
    for (o, (got, expect)) in got.iter().zip(expect).enumerate() {
        assert_eq!(got.len(), expect.len());
        for (i, (&g, &e)) in got.iter().zip(expect).enumerate() {
            assert!(canonical_bits(g) == canonical_bits(e), "{what}: output {o}[{i}] is {g:e}, not {e:e}");
        }
    }
}

/// Runs `op` with every NaN that is made replaced by one pattern: FPCR's bit 25, which `check_float_environment` lets
/// through.
#[cfg(target_arch = "aarch64")]
fn with_default_nan<R>(op: impl FnOnce() -> R) -> R {
    let fpcr: u64;
    // SAFETY: a register that user code may read and write; only the payloads of NaNs depend on the bit, and Rust
    // promises nothing about those.
    unsafe {
        std::arch::asm!("mrs {old}, fpcr", "orr {new}, {old}, {bit}", "msr fpcr, {new}",
        old = out(reg) fpcr, new = out(reg) _, bit = in(reg) 1_u64 << 25)
    };
    let result = op();
    // SAFETY: the value that the register had.
    unsafe { std::arch::asm!("msr fpcr, {}", in(reg) fpcr) };
    result
}
