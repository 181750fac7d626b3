//! Akima's interpolation (Akima 1970) of an isoFLOP curve, and the lowest point of a fine grid on it.
//!
//! Everything that depends on the sizes alone is prepared once; a bootstrap draw changes the values and allocates
//! nothing.

/// Grid points between two sizes (Porian et al. 2024: (k − 1)·25 on the whole curve).
pub(super) const GRID_PER_GAP: usize = 25;

/// The interpolating curve over fixed abscissas.
#[derive(Clone, Debug)]
pub(super) struct Akima {
    x: Vec<f64>,
    /// 1/(x_{i+1} − x_i).
    per_gap: Vec<f64>,
    /// Chord slopes, two more at each end.
    chords: Vec<f64>,
    /// Slopes at the abscissas.
    slopes: Vec<f64>,
}

impl Akima {
    /// Over at least two rising abscissas.
    ///
    /// # Panics
    /// Where there are fewer, or they do not rise.
    pub(super) fn over(x: &[f64]) -> Self {
        assert!(x.len() >= 2 && x.windows(2).all(|w| w[0] < w[1]), "abscissas rise: {x:?}");
        let per_gap = x.windows(2).map(|w| 1.0 / (w[1] - w[0])).collect();
        Self { x: x.to_vec(), per_gap, chords: vec![0.0; x.len() + 3], slopes: vec![0.0; x.len()] }
    }

    /// Takes the values y, one an abscissa.
    pub(super) fn set(&mut self, y: &[f64]) {
        let (k, m) = (self.x.len(), &mut self.chords);
        for (i, per_gap) in self.per_gap.iter().enumerate() {
            m[i + 2] = (y[i + 1] - y[i]) * per_gap;
        }
        // A straight line of two points has one chord; its neighbours are the same.
        let (second, before_last) = if k > 2 { (m[3], m[k - 1]) } else { (m[2], m[2]) };
        m[1] = 2.0 * m[2] - second;
        m[0] = 2.0 * m[1] - m[2];
        m[k + 1] = 2.0 * m[k] - before_last;
        m[k + 2] = 2.0 * m[k + 1] - m[k];
        let bend = |i: usize| (m[i + 1] - m[i]).abs();
        let most = (0..k).map(|i| bend(i) + bend(i + 2)).fold(0.0, f64::max);
        for (i, slope) in self.slopes.iter_mut().enumerate() {
            let (left, right) = (bend(i), bend(i + 2));
            *slope = if left + right > 1e-9 * most {
                (right * m[i + 1] + left * m[i + 2]) / (left + right)
            } else {
                0.5 * (m[i + 3] + m[i])
            };
        }
    }

    /// The cubic between abscissas i and i + 1: y, y′, and the coefficients of u² and u³ at u = x − x_i.
    fn cubic(&self, y: &[f64], i: usize) -> [f64; 4] {
        let per_gap = self.per_gap[i];
        let (chord, left, right) = (self.chords[i + 2], self.slopes[i], self.slopes[i + 1]);
        let c2 = (3.0 * chord - 2.0 * left - right) * per_gap;
        [y[i], left, c2, (left + right - 2.0 * chord) * per_gap * per_gap]
    }

    /// A bound below the cubic between abscissas i and i + 1: a slope moves it by at most 4/27 of slope times gap.
    fn floor(&self, y: &[f64], i: usize) -> f64 {
        let slopes = self.slopes[i].abs() + self.slopes[i + 1].abs();
        y[i].min(y[i + 1]) - 4.0 / 27.0 * slopes * (self.x[i + 1] - self.x[i])
    }

    /// The value at `at`, inside the abscissas; the end cubics go on outside. `y` is what was [`set`](Self::set).
    pub(super) fn value(&self, y: &[f64], at: f64) -> f64 {
        let i = self.x.partition_point(|x| *x <= at).clamp(1, self.x.len() - 1) - 1;
        horner(self.cubic(y, i), at - self.x[i])
    }
}

fn horner([c0, c1, c2, c3]: [f64; 4], u: f64) -> f64 {
    c0 + u * (c1 + u * (c2 + u * c3))
}

/// Evenly spaced points over all abscissas, both ends included, and which of them lie in which gap.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    start: f64,
    step: f64,
    points: usize,
    /// The first grid point of each gap, and the number of points at the end.
    first: Vec<usize>,
}

impl Grid {
    /// (k − 1)·[`GRID_PER_GAP`] points over the k abscissas.
    pub(super) fn over(x: &[f64]) -> Self {
        let points = (x.len() - 1) * GRID_PER_GAP;
        let (start, end) = (x[0], x[x.len() - 1]);
        let step = (end - start) / (points - 1) as f64;
        let at = |j: usize| start + step * j as f64;
        let mut first: Vec<usize> =
            x[..x.len() - 1].iter().map(|x| (0..points).find(|j| at(*j) >= *x).unwrap_or(points)).collect();
        first.push(points);
        Self { start, step, points, first }
    }

    /// The distance of two grid points.
    pub(super) const fn step(&self) -> f64 {
        self.step
    }

    /// All points, rising.
    pub(super) fn points(&self) -> impl Iterator<Item = f64> + '_ {
        (0..self.points).map(|j| self.at(j))
    }

    fn at(&self, j: usize) -> f64 {
        self.start + self.step * j as f64
    }

    /// The lowest grid point on the curve through `y`, which was [`set`](Akima::set): its place and its value. `None`
    /// where it is one of the two ends.
    pub(super) fn lowest(&self, curve: &Akima, y: &[f64]) -> Option<(f64, f64)> {
        let mut knot = 0;
        for i in 1..y.len() {
            if y[i] < y[knot] {
                knot = i;
            }
        }
        // The gaps beside the lowest value come first, so that few others are not above them as a whole.
        let last = curve.x.len() - 2;
        let beside = [knot.saturating_sub(1).min(last), knot.min(last)];
        let (mut best, mut value) = (0, f64::INFINITY);
        for i in beside.into_iter().chain(0..=last) {
            if curve.floor(y, i) <= value {
                self.lowest_in(curve, y, i, &mut best, &mut value);
            }
        }
        (best != 0 && best != self.points - 1).then(|| (self.at(best), value))
    }

    /// Takes the lowest grid point of gap i if it is lower than `value`, or as low and before `best`.
    fn lowest_in(&self, curve: &Akima, y: &[f64], i: usize, best: &mut usize, value: &mut f64) {
        let (from, end) = (self.first[i], self.first[i + 1]);
        if from == end {
            return;
        }
        let cubic = curve.cubic(y, i);
        // On each side of its two bends a cubic rises or falls, so its lowest grid point is an end of the gap or a
        // neighbour of the bend below.
        let (low, high) = match self.bend(cubic, curve.x[i], from, end) {
            Some(j) => (j, (j + 1).min(end - 1)),
            None => (from, from),
        };
        for j in [from, low, high, end - 1] {
            let here = horner(cubic, self.at(j) - curve.x[i]);
            if here < *value || here == *value && j < *best {
                (*best, *value) = (j, here);
            }
        }
    }

    /// The grid point at or before the cubic's lower bend, where that lies in the gap.
    fn bend(&self, [_, c1, c2, c3]: [f64; 4], x: f64, from: usize, end: usize) -> Option<usize> {
        // The root of c1 + 2 c2 u + 3 c3 u² with a rising slope, in the form that does not cancel.
        let root = (c2 * c2 - 3.0 * c3 * c1).sqrt();
        let u = if c2 > 0.0 { -c1 / (c2 + root) } else { (root - c2) / (3.0 * c3) };
        let place = (x + u - self.start) / self.step;
        let inside = place >= from as f64 && place <= (end - 1) as f64;
        inside.then_some(place as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::assert_close;
    use preheat_kernels::rng::Stream;

    const X: [f64; 6] = [0.0, 0.5, 1.1, 2.0, 2.3, 4.0];
    const Y: [f64; 6] = [3.0, 1.0, 0.7, 0.9, 1.4, 2.0];

    // SciPy 1.17.1: interpolate.Akima1DInterpolator(X, Y)(at).
    #[test]
    fn agrees_with_reference_values() {
        let mut curve = Akima::over(&X);
        curve.set(&Y);
        for (at, expected) in REFERENCE {
            assert_close(curve.value(&Y, at), expected, 1e-13);
        }
        let mut three = Akima::over(&X[..3]);
        three.set(&Y[..3]);
        for (at, expected) in REFERENCE_OF_THREE {
            assert_close(three.value(&Y[..3], at), expected, 1e-13);
        }
    }

    const REFERENCE: [(f64, f64); 6] = [
        (0.2, 1.9347368421052629),
        (0.9, 0.7279486168605033),
        (1.6, 0.7270142920996021),
        (2.1, 1.040531005167035),
        (2.2, 1.2431986252796738),
        (3.7, 2.055044118370548),
    ];
    const REFERENCE_OF_THREE: [(f64, f64); 3] = [(0.1, 2.46), (0.6, 0.8041666666666667), (1.0, 0.6041666666666665)];

    #[test]
    fn a_straight_line_stays_straight() {
        for k in 2..6 {
            let y: Vec<f64> = X[..k].iter().map(|x| 2.0 - 0.75 * x).collect();
            let mut curve = Akima::over(&X[..k]);
            curve.set(&y);
            assert_close(curve.value(&y, 0.3), 2.0 - 0.75 * 0.3, 1e-14);
        }
    }

    /// The short search finds what looking at every grid point finds.
    #[test]
    fn the_lowest_grid_point_is_that_of_all_points() {
        let stream = Stream::new(3, 8);
        let mut edges = 0;
        for case in 0..2_000_u32 {
            let k = 3 + (case % 9) as usize;
            let mut noise = vec![0.0f32; 2 * k];
            stream.fill_normal(case, &mut noise);
            let x: Vec<f64> = (0..k).map(|i| i as f64 + 0.3 * f64::from(noise[i]).clamp(-1.0, 1.0)).collect();
            let centre = 0.5 * (k - 1) as f64;
            let y: Vec<f64> =
                (0..k).map(|i| 0.05 * (x[i] - centre) * (x[i] - centre) + 0.1 * f64::from(noise[k + i])).collect();
            let (mut curve, grid) = (Akima::over(&x), Grid::over(&x));
            curve.set(&y);
            let mut slow = (0, f64::INFINITY);
            for j in 0..grid.points {
                let here = curve.value(&y, grid.at(j));
                if here < slow.1 {
                    slow = (j, here);
                }
            }
            let edge = slow.0 == 0 || slow.0 == grid.points - 1;
            edges += usize::from(edge);
            match grid.lowest(&curve, &y) {
                None => assert!(edge, "case {case}"),
                Some((at, value)) => {
                    assert!((at - grid.at(slow.0)).abs() < 1.5 * grid.step && !edge, "case {case}");
                    assert_close(value, slow.1, 1e-12);
                }
            }
        }
        assert!(edges > 50 && edges < 1_000, "{edges} minima at an edge: both kinds are looked at");
    }

    #[test]
    fn the_grid_holds_both_ends() {
        let grid = Grid::over(&X);
        assert_eq!((grid.points, grid.at(0)), (5 * GRID_PER_GAP, X[0]));
        assert_close(grid.at(grid.points - 1), X[5], 1e-15);
    }
}
