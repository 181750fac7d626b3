//! What batch normalisation is made of: sums of columns, and pointwise ops with a number a column.

use super::rows::{COLUMNS, PARTIAL_BYTES};
use super::{Cohort, word};
use crate::cuda::arguments::{ByColumn, ColumnDot, Moments};
use crate::cuda::{Launch, Operand};
use crate::reference::LANES;

/// Bytes of the means that a block's warps tell its threads.
const MEANS_BYTES: usize = 4 * COLUMNS;

/// mean and variance of the columns of x.
pub fn column_moments(cohort: &Cohort, [rows, width]: [usize; 2], [x, mean, var]: [Operand; 3]) -> Launch {
    let blocks = width.div_ceil(COLUMNS);
    let args = Moments { x, mean, var, active: cohort.active, rows: word(rows), width: word(width) };
    cohort.launch("column_moments", [blocks, 1], COLUMNS * LANES, 2 * PARTIAL_BYTES + MEANS_BYTES, args)
}

/// out\[j\] = Σ_i (x − shift)·dy; without a shift Σ_i x·dy.
pub fn column_dot(cohort: &Cohort, [rows, width]: [usize; 2], [x, shift, dy, out]: [Operand; 4]) -> Launch {
    let blocks = width.div_ceil(COLUMNS);
    let args = ColumnDot { x, shift, dy, out, active: cohort.active, rows: word(rows), width: word(width) };
    cohort.launch("column_dot", [blocks, 1], COLUMNS * LANES, PARTIAL_BYTES, args)
}

impl Cohort {
    fn by_column(
        &self,
        kernel: &str,
        [count, width]: [usize; 2],
        [x, shift, scale, offset, y]: [Operand; 5],
    ) -> Launch {
        let (active, len, width) = (self.active, word(count), word(width));
        self.elements(kernel, count, ByColumn { x, shift, scale, offset, y, active, count: len, width })
    }
}

/// y = (x − shift)·scale + offset over `count` elements in rows of `width`.
pub fn column_affine(cohort: &Cohort, shape: [usize; 2], operands: [Operand; 5]) -> Launch {
    cohort.by_column("column_affine", shape, operands)
}
/// y = x·scale.
pub fn column_scale(cohort: &Cohort, shape: [usize; 2], [x, scale, y]: [Operand; 3]) -> Launch {
    cohort.by_column("column_scale", shape, [x, Operand::ABSENT, scale, Operand::ABSENT, y])
}

/// 1/√(var + eps).
pub fn rstd(cohort: &Cohort, count: usize, eps: f32, var: Operand, out: Operand) -> Launch {
    cohort.pointwise("rstd", count, [var, Operand::ABSENT, out], eps)
}
/// dvar from rstd and its gradient.
pub fn rstd_backward(cohort: &Cohort, count: usize, [rstd, drstd, dvar]: [Operand; 3]) -> Launch {
    cohort.pointwise("rstd_backward", count, [rstd, drstd, dvar], 0.0)
}
