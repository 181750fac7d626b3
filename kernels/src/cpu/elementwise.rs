//! Sums, products and multiples of whole buffers.

use super::simd::{Isa, Span, dispatch, each_vector};
use crate::ops::Ops;
use crate::reference::Reference;

dispatch!(pub(super) fn add(a: &[f32], b: &[f32], out: &mut [f32]) = add_of, scalar Reference.add(a, b, out));
dispatch!(pub(super) fn mul(a: &[f32], b: &[f32], out: &mut [f32]) = mul_of, scalar Reference.mul(a, b, out));
dispatch!(pub(super) fn scale(k: f32, a: &[f32], out: &mut [f32]) = scale_of, scalar Reference.scale(k, a, out));

#[inline(always)]
fn add_of<S: Isa>(s: S, a: &[f32], b: &[f32], out: &mut [f32]) {
    let n = out.len();
    let (a, b) = (&a[..n], &b[..n]);
    each_vector!(S, n, |at, span| {
        let sum = s.add(span.load(s, a, at), span.load(s, b, at));
        span.store(s, out, at, sum);
    });
}

#[inline(always)]
fn mul_of<S: Isa>(s: S, a: &[f32], b: &[f32], out: &mut [f32]) {
    let n = out.len();
    let (a, b) = (&a[..n], &b[..n]);
    each_vector!(S, n, |at, span| {
        let product = s.mul(span.load(s, a, at), span.load(s, b, at));
        span.store(s, out, at, product);
    });
}

#[inline(always)]
fn scale_of<S: Isa>(s: S, k: f32, a: &[f32], out: &mut [f32]) {
    let n = out.len();
    let (k, a) = (s.splat(k), &a[..n]);
    each_vector!(S, n, |at, span| {
        let product = s.mul(k, span.load(s, a, at));
        span.store(s, out, at, product);
    });
}
