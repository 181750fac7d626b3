//! The CUDA kernels against the CPU's ops, bit for bit, in the host emulator.
#![cfg(unix)]

mod emulator;
mod planted;

#[expect(unreachable_pub, reason = "it is also a crate")]
#[path = "../../../tests/support/lib.rs"]
mod support;
