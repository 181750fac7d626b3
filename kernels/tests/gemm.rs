//! The CPU's GEMM equals its definition bit for bit, on every instruction set that this machine has. It
//! reads only the terms, and writes only the outputs; operands end at protected pages.

#![cfg(unix)]

mod guarded;

use guarded::Guarded;
use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::ops::{Columns, KRange, MatMul, Ops, Start};
use preheat_kernels::reference::Reference;
use preheat_kernels::rng::Stream;
use proptest::prelude::*;

const K_RANGES: [KRange; 3] = [KRange::Full, KRange::UpToRow, KRange::FromRow];
const COLUMNS: [Columns; 2] = [Columns::Full, Columns::UpToRow];

#[derive(Clone, Copy, Debug)]
enum From {
    Zero,
    Accumulate,
    Bias,
}

#[derive(Clone, Debug)]
struct Case {
    mm: MatMul,
    start: From,
    residual: bool,
    /// One value in 16 is ±0, denormal, huge, infinite or NaN.
    special: bool,
    seed: u64,
}

impl Case {
    /// A dense product; the matrices' rows lie `gap` elements apart.
    fn new(m: usize, n: usize, k: usize, trans_a: bool, trans_b: bool, gap: usize) -> Self {
        let lda = gap + if trans_a { m } else { k };
        let ldb = gap + if trans_b { k } else { n };
        let mm = MatMul { trans_a, trans_b, lda, ldb, ldc: n + gap, ..MatMul::nn(m, n, k) };
        Self { mm, start: From::Zero, residual: false, special: false, seed: (m * 7 + n * 5 + k * 3) as u64 }
    }

    fn value(&self, stream: u32, index: usize) -> f32 {
        const SPECIAL: [f32; 8] = [0.0, -0.0, 1e-40, -1e-45, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
        let stream = Stream::new(self.seed, stream);
        let special = stream.below(1, index as u64, 16 * SPECIAL.len() as u64) as usize;
        match SPECIAL.get(special) {
            Some(x) if self.special => *x,
            _ => stream.uniform(0, index as u64) * 2.0 - 1.0,
        }
    }

    /// A stored matrix that ends with its last element. Elements that are no term are NaN.
    fn matrix(
        &self,
        stream: u32,
        transposed: bool,
        (rows, columns): (usize, usize),
        stride: usize,
        is_term: impl Fn(usize, usize) -> bool,
    ) -> Guarded {
        let (rows, columns) = if transposed { (columns, rows) } else { (rows, columns) };
        let len = if rows * columns == 0 { 0 } else { (rows - 1) * stride + columns };
        let term = |at: usize| {
            let (i, j) = (at / stride, at % stride);
            j < columns && if transposed { is_term(j, i) } else { is_term(i, j) }
        };
        let elements: Vec<f32> = (0..len).map(|at| if term(at) { self.value(stream, at) } else { f32::NAN }).collect();
        Guarded::new(&elements)
    }

    fn check(&self) {
        let MatMul { m, n, k, trans_a, trans_b, lda, ldb, ldc, .. } = self.mm;
        // What no row has need not be stored.
        let columns = if self.mm.columns == Columns::UpToRow { n.min(m) } else { n };
        let (rows_of_a, terms) = match self.mm.k_range {
            KRange::Full => (m, k),
            KRange::UpToRow => (m, k.min(m)),
            KRange::FromRow => (m.min(k), k),
        };
        let a = self.matrix(1, trans_a, (rows_of_a, terms), lda, |i, p| match self.mm.k_range {
            KRange::Full => true,
            KRange::UpToRow => p <= i,
            KRange::FromRow => p >= i,
        });
        let b = self.matrix(2, trans_b, (terms, columns), ldb, |_, _| true);
        let c_len = if m * columns == 0 { 0 } else { (m - 1) * ldc + columns };
        let values = |stream, len| Guarded::new(&(0..len).map(|at| self.value(stream, at)).collect::<Vec<_>>());
        let (old, residual, bias) = (values(3, c_len), values(4, c_len), values(5, columns));
        let residual = self.residual.then_some(&*residual);
        let start = match self.start {
            From::Zero => Start::Zero,
            From::Accumulate => Start::Accumulate,
            From::Bias => Start::Bias(&bias),
        };
        let mut expected = old.to_vec();
        Reference.matmul(&self.mm, &a, &b, start, residual, &mut expected);
        for simd in Simd::available() {
            let mut c = Guarded::new(&old);
            Cpu::new(simd).matmul(&self.mm, &a, &b, start, residual, &mut c);
            let canonical = |x: f32| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() };
            for (at, (got, want)) in c.iter().zip(&expected).enumerate() {
                assert!(
                    canonical(*got) == canonical(*want),
                    "{simd:?}: row {} column {}: {got:e} is not {want:e} in {self:?}",
                    at / ldc,
                    at % ldc,
                );
            }
        }
    }
}

fn any_case(rows: usize, columns: usize, terms: usize) -> impl Strategy<Value = Case> {
    let shape = (0..=rows, 0..=columns, 0..=terms, any::<bool>(), any::<bool>());
    let gaps = (0..20usize, 0..20usize, 0..20usize);
    let start = prop::sample::select(vec![From::Zero, From::Accumulate, From::Bias]);
    let masks = (prop::sample::select(K_RANGES.to_vec()), prop::sample::select(COLUMNS.to_vec()));
    (shape, gaps, masks, start, any::<bool>(), any::<bool>(), any::<u64>()).prop_map(
        |((m, n, k, trans_a, trans_b), gaps, (k_range, columns), start, residual, special, seed)| {
            let dense = Case::new(m, n, k, trans_a, trans_b, 1).mm;
            let (lda, ldb, ldc) = (dense.lda + gaps.0, dense.ldb + gaps.1, dense.ldc + gaps.2);
            Case { mm: MatMul { lda, ldb, ldc, k_range, columns, ..dense }, start, residual, special, seed }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_definition(case in any_case(70, 70, 70)) {
        case.check();
    }

    #[test]
    fn equals_the_definition_on_tiny_shapes(case in any_case(14, 35, 14)) {
        case.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_definition_over_blocks_of_terms(case in any_case(300, 40, 700)) {
        case.check();
    }

    #[test]
    fn equals_the_definition_over_blocks_of_columns(case in any_case(30, 1200, 30)) {
        case.check();
    }
}

/// Every mask, start and layout at sizes around the tiles' and the blocks' edges.
#[test]
fn equals_the_definition_at_edges() {
    let shapes = [
        (1, 1, 1),
        (1, 1, 0),
        (13, 33, 0),
        (12, 32, 1),
        (13, 33, 2),
        (12, 25, 31),
        (6, 16, 33),
        (7, 17, 13),
        (31, 1, 12),
        (1, 31, 25),
        (25, 13, 1),
        (257, 5, 3),
        (64, 64, 16),
        (37, 41, 43),
        (24, 24, 257),
        (12, 32, 256),
        (70, 9, 600),
        (5, 515, 7),
        (261, 35, 263),
        (193, 16, 5),
    ];
    for (index, (m, n, k)) in shapes.into_iter().enumerate() {
        for (k_range, columns) in K_RANGES.into_iter().flat_map(|r| COLUMNS.map(|c| (r, c))) {
            for layout in 0..4 {
                let dense = Case::new(m, n, k, layout & 1 == 1, layout & 2 == 2, index % 3);
                let mm = MatMul { k_range, columns, ..dense.mm };
                for start in [From::Zero, From::Accumulate, From::Bias] {
                    let residual = (index + layout) % 2 == 0;
                    Case { mm, start, residual, ..dense.clone() }.check();
                }
            }
        }
    }
}

/// Rows that lie 4 KiB apart are copied before they are read.
#[test]
fn equals_the_definition_where_rows_collide() {
    for (index, (m, n, k)) in [(200, 70, 300), (13, 64, 257), (300, 101, 12), (193, 63, 31)].into_iter().enumerate() {
        for layout in 0..4 {
            let dense = Case::new(m, n, k, layout & 1 == 1, layout & 2 == 2, 0);
            let mm = MatMul { lda: 1024, ldb: 1024, ..dense.mm };
            Case { mm, residual: index % 2 == 0, special: layout == 0, ..dense }.check();
        }
    }
}

/// A transposed A of many rows and columns is copied tile by tile, in blocks of its own length.
#[test]
fn equals_the_definition_where_tiles_are_copied() {
    let shapes = [(64, 128, 193), (65, 129, 400), (200, 131, 192), (260, 150, 385), (193, 600, 20), (64, 127, 193)];
    for (index, (m, n, k)) in shapes.into_iter().enumerate() {
        for (start, trans_b) in [(From::Zero, false), (From::Accumulate, true), (From::Bias, false)] {
            let dense = Case::new(m, n, k, true, trans_b, index % 3);
            for k_range in K_RANGES {
                let mm = MatMul { k_range, ..dense.mm };
                Case { mm, start, residual: index % 2 == 0, special: k == 400, ..dense.clone() }.check();
            }
        }
    }
}

/// Columns in panels of four vectors: full and partial ones, a B that is a panel by itself, one that a weight gradient of
/// few rows reads where it lies, and blocks of terms and columns whose ends divide nothing.
#[test]
fn equals_the_definition_in_wide_panels() {
    let shapes = [
        (6, 64, 4),
        (64, 64, 130),
        (65, 64, 129),
        (64, 192, 131),
        (61, 128, 7),
        (63, 100, 261),
        (13, 257, 257),
        (220, 64, 133),
        (150, 320, 258),
        (5, 448, 514),
        (85, 97, 127),
        (32, 161, 255),
    ];
    for (index, (m, n, k)) in shapes.into_iter().enumerate() {
        for layout in 0..8 {
            let gap = if layout & 4 == 4 { 1 + index % 3 } else { 0 };
            let dense = Case::new(m, n, k, layout & 1 == 1, layout & 2 == 2, gap);
            let start = [From::Zero, From::Accumulate, From::Bias][(index + layout) % 3];
            let (k_range, residual) = (K_RANGES[(index + layout / 3) % 3], layout & 2 == 2);
            Case { start, residual, special: layout == 1, ..dense.clone() }.check();
            Case { mm: MatMul { k_range, ..dense.mm }, start, residual, ..dense }.check();
        }
    }
}

/// -0 survives a chain without terms and one whose terms are -0; +0 starts stay +0.
#[test]
fn keeps_the_sign_of_zero() {
    for simd in Simd::available() {
        let mut c = [-0.0_f32; 40];
        Cpu::new(simd).matmul(&MatMul::nn(1, 40, 0), &[], &[], Start::Accumulate, None, &mut c);
        assert!(c.iter().all(|x| x.to_bits() == (-0.0_f32).to_bits()), "{simd:?}");
        Cpu::new(simd).matmul(&MatMul::nn(1, 40, 1), &[-1.0], &[0.0; 40], Start::Accumulate, None, &mut c);
        assert!(c.iter().all(|x| x.to_bits() == (-0.0_f32).to_bits()), "{simd:?}");
        Cpu::new(simd).matmul(&MatMul::nn(1, 40, 1), &[-1.0], &[0.0; 40], Start::Zero, None, &mut c);
        assert!(c.iter().all(|x| x.to_bits() == 0), "{simd:?}");
    }
}

/// What must be refused rather than read or written outside a slice.
#[test]
fn refuses_operands_that_are_too_short() {
    let refused = |mm: MatMul, lens: [usize; 5]| {
        for simd in Simd::available().into_iter().filter(|simd| *simd != Simd::Scalar) {
            let [a, b, c, bias, residual] = lens.map(|len| vec![0.0_f32; len]);
            let result = std::panic::catch_unwind(|| {
                Cpu::new(simd).matmul(&mm, &a, &b, Start::Bias(&bias), Some(&residual), &mut c.clone());
            });
            if result.is_ok() {
                return false;
            }
        }
        true
    };
    let mm = MatMul::nn(5, 17, 9);
    let enough = [45, 153, 85, 17, 85];
    assert_eq!(refused(mm, enough), Simd::available().len() == 1);
    for short in 0..enough.len() {
        let mut lens = enough;
        lens[short] -= 1;
        assert!(refused(mm, lens), "operand {short}");
    }
    assert!(refused(MatMul { ldc: 16, ..mm }, enough), "overlapping rows");
    for huge in [usize::MAX, usize::MAX / 4 + 1] {
        assert!(refused(MatMul { lda: huge, ..mm }, enough));
        assert!(refused(MatMul { ldb: huge, ..mm }, enough));
        assert!(refused(MatMul { ldc: huge, ..mm }, enough));
    }
}
