//! Statistics of columns and what they scale: batch normalisation (Ioffe & Szegedy 2015), in parts that bounds can share.

use super::reduce::columns;
use super::reduce::lanes;
use crate::real::Real;

/// mean and (biased) variance of each column, two passes, by the column rule.
pub(crate) fn moments<T: Real>(width: usize, x: &[T], mean: &mut [T], var: &mut [T]) {
    let rows = x.len() / width;
    let count = T::from_f64(rows as f64);
    columns(width, rows, |i, j| x[i * width + j], mean);
    for (j, (mean, var)) in mean.iter_mut().zip(var).enumerate() {
        *mean = *mean / count;
        let off = |i: usize| x[i * width + j] - *mean;
        *var = lanes(rows, |i, acc: T| off(i).mul_add(off(i), acc)) / count;
    }
}

/// 1/√(v + eps).
pub(crate) fn rstd<T: Real>(eps: f64, var: &[T], out: &mut [T]) {
    for (out, &v) in out.iter_mut().zip(var) {
        *out = T::ONE / (v + T::from_f64(eps)).sqrt();
    }
}

/// dv = −½·d·r·r².
pub(crate) fn rstd_backward<T: Real>(rstd: &[T], drstd: &[T], dvar: &mut [T]) {
    for ((out, &r), &d) in dvar.iter_mut().zip(rstd).zip(drstd) {
        *out = (d * T::from_f64(-0.5)) * (r * (r * r));
    }
}

/// y = (x − shift)·scale + offset, the last two in one rounding.
pub(crate) fn affine<T: Real>(x: &[T], shift: &[T], scale: &[T], offset: &[T], y: &mut [T]) {
    let width = scale.len();
    for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
        for j in 0..width {
            y[j] = (x[j] - shift[j]).mul_add(scale[j], offset[j]);
        }
    }
}

/// y = x·scale.
pub(crate) fn scale<T: Real>(x: &[T], scale: &[T], y: &mut [T]) {
    let width = scale.len();
    for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
        for j in 0..width {
            y[j] = x[j] * scale[j];
        }
    }
}

/// out\[j\] = Σ_i (x\[i,j\] − shift\[j\])·dy\[i,j\] by the column rule; without a shift Σ_i x·dy.
pub(crate) fn dot<T: Real>(x: &[T], shift: Option<&[T]>, dy: &[T], out: &mut [T]) {
    let width = out.len();
    for (j, out) in out.iter_mut().enumerate() {
        *out = lanes(x.len() / width, |i, acc: T| {
            let x = x[i * width + j];
            shift.map_or(x, |shift| x - shift[j]).mul_add(dy[i * width + j], acc)
        });
    }
}
