//! Images, batch statistics and interval bounds as launches.

use super::{Layout, Operands};
use crate::cuda::{Launch, Operand, launch};
use crate::graph::{Op, Step};

/// Elements that a step of this file needs while it runs.
pub(super) fn scratch_len(step: &Step) -> usize {
    match &step.op {
        Op::IntervalPenalty(p) | Op::IntervalPenaltyBackward(p) => {
            launch::penalty_scratch(step.inputs[0].len / p.width)
        }
        _ => 0,
    }
}

impl Layout<'_> {
    /// The launches of an op of this file.
    pub(super) fn bounds(&self, step: &Step) -> Vec<Launch> {
        let (cohort, o) = (&self.cohort, Operands { layout: self, step });
        let count = step.outputs[0].len;
        match &step.op {
            Op::HostScalar(i) => vec![launch::scale(cohort, count, 1.0, self.scalars.offset(*i), o.output(0))],
            Op::Pixels => vec![launch::pixels(cohort, count, o.token_input(0), o.output(0))],
            Op::Patches(shape) => vec![launch::patches(cohort, shape, o.input(0), o.output(0))],
            Op::PatchesBackward(shape) => vec![launch::patches_backward(cohort, shape, o.input(0), o.output(0))],
            Op::ColumnMoments
            | Op::Rstd { .. }
            | Op::RstdBackward
            | Op::ColumnAffine
            | Op::ColumnScale
            | Op::ColumnDot { .. } => vec![self.columns(step)],
            Op::IntervalPenalty(p) => {
                let operands = [o.input(0), o.input(1), o.input(2), self.scratch, o.output(0), o.output(1)];
                launch::interval_penalty(cohort, p, step.inputs[0].len, operands).into()
            }
            Op::IntervalPenaltyBackward(p) => {
                let [c, r, first, sums, dpenalty] = [0, 1, 2, 3, 4].map(|i| o.input(i));
                let operands = [c, r, first, sums, dpenalty, self.scratch, o.output(0), o.output(1)];
                launch::interval_penalty_backward(cohort, p, count, operands).into()
            }
            Op::Errors => {
                let (rows, wrong) = (step.outputs[1].len, o.output(1));
                let operands = [o.input(0), o.token_input(1), wrong];
                let of_rows = launch::errors(cohort, rows_of(step), operands);
                vec![of_rows, launch::mean(cohort, rows, rows, wrong, o.output(0))]
            }
            Op::Contrasts
            | Op::LinearRelu
            | Op::LinearReluBackward
            | Op::GroupDot { .. }
            | Op::GroupDotBackward { .. } => vec![self.linear_bounds(step)],
            _ => vec![self.intervals(step)],
        }
    }

    fn columns(&self, step: &Step) -> Launch {
        let (cohort, o) = (&self.cohort, Operands { layout: self, step });
        let count = step.outputs[0].len;
        let by_column = [count, step.inputs[0].width];
        match &step.op {
            Op::ColumnMoments => launch::column_moments(cohort, rows_of(step), [o.input(0), o.output(0), o.output(1)]),
            Op::Rstd { eps } => launch::rstd(cohort, count, *eps as f32, o.input(0), o.output(0)),
            Op::RstdBackward => launch::rstd_backward(cohort, count, [o.input(0), o.input(1), o.output(0)]),
            Op::ColumnAffine => {
                let operands = [o.input(0), o.input(1), o.input(2), o.input(3), o.output(0)];
                launch::column_affine(cohort, by_column, operands)
            }
            Op::ColumnScale => launch::column_scale(cohort, by_column, [o.input(0), o.input(1), o.output(0)]),
            Op::ColumnDot { shift } => {
                let shift = if *shift { o.input(2) } else { Operand::ABSENT };
                launch::column_dot(cohort, rows_of(step), [o.input(0), shift, o.input(1), o.output(0)])
            }
            _ => unreachable!("not an op of columns"),
        }
    }

    fn intervals(&self, step: &Step) -> Launch {
        let (cohort, o) = (&self.cohort, Operands { layout: self, step });
        let count = step.outputs[0].len;
        match &step.op {
            Op::InputBox { limits } => {
                launch::input_box(cohort, count, *limits, [o.input(0), o.input(1), o.output(0), o.output(1)])
            }
            Op::IntervalRelu => {
                launch::interval_relu(cohort, count, [o.input(0), o.input(1), o.output(0), o.output(1)])
            }
            Op::IntervalReluBackward => {
                let operands = [o.input(0), o.input(1), o.input(2), o.input(3), o.output(0), o.output(1)];
                launch::interval_relu_backward(cohort, count, operands)
            }
            Op::PairDistances => launch::pair_distances(cohort, rows_of(step), o.input(0), o.output(0)),
            Op::PairDistancesBackward => {
                launch::pair_distances_backward(cohort, rows_of(step), [o.input(0), o.input(1), o.output(0)])
            }
            Op::Margins => {
                let operands = [o.input(0), o.input(1), o.token_input(2), o.output(0)];
                launch::margins(cohort, rows_of(step), operands)
            }
            Op::MarginsBackward => {
                let operands = [o.input(0), o.token_input(1), o.output(0), o.output(1)];
                launch::margins_backward(cohort, rows_of(step), operands)
            }
            op => unreachable!("{} is launched elsewhere", op.name()),
        }
    }
}

/// Rows and columns of the first input.
fn rows_of(step: &Step) -> [usize; 2] {
    let first = step.inputs[0];
    [first.len / first.width, first.width]
}
