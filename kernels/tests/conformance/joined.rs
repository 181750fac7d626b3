//! A product with the activation of its result, and the gradient through both.

use preheat_kernels::ops::{Activation, MatMul, Ops, Start};
use proptest::prelude::*;

use crate::support::{Inputs, Kind, Outputs, check};

const ACTIVATIONS: [Activation; 4] = [Activation::Relu, Activation::GeluTanh, Activation::GeluErf, Activation::Tanh];

/// One layer with its gradient.
#[derive(Clone, Copy, Debug)]
struct Case {
    f: Activation,
    rows: usize,
    /// Columns of the layer's input and of its output.
    widths: [usize; 2],
    gap: usize,
    residual: bool,
    spare: bool,
    kind: Kind,
}

impl Case {
    fn check(self) {
        let Self { f, rows, widths: [k, n], gap, residual, spare, kind } = self;
        let mut inputs = Inputs::new((rows * 7 + n * 5 + k) as u64);
        let forward = MatMul { ldc: n + gap, ..MatMul::nn(rows, n, k) };
        let backward = MatMul { ldc: n + gap, ..MatMul::nt(rows, n, k) };
        let len = rows * (n + gap);
        let [a, w, bias, add, dy] = [rows * k, k * n, n, len, rows * k].map(|n| inputs.of_kind(kind, n));
        check(&format!("{self:?}"), |ops| {
            let [mut x, mut y, mut room, mut dx] = [(); 4].map(|()| vec![9.0; len]);
            let residual = residual.then_some(&*add);
            ops.matmul_activation(&forward, &a, &w, Start::Bias(&bias), residual, f, spare, &mut x, &mut y);
            ops.matmul_activation_backward(&backward, &dy, &w, f, spare, &x, &mut room, &mut dx);
            if spare {
                x.clear();
            }
            let rows = |all: Vec<f32>| all.chunks(n + gap).flat_map(|row| row[..n].to_vec()).collect();
            vec![rows(x), rows(y), rows(dx)]
        });
    }
}

#[test]
fn layers_of_all_sizes() {
    let shapes =
        [(1, [1, 1]), (13, [3, 17]), (31, [33, 31]), (200, [5, 64]), (193, [2, 530]), (50, [300, 48]), (2, [0, 33])];
    for f in ACTIVATIONS {
        for (rows, widths) in shapes {
            for (gap, residual, spare) in [(0, false, true), (3, true, true), (5, true, false)] {
                let kind = if gap == 3 { Kind::Sparse } else { Kind::Ordinary };
                Case { f, rows, widths, gap, residual, spare, kind }.check();
            }
        }
    }
}

/// f(x) and f'(x) of given numbers, by way of a product without terms.
fn of_numbers(ops: &dyn Ops<f32>, f: Activation, x: &[f32]) -> Outputs {
    let ones = vec![1.0; x.len()];
    let (mut kept, mut y, mut room, mut dx) = (x.to_vec(), ones.clone(), ones.clone(), ones.clone());
    let mm = MatMul::nn(1, x.len(), 0);
    ops.matmul_activation(&mm, &[], &[], Start::Accumulate, None, f, true, &mut kept, &mut y);
    // One row, one term: the gradient of each element is 1.
    let mm = MatMul::nt(1, x.len(), 1);
    ops.matmul_activation_backward(&mm, &[1.0], &ones, f, true, &kept, &mut room, &mut dx);
    vec![y, dx]
}

#[test]
fn all_kinds_of_bits() {
    let bits: Vec<u32> = (0..=u32::MAX).step_by(4_001).collect();
    for f in ACTIVATIONS {
        for part in bits.chunks(1 << 17) {
            let x: Vec<f32> = part.iter().copied().map(f32::from_bits).collect();
            check(&format!("{f:?} from {:#x}", part[0]), |ops| of_numbers(ops, f, &x));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_layer(
        which in 0..ACTIVATIONS.len(),
        rows in 1..40_usize,
        widths in [0..40_usize, 1..80],
        gap in 0..3_usize,
        residual: bool,
        spare: bool,
        special: bool,
    ) {
        let kind = if special { Kind::Special } else { Kind::Ordinary };
        Case { f: ACTIVATIONS[which], rows, widths: [widths[0], widths[1]], gap, residual, spare, kind }.check();
    }
}
