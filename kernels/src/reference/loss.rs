//! Softmax cross-entropy with label smoothing (Szegedy et al. 2016, §7), in nats.

use super::reduce::lanes;
use crate::ops::CrossEntropy;
use crate::real::Real;

/// (1 − s, s/V) in f64, rounded once.
pub(crate) fn weights<T: Real>(shape: &CrossEntropy) -> (T, T) {
    (T::from_f64(1.0 - shape.smoothing), T::from_f64(shape.smoothing / shape.vocab as f64))
}

/// loss = (lse − (1−s)·x_target) − (s/V)·Σx.
pub(super) fn forward<T: Real>(shape: &CrossEntropy, logits: &[T], targets: &[u32], losses: &mut [T], lse: &mut [T]) {
    let (on, off) = weights::<T>(shape);
    for (r, x) in logits.chunks_exact(shape.vocab).enumerate() {
        let max = x.iter().fold(T::NEG_INFINITY, |m, &x| m.select_max(x));
        let sum = lanes(shape.vocab, |j, acc: T| acc + (x[j] - max).exp());
        lse[r] = max + sum.ln();
        let loss = (-on).mul_add(x[targets[r] as usize], lse[r]);
        losses[r] =
            if shape.smoothing > 0.0 { (-off).mul_add(lanes(shape.vocab, |j, acc: T| acc + x[j]), loss) } else { loss };
    }
}

/// dlogits = (exp(x − lse) − q)·scale, where q is s/V, plus 1 − s at the target.
pub(super) fn backward<T: Real>(
    shape: &CrossEntropy,
    logits: &[T],
    targets: &[u32],
    lse: &[T],
    scale: T,
    dlogits: &mut [T],
) {
    let (on, off) = weights::<T>(shape);
    for (r, (x, dx)) in logits.chunks_exact(shape.vocab).zip(dlogits.chunks_exact_mut(shape.vocab)).enumerate() {
        for (dx, &x) in dx.iter_mut().zip(x) {
            *dx = ((x - lse[r]).exp() - off) * scale;
        }
        let t = targets[r] as usize;
        dx[t] = (((x[t] - lse[r]).exp() - off) - on) * scale;
    }
}
