//! Softmax cross-entropy, row by row.

use super::reduce::sum_of;
use super::simd::{Isa, Span, dispatch, each_lane, each_vector};
use super::softmax::{SHORT, exponentials, short_row};
use crate::math::{exp_of, ln_of};
use crate::ops::{CrossEntropy, Ops};
use crate::reference::{LANES, Reference, loss_weights};

dispatch!(pub(super) fn cross_entropy(
        shape: &CrossEntropy, logits: &[f32], targets: &[u32], losses: &mut [f32], lse: &mut [f32],
    ) = forward, scalar Reference.cross_entropy(shape, logits, targets, losses, lse));
dispatch!(pub(super) fn cross_entropy_backward(
        shape: &CrossEntropy, logits: &[f32], targets: &[u32], lse: &[f32], scale: f32, dlogits: &mut [f32],
    ) = backward, scalar Reference.cross_entropy_backward(shape, logits, targets, lse, scale, dlogits));

#[inline(always)]
fn forward<S: Isa>(s: S, shape: &CrossEntropy, logits: &[f32], targets: &[u32], losses: &mut [f32], lse: &mut [f32]) {
    let (on, off) = loss_weights::<f32>(shape);
    let rows = || logits.chunks_exact(shape.vocab);
    // The maximum waits in `losses` and Σ exp(x − max) in `lse`, so that the logarithms are taken many at once.
    for ((x, max), sum) in rows().zip(&mut *losses).zip(&mut *lse) {
        if x.len() <= SHORT * S::WIDTH {
            short_row!(S, x.len(), |N, last| { (*max, *sum) = max_and_sum::<S, N>(s, x, last) });
            continue;
        }
        *max = max_of(s, x);
        let m = s.splat(*max);
        let mut acc = s.block(0.0);
        each_lane!(S, x.len(), |at, k, span| {
            let e = exp_of(s, s.sub(span.load(s, x, at), m));
            acc[k] = span.keep(s, s.add(acc[k], e), acc[k]);
        });
        *sum = s.fold(acc);
    }
    let n = rows().len();
    each_vector!(S, n, |at, span| {
        let v = s.add(span.load(s, losses, at), ln_of(s, span.load(s, lse, at)));
        span.store(s, lse, at, v);
    });
    for (((x, &target), loss), &lse) in rows().zip(targets).zip(losses).zip(&*lse) {
        *loss = (-on).mul_add(x[target as usize], lse);
        if shape.smoothing > 0.0 {
            *loss = (-off).mul_add(sum_of(s, x), *loss);
        }
    }
}

/// The maximum of a short row, and Σ exp(x − max).
#[inline(always)]
fn max_and_sum<S: Isa, const N: usize>(s: S, row: &[f32], last: impl Span<S>) -> (f32, f32) {
    let at = (N - 1) * S::WIDTH;
    let mut x = [[last.load(s, row, at); N]];
    for v in 0..N - 1 {
        x[0][v] = s.load(&row[v * S::WIDTH..]);
    }
    let ([max], [sum]) = exponentials(s, &mut x, [last]);
    (max, sum)
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
    let (vocab, rows) = (shape.vocab, logits.len() / shape.vocab);
    let mut at_targets = [0.0; LANES];
    for first in (0..rows).step_by(LANES) {
        let group = first..rows.min(first + LANES);
        // The targets' exponentials of many rows are taken at once.
        let at_targets = &mut at_targets[..group.len()];
        for (r, x) in group.clone().zip(&mut *at_targets) {
            *x = logits[r * vocab + targets[r] as usize] - lse[r];
        }
        each_vector!(S, at_targets.len(), |at, span| {
            let p = exp_of(s, span.load(s, at_targets, at));
            span.store(s, at_targets, at, p);
        });
        for (r, p) in group.zip(at_targets) {
            let row = r * vocab..(r + 1) * vocab;
            let (x, dx, l) = (&logits[row.clone()], &mut dlogits[row], s.splat(lse[r]));
            each_vector!(S, vocab, |at, span| {
                let p = exp_of(s, s.sub(span.load(s, x, at), l));
                let v = s.mul(s.sub(p, s.splat(off)), s.splat(scale));
                span.store(s, dx, at, v);
            });
            dx[targets[r] as usize] = ((*p - off) - on) * scale;
        }
    }
}
