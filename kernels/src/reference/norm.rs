//! Layer normalisation (Ba et al. 2016) over the last axis, two passes.

use super::reduce::{columns, lanes};
use crate::real::Real;

#[expect(clippy::too_many_arguments, reason = "a kernel's operands")]
pub(super) fn forward<T: Real>(
    width: usize,
    eps: f64,
    x: &[T],
    gamma: &[T],
    beta: &[T],
    y: &mut [T],
    mean: &mut [T],
    rstd: &mut [T],
) {
    let count = T::from_f64(width as f64);
    for (r, (x, y)) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).enumerate() {
        let m = lanes(width, |j, acc: T| acc + x[j]) / count;
        let squares = lanes(width, |j, acc: T| (x[j] - m).mul_add(x[j] - m, acc));
        let rs = T::ONE / (squares / count + T::from_f64(eps)).sqrt();
        for j in 0..width {
            y[j] = ((x[j] - m) * rs).mul_add(gamma[j], beta[j]);
        }
        mean[r] = m;
        rstd[r] = rs;
    }
}

/// dx = rstd·(g − mean(g) − x̂·mean(g·x̂)) with g = dy·γ.
#[expect(clippy::too_many_arguments, reason = "a kernel's operands")]
pub(super) fn backward_input<T: Real>(
    width: usize,
    x: &[T],
    gamma: &[T],
    mean: &[T],
    rstd: &[T],
    dy: &[T],
    add: Option<&[T]>,
    dx: &mut [T],
) {
    let count = T::from_f64(width as f64);
    for r in 0..x.len() / width {
        let row = r * width..(r + 1) * width;
        let (x, dy, dx) = (&x[row.clone()], &dy[row.clone()], &mut dx[row.clone()]);
        let hat = |j: usize| (x[j] - mean[r]) * rstd[r];
        let mean_g = lanes(width, |j, acc: T| acc + dy[j] * gamma[j]) / count;
        let mean_gx = lanes(width, |j, acc: T| (dy[j] * gamma[j]).mul_add(hat(j), acc)) / count;
        for j in 0..width {
            // −(x̂·mean_gx) + (g − mean_g), the product fused.
            let centred = (-hat(j)).mul_add(mean_gx, dy[j] * gamma[j] - mean_g);
            dx[j] = match add {
                Some(add) => centred.mul_add(rstd[r], add[row.start + j]),
                None => centred * rstd[r],
            };
        }
    }
}

pub(super) fn backward_params<T: Real>(
    width: usize,
    x: &[T],
    mean: &[T],
    rstd: &[T],
    dy: &[T],
    dgamma: &mut [T],
    dbeta: &mut [T],
) {
    let rows = x.len() / width;
    let at = |i: usize, j: usize| i * width + j;
    for (j, out) in dgamma.iter_mut().enumerate() {
        *out = lanes(rows, |i, acc: T| dy[at(i, j)].mul_add((x[at(i, j)] - mean[i]) * rstd[i], acc));
    }
    columns(width, rows, |i, j| dy[at(i, j)], dbeta);
}
