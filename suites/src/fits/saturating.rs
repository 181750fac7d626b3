//! L = E + A·C^−α through compute-optimal losses, by least squares of L: for each α the other two follow from a line, and
//! α is searched (Porian et al. 2024, Fig. 6).

/// α is looked for between these.
const ALPHA: [f64; 2] = [0.01, 2.0];
const STEPS: usize = 200;

/// A saturating power law.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Saturating {
    /// E, nats a token, not negative.
    pub floor: f64,
    /// A.
    pub scale: f64,
    /// α.
    pub alpha: f64,
    /// C at which A counts, so that numbers stay small: A·(C/unit)^−α.
    unit: f64,
}

impl Saturating {
    /// Through (C, L); `None` of fewer than three points or where losses do not fall.
    pub fn through(points: &[[f64; 2]]) -> Option<Self> {
        let unit = points.first()?[0];
        if points.len() < 3 {
            return None;
        }
        // A fine walk over ln α, then thirds of the best cell: the misfit has one valley there.
        let at = |share: f64| ALPHA[0] * libm::pow(ALPHA[1] / ALPHA[0], share);
        let misfit = |share: f64| line(points, unit, at(share)).map_or(f64::INFINITY, |(_, misfit)| misfit);
        let cell = 1.0 / STEPS as f64;
        let best = (0..=STEPS).min_by(|a, b| misfit(*a as f64 * cell).total_cmp(&misfit(*b as f64 * cell)))?;
        let (mut low, mut high) = ((best as f64 - 1.0).max(0.0) * cell, (best as f64 + 1.0).min(STEPS as f64) * cell);
        for _ in 0..60 {
            let (left, right) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
            if misfit(left) <= misfit(right) { high = right } else { low = left }
        }
        let alpha = at(0.5 * (low + high));
        let (found, _) = line(points, unit, alpha)?;
        Some(found)
    }

    /// L at C.
    pub fn at(&self, flops: f64) -> f64 {
        self.floor + self.scale * libm::pow(flops / self.unit, -self.alpha)
    }
}

/// E ≥ 0 and A by least squares for one α, and the misfit. `None` where A is not positive.
fn line(points: &[[f64; 2]], unit: f64, alpha: f64) -> Option<(Saturating, f64)> {
    let x: Vec<f64> = points.iter().map(|[flops, _]| libm::pow(flops / unit, -alpha)).collect();
    let n = points.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, points.iter().map(|p| p[1]).sum::<f64>() / n);
    let dot = |f: fn(f64, f64, f64, f64) -> f64| -> f64 {
        x.iter().zip(points).map(|(x, p)| f(*x, p[1], mean_x, mean_y)).sum()
    };
    let slope = dot(|x, y, mx, my| (x - mx) * (y - my)) / dot(|x, _, mx, _| (x - mx) * (x - mx));
    let floor = mean_y - slope * mean_x;
    let (floor, scale) =
        if floor >= 0.0 { (floor, slope) } else { (0.0, dot(|x, y, _, _| x * y) / dot(|x, _, _, _| x * x)) };
    let found = Saturating { floor, scale, alpha, unit };
    let misfit = points.iter().map(|[flops, loss]| (found.at(*flops) - loss) * (found.at(*flops) - loss)).sum();
    (scale > 0.0).then_some((found, misfit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::assert_close;

    #[test]
    fn a_law_is_found_again_and_extrapolated() {
        let law = |c: f64| 2.006 + 128.9 * libm::pow(c, -0.106);
        let points = [1e16, 2e16, 4e16, 8e16, 1.6e17].map(|c| [c, law(c)]);
        let found = Saturating::through(&points).unwrap();
        assert_close(found.alpha, 0.106, 1e-4);
        assert_close(found.floor, 2.006, 1e-3);
        assert_close(found.at(3.2e17), law(3.2e17), 1e-6);
    }

    #[test]
    fn a_floor_below_zero_is_zero_and_a_rise_has_no_law() {
        let steep = [1.0, 2.0, 4.0, 8.0].map(|c: f64| [c, 5.0 - libm::log(c)]);
        assert_eq!(Saturating::through(&steep).unwrap().floor, 0.0);
        assert_eq!(Saturating::through(&[[1.0, 2.0], [2.0, 2.5], [4.0, 3.0]]), None);
        assert_eq!(Saturating::through(&steep[..2]), None);
    }
}
