//! Columns of a matrix \[N,C\]: the parts of batch normalisation.

use crate::real::Real;
use crate::reference::column;

/// The kernels that batch normalisation is made of. What is not overridden is the reference itself.
pub trait ColumnOps<T: Real> {
    /// mean \[C\] and biased variance \[C\] over the rows of x\[N,C\].
    fn column_moments(&self, width: usize, x: &[T], mean: &mut [T], var: &mut [T]) {
        column::moments(width, x, mean, var);
    }
    /// 1/√(var + eps).
    fn rstd(&self, eps: f64, var: &[T], rstd: &mut [T]) {
        column::rstd(eps, var, rstd);
    }
    /// dvar from rstd and its gradient.
    fn rstd_backward(&self, rstd: &[T], drstd: &[T], dvar: &mut [T]) {
        column::rstd_backward(rstd, drstd, dvar);
    }
    /// y\[N,C\] = (x − shift)·scale + offset, each \[C\].
    fn column_affine(&self, x: &[T], shift: &[T], scale: &[T], offset: &[T], y: &mut [T]) {
        column::affine(x, shift, scale, offset, y);
    }
    /// y\[N,C\] = x·scale\[C\].
    fn column_scale(&self, x: &[T], scale: &[T], y: &mut [T]) {
        column::scale(x, scale, y);
    }
    /// out\[C\] = Σ_i (x − shift)·dy by the column rule; without a shift Σ_i x·dy.
    fn column_dot(&self, x: &[T], shift: Option<&[T]>, dy: &[T], out: &mut [T]) {
        column::dot(x, shift, dy, out);
    }
}
