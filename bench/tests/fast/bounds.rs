//! Sums in bf16 are seen by the error bounds of products, and sums in f32 pass them.

use crate::rounded::{Rounded, bf16};
use preheat_kernels::bounds::{Precision, outside};
use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::ops::{MatMul, Ops, Start};
use preheat_kernels::rng::Stream;

/// Numbers that bf16 holds.
fn numbers(stream: u32, len: usize) -> Vec<f32> {
    let mut x = vec![0.0; len];
    Stream::new(11, stream).fill_normal(0, &mut x);
    x.iter().map(|x| bf16(*x)).collect()
}

#[test]
fn sums_in_bf16_leave_the_bounds_of_sums_in_f32() {
    let cpu = Cpu::new(Simd::detect());
    let (good, crude) = (Rounded::new(cpu), Rounded::accumulating_in_bf16(cpu));
    for (m, n, k) in [(1, 1, 8), (3, 5, 31), (17, 33, 128), (8, 8, 1000)] {
        for mm in [MatMul::nn(m, n, k), MatMul::nt(m, n, k), MatMul::tn(m, n, k)] {
            let (a, b, bias) = (numbers(1, m * k), numbers(2, k * n), numbers(3, n));
            let product = |device: &Rounded| {
                let mut c = vec![0.0; m * n];
                device.matmul(&mm, &a, &b, Start::Bias(&bias), None, &mut c);
                outside(&mm, [&a, &b], Start::Bias(&bias), None, &c, Precision::EXACT_INPUTS)
            };
            assert_eq!(product(&good), None, "{mm:?}");
            assert!(product(&crude).is_some(), "{mm:?}");
        }
    }
}

#[test]
fn rounded_inputs_need_the_bounds_of_their_own_precision() {
    let device = Rounded::new(Cpu::new(Simd::detect()));
    let mm = MatMul::nn(9, 7, 65);
    let (mut a, mut b, mut c) = (vec![0.0; 9 * 65], vec![0.0; 65 * 7], vec![0.0; 63]);
    Stream::new(5, 1).fill_normal(0, &mut a);
    Stream::new(5, 2).fill_normal(0, &mut b);
    device.matmul(&mm, &a, &b, Start::Zero, None, &mut c);
    let seen = |precision| outside(&mm, [&a, &b], Start::Zero, None, &c, precision);
    assert_eq!(seen(Precision::BF16), None);
    assert!(seen(Precision::EXACT_INPUTS).is_some());
}
