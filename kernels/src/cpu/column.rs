//! Statistics of columns and what they scale.

use super::Cpu;
use super::reduce::{ColumnTerms, column_sum_of, columns};
use super::simd::{Isa, Span, dispatch, each_vector};
use crate::ops::ColumnOps;
use crate::reference::Reference;

impl ColumnOps<f32> for Cpu {
    fn column_moments(&self, width: usize, x: &[f32], mean: &mut [f32], var: &mut [f32]) {
        moments(self.simd, width, x, mean, var);
    }
    fn column_affine(&self, x: &[f32], shift: &[f32], scale: &[f32], offset: &[f32], y: &mut [f32]) {
        affine(self.simd, x, shift, scale, offset, y);
    }
    fn column_scale(&self, x: &[f32], scale: &[f32], y: &mut [f32]) {
        scaled(self.simd, x, scale, y);
    }
    fn column_dot(&self, x: &[f32], shift: Option<&[f32]>, dy: &[f32], out: &mut [f32]) {
        dot(self.simd, x, shift, dy, out);
    }
}

dispatch!(fn moments(width: usize, x: &[f32], mean: &mut [f32], var: &mut [f32]) = moments_of,
    scalar Reference.column_moments(width, x, mean, var));
dispatch!(fn affine(x: &[f32], shift: &[f32], scale: &[f32], offset: &[f32], y: &mut [f32]) = affine_of,
    scalar Reference.column_affine(x, shift, scale, offset, y));
dispatch!(fn scaled(x: &[f32], scale: &[f32], y: &mut [f32]) = scaled_of,
    scalar Reference.column_scale(x, scale, y));
dispatch!(fn dot(x: &[f32], shift: Option<&[f32]>, dy: &[f32], out: &mut [f32]) = dot_of,
    scalar Reference.column_dot(x, shift, dy, out));

#[inline(always)]
fn moments_of<S: Isa>(s: S, width: usize, x: &[f32], mean: &mut [f32], var: &mut [f32]) {
    let rows = x.len() / width;
    column_sum_of(s, width, x, mean);
    divide(s, rows, mean);
    columns(s, width, rows, &Squares { width, x, mean }, [&mut *var]);
    divide(s, rows, var);
}

#[inline(always)]
fn divide<S: Isa>(s: S, rows: usize, sums: &mut [f32]) {
    let count = s.splat(rows as f32);
    each_vector!(S, sums.len(), |at, span| {
        let v = s.div(span.load(s, sums, at), count);
        span.store(s, sums, at, v);
    });
}

/// The terms of a variance: (x − mean)².
struct Squares<'a> {
    width: usize,
    x: &'a [f32],
    mean: &'a [f32],
}

impl<S: Isa> ColumnTerms<S, 1> for Squares<'_> {
    #[inline(always)]
    fn add(&self, s: S, row: usize, at: usize, span: impl Span<S>, acc: [S::F; 1]) -> [S::F; 1] {
        let off = s.sub(span.load(s, self.x, row * self.width + at), span.load(s, self.mean, at));
        [s.fma(off, off, acc[0])]
    }
}

#[inline(always)]
fn affine_of<S: Isa>(s: S, x: &[f32], shift: &[f32], scale: &[f32], offset: &[f32], y: &mut [f32]) {
    let width = scale.len();
    for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
        each_vector!(S, width, |at, span| {
            let off = s.sub(span.load(s, x, at), span.load(s, shift, at));
            let v = s.fma(off, span.load(s, scale, at), span.load(s, offset, at));
            span.store(s, y, at, v);
        });
    }
}

#[inline(always)]
fn scaled_of<S: Isa>(s: S, x: &[f32], scale: &[f32], y: &mut [f32]) {
    let width = scale.len();
    for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
        each_vector!(S, width, |at, span| {
            let v = s.mul(span.load(s, x, at), span.load(s, scale, at));
            span.store(s, y, at, v);
        });
    }
}

/// The terms of a product of columns: (x − shift)·dy.
struct Products<'a> {
    width: usize,
    x: &'a [f32],
    shift: Option<&'a [f32]>,
    dy: &'a [f32],
}

impl<S: Isa> ColumnTerms<S, 1> for Products<'_> {
    #[inline(always)]
    fn add(&self, s: S, row: usize, at: usize, span: impl Span<S>, acc: [S::F; 1]) -> [S::F; 1] {
        let place = row * self.width + at;
        let mut x = span.load(s, self.x, place);
        if let Some(shift) = self.shift {
            x = s.sub(x, span.load(s, shift, at));
        }
        [s.fma(x, span.load(s, self.dy, place), acc[0])]
    }
}

#[inline(always)]
fn dot_of<S: Isa>(s: S, x: &[f32], shift: Option<&[f32]>, dy: &[f32], out: &mut [f32]) {
    let width = out.len();
    columns(s, width, x.len() / width, &Products { width, x, shift, dy }, [out]);
}
