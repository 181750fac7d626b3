//! Linear upper bounds taken back through a network (CROWN; Zhang et al. 2018), with the intervals of every layer known.
//!
//! All is told as deviation from the intervals' centres: a row a of coefficients bounds what it bounds by a·(x − c) + b. So an
//! affine map moves coefficients alone, a unit that is active everywhere adds nothing to b, and neither does the upper line
//! of any other.

use super::reduce::lanes;
use crate::real::Real;

/// No slope is divided by less on the way back.
pub(crate) const LEAST_RADIUS: f64 = 1e-30;

/// e_j − e_y by row (i, j), y the target of i.
pub(crate) fn contrasts<T: Real>(classes: usize, targets: &[u32], out: &mut [T]) {
    out.fill(T::ZERO);
    for (rows, &y) in out.chunks_exact_mut(classes * classes).zip(targets) {
        for (j, row) in rows.chunks_exact_mut(classes).enumerate() {
            row[j] = T::ONE;
            row[y as usize] = row[y as usize] - T::ONE;
        }
    }
}

/// The lines around ReLU over an interval.
struct Lines<T> {
    /// Slope of the upper one, which goes through the centre of ReLU's interval.
    upper: T,
    lower: T,
    /// How far the lower one passes below that centre.
    below: T,
}

/// Whether ReLU bends inside the interval. Its radius is then above 0.
fn bends<T: Real>(c: T, r: T) -> bool {
    let active = c - r > T::ZERO;
    !active && c + r > T::ZERO
}

/// The lower line is z where the interval reaches further up than down, else 0.
fn lines<T: Real>(c: T, r: T) -> Lines<T> {
    let half = T::from_f64(0.5);
    let of = |slope: T| Lines { upper: slope, lower: slope, below: T::ZERO };
    if bends(c, r) {
        let lower = if c > T::ZERO { T::ONE } else { T::ZERO };
        Lines { upper: (half * (c + r)) / r, lower, below: half * (r - c.abs()) }
    } else if c - r > T::ZERO {
        of(T::ONE)
    } else {
        of(T::ZERO)
    }
}

/// Coefficients before ReLU and what its lines add to the bound.
pub(crate) fn relu<T: Real>(width: usize, a: &[T], c: &[T], r: &[T], a_out: &mut [T], b: &mut [T]) {
    let group = a.len() / c.len();
    for (row, b) in b.iter_mut().enumerate() {
        let at = |k: usize| (a[row * width + k], lines(c[row / group * width + k], r[row / group * width + k]));
        for k in 0..width {
            let (a, Lines { upper, lower, .. }) = at(k);
            a_out[row * width + k] = a * if a > T::ZERO { upper } else { lower };
        }
        *b = lanes(width, |k, acc: T| {
            let (a, Lines { below, .. }) = at(k);
            if a > T::ZERO { acc } else { (-a).mul_add(below, acc) }
        });
    }
}

/// da; dc and dr, one chain each over a sample's rows for the upper lines and one for the lower.
pub(crate) fn relu_backward<T: Real>(
    width: usize,
    a: &[T],
    [c, r]: [&[T]; 2],
    [da_out, db]: [&[T]; 2],
    da: &mut [T],
    dc: &mut [T],
    dr: &mut [T],
) {
    let group = a.len() / c.len();
    for unit in 0..c.len() {
        let (c, r) = (c[unit], r[unit]);
        let Lines { upper, lower, below } = lines(c, r);
        let (mut of_upper, mut of_lower) = (T::ZERO, T::ZERO);
        for j in 0..group {
            let row = unit / width * group + j;
            let at = row * width + unit % width;
            if a[at] > T::ZERO {
                da[at] = da_out[at] * upper;
                of_upper = da_out[at].mul_add(a[at], of_upper);
            } else {
                da[at] = da_out[at].mul_add(lower, -(db[row] * below));
                of_lower = db[row].mul_add(a[at], of_lower);
            }
        }
        (dc[unit], dr[unit]) = if bends(c, r) { lines_backward(c, r, of_upper, of_lower) } else { (T::ZERO, T::ZERO) };
    }
}

/// dc and dr from the gradient of the upper slope and that of −2·`below`.
fn lines_backward<T: Real>(c: T, r: T, of_upper: T, of_lower: T) -> (T, T) {
    let half = T::from_f64(0.5);
    let steep = half / r.select_max(T::from_f64(LEAST_RADIUS));
    let side = if c > T::ZERO { half } else { -half };
    let dc = of_upper.mul_add(steep, of_lower * side);
    let dr = (-of_upper).mul_add((c / r) * steep, -(half * of_lower));
    (dc, dr)
}

/// Σ_k a·x by row, or |a|·x.
pub(crate) fn dot<T: Real>(width: usize, size: bool, a: &[T], x: &[T], out: &mut [T]) {
    let group = a.len() / x.len();
    for (row, out) in out.iter_mut().enumerate() {
        *out = lanes(width, |k, acc| {
            let a = a[row * width + k];
            (if size { a.abs() } else { a }).mul_add(x[row / group * width + k], acc)
        });
    }
}

/// da, and dx as one chain over a sample's rows.
pub(crate) fn dot_backward<T: Real>(
    width: usize,
    size: bool,
    a: &[T],
    x: &[T],
    dout: &[T],
    da: &mut [T],
    dx: &mut [T],
) {
    let group = a.len() / x.len();
    for (unit, dx) in dx.iter_mut().enumerate() {
        *dx = T::ZERO;
        for j in 0..group {
            let row = unit / width * group + j;
            let at = row * width + unit % width;
            let step = dout[row] * x[unit];
            da[at] = if !size || a[at] > T::ZERO {
                step
            } else if a[at] < T::ZERO {
                -step
            } else {
                T::ZERO
            };
            *dx = (if size { a[at].abs() } else { a[at] }).mul_add(dout[row], *dx);
        }
    }
}
