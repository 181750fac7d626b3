//! Interval bounds and the robust loss that is made of them.

use super::{Cohort, row_sum, word};
use crate::cuda::arguments::{Errors, InputBox, Intervals, Margins, Pairs, Penalty, PenaltyBackward, PenaltyRows};
use crate::cuda::{Launch, Operand};
use crate::ops::IntervalPenalty;

/// centre and radius of the box of radius `eps`\[1\] around x, cut at `limits`.
pub fn input_box(cohort: &Cohort, count: usize, limits: [f64; 2], [x, eps, c, r]: [Operand; 4]) -> Launch {
    let [low, high] = limits.map(|limit| limit as f32);
    let args = InputBox { x, eps, c, r, active: cohort.active, count: word(count), low, high, unused: 0 };
    cohort.elements("input_box", count, args)
}

impl Cohort {
    fn intervals(&self, kernel: &str, count: usize, [c, r, dc, dr, c_out, r_out]: [Operand; 6]) -> Launch {
        let (active, len) = (self.active, word(count));
        self.elements(kernel, count, Intervals { c, r, dc, dr, c_out, r_out, active, count: len, unused: 0 })
    }
}

/// The interval of ReLU.
pub fn interval_relu(cohort: &Cohort, count: usize, [c, r, c_out, r_out]: [Operand; 4]) -> Launch {
    cohort.intervals("interval_relu", count, [c, r, Operand::ABSENT, Operand::ABSENT, c_out, r_out])
}
/// dc and dr from c, r and the gradients of the outputs; operands c, r, dc', dr', dc, dr.
pub fn interval_relu_backward(cohort: &Cohort, count: usize, operands: [Operand; 6]) -> Launch {
    cohort.intervals("interval_relu_backward", count, operands)
}

/// Sums of a row that need no mean, in the order of [`crate::ops::INTERVAL_SUMS`].
const ROW_SUMS: usize = 6;
/// Sums of a row that need it.
const ROW_SQUARES: usize = 2;
/// The penalty's slopes, and a place that is spare.
const SLOPES: usize = 8;

/// Elements a run of the scratch that [`interval_penalty`] and its gradient need.
pub const fn penalty_scratch(rows: usize) -> usize {
    let sums = ROW_SUMS * rows;
    if sums > SLOPES { sums } else { SLOPES }
}

/// The penalty of c, r \[N,C\] (`count` = N·C) and its sums; operands c, r, first, scratch, penalty, sums.
pub fn interval_penalty(
    cohort: &Cohort,
    p: &IntervalPenalty,
    count: usize,
    [c, r, first, scratch, penalty, sums]: [Operand; 6],
) -> [Launch; 5] {
    let rows = count / p.width;
    let (row_count, width) = (word(rows), word(p.width));
    let of_rows = PenaltyRows { c, r, sums, out: scratch, active: cohort.active, rows: row_count, width };
    let dpenalty = Operand::ABSENT;
    [
        cohort.rows("interval_rows", rows, of_rows),
        row_sum(cohort, [ROW_SUMS, rows], scratch, sums),
        cohort.rows("interval_row_squares", rows, of_rows),
        row_sum(cohort, [ROW_SQUARES, rows], scratch, sums.offset(ROW_SUMS)),
        cohort.warp("interval_penalty", cohort.penalty(p, count, [sums, first, dpenalty, penalty])),
    ]
}

/// dc and dr of `dpenalty` times the penalty; operands c, r, first, sums, dpenalty, scratch, dc, dr.
pub fn interval_penalty_backward(
    cohort: &Cohort,
    p: &IntervalPenalty,
    count: usize,
    [c, r, first, sums, dpenalty, slopes, dc, dr]: [Operand; 8],
) -> [Launch; 2] {
    let args = PenaltyBackward { c, r, slopes, dc, dr, active: cohort.active, count: word(count), unused: 0 };
    [
        cohort.warp("interval_slopes", cohort.penalty(p, count, [sums, first, dpenalty, slopes])),
        cohort.elements("interval_penalty_backward", count, args),
    ]
}

impl Cohort {
    fn penalty(&self, p: &IntervalPenalty, count: usize, [sums, first, dpenalty, out]: [Operand; 4]) -> Penalty {
        let (active, count, tau) = (self.active, word(count), p.tau as f32);
        let (tightness, balance) = (u32::from(p.tightness), u32::from(p.balance));
        Penalty { sums, first, dpenalty, out, active, count, tau, tightness, balance }
    }
    fn pairs(&self, kernel: &str, [count, classes]: [usize; 2], [w, distances, out]: [Operand; 3]) -> Launch {
        let args = Pairs { w, distances, out, active: self.active, count: word(count), classes: word(classes) };
        self.elements(kernel, count, args)
    }
}

/// \[K,V·V\] from w\[K,V\]: |w_a − w_b|.
pub fn pair_distances(cohort: &Cohort, [rows, classes]: [usize; 2], w: Operand, out: Operand) -> Launch {
    cohort.pairs("pair_distances", [rows * classes * classes, classes], [w, Operand::ABSENT, out])
}
/// dw\[K,V\] from w and the gradient of the distances.
pub fn pair_distances_backward(cohort: &Cohort, [rows, classes]: [usize; 2], operands: [Operand; 3]) -> Launch {
    cohort.pairs("pair_distances_backward", [rows * classes, classes], operands)
}

/// m\[N,V\] from z\[N,V\], radii of differences \[N,V·V\] and targets.
pub fn margins(cohort: &Cohort, [rows, classes]: [usize; 2], [z, distances, targets, m]: [Operand; 4]) -> Launch {
    let (active, row_count, class_count) = (cohort.active, word(rows), word(classes));
    let args = Margins { z, distances, targets, m, active, rows: row_count, classes: class_count };
    cohort.elements("margins", word(rows * classes) as usize, args)
}
/// dz\[N,V\] and the gradient of the radii \[N,V·V\]; operands dm, targets, dz, dradii.
pub fn margins_backward(
    cohort: &Cohort,
    [rows, classes]: [usize; 2],
    [m, targets, z, distances]: [Operand; 4],
) -> Launch {
    let (active, row_count, classes) = (cohort.active, word(rows), word(classes));
    cohort.rows("margins_backward", rows, Margins { z, distances, targets, m, active, rows: row_count, classes })
}

/// wrong\[N\]: 1 where another class is above the target or not comparable with it, else 0.
pub fn errors(cohort: &Cohort, [rows, classes]: [usize; 2], [logits, targets, wrong]: [Operand; 3]) -> Launch {
    let (active, row_count, classes) = (cohort.active, word(rows), word(classes));
    cohort.rows("errors", rows, Errors { logits, targets, wrong, active, rows: row_count, classes })
}
