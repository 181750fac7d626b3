//! Linear bounds as launches.

use super::{Layout, Operands};
use crate::cuda::Launch;
use crate::cuda::launch::{self, Groups};
use crate::graph::{Op, Step};

impl Layout<'_> {
    /// The launch of an op of this file.
    pub(super) fn linear_bounds(&self, step: &Step) -> Launch {
        let (cohort, o) = (&self.cohort, Operands { layout: self, step });
        let groups = || Groups::of(step.inputs[0].width, step.inputs[0].len, step.inputs[1].len);
        match &step.op {
            Op::Contrasts => {
                let shape = [step.inputs[0].len, step.outputs[0].width];
                launch::contrasts(cohort, shape, [o.token_input(0), o.output(0)])
            }
            Op::LinearRelu => {
                let operands = [o.input(0), o.input(1), o.input(2), o.output(0), o.output(1)];
                launch::linear_relu(cohort, groups(), operands)
            }
            Op::LinearReluBackward => {
                let [a, c, r, da_out, db] = [0, 1, 2, 3, 4].map(|i| o.input(i));
                let operands = [a, c, r, da_out, db, o.output(0), o.output(1), o.output(2)];
                launch::linear_relu_backward(cohort, groups(), operands)
            }
            Op::GroupDot { size } => launch::group_dot(cohort, groups(), *size, [o.input(0), o.input(1), o.output(0)]),
            Op::GroupDotBackward { size } => {
                let operands = [o.input(0), o.input(1), o.input(2), o.output(0), o.output(1)];
                launch::group_dot_backward(cohort, groups(), *size, operands)
            }
            op => unreachable!("{} is launched elsewhere", op.name()),
        }
    }
}
