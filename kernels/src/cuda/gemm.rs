//! Matrix products as cuBLAS takes them, as data: column-major, in batches. What is row-major here is its transpose
//! there, so Cᵀ = Bᵀ·Aᵀ is asked for and nothing is copied.

use super::launch::Begin;
use super::{DeviceAddress, Operand};
use crate::ops::MatMul;

/// How cuBLAS multiplies f32 matrices. Sums are f32 in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MathMode {
    /// f32, without tensor cores.
    F32,
    /// Inputs rounded to 11 bits, on tensor cores.
    Tf32,
    /// Inputs rounded to 8 bits, on tensor cores. Parameters and activations in memory stay f32.
    Bf16,
}

impl MathMode {
    /// Each.
    pub const ALL: [Self; 3] = [Self::F32, Self::Tf32, Self::Bf16];

    /// Its name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }
}

/// A column-major matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Its first element; the first of the batch, where that is strided.
    pub at: DeviceAddress,
    /// Elements from one column to the next.
    pub ld: usize,
    /// It is transposed as it is read.
    pub transposed: bool,
    /// Elements from one matrix of the batch to the next.
    pub stride: u64,
}

/// Where the matrices of a batch lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Batch {
    /// Each of this many lies one stride after the one before it.
    Strided(usize),
    /// At these addresses of A, B and D. Nothing is added then.
    Listed(Vec<[DeviceAddress; 3]>),
}

/// D\[m,n\] = A\[m,k\]·B\[k,n\] (+ C) (+ bias along m), for each of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gemm {
    /// Rows of D.
    pub m: usize,
    /// Columns of D.
    pub n: usize,
    /// Inner dimension.
    pub k: usize,
    /// The first factor.
    pub a: Matrix,
    /// The second factor.
    pub b: Matrix,
    /// What is added: β is 1 where it is there, 0 where not. It may be D itself.
    pub c: Option<Matrix>,
    /// The result; never transposed.
    pub d: Matrix,
    /// m numbers that each column starts from, and their stride in the batch.
    pub bias: Option<(DeviceAddress, u64)>,
    /// The batch.
    pub batch: Batch,
}

/// One axis of a batch: how many, and how far apart those of A, B and C of a product lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) count: usize,
    pub(super) strides: [u64; 3],
}

/// The product of a linear layer for each of `runs` runs, as [`super::launch::matmul`]. Its range of terms and columns is
/// full.
pub fn linear(runs: usize, mm: &MatMul, [a, b, c]: [Operand; 3], begin: Begin, residual: Operand) -> Gemm {
    let mut gemm = product(mm, [a.at, b.at, c.at]);
    gemm.batch = Batch::Strided(runs);
    (gemm.a.stride, gemm.b.stride, gemm.d.stride) = (b.run_stride, a.run_stride, c.run_stride);
    let added = |operand: Operand| Matrix { at: operand.at, stride: operand.run_stride, ..gemm.d };
    gemm.c = match begin {
        Begin::Accumulate => Some(added(c)),
        Begin::Zero | Begin::Bias(_) => (residual != Operand::ABSENT).then(|| added(residual)),
    };
    if let Begin::Bias(bias) = begin {
        gemm.bias = Some((bias.at, bias.run_stride));
    }
    gemm
}

/// Products of one shape along several axes (runs, sequences, heads), the outermost first. Masked terms are terms here:
/// the caller keeps zeros there.
pub(super) fn batched(mm: &MatMul, at: [DeviceAddress; 3], axes: &[Axis]) -> Gemm {
    let mut gemm = product(mm, at);
    gemm.batch = match merged(axes)[..] {
        [] => Batch::Strided(1),
        [Axis { count, strides: [a, b, c] }] => {
            (gemm.a.stride, gemm.b.stride, gemm.d.stride) = (b, a, c);
            Batch::Strided(count)
        }
        ref several => {
            let from = |[a, b, c]: [u64; 3]| [at[1].offset(4 * b), at[0].offset(4 * a), at[2].offset(4 * c)];
            Batch::Listed(offsets(several).into_iter().map(from).collect())
        }
    };
    gemm
}

/// One product: C's transpose from B's and A's.
fn product(mm: &MatMul, [a, b, c]: [DeviceAddress; 3]) -> Gemm {
    let matrix = |at, ld, transposed| Matrix { at, ld, transposed, stride: 0 };
    Gemm {
        m: mm.n,
        n: mm.m,
        k: mm.k,
        a: matrix(b, mm.ldb, mm.trans_b),
        b: matrix(a, mm.lda, mm.trans_a),
        c: None,
        d: matrix(c, mm.ldc, false),
        bias: None,
        batch: Batch::Strided(1),
    }
}

/// The same batch with fewer axes: those of one are left out, and two become one where every stride goes on evenly.
fn merged(axes: &[Axis]) -> Vec<Axis> {
    let mut merged: Vec<Axis> = Vec::new();
    for axis in axes.iter().filter(|axis| axis.count != 1) {
        let goes_on = |outer: &Axis| (0..3).all(|i| outer.strides[i] == axis.count as u64 * axis.strides[i]);
        match merged.last_mut().filter(|outer| goes_on(outer)) {
            Some(outer) => *outer = Axis { count: outer.count * axis.count, ..*axis },
            None => merged.push(*axis),
        }
    }
    merged
}

/// Offsets of every matrix, the innermost axis running fastest.
fn offsets(axes: &[Axis]) -> Vec<[u64; 3]> {
    let mut all = vec![[0; 3]];
    for axis in axes {
        let at = |base: [u64; 3], i: usize| std::array::from_fn(|o| base[o] + i as u64 * axis.strides[o]);
        all = all.into_iter().flat_map(|base| (0..axis.count).map(move |i| at(base, i))).collect();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_merge_where_all_strides_go_on() {
        let axis = |count, strides| Axis { count, strides };
        let counts = |axes: &[Axis]| merged(axes).iter().map(|a| (a.count, a.strides)).collect::<Vec<_>>();
        assert_eq!(counts(&[axis(3, [20, 40, 60]), axis(2, [10, 20, 30])]), [(6, [10, 20, 30])]);
        assert_eq!(counts(&[axis(3, [20, 40, 61]), axis(2, [10, 20, 30])]).len(), 2);
        assert_eq!(counts(&[axis(1, [7, 7, 7]), axis(5, [1, 2, 3]), axis(1, [9, 9, 9])]), [(5, [1, 2, 3])]);
        assert_eq!(counts(&[axis(1, [7, 7, 7])]), []);
        let three = [axis(2, [100, 100, 100]), axis(2, [40, 40, 40]), axis(2, [20, 20, 20])];
        assert_eq!(counts(&three), [(2, [100; 3]), (4, [20; 3])]);
        assert_eq!(
            offsets(&merged(&three)).iter().map(|o| o[0]).collect::<Vec<_>>(),
            [0, 20, 40, 60, 100, 120, 140, 160]
        );
    }
}
