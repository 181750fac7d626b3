//! Columns, images and interval bounds of a device.

use super::{Call, Device};
use preheat_kernels::cuda::{Launch, Operand, launch};
use preheat_kernels::ops::{ColumnOps, ImageOps, IntervalOps, IntervalPenalty, Patches};

impl Call<'_> {
    /// Launches and reads `out` back.
    pub(super) fn compute(&mut self, launches: &[Launch], from: Operand, out: &mut [f32]) {
        self.launch(launches);
        self.read(from, out);
    }
    /// Launches and reads two outputs back.
    pub(super) fn compute_two(&mut self, launches: &[Launch], from: [Operand; 2], [a, b]: [&mut [f32]; 2]) {
        self.compute(launches, from[0], a);
        self.read(from[1], b);
    }
}

impl ColumnOps<f32> for Device {
    fn column_moments(&self, width: usize, x: &[f32], mean: &mut [f32], var: &mut [f32]) {
        self.op(|call| {
            let [x_at, mean_at, var_at] = [x, mean, var].map(|x| call.numbers(x));
            let shape = [x.len() / width, width];
            let launch = launch::column_moments(&call.cohort, shape, [x_at, mean_at, var_at]);
            call.compute_two(&[launch], [mean_at, var_at], [mean, var]);
        });
    }
    fn rstd(&self, eps: f64, var: &[f32], rstd: &mut [f32]) {
        self.op(|call| {
            let [var, out] = [var, rstd].map(|x| call.numbers(x));
            call.compute(&[launch::rstd(&call.cohort, rstd.len(), eps as f32, var, out)], out, rstd);
        });
    }
    fn rstd_backward(&self, rstd: &[f32], drstd: &[f32], dvar: &mut [f32]) {
        self.op(|call| {
            let operands = [rstd, drstd, dvar].map(|x| call.numbers(x));
            call.compute(&[launch::rstd_backward(&call.cohort, dvar.len(), operands)], operands[2], dvar);
        });
    }
    fn column_affine(&self, x: &[f32], shift: &[f32], scale: &[f32], offset: &[f32], y: &mut [f32]) {
        self.op(|call| {
            let operands = [x, shift, scale, offset, y].map(|x| call.numbers(x));
            let launch = launch::column_affine(&call.cohort, [y.len(), scale.len()], operands);
            call.compute(&[launch], operands[4], y);
        });
    }
    fn column_scale(&self, x: &[f32], scale: &[f32], y: &mut [f32]) {
        self.op(|call| {
            let operands = [x, scale, y].map(|x| call.numbers(x));
            let launch = launch::column_scale(&call.cohort, [y.len(), scale.len()], operands);
            call.compute(&[launch], operands[2], y);
        });
    }
    fn column_dot(&self, x: &[f32], shift: Option<&[f32]>, dy: &[f32], out: &mut [f32]) {
        self.op(|call| {
            let [x_at, dy, to] = [x, dy, out].map(|x| call.numbers(x));
            let shape = [x.len() / out.len(), out.len()];
            let operands = [x_at, call.optional(shift), dy, to];
            call.compute(&[launch::column_dot(&call.cohort, shape, operands)], to, out);
        });
    }
}

impl ImageOps<f32> for Device {
    fn pixels(&self, bytes: &[u32], x: &mut [f32]) {
        self.op(|call| {
            let (bytes, out) = (call.ids(bytes), call.numbers(x));
            call.compute(&[launch::pixels(&call.cohort, x.len(), bytes, out)], out, x);
        });
    }
    fn patches(&self, p: &Patches, x: &[f32], out: &mut [f32]) {
        self.op(|call| {
            let [x, to] = [x, out].map(|x| call.numbers(x));
            call.compute(&[launch::patches(&call.cohort, p, x, to)], to, out);
        });
    }
    fn patches_backward(&self, p: &Patches, dout: &[f32], dx: &mut [f32]) {
        self.op(|call| {
            let [dout, to] = [dout, dx].map(|x| call.numbers(x));
            call.compute(&[launch::patches_backward(&call.cohort, p, dout, to)], to, dx);
        });
    }
}

impl IntervalOps<f32> for Device {
    fn input_box(&self, limits: [f64; 2], eps: f32, x: &[f32], c: &mut [f32], r: &mut [f32]) {
        self.op(|call| {
            let operands = [x, &[eps], c, r].map(|x| call.numbers(x));
            let launch = launch::input_box(&call.cohort, x.len(), limits, operands);
            call.compute_two(&[launch], [operands[2], operands[3]], [c, r]);
        });
    }
    fn interval_relu(&self, c: &[f32], r: &[f32], c_out: &mut [f32], r_out: &mut [f32]) {
        self.op(|call| {
            let operands = [c, r, c_out, r_out].map(|x| call.numbers(x));
            let launch = launch::interval_relu(&call.cohort, c.len(), operands);
            call.compute_two(&[launch], [operands[2], operands[3]], [c_out, r_out]);
        });
    }
    fn interval_relu_backward(
        &self,
        c: &[f32],
        r: &[f32],
        [dc_out, dr_out]: [&[f32]; 2],
        dc: &mut [f32],
        dr: &mut [f32],
    ) {
        self.op(|call| {
            let operands = [c, r, dc_out, dr_out, dc, dr].map(|x| call.numbers(x));
            let launch = launch::interval_relu_backward(&call.cohort, c.len(), operands);
            call.compute_two(&[launch], [operands[4], operands[5]], [dc, dr]);
        });
    }
    fn interval_penalty(&self, p: &IntervalPenalty, c: &[f32], r: &[f32], first: f32, sums: &mut [f32]) -> f32 {
        self.op(|call| {
            let scratch = vec![f32::NAN; launch::penalty_scratch(c.len() / p.width)];
            let operands = [c, r, &[first], &scratch, &[9.0], sums].map(|x| call.numbers(x));
            let (launches, mut penalty) = (launch::interval_penalty(&call.cohort, p, c.len(), operands), [0.0]);
            call.compute_two(&launches, [operands[4], operands[5]], [&mut penalty, sums]);
            penalty[0]
        })
    }
    fn interval_penalty_backward(
        &self,
        p: &IntervalPenalty,
        c: &[f32],
        r: &[f32],
        sums: &[f32],
        [first, dpenalty]: [f32; 2],
        dc: &mut [f32],
        dr: &mut [f32],
    ) {
        self.op(|call| {
            let scratch = vec![f32::NAN; launch::penalty_scratch(c.len() / p.width)];
            let operands = [c, r, &[first], sums, &[dpenalty], &scratch, dc, dr].map(|x| call.numbers(x));
            let launches = launch::interval_penalty_backward(&call.cohort, p, c.len(), operands);
            call.compute_two(&launches, [operands[6], operands[7]], [dc, dr]);
        });
    }
    fn pair_distances(&self, classes: usize, w: &[f32], out: &mut [f32]) {
        self.op(|call| {
            let [w_at, to] = [w, out].map(|x| call.numbers(x));
            let launch = launch::pair_distances(&call.cohort, [w.len() / classes, classes], w_at, to);
            call.compute(&[launch], to, out);
        });
    }
    fn pair_distances_backward(&self, classes: usize, w: &[f32], dout: &[f32], dw: &mut [f32]) {
        self.op(|call| {
            let operands = [w, dout, dw].map(|x| call.numbers(x));
            let launch = launch::pair_distances_backward(&call.cohort, [w.len() / classes, classes], operands);
            call.compute(&[launch], operands[2], dw);
        });
    }
    fn margins(&self, classes: usize, z: &[f32], distances: &[f32], targets: &[u32], out: &mut [f32]) {
        self.op(|call| {
            let ([z, distances, to], targets_at) = ([z, distances, out].map(|x| call.numbers(x)), call.ids(targets));
            let launch = launch::margins(&call.cohort, [targets.len(), classes], [z, distances, targets_at, to]);
            call.compute(&[launch], to, out);
        });
    }
    fn margins_backward(&self, classes: usize, dm: &[f32], targets: &[u32], dz: &mut [f32], dd: &mut [f32]) {
        self.op(|call| {
            let ([dm, dz_at, dd_at], targets_at) = ([dm, dz, dd].map(|x| call.numbers(x)), call.ids(targets));
            let shape = [targets.len(), classes];
            let launch = launch::margins_backward(&call.cohort, shape, [dm, targets_at, dz_at, dd_at]);
            call.compute_two(&[launch], [dz_at, dd_at], [dz, dd]);
        });
    }
    fn errors(&self, classes: usize, logits: &[f32], targets: &[u32], wrong: &mut [f32]) {
        self.op(|call| {
            let ([logits, to], targets_at) = ([logits, wrong].map(|x| call.numbers(x)), call.ids(targets));
            let launch = launch::errors(&call.cohort, [targets.len(), classes], [logits, targets_at, to]);
            call.compute(&[launch], to, wrong);
        });
    }
}
