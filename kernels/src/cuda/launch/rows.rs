//! A warp a row, or a block some columns: norms, losses, sums.

use super::{Cohort, word};
use crate::cuda::arguments::{Columns, Entropy, EntropyBackward, Keep, Norm, NormDparams, NormDx, Sum};
use crate::cuda::{DeviceAddress, Launch, Operand};
use crate::ops::CrossEntropy;
use crate::reference::{LANES, REDUCE_BLOCK, loss_weights};

/// Columns of a block that sums columns, one warp each at the end.
pub(super) const COLUMNS: usize = 8;
/// Bytes of its partial sums, a spare column included.
pub(super) const PARTIAL_BYTES: usize = LANES * (COLUMNS + 1) * 4;

/// y, mean, rstd from x, γ, β.
pub fn layer_norm(
    cohort: &Cohort,
    [rows, width]: [usize; 2],
    eps: f32,
    [x, gamma, beta, y, mean, rstd]: [Operand; 6],
) -> Launch {
    let (active, row_count, width) = (cohort.active, word(rows), word(width));
    let args = Norm { x, gamma, beta, y, mean, rstd, active, rows: row_count, width, eps, unused: 0 };
    cohort.rows("layer_norm", rows, args)
}

/// dx from x, γ, mean, rstd, dy and what is added.
pub fn layer_norm_dx(
    cohort: &Cohort,
    [rows, width]: [usize; 2],
    [x, gamma, mean, rstd, dy, add, dx]: [Operand; 7],
) -> Launch {
    let (active, row_count, width) = (cohort.active, word(rows), word(width));
    let args = NormDx { x, gamma, mean, rstd, dy, add, dx, active, rows: row_count, width };
    cohort.rows("layer_norm_dx", rows, args)
}

/// dγ, dβ from x, mean, rstd, dy.
pub fn layer_norm_dparams(
    cohort: &Cohort,
    [rows, width]: [usize; 2],
    [x, mean, rstd, dy, dgamma, dbeta]: [Operand; 6],
) -> Launch {
    let blocks = width.div_ceil(COLUMNS);
    let (active, rows, width) = (cohort.active, word(rows), word(width));
    let args = NormDparams { x, mean, rstd, dy, dgamma, dbeta, active, rows, width };
    cohort.launch("layer_norm_dparams", [blocks, 1], COLUMNS * LANES, 2 * PARTIAL_BYTES, args)
}

/// out\[j\] = Σ_i x\[i,j\].
pub fn column_sum(cohort: &Cohort, [rows, width]: [usize; 2], x: Operand, out: Operand) -> Launch {
    let blocks = width.div_ceil(COLUMNS);
    let args = Columns { x, out, active: cohort.active, rows: word(rows), width: word(width) };
    cohort.launch("column_sum", [blocks, 1], COLUMNS * LANES, PARTIAL_BYTES, args)
}

/// out\[i\] = Σ_j x\[i,j\].
pub fn row_sum(cohort: &Cohort, [rows, width]: [usize; 2], x: Operand, out: Operand) -> Launch {
    let args = Columns { x, out, active: cohort.active, rows: word(rows), width: word(width) };
    cohort.rows("row_sum", rows, args)
}

/// losses and lse from logits and targets.
pub fn cross_entropy(cohort: &Cohort, shape: &CrossEntropy, [logits, targets, losses, lse]: [Operand; 4]) -> Launch {
    let (on, off) = loss_weights(shape);
    let (active, rows, vocab) = (cohort.active, word(shape.rows), word(shape.vocab));
    let smooth = u32::from(shape.smoothing > 0.0);
    let args = Entropy { logits, targets, losses, lse, active, rows, vocab, on, off, smooth, unused: 0 };
    cohort.rows("cross_entropy", shape.rows, args)
}

/// Operands of [`cross_entropy_backward`].
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "named as in the op")]
pub struct EntropyGradient {
    pub logits: Operand,
    pub targets: Operand,
    pub lse: Operand,
    pub dloss: Operand,
    pub dlogits: Operand,
}

/// dlogits, scaled by dloss/`divisor`.
pub fn cross_entropy_backward(cohort: &Cohort, shape: &CrossEntropy, divisor: usize, o: EntropyGradient) -> Launch {
    let (on, off) = loss_weights(shape);
    let EntropyGradient { logits, targets, lse, dloss, dlogits } = o;
    let (active, rows, vocab, divisor) = (cohort.active, word(shape.rows), word(shape.vocab), word(divisor));
    let args =
        EntropyBackward { logits, targets, lse, dloss, dlogits, active, rows, vocab, on, off, divisor, unused: 0 };
    cohort.rows("cross_entropy_backward", shape.rows, args)
}

impl Cohort {
    fn sum(&self, count: usize, divisor: f32, root: bool, x: Operand, out: Operand) -> Sum {
        Sum { x, out, active: self.active, count: word(count), divisor, root: u32::from(root), unused: 0 }
    }
}

/// out = Σx/`divisor`.
pub fn mean(cohort: &Cohort, count: usize, divisor: usize, x: Operand, out: Operand) -> Launch {
    cohort.warp("total", cohort.sum(count, divisor as f32, false, x, out))
}

/// Two numbers of each run into row `row` of the ring, of 2·R elements a row; a run with one that is not finite idles
/// from then on.
pub fn keep(cohort: &Cohort, [first, second]: [Operand; 2], ring: DeviceAddress, row: DeviceAddress) -> Launch {
    cohort.warp("keep", Keep { first, second, ring, row, active: cohort.active })
}

/// Elements a run of the scratch that [`sum_squares`] needs.
pub const fn block_count(count: usize) -> usize {
    count.div_ceil(REDUCE_BLOCK)
}

/// out = Σx², or its square root.
pub fn sum_squares(cohort: &Cohort, count: usize, root: bool, [x, scratch, out]: [Operand; 3]) -> [Launch; 2] {
    let blocks = block_count(count);
    let first = cohort.rows("block_squares", blocks, cohort.sum(count, 1.0, false, x, scratch));
    [first, cohort.warp("total", cohort.sum(blocks, 1.0, root, scratch, out))]
}
