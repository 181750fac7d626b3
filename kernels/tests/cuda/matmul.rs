//! Matrix products of every form, in tiles of every size: bits, and memory that is neither read nor written.

use crate::device::Device;
use crate::emulator::Order;
use crate::support::{Inputs, Kind, compare};
use preheat_kernels::cuda::launch::TileEdge;
use preheat_kernels::ops::{Columns, KRange, MatMul, Ops, Start};
use preheat_kernels::reference::Reference;

/// A product and what it starts from: 0 zero, 1 accumulate, 2 bias; 3 bias and residual.
struct Case {
    mm: MatMul,
    start: usize,
    kind: Kind,
}

impl Case {
    fn run(&self, ops: &dyn Ops<f32>) -> Vec<f32> {
        let MatMul { m, n, k, trans_a, trans_b, lda, ldb, ldc, .. } = self.mm;
        let inputs = &mut Inputs::new((m * 31 + n * 7 + k) as u64);
        // A matrix ends with its last element. What is no term is NaN.
        let len = |rows: usize, columns: usize, stride: usize| {
            if rows * columns == 0 { 0 } else { (rows - 1) * stride + columns }
        };
        let mut a = inputs.of_kind(self.kind, if trans_a { len(k, m, lda) } else { len(m, k, lda) });
        let b = inputs.of_kind(self.kind, if trans_b { len(n, k, ldb) } else { len(k, n, ldb) });
        for i in 0..m {
            for p in 0..k {
                let is_term = match self.mm.k_range {
                    KRange::Full => true,
                    KRange::UpToRow => p <= i,
                    KRange::FromRow => p >= i,
                };
                if !is_term {
                    a[if trans_a { p * lda + i } else { i * lda + p }] = f32::NAN;
                }
            }
        }
        let mut c = inputs.of_kind(self.kind, len(m, n, ldc));
        let (bias, residual) = (inputs.of_kind(self.kind, n), inputs.of_kind(self.kind, c.len()));
        let start = [Start::Zero, Start::Accumulate, Start::Bias(&bias)][self.start.min(2)];
        ops.matmul(&self.mm, &a, &b, start, (self.start == 3).then_some(&residual[..]), &mut c);
        c
    }
}

fn check(tile: TileEdge, order: Order, cases: &[Case]) {
    let mut device = Device::new(order, []);
    device.tile = Some(tile);
    for case in cases {
        let what = format!("{tile:?} {order:?} {:?} start {} {:?}", case.mm, case.start, case.kind);
        compare(&what, &vec![case.run(&device)], &vec![case.run(&Reference)]);
    }
}

/// (m, n, k) around the edges of tiles and of chunks of 16 or 8 terms, and some of whole tiles for the common loop.
fn sizes(tile: TileEdge) -> Vec<[usize; 3]> {
    match tile {
        TileEdge::T32 => {
            vec![
                [1, 1, 1],
                [31, 33, 17],
                [33, 31, 16],
                [32, 64, 32],
                [5, 3, 0],
                [67, 40, 37],
                [13, 97, 50],
                [64, 32, 84],
            ]
        }
        TileEdge::T64 => vec![[1, 1, 1], [63, 65, 31], [65, 63, 33], [64, 128, 16], [131, 20, 67], [128, 64, 180]],
        TileEdge::T128 => vec![[1, 1, 1], [127, 129, 15], [129, 128, 33], [130, 257, 40], [256, 128, 280]],
    }
}

fn forms(tile: TileEdge) -> Vec<(bool, bool)> {
    let both = (tile == TileEdge::T32).then_some((true, true));
    [(false, false), (false, true), (true, false)].into_iter().chain(both).collect()
}

fn cases(tile: TileEdge) -> Vec<Case> {
    let mut cases = Vec::new();
    for [m, n, k] in sizes(tile) {
        for (trans_a, trans_b) in forms(tile) {
            for (masks, (k_range, columns)) in [
                (KRange::Full, Columns::Full),
                (KRange::Full, Columns::UpToRow),
                (KRange::UpToRow, Columns::Full),
                (KRange::FromRow, Columns::Full),
            ]
            .into_iter()
            .enumerate()
            {
                // Rows one after the other, at a stride that 4 divides, and at one that it does not.
                for gap in [0, 4 - m % 4, 1 + 2 * (masks % 2)] {
                    let lda = gap + if trans_a { m } else { k };
                    let ldb = gap + if trans_b { k } else { n };
                    let mm =
                        MatMul { trans_a, trans_b, lda, ldb, ldc: n + gap, k_range, columns, ..MatMul::nn(m, n, k) };
                    let start = cases.len() % 4;
                    let kind = Kind::ALL[cases.len() / 4 % Kind::ALL.len()];
                    cases.push(Case { mm, start, kind });
                }
            }
        }
    }
    cases
}

fn check_all(tile: TileEdge) {
    for order in Order::ALL {
        check(tile, order, &cases(tile));
    }
}

tests! {
    tiles_of_32 { check_all(TileEdge::T32); }
    tiles_of_64 { check_all(TileEdge::T64); }
    tiles_of_128 { check_all(TileEdge::T128); }
}
