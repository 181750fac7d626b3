//! Attention over short sequences with AVX-512. A few rows' scores stay in registers from the product to the
//! softmax, so they are neither stored nor read again, and the rows hide each other's latency: chains of
//! multiply-adds, of sums, of exponentials. The same holds of the probabilities' gradients.
//!
//! Why the bits are the same: each score is one chain of fused multiply-adds in increasing order of terms, as in
//! any product here, and a row goes through the softmax's own steps. What a row does not see is computed with
//! the rest of a vector, and stays as it was in memory.

use std::cell::RefCell;

use super::Rows;
use crate::aligned::Aligned;
use crate::cpu::Simd;
use crate::cpu::gemm::GemmIsa;
use crate::cpu::simd::{Avx512, Span, Within};
use crate::cpu::softmax::exponentials;
use crate::cpu::unroll::unroll;
use crate::ops::Attention;
use crate::reference::attention_scale;

/// Vectors of the longest row: 128 positions.
const MOST_VECTORS: usize = 8;
/// Terms of the deepest scores.
const MOST_TERMS: usize = 256;
/// Rows of a group, of up to 4 vectors each; longer ones go by twos. Half of the registers hold their scores, the
/// others operands and what an exponential needs.
const ROWS: usize = 8;
/// Lanes of a vector.
const WIDTH: usize = 16;
/// Columns of a panel.
const PANEL: usize = 2 * WIDTH;
/// Elements of a cache line.
const LINE: usize = 16;

thread_local! {
    /// The keys or values of one head as panels: a row a term. Allocated once a thread; pages that are never used
    /// cost nothing.
    static PANELS: RefCell<Aligned<f32>> = RefCell::new(Aligned::zeroed(MOST_TERMS * MOST_VECTORS * WIDTH));
}

/// Whether the functions below are for this shape.
pub(super) fn takes(simd: Simd, shape: &Attention) -> bool {
    let in_vectors = shape.seq.is_multiple_of(WIDTH) && (WIDTH..=MOST_VECTORS * WIDTH).contains(&shape.seq);
    simd == Simd::Avx512 && in_vectors && shape.head_dim <= MOST_TERMS
}

/// P = softmax(scale · Q·Kᵀ) of one head, [T, T], each row over the positions it sees.
///
/// # Panics
/// If an operand is too short.
pub(super) fn probabilities(scores: &Rows<'_>, probs: &mut [f32]) {
    let scale = attention_scale(scores.shape);
    on_avx512(scores, Softmax { scale, probs });
}

/// dS = P·(dP − Σ dP·P)·scale of one head, [T, T].
///
/// # Panics
/// If an operand is too short.
pub(super) fn score_gradients(grad_probs: &Rows<'_>, probs: &[f32], grad: &mut [f32]) {
    let scale = attention_scale(grad_probs.shape);
    on_avx512(grad_probs, Gradient { scale, probs, grad });
}

/// What is done with the rows of a product.
trait Then {
    /// Rows from `first` on: `x` is their product, `seen` how many lanes of their last vector they see.
    fn take<S: GemmIsa, const N: usize, const R: usize>(
        &mut self,
        s: S,
        seq: usize,
        first: usize,
        x: [[S::F; N]; R],
        seen: [Within; R],
    );
}

struct Softmax<'a> {
    scale: f32,
    probs: &'a mut [f32],
}

impl Then for Softmax<'_> {
    #[inline(always)]
    fn take<S: GemmIsa, const N: usize, const R: usize>(
        &mut self,
        s: S,
        seq: usize,
        first: usize,
        mut x: [[S::F; N]; R],
        seen: [Within; R],
    ) {
        let scale = s.splat(self.scale);
        unroll!(r < R, at most 8 => {
            unroll!(v < N, at most 8 => { x[r][v] = s.mul(x[r][v], scale); });
        });
        let (_, sums) = exponentials(s, &mut x, seen);
        unroll!(r < R, at most 8 => {
            let row = &mut self.probs[(first + r) * seq..(first + r) * seq + N * S::WIDTH];
            let inverse = s.splat(1.0 / sums[r]);
            unroll!(v < N, at most 8 => {
                let p = s.mul(x[r][v], inverse);
                if v == N - 1 { seen[r].store(s, row, v * S::WIDTH, p) } else { s.store(&mut row[v * S::WIDTH..], p) };
                // The next head's row.
                s.fetch_to_write(row.as_ptr().wrapping_add(seq * seq + v * S::WIDTH));
            });
        });
    }
}

struct Gradient<'a> {
    scale: f32,
    probs: &'a [f32],
    grad: &'a mut [f32],
}

impl Then for Gradient<'_> {
    #[inline(always)]
    fn take<S: GemmIsa, const N: usize, const R: usize>(
        &mut self,
        s: S,
        seq: usize,
        first: usize,
        x: [[S::F; N]; R],
        seen: [Within; R],
    ) {
        let scale = s.splat(self.scale);
        let (mut p, mut acc) = (x, [s.block(0.0); R]);
        unroll!(r < R, at most 8 => {
            let row = &self.probs[(first + r) * seq..(first + r) * seq + N * S::WIDTH];
            unroll!(v < N, at most 8 => {
                p[r][v] = s.load(&row[v * S::WIDTH..]);
                let (k, sum) = (v % S::VECTORS, s.fma(x[r][v], p[r][v], acc[r][v % S::VECTORS]));
                acc[r][k] = if v == N - 1 { seen[r].keep(s, sum, acc[r][k]) } else { sum };
                // The next head's row.
                s.fetch(row.as_ptr().wrapping_add(seq * seq + v * S::WIDTH));
            });
        });
        let dots = s.fold_rows(acc);
        unroll!(r < R, at most 8 => {
            let row = &mut self.grad[(first + r) * seq..(first + r) * seq + N * S::WIDTH];
            let dot = s.splat(dots[r]);
            unroll!(v < N, at most 8 => {
                // The gradient is scratch: what a row does not see is read by nobody.
                let ds = s.mul(s.mul(p[r][v], s.sub(x[r][v], dot)), scale);
                s.store(&mut row[v * S::WIDTH..], ds);
            });
        });
    }
}

fn on_avx512(product: &Rows<'_>, rows: impl Then) {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn compiled(product: &Rows<'_>, rows: impl Then, panels: &mut [f32]) {
        // SAFETY: this function enables the instruction set.
        run(unsafe { Avx512::new() }, product, rows, panels);
    }
    // SAFETY: `takes` is true only of a `Cpu` with AVX-512, and such a one exists only where the machine has it.
    PANELS.with_borrow_mut(|panels| unsafe { compiled(product, rows, panels) });
}

#[inline(always)]
fn run<S: GemmIsa>(s: S, product: &Rows<'_>, mut rows: impl Then, panels: &mut [f32]) {
    let &Rows { shape, left, right, .. } = product;
    let (seq, terms, left_row, right_row) = (shape.seq, shape.head_dim, product.product.lda, product.product.ldb);
    assert!(left.len() >= (seq - 1) * left_row + terms, "the left operand is too short");
    assert!(right.len() >= (seq - 1) * right_row + terms, "the right operand is too short");
    assert!(S::WIDTH == WIDTH && seq <= MOST_VECTORS * WIDTH && terms <= MOST_TERMS, "a sequence is not short");
    for j in (0..seq).step_by(PANEL) {
        let (columns, to) = (PANEL.min(seq - j), panels[j * terms..].as_mut_ptr());
        // SAFETY: the rows and terms lie inside the operand, and the buffer has room for whole panels.
        unsafe { s.pack_transposed(right.as_ptr().wrapping_add(j * right_row), right_row, terms, columns, to, PANEL) };
    }
    let mut operands = Operands { product, panels: panels.as_ptr(), ahead: product.ahead[0].as_ptr() };
    for first in (0..seq).step_by(ROWS) {
        let vectors = if shape.causal { first / S::WIDTH + 1 } else { seq / S::WIDTH };
        macro_rules! by_vectors {
            ($($n:literal: $r:literal rows,)*) => {
                match vectors {
                    $($n => for r in (0..ROWS).step_by($r) {
                        // SAFETY: the operands were checked above.
                        unsafe { group::<S, $n, $r>(s, &mut operands, first + r, &mut rows) };
                    })*
                    _ => unreachable!("a row of {vectors} vectors is not short"),
                }
            };
        }
        by_vectors!(
            1: 8 rows, 2: 8 rows, 3: 4 rows, 4: 4 rows,
            5: 2 rows, 6: 2 rows, 7: 2 rows, 8: 2 rows,
        );
    }
}

/// Where the operands of a product lie.
struct Operands<'a> {
    product: &'a Rows<'a>,
    panels: *const f32,
    ahead: *const f32,
}

/// R rows of the product, of N vectors each.
///
/// # Safety
/// The left operand has the rows, and the panels have N vectors.
#[inline(always)]
unsafe fn group<S: GemmIsa, const N: usize, const R: usize>(
    s: S,
    operands: &mut Operands<'_>,
    first: usize,
    rows: &mut impl Then,
) {
    let &mut Operands { product, panels, mut ahead } = operands;
    let (terms, left) = (product.shape.head_dim, product.left.as_ptr().wrapping_add(first * product.product.lda));
    let mut x = [[s.splat(0.0); N]; R];
    for p in 0..terms {
        s.fetch(ahead);
        ahead = ahead.wrapping_add(LINE);
        let mut y = [s.splat(0.0); N];
        unroll!(v < N, at most 8 => {
            let at = v * S::WIDTH / PANEL * PANEL * terms + p * PANEL + v * S::WIDTH % PANEL;
            // SAFETY: the caller's.
            y[v] = unsafe { s.load_at(panels.wrapping_add(at)) };
        });
        unroll!(r < R, at most 8 => {
            // SAFETY: the caller's.
            let a = s.splat(unsafe { *left.wrapping_add(r * product.product.lda + p) });
            unroll!(v < N, at most 8 => { x[r][v] = s.fma(a, y[v], x[r][v]); });
        });
    }
    operands.ahead = if ahead < product.ahead[0].as_ptr_range().end { ahead } else { product.ahead[0].as_ptr() };
    let mut seen = [Within(S::WIDTH); R];
    if product.shape.causal {
        for (r, seen) in seen.iter_mut().enumerate() {
            *seen = Within(first + r + 1 - (N - 1) * S::WIDTH);
        }
    }
    rows.take(s, product.shape.seq, first, x, seen);
}
