//! Pointwise ops and sums of whole buffers.

use preheat_kernels::ops::Activation;
use proptest::prelude::*;

use crate::support::{Inputs, check, for_sizes_and_kinds};

#[test]
fn sums_products_and_multiples() {
    for_sizes_and_kinds(|n, kind, inputs| {
        let (a, b) = (inputs.of_kind(kind, n), inputs.of_kind(kind, n));
        check(&format!("add, mul, scale, sum of {n} {kind:?}"), |ops| {
            let mut out = vec![vec![9.0; n]; 3];
            ops.add(&a, &b, &mut out[0]);
            ops.mul(&a, &b, &mut out[1]);
            ops.scale(b[0], &a, &mut out[2]);
            out.push(vec![ops.sum(&a), ops.sum_squares(&a)]);
            out
        });
    });
}

#[test]
fn sums_of_many_blocks() {
    for n in [0, 4095, 4096, 4097, 8192 + 31, 4096 * 33 + 5] {
        let x = Inputs::new(n as u64 + 1).ordinary(n);
        check(&format!("sums of {n}"), |ops| vec![vec![ops.sum(&x), ops.sum_squares(&x)]]);
    }
}

#[test]
fn activations_and_their_derivatives() {
    for f in Activation::ALL {
        for_sizes_and_kinds(|n, kind, inputs| {
            let (x, dy) = (inputs.of_kind(kind, n), inputs.of_kind(kind, n));
            check(&format!("{f:?} of {n} {kind:?}"), |ops| {
                let mut out = vec![vec![9.0; n]; 2];
                ops.activation(f, &x, &mut out[0]);
                ops.activation_backward(f, &x, &dy, &mut out[1]);
                out
            });
        });
    }
}

/// The polynomials behind them, on a grid of all bit patterns.
#[test]
fn activations_of_all_kinds_of_bits() {
    let x: Vec<f32> = (0..=u32::MAX).step_by(40_009).map(f32::from_bits).collect();
    let ones = vec![1.0; x.len()];
    for f in Activation::ALL {
        check(&format!("{f:?}"), |ops| {
            let mut out = vec![vec![9.0; x.len()]; 2];
            ops.activation(f, &x, &mut out[0]);
            ops.activation_backward(f, &x, &ones, &mut out[1]);
            out
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_numbers_of_any_length(
        x in prop::collection::vec(prop::num::f32::ANY, 0..300),
        which in 0..Activation::ALL.len(),
        k in prop::num::f32::ANY,
    ) {
        check("proptest", |ops| {
            let mut out = vec![vec![9.0; x.len()]; 5];
            ops.activation(Activation::ALL[which], &x, &mut out[0]);
            ops.activation_backward(Activation::ALL[which], &x, &x, &mut out[1]);
            ops.add(&x, &x, &mut out[2]);
            ops.mul(&x, &x, &mut out[3]);
            ops.scale(k, &x, &mut out[4]);
            out.push(vec![ops.sum(&x), ops.sum_squares(&x)]);
            out
        });
    }
}
