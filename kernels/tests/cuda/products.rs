//! Products as cuBLAS calls, interpreted by a plain routine that knows what cuBLAS does: column-major, `ld`, strides,
//! listed addresses. What they compute is compared with the CPU's product within error bounds.

use preheat_kernels::bounds::{Precision, outside};
use preheat_kernels::cuda::gemm::{Batch, Gemm, Matrix, linear};
use preheat_kernels::cuda::launch::Begin;
use preheat_kernels::cuda::{DeviceAddress, Operand};
use preheat_kernels::ops::{MatMul, Start};
use preheat_kernels::rng::Stream;

/// Computes a product on the host's memory. Inputs go through `round` first.
///
/// # Safety
/// The matrices are memory of this process.
pub(crate) unsafe fn multiply(gemm: &Gemm, round: fn(f32) -> f32) {
    let strided = |matrix: &Matrix, i: usize| matrix.at.offset(4 * matrix.stride * i as u64);
    match &gemm.batch {
        Batch::Strided(count) => {
            for i in 0..*count {
                let bias = gemm.bias.map(|(at, stride)| at.offset(4 * stride * i as u64));
                let at = [strided(&gemm.a, i), strided(&gemm.b, i), strided(&gemm.d, i)];
                let added = gemm.c.map(|c| strided(&c, i));
                // SAFETY: the caller's.
                unsafe { one(gemm, at, added, bias, round) };
            }
        }
        Batch::Listed(places) => {
            assert!(gemm.c.is_none() && gemm.bias.is_none(), "nothing is added to listed products");
            for at in places {
                // SAFETY: the caller's.
                unsafe { one(gemm, *at, None, None, round) };
            }
        }
    }
}

/// Element (`row`, `column`) of a column-major matrix as it is read.
///
/// # Safety
/// It is memory of this process.
unsafe fn element(at: DeviceAddress, matrix: &Matrix, row: usize, column: usize) -> *mut f32 {
    let (row, column) = if matrix.transposed { (column, row) } else { (row, column) };
    // SAFETY: the caller's.
    unsafe { (at.0 as *mut f32).add(column * matrix.ld + row) }
}

/// # Safety
/// The matrices are memory of this process.
unsafe fn one(
    gemm: &Gemm,
    [a, b, d]: [DeviceAddress; 3],
    added: Option<DeviceAddress>,
    bias: Option<DeviceAddress>,
    round: fn(f32) -> f32,
) {
    for column in 0..gemm.n {
        for row in 0..gemm.m {
            let mut sum = 0.0_f32;
            for k in 0..gemm.k {
                // SAFETY: the caller's.
                let (x, y) = unsafe { (*element(a, &gemm.a, row, k), *element(b, &gemm.b, k, column)) };
                sum = round(x).mul_add(round(y), sum);
            }
            if let Some((added, c)) = added.zip(gemm.c) {
                // SAFETY: the caller's.
                sum += unsafe { *element(added, &c, row, column) };
            }
            if let Some(bias) = bias {
                // SAFETY: the caller's.
                sum += unsafe { *(bias.0 as *const f32).add(row) };
            }
            // SAFETY: the caller's.
            unsafe { *element(d, &gemm.d, row, column) = sum };
        }
    }
}

/// Numbers of several runs, each run's further apart than it is long; what lies between must stay as it is.
struct Runs {
    values: Vec<f32>,
    len: usize,
    stride: usize,
}

const BETWEEN: f32 = 1234.5;

impl Runs {
    fn new(runs: usize, len: usize, stream: u32) -> Self {
        let stride = len + 3;
        let mut values = vec![0.0; runs * stride];
        Stream::new(3, stream).fill_normal(0, &mut values);
        values.chunks_exact_mut(stride).for_each(|run| run[len..].fill(BETWEEN));
        Self { values, len, stride }
    }
    fn operand(&mut self) -> Operand {
        Operand { at: DeviceAddress(self.values.as_mut_ptr() as u64), run_stride: self.stride as u64 }
    }
    fn run(&self, r: usize) -> &[f32] {
        &self.values[r * self.stride..][..self.len]
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Added {
    Nothing,
    Bias,
    Residual,
    Both,
    Old,
}

/// The call of one product for some runs against the exact product.
fn check(mm: &MatMul, runs: usize, added: Added) {
    let (mut a, mut b) = (Runs::new(runs, mm.m * mm.k, 1), Runs::new(runs, mm.k * mm.n, 2));
    let (mut c, mut residual) = (Runs::new(runs, mm.m * mm.n, 3), Runs::new(runs, mm.m * mm.n, 4));
    let mut bias = Runs::new(runs, mm.n, 5);
    let old = c.values.clone();
    let begin = match added {
        Added::Bias | Added::Both => Begin::Bias(bias.operand()),
        Added::Old => Begin::Accumulate,
        Added::Nothing | Added::Residual => Begin::Zero,
    };
    let and = if matches!(added, Added::Residual | Added::Both) { residual.operand() } else { Operand::ABSENT };
    let gemm = linear(runs, mm, [a.operand(), b.operand(), c.operand()], begin, and);
    // SAFETY: buffers of this test that are as long as the shape says.
    unsafe { multiply(&gemm, |x| x) };
    for r in 0..runs {
        let start = if matches!(begin, Begin::Bias(_)) { Start::Bias(bias.run(r)) } else { Start::Zero };
        // The old C is added as a residual is.
        let old = &old[r * c.stride..][..c.len];
        let also = if added == Added::Old { Some(old) } else { (and != Operand::ABSENT).then(|| residual.run(r)) };
        let seen = outside(mm, [a.run(r), b.run(r)], start, also, c.run(r), Precision::EXACT_INPUTS);
        assert_eq!(seen, None, "{mm:?} run {r} of {runs}, {added:?}");
    }
    let between = c.values.chunks_exact(c.stride).all(|run| run[c.len..].iter().all(|x| *x == BETWEEN));
    assert!(between, "{mm:?}: what lies between runs was written");
}

#[test]
fn every_form_shape_and_sum_is_what_the_cpu_computes() {
    let sizes = [(1, 1, 1), (2, 3, 1), (1, 5, 7), (31, 1, 33), (33, 31, 2), (4, 64, 17), (13, 7, 129)];
    for (m, n, k) in sizes {
        for mm in [MatMul::nn(m, n, k), MatMul::nt(m, n, k), MatMul::tn(m, n, k)] {
            for added in [Added::Nothing, Added::Bias, Added::Residual, Added::Both, Added::Old] {
                for runs in [1, 3] {
                    check(&mm, runs, added);
                }
            }
        }
    }
}

#[test]
fn a_wrong_leading_dimension_or_form_is_seen() {
    let mm = MatMul::nn(5, 7, 6);
    let (mut a, mut b, mut c) = (Runs::new(1, 30, 1), Runs::new(1, 42, 2), Runs::new(1, 35, 3));
    let gemm = linear(1, &mm, [a.operand(), b.operand(), c.operand()], Begin::Zero, Operand::ABSENT);
    let edits: [fn(&mut Gemm); 4] =
        [|g| g.a.ld -= 1, |g| g.b.transposed = true, |g| (g.a, g.b) = (g.b, g.a), |g| g.k -= 1];
    for (i, edit) in edits.iter().enumerate() {
        let mut wrong = gemm.clone();
        edit(&mut wrong);
        // SAFETY: each edit stays inside the buffers.
        unsafe { multiply(&wrong, |x| x) };
        let seen = outside(&mm, [a.run(0), b.run(0)], Start::Zero, None, c.run(0), Precision::EXACT_INPUTS);
        assert!(seen.is_some(), "edit {i}");
    }
}
