//! Linear bounds of a device.

use super::Device;
use preheat_kernels::cuda::launch::{self, Groups};
use preheat_kernels::ops::LinearBoundOps;

impl LinearBoundOps<f32> for Device {
    fn contrasts(&self, classes: usize, targets: &[u32], out: &mut [f32]) {
        self.op(|call| {
            let operands = [call.ids(targets), call.numbers(out)];
            let launch = launch::contrasts(&call.cohort, [targets.len(), classes], operands);
            call.compute(&[launch], operands[1], out);
        });
    }
    fn linear_relu(&self, width: usize, a: &[f32], c: &[f32], r: &[f32], a_out: &mut [f32], b: &mut [f32]) {
        self.op(|call| {
            let operands = [a, c, r, a_out, b].map(|x| call.numbers(x));
            let launch = launch::linear_relu(&call.cohort, Groups::of(width, a.len(), c.len()), operands);
            call.compute_two(&[launch], [operands[3], operands[4]], [a_out, b]);
        });
    }
    fn linear_relu_backward(
        &self,
        width: usize,
        a: &[f32],
        [c, r]: [&[f32]; 2],
        [da_out, db]: [&[f32]; 2],
        da: &mut [f32],
        dc: &mut [f32],
        dr: &mut [f32],
    ) {
        self.op(|call| {
            let operands = [a, c, r, da_out, db, da, dc, dr].map(|x| call.numbers(x));
            let launch = launch::linear_relu_backward(&call.cohort, Groups::of(width, a.len(), c.len()), operands);
            call.compute_two(&[launch], [operands[5], operands[6]], [da, dc]);
            call.read(operands[7], dr);
        });
    }
    fn group_dot(&self, width: usize, size: bool, a: &[f32], x: &[f32], out: &mut [f32]) {
        self.op(|call| {
            let operands = [a, x, out].map(|x| call.numbers(x));
            let launch = launch::group_dot(&call.cohort, Groups::of(width, a.len(), x.len()), size, operands);
            call.compute(&[launch], operands[2], out);
        });
    }
    fn group_dot_backward(
        &self,
        width: usize,
        size: bool,
        a: &[f32],
        x: &[f32],
        dout: &[f32],
        da: &mut [f32],
        dx: &mut [f32],
    ) {
        self.op(|call| {
            let operands = [a, x, dout, da, dx].map(|x| call.numbers(x));
            let launch = launch::group_dot_backward(&call.cohort, Groups::of(width, a.len(), x.len()), size, operands);
            call.compute_two(&[launch], [operands[3], operands[4]], [da, dx]);
        });
    }
}
