//! Linear upper bounds taken back through a network, as deviation from the intervals' centres. Of N samples each has a group of
//! G rows: the coefficients of what is bounded.

use crate::real::Real;
use crate::reference::linear_bounds;

/// The kernels of linear bounds. What is not overridden is the reference itself.
pub trait LinearBoundOps<T: Real> {
    /// \[N·V,V\]: row (i, j) is e_j − e_y, y the target of i.
    fn contrasts(&self, classes: usize, targets: &[u32], out: &mut [T]) {
        linear_bounds::contrasts(classes, targets, out);
    }
    /// From a\[N·G,K\] behind ReLU and the intervals c, r \[N,K\] before it: a'\[N·G,K\] before it, and b\[N·G\], by how much the
    /// bound moves.
    fn linear_relu(&self, width: usize, a: &[T], c: &[T], r: &[T], a_out: &mut [T], b: &mut [T]) {
        linear_bounds::relu(width, a, c, r, a_out, b);
    }
    /// da, dc and dr; `d_out` are the gradients of a' and b.
    #[expect(clippy::too_many_arguments, reason = "a kernel's operands")]
    fn linear_relu_backward(
        &self,
        width: usize,
        a: &[T],
        interval: [&[T]; 2],
        d_out: [&[T]; 2],
        da: &mut [T],
        dc: &mut [T],
        dr: &mut [T],
    ) {
        linear_bounds::relu_backward(width, a, interval, d_out, da, dc, dr);
    }
    /// out\[N·G\] = Σ_k a\[N·G,K\]·x\[N,K\] by the lane rule; with `size` that of |a|.
    fn group_dot(&self, width: usize, size: bool, a: &[T], x: &[T], out: &mut [T]) {
        linear_bounds::dot(width, size, a, x, out);
    }
    /// da and dx.
    #[expect(clippy::too_many_arguments, reason = "a kernel's operands")]
    fn group_dot_backward(&self, width: usize, size: bool, a: &[T], x: &[T], dout: &[T], da: &mut [T], dx: &mut [T]) {
        linear_bounds::dot_backward(width, size, a, x, dout, da, dx);
    }
}
