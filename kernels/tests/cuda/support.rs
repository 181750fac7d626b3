//! The comparison of the CUDA kernels with the reference, for the tests of `../conformance`.

#[path = "../conformance/inputs.rs"]
mod inputs;

pub(crate) use inputs::{Inputs, Kind, SIZES, for_sizes_and_kinds};

use crate::device::Device;
use crate::emulator::{Order, has_compiler};
use crate::skips::skip;
use preheat_kernels::ops::Ops;
use preheat_kernels::real::canonical_bits;
use preheat_kernels::reference::Reference;
use std::sync::{Mutex, PoisonError};

/// What an op did: one buffer each result.
pub(crate) type Outputs = Vec<Vec<f32>>;

/// Runs `op` on the reference and through the kernels in each thread order, and compares all bits.
#[track_caller]
pub(crate) fn check(what: &str, op: impl Fn(&dyn Ops<f32>) -> Outputs) {
    static SKIPPED: Mutex<bool> = Mutex::new(false);
    if !has_compiler() {
        // Once is enough.
        let mut skipped = SKIPPED.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *skipped, true) {
            skip("the CUDA kernels' tests", "g++");
        }
        return;
    }
    let expect = op(&Reference);
    for order in Order::ALL {
        compare(&format!("{order:?}: {what}"), &op(Device::shared(order)), &expect);
    }
}

/// Fails at the first bit that differs.
#[track_caller]
pub(crate) fn compare(what: &str, got: &Outputs, expect: &Outputs) {
    assert_eq!(got.len(), expect.len());
    for (o, (got, expect)) in got.iter().zip(expect).enumerate() {
        assert_eq!(got.len(), expect.len());
        for (i, (&g, &e)) in got.iter().zip(expect).enumerate() {
            assert!(canonical_bits(g) == canonical_bits(e), "{what}: output {o}[{i}] is {g:e}, not {e:e}");
        }
    }
}
