//! Linear bounds.

#![expect(clippy::too_many_arguments, reason = "a kernel's operands")]

use super::Cpu;
use super::simd::{Isa, Span, dispatch, each_lane, each_vector};
use crate::ops::LinearBoundOps;
use crate::reference::Reference;
use crate::reference::linear_bounds::LEAST_RADIUS;

impl LinearBoundOps<f32> for Cpu {
    fn linear_relu(&self, width: usize, a: &[f32], c: &[f32], r: &[f32], a_out: &mut [f32], b: &mut [f32]) {
        relu(self.simd, width, a, c, r, a_out, b);
    }
    fn linear_relu_backward(
        &self,
        width: usize,
        a: &[f32],
        interval: [&[f32]; 2],
        d_out: [&[f32]; 2],
        da: &mut [f32],
        dc: &mut [f32],
        dr: &mut [f32],
    ) {
        relu_backward(self.simd, width, a, interval, d_out, da, dc, dr);
    }
    fn group_dot(&self, width: usize, size: bool, a: &[f32], x: &[f32], out: &mut [f32]) {
        dot(self.simd, width, size, a, x, out);
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
        dot_backward(self.simd, width, size, a, x, dout, da, dx);
    }
}

dispatch!(fn relu(width: usize, a: &[f32], c: &[f32], r: &[f32], a_out: &mut [f32], b: &mut [f32]) = relu_of,
    scalar Reference.linear_relu(width, a, c, r, a_out, b));
dispatch!(fn relu_backward(width: usize, a: &[f32], interval: [&[f32]; 2], d_out: [&[f32]; 2], da: &mut [f32],
    dc: &mut [f32], dr: &mut [f32]) = relu_backward_of,
    scalar Reference.linear_relu_backward(width, a, interval, d_out, da, dc, dr));
dispatch!(fn dot(width: usize, size: bool, a: &[f32], x: &[f32], out: &mut [f32]) = dot_of,
    scalar Reference.group_dot(width, size, a, x, out));
dispatch!(fn dot_backward(width: usize, size: bool, a: &[f32], x: &[f32], dout: &[f32], da: &mut [f32],
    dx: &mut [f32]) = dot_backward_of, scalar Reference.group_dot_backward(width, size, a, x, dout, da, dx));

/// The intervals that a vector of units has, and what is known of them.
struct Units<S: Isa> {
    c: S::F,
    r: S::F,
    /// Above 0 everywhere.
    active: S::M,
    /// Above 0 somewhere.
    partly: S::M,
}

impl<S: Isa> Units<S> {
    #[inline(always)]
    fn new(s: S, c: S::F, r: S::F) -> Self {
        let zero = s.splat(0.0);
        Self { c, r, active: s.lt(zero, s.sub(c, r)), partly: s.lt(zero, s.add(c, r)) }
    }
    /// A number by what ReLU does there.
    #[inline(always)]
    fn pick(&self, s: S, active: S::F, bent: S::F) -> S::F {
        s.select(self.active, active, s.select(self.partly, bent, s.splat(0.0)))
    }
    /// The slopes of the upper and the lower line, and how far the lower one passes below the centre.
    #[inline(always)]
    fn lines(&self, s: S) -> [S::F; 3] {
        let (zero, half, one) = (s.splat(0.0), s.splat(0.5), s.splat(1.0));
        let upper = s.div(s.mul(half, s.add(self.c, self.r)), self.r);
        let lower = s.select(s.lt(zero, self.c), one, zero);
        let below = s.mul(half, s.sub(self.r, s.abs(self.c)));
        [self.pick(s, one, upper), self.pick(s, one, lower), self.pick(s, zero, below)]
    }
    /// dc and dr from what the upper lines' slopes and the lower ones' places cost.
    #[inline(always)]
    fn backward(&self, s: S, of_upper: S::F, of_lower: S::F) -> [S::F; 2] {
        let (zero, half) = (s.splat(0.0), s.splat(0.5));
        let steep = s.div(half, s.max(self.r, s.splat(LEAST_RADIUS as f32)));
        let side = s.select(s.lt(zero, self.c), half, s.splat(-0.5));
        let dc = s.fma(of_upper, steep, s.mul(of_lower, side));
        let dr = s.fma(s.neg(of_upper), s.mul(s.div(self.c, self.r), steep), s.neg(s.mul(half, of_lower)));
        [self.pick(s, zero, dc), self.pick(s, zero, dr)]
    }
}

#[inline(always)]
fn relu_of<S: Isa>(s: S, width: usize, a: &[f32], c: &[f32], r: &[f32], a_out: &mut [f32], b: &mut [f32]) {
    let (group, zero) = (a.len() / c.len(), s.splat(0.0));
    let rows = a.chunks_exact(width).zip(a_out.chunks_exact_mut(width)).zip(b);
    for (row, ((a, a_out), b)) in rows.enumerate() {
        let first = row / group * width;
        let (c, r) = (&c[first..first + width], &r[first..first + width]);
        let mut acc = s.block(0.0);
        each_lane!(S, width, |at, k, span| {
            let a = span.load(s, a, at);
            let [upper, lower, below] = Units::new(s, span.load(s, c, at), span.load(s, r, at)).lines(s);
            let positive = s.lt(zero, a);
            span.store(s, a_out, at, s.mul(a, s.select(positive, upper, lower)));
            let sum = s.select(positive, acc[k], s.fma(s.neg(a), below, acc[k]));
            acc[k] = span.keep(s, sum, acc[k]);
        });
        *b = s.fold(acc);
    }
}

#[inline(always)]
fn relu_backward_of<S: Isa>(
    s: S,
    width: usize,
    a: &[f32],
    [c, r]: [&[f32]; 2],
    [da_out, db]: [&[f32]; 2],
    da: &mut [f32],
    dc: &mut [f32],
    dr: &mut [f32],
) {
    let (group, zero) = (a.len() / c.len(), s.splat(0.0));
    for sample in 0..c.len() / width {
        let (units, rows) = (sample * width, sample * group..(sample + 1) * group);
        each_vector!(S, width, |at, span| {
            let units = units + at;
            let interval = Units::new(s, span.load(s, c, units), span.load(s, r, units));
            let [upper, lower, below] = interval.lines(s);
            let (mut of_upper, mut of_lower) = (zero, zero);
            for row in rows.clone() {
                let at = row * width + at;
                let (a, da_out, db) = (span.load(s, a, at), span.load(s, da_out, at), s.splat(db[row]));
                let positive = s.lt(zero, a);
                let of_line = s.fma(da_out, lower, s.neg(s.mul(db, below)));
                span.store(s, da, at, s.select(positive, s.mul(da_out, upper), of_line));
                of_upper = s.select(positive, s.fma(da_out, a, of_upper), of_upper);
                of_lower = s.select(positive, of_lower, s.fma(db, a, of_lower));
            }
            let [of_c, of_r] = interval.backward(s, of_upper, of_lower);
            span.store(s, dc, units, of_c);
            span.store(s, dr, units, of_r);
        });
    }
}

#[inline(always)]
fn dot_of<S: Isa>(s: S, width: usize, size: bool, a: &[f32], x: &[f32], out: &mut [f32]) {
    let group = a.len() / x.len();
    for (row, (a, out)) in a.chunks_exact(width).zip(out).enumerate() {
        let x = &x[row / group * width..][..width];
        let mut acc = s.block(0.0);
        each_lane!(S, width, |at, k, span| {
            let a = span.load(s, a, at);
            let sum = s.fma(if size { s.abs(a) } else { a }, span.load(s, x, at), acc[k]);
            acc[k] = span.keep(s, sum, acc[k]);
        });
        *out = s.fold(acc);
    }
}

#[inline(always)]
fn dot_backward_of<S: Isa>(
    s: S,
    width: usize,
    size: bool,
    a: &[f32],
    x: &[f32],
    dout: &[f32],
    da: &mut [f32],
    dx: &mut [f32],
) {
    let (group, zero) = (a.len() / x.len(), s.splat(0.0));
    for sample in 0..x.len() / width {
        let (units, rows) = (sample * width, sample * group..(sample + 1) * group);
        each_vector!(S, width, |at, span| {
            let (units, mut sum) = (units + at, zero);
            let x = span.load(s, x, units);
            for row in rows.clone() {
                let at = row * width + at;
                let (a, dout) = (span.load(s, a, at), s.splat(dout[row]));
                let step = s.mul(dout, x);
                let by_sign = s.select(s.lt(zero, a), step, s.select(s.lt(a, zero), s.neg(step), zero));
                span.store(s, da, at, if size { by_sign } else { step });
                sum = s.fma(if size { s.abs(a) } else { a }, dout, sum);
            }
            span.store(s, dx, units, sum);
        });
    }
}
