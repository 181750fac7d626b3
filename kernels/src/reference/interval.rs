//! Interval bounds as centre and radius (Gowal et al. 2018; Shi et al. 2021, §3): what lies in \[c − r, c + r\].

use super::reduce::lanes;
use crate::ops::IntervalPenalty;
use crate::real::Real;
use std::cmp::Ordering;

/// Sums of an [`IntervalPenalty`].
pub const INTERVAL_SUMS: usize = 8;

/// The box of radius `eps` around x, cut at `low` and `high`.
pub(crate) fn input_box<T: Real>([low, high]: [f64; 2], eps: T, x: &[T], c: &mut [T], r: &mut [T]) {
    let (low, high, half) = (T::from_f64(low), T::from_f64(high), T::from_f64(0.5));
    for ((c, r), &x) in c.iter_mut().zip(r).zip(x) {
        let (below, above) = (smaller(eps, x - low), smaller(eps, high - x));
        *r = half * (below + above);
        *c = x + half * (above - below);
    }
}

fn smaller<T: Real>(a: T, b: T) -> T {
    if b < a { b } else { a }
}

/// The interval of ReLU. A unit that is active everywhere keeps its centre and radius exactly.
pub(crate) fn relu<T: Real>(c: &[T], r: &[T], c_out: &mut [T], r_out: &mut [T]) {
    for i in 0..c.len() {
        let (low, high) = (c[i] - r[i], c[i] + r[i]);
        let half = T::from_f64(0.5) * high;
        (c_out[i], r_out[i]) = if low > T::ZERO {
            (c[i], r[i])
        } else if high > T::ZERO {
            (half, half)
        } else {
            (T::ZERO, T::ZERO)
        };
    }
}

/// dc and dr from those of the outputs.
pub(crate) fn relu_backward<T: Real>(c: &[T], r: &[T], [dc_out, dr_out]: [&[T]; 2], dc: &mut [T], dr: &mut [T]) {
    for i in 0..c.len() {
        let half = T::from_f64(0.5) * (dc_out[i] + dr_out[i]);
        (dc[i], dr[i]) = if c[i] - r[i] > T::ZERO {
            (dc_out[i], dr_out[i])
        } else if c[i] + r[i] > T::ZERO {
            (half, half)
        } else {
            (T::ZERO, T::ZERO)
        };
    }
}

/// Σ over a matrix: each row by the lane rule, the rows' sums by it again.
fn total<T: Real>(width: usize, rows: usize, step: impl Fn(usize, T) -> T) -> T {
    lanes(rows, |i, acc: T| acc + lanes(width, |j, acc: T| step(i * width + j, acc)))
}

/// The penalty, and the sums that it is made of: Σr, Σc, how many intervals lie above 0 and how many below, Σc of either,
/// Σ(c − mean)² of either.
pub(crate) fn penalty<T: Real>(p: &IntervalPenalty, c: &[T], r: &[T], first: T, sums: &mut [T]) -> T {
    let (width, rows) = (p.width, c.len() / p.width);
    let above = |i: usize| c[i] - r[i] > T::ZERO;
    let below = |i: usize| c[i] + r[i] < T::ZERO;
    let of = |is: &dyn Fn(usize) -> bool, value: &dyn Fn(usize, T) -> T| {
        total(width, rows, |i, acc: T| if is(i) { value(i, acc) } else { acc })
    };
    sums[0] = of(&|_| true, &|i, acc| acc + r[i]);
    sums[1] = of(&|_| true, &|i, acc| acc + c[i]);
    sums[2] = of(&above, &|_, acc| acc + T::ONE);
    sums[3] = of(&below, &|_, acc| acc + T::ONE);
    sums[4] = of(&above, &|i, acc| acc + c[i]);
    sums[5] = of(&below, &|i, acc| acc + c[i]);
    let mean = sums[1] / T::from_f64(c.len() as f64);
    sums[6] = of(&above, &|i, acc| (c[i] - mean).mul_add(c[i] - mean, acc));
    sums[7] = of(&below, &|i, acc| (c[i] - mean).mul_add(c[i] - mean, acc));
    penalty_of(p, c.len(), first, sums)
}

/// Nothing is divided by less.
pub(crate) const LEAST_WIDTH: f64 = 1e-30;

/// [tightness] ReLU(τ − first/width)/τ + [balance] (ReLU(τ − balance of means) + ReLU(τ − balance of variances))/τ.
pub(crate) fn penalty_of<T: Real>(p: &IntervalPenalty, count: usize, first: T, sums: &[T]) -> T {
    let tau = T::from_f64(p.tau);
    let mut value = T::ZERO;
    if p.tightness {
        let width = (sums[0] / T::from_f64(count as f64)).select_max(T::from_f64(LEAST_WIDTH));
        value = value + positive(tau - first / width);
    }
    if p.balance {
        for (a, b) in [(sums[4], -sums[5]), (sums[6], sums[7])] {
            if a > T::ZERO && b > T::ZERO {
                value = value + positive(tau - smaller(a, b) / a.select_max(b));
            }
        }
    }
    value / tau
}

fn positive<T: Real>(x: T) -> T {
    if x > T::ZERO { x } else { T::ZERO }
}

/// The penalty's slopes, times `scale`.
pub(crate) struct PenaltySlopes<T> {
    /// With respect to every radius.
    pub(crate) radius: T,
    /// With respect to every centre, through their mean.
    pub(crate) centre: T,
    pub(crate) mean: T,
    /// With respect to the centres above 0: a constant, and what stands before c − mean.
    pub(crate) above: [T; 2],
    pub(crate) below: [T; 2],
}

/// dq/da and dq/db of q = min(a,b)/max(a,b), times −`scale`; 0 where q is not below `tau`.
fn balance_slopes<T: Real>(tau: T, scale: T, a: T, b: T) -> [T; 2] {
    if !(a > T::ZERO && b > T::ZERO && smaller(a, b) / a.select_max(b) < tau) {
        return [T::ZERO; 2];
    }
    let (low, high) = (smaller(a, b), a.select_max(b));
    let (of_low, of_high) = (-(scale / high), (scale * low) / (high * high));
    if b < a { [of_high, of_low] } else { [of_low, of_high] }
}

pub(crate) fn penalty_slopes<T: Real>(
    p: &IntervalPenalty,
    count: usize,
    first: T,
    sums: &[T],
    dpenalty: T,
) -> PenaltySlopes<T> {
    let (tau, count, two) = (T::from_f64(p.tau), T::from_f64(count as f64), T::from_f64(2.0));
    let scale = dpenalty / tau;
    let mean = sums[1] / count;
    let mut slopes = PenaltySlopes { radius: T::ZERO, centre: T::ZERO, mean, above: [T::ZERO; 2], below: [T::ZERO; 2] };
    if p.tightness {
        let width = sums[0] / count;
        if width > T::from_f64(LEAST_WIDTH) && first / width < tau {
            slopes.radius = ((scale * first) / (width * width)) / count;
        }
    }
    if p.balance {
        let [above, below] = balance_slopes(tau, scale, sums[4], -sums[5]);
        let [above_squares, below_squares] = balance_slopes(tau, scale, sums[6], sums[7]);
        slopes.above = [above, two * above_squares];
        slopes.below = [-below, two * below_squares];
        // Σ(c − mean) of either, through the mean that all centres share.
        let off_above = sums[4] - sums[2] * mean;
        let off_below = sums[5] - sums[3] * mean;
        slopes.centre = -(slopes.above[1] * off_above + slopes.below[1] * off_below) / count;
    }
    slopes
}

/// dc and dr of the penalty.
pub(crate) fn penalty_backward<T: Real>(slopes: &PenaltySlopes<T>, c: &[T], r: &[T], dc: &mut [T], dr: &mut [T]) {
    for i in 0..c.len() {
        let off = c[i] - slopes.mean;
        let more = if c[i] - r[i] > T::ZERO {
            off.mul_add(slopes.above[1], slopes.above[0])
        } else if c[i] + r[i] < T::ZERO {
            off.mul_add(slopes.below[1], slopes.below[0])
        } else {
            T::ZERO
        };
        dc[i] = slopes.centre + more;
        dr[i] = slopes.radius;
    }
}

/// d\[k, a·V + b\] = |w\[k,a\] − w\[k,b\]|.
pub(crate) fn pair_distances<T: Real>(classes: usize, w: &[T], out: &mut [T]) {
    for (w, out) in w.chunks_exact(classes).zip(out.chunks_exact_mut(classes * classes)) {
        for (a, out) in out.chunks_exact_mut(classes).enumerate() {
            for (b, out) in out.iter_mut().enumerate() {
                *out = (w[a] - w[b]).abs();
            }
        }
    }
}

/// dw\[k,a\] = Σ_b sign(w_a − w_b)·(d_ab + d_ba), one chain over b.
pub(crate) fn pair_distances_backward<T: Real>(classes: usize, w: &[T], dout: &[T], dw: &mut [T]) {
    for (k, (w, dw)) in w.chunks_exact(classes).zip(dw.chunks_exact_mut(classes)).enumerate() {
        let d = |a: usize, b: usize| dout[(k * classes + a) * classes + b];
        for (a, dw) in dw.iter_mut().enumerate() {
            *dw = (0..classes).fold(T::ZERO, |acc, b| {
                let both = d(a, b) + d(b, a);
                if w[a] > w[b] {
                    acc + both
                } else if w[a] < w[b] {
                    acc - both
                } else {
                    acc
                }
            });
        }
    }
}

/// m\[i,j\] = (z\[i,j\] − z\[i,y\]) + d\[i, y·V + j\]: the most by which class j can beat the target y.
pub(crate) fn margins<T: Real>(classes: usize, z: &[T], distances: &[T], targets: &[u32], out: &mut [T]) {
    for (i, (&y, out)) in targets.iter().zip(out.chunks_exact_mut(classes)).enumerate() {
        let (z, y) = (&z[i * classes..][..classes], y as usize);
        let distances = &distances[(i * classes + y) * classes..][..classes];
        for j in 0..classes {
            out[j] = (z[j] - z[y]) + distances[j];
        }
    }
}

/// dz and dd. The target's own margin is 0 whatever the logits are.
pub(crate) fn margins_backward<T: Real>(classes: usize, dm: &[T], targets: &[u32], dz: &mut [T], dd: &mut [T]) {
    for (i, &y) in targets.iter().enumerate() {
        let (dm, y) = (&dm[i * classes..][..classes], y as usize);
        let of_target = lanes(classes, |j, acc: T| if j == y { acc } else { acc + dm[j] });
        for (j, dz) in dz[i * classes..][..classes].iter_mut().enumerate() {
            *dz = if j == y { -of_target } else { dm[j] };
        }
        let dd = &mut dd[i * classes * classes..][..classes * classes];
        dd.fill(T::ZERO);
        for j in (0..classes).filter(|j| *j != y) {
            dd[y * classes + j] = dm[j];
        }
    }
}

/// 1 for a row in which another class is above the target, or not comparable with it; else 0.
pub(crate) fn errors<T: Real>(classes: usize, logits: &[T], targets: &[u32], wrong: &mut [T]) {
    for ((row, &y), wrong) in logits.chunks_exact(classes).zip(targets).zip(wrong) {
        let own = row[y as usize];
        let above = |x: &T| own.partial_cmp(x).is_none_or(Ordering::is_lt);
        let beaten = row.iter().enumerate().any(|(j, x)| j != y as usize && above(x));
        *wrong = if beaten { T::ONE } else { T::ZERO };
    }
}
