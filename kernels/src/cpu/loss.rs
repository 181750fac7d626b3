//! Softmax cross-entropy, row by row.

use super::reduce::sum_of;
use super::simd::{Isa, Plain, Span, dispatch, each_lane, each_vector};
use crate::math::{exp_of, ln_of};
use crate::ops::{CrossEntropy, Ops};
use crate::reference::{Reference, loss_weights};

dispatch!(pub(super) fn cross_entropy(
        shape: &CrossEntropy, logits: &[f32], targets: &[u32], losses: &mut [f32], lse: &mut [f32],
    ) = forward, scalar Reference.cross_entropy(shape, logits, targets, losses, lse));
dispatch!(pub(super) fn cross_entropy_backward(
        shape: &CrossEntropy, logits: &[f32], targets: &[u32], lse: &[f32], scale: f32, dlogits: &mut [f32],
    ) = backward, scalar Reference.cross_entropy_backward(shape, logits, targets, lse, scale, dlogits));

#[inline(always)]
fn forward<S: Isa>(s: S, shape: &CrossEntropy, logits: &[f32], targets: &[u32], losses: &mut [f32], lse: &mut [f32]) {
    let (on, off) = loss_weights::<f32>(shape);
    for (r, x) in logits.chunks_exact(shape.vocab).enumerate() {
        let max = max_of(s, x);
        let m = s.splat(max);
        let mut acc = s.block(0.0);
        each_lane!(S, x.len(), |at, k, span| {
            let e = exp_of(s, s.sub(span.load(s, x, at), m));
            acc[k] = span.keep(s, s.add(acc[k], e), acc[k]);
        });
        lse[r] = max + ln_of(Plain, s.fold(acc));
        let loss = (-on).mul_add(x[targets[r] as usize], lse[r]);
        losses[r] = if shape.smoothing > 0.0 { (-off).mul_add(sum_of(s, x), loss) } else { loss };
    }
}

/// The maximum by compare-and-select, starting at −∞. Its order shows only in the sign of a zero, which
/// neither exp(x − max) nor max + ln Σ can see.
#[inline(always)]
fn max_of<S: Isa>(s: S, x: &[f32]) -> f32 {
    let mut acc = s.block(f32::NEG_INFINITY);
    each_lane!(S, x.len(), |at, k, span| {
        acc[k] = span.keep(s, s.max(acc[k], span.load(s, x, at)), acc[k]);
    });
    s.fold_max(acc)
}

#[inline(always)]
fn backward<S: Isa>(
    s: S,
    shape: &CrossEntropy,
    logits: &[f32],
    targets: &[u32],
    lse: &[f32],
    scale: f32,
    dlogits: &mut [f32],
) {
    let (on, off) = loss_weights::<f32>(shape);
    for (r, (x, dx)) in logits.chunks_exact(shape.vocab).zip(dlogits.chunks_exact_mut(shape.vocab)).enumerate() {
        let l = s.splat(lse[r]);
        each_vector!(S, x.len(), |at, span| {
            let p = exp_of(s, s.sub(span.load(s, x, at), l));
            let v = s.mul(s.sub(p, s.splat(off)), s.splat(scale));
            span.store(s, dx, at, v);
        });
        let t = targets[r] as usize;
        dx[t] = ((exp_of(Plain, x[t] - lse[r]) - off) - on) * scale;
    }
}
