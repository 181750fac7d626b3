//! Interval bounds as centre c and radius r, and the robust loss that is made of them.

use crate::real::Real;
use crate::reference::interval;
pub use crate::reference::interval::INTERVAL_SUMS;

/// What wide bounds and one-sided ReLUs of a layer cost (Shi et al. 2021, §3.3.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntervalPenalty {
    /// Units of the layer C.
    pub width: usize,
    /// Ratios above this cost nothing: τ.
    pub tau: f64,
    /// ReLU(τ − Δ_0/Δ_i)/τ, Δ the mean radius: L_tightness.
    pub tightness: bool,
    /// (ReLU(τ − min(α, 1/α)) + ReLU(τ − min(β, 1/β)))/τ: L_relu. α compares the centres of the units that are active
    /// everywhere with those that are nowhere, β their squared distances from the mean of all. A ratio counts as
    /// nothing where either side has none.
    pub balance: bool,
}

/// The kernels of interval bounds. What is not overridden is the reference itself.
pub trait IntervalOps<T: Real> {
    /// The box of radius `eps` around x, cut at `limits`.
    fn input_box(&self, limits: [f64; 2], eps: T, x: &[T], c: &mut [T], r: &mut [T]) {
        interval::input_box(limits, eps, x, c, r);
    }
    /// The interval of ReLU.
    fn interval_relu(&self, c: &[T], r: &[T], c_out: &mut [T], r_out: &mut [T]) {
        interval::relu(c, r, c_out, r_out);
    }
    /// dc and dr; `d_out` are the gradients of centre and radius.
    fn interval_relu_backward(&self, c: &[T], r: &[T], d_out: [&[T]; 2], dc: &mut [T], dr: &mut [T]) {
        interval::relu_backward(c, r, d_out, dc, dr);
    }
    /// The penalty of c, r \[N,C\], and the [`INTERVAL_SUMS`] sums behind it; `first` is the input's mean radius.
    fn interval_penalty(&self, p: &IntervalPenalty, c: &[T], r: &[T], first: T, sums: &mut [T]) -> T {
        interval::penalty(p, c, r, first, sums)
    }
    /// dc and dr of `dpenalty` times the penalty; `known` are the input's mean radius and `dpenalty`.
    #[expect(clippy::too_many_arguments, reason = "a kernel's operands")]
    fn interval_penalty_backward(
        &self,
        p: &IntervalPenalty,
        c: &[T],
        r: &[T],
        sums: &[T],
        [first, dpenalty]: [T; 2],
        dc: &mut [T],
        dr: &mut [T],
    ) {
        interval::penalty_backward(&interval::penalty_slopes(p, c.len(), first, sums, dpenalty), c, r, dc, dr);
    }
    /// d\[K,V·V\] from w\[K,V\]: |w_a − w_b| at a·V + b.
    fn pair_distances(&self, classes: usize, w: &[T], out: &mut [T]) {
        interval::pair_distances(classes, w, out);
    }
    /// dw\[K,V\].
    fn pair_distances_backward(&self, classes: usize, w: &[T], dout: &[T], dw: &mut [T]) {
        interval::pair_distances_backward(classes, w, dout, dw);
    }
    /// m\[N,V\] from logits z\[N,V\] and radii of their differences \[N,V·V\]: the most by which class j can beat the target.
    fn margins(&self, classes: usize, z: &[T], distances: &[T], targets: &[u32], out: &mut [T]) {
        interval::margins(classes, z, distances, targets, out);
    }
    /// dz \[N,V\] and the gradient of the radii \[N,V·V\].
    fn margins_backward(&self, classes: usize, dm: &[T], targets: &[u32], dz: &mut [T], dd: &mut [T]) {
        interval::margins_backward(classes, dm, targets, dz, dd);
    }
    /// wrong \[N\]: 1 where another class is above the target or not comparable with it, else 0.
    fn errors(&self, classes: usize, logits: &[T], targets: &[u32], wrong: &mut [T]) {
        interval::errors(classes, logits, targets, wrong);
    }
}
