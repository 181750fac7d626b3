//! The CUDA kernels against the CPU's ops, bit for bit, in the host emulator.
#![cfg(unix)]

/// Tests that skip where there is no compiler for the kernels.
macro_rules! tests {
    ($($name:ident $body:block)+) => {$(
        #[test]
        fn $name() {
            if !$crate::emulator::has_compiler() {
                return $crate::skips::skip(stringify!($name), "g++");
            }
            $body
        }
    )+};
}

mod certified;
mod device;
mod emulator;
mod fast;
mod math;
mod matmul;
mod model;
mod planted;
mod products;
mod ring;
mod session;
mod stages;
mod support;
mod update;

#[path = "../conformance/attention.rs"]
mod attention;
#[path = "../conformance/elementwise.rs"]
mod elementwise;
#[path = "../conformance/images.rs"]
mod images;
#[path = "../conformance/intervals.rs"]
mod intervals;
#[path = "../conformance/linear_bounds.rs"]
mod linear_bounds;
#[path = "../conformance/rows.rs"]
mod rows;
#[expect(unreachable_pub, reason = "it is also a crate")]
#[path = "../../../tests/support/lib.rs"]
mod skips;
