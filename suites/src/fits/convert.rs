//! The same optima under another count of FLOPs: N* becomes N′(N*), D* stays, and so C = 6·N′·D.
//!
//! Nothing is searched again, so a count that is nearly blind to the smallest sizes (Kaplan's) has a law as firm as that
//! of the count under which the optima were found. A fit of its own needs a minimum inside at each of its budgets, and
//! flat curves at small sizes make it fragile.

use super::isoflop::{Budget, FEWEST_BUDGETS};
use super::line::Line;

/// The exponent of N′* ∝ C′^a, weighted as the optima are; `None` of too few optima, or where `size` has no value.
pub fn exponent(budgets: &[Budget], size: impl Fn(f64) -> Option<f64>) -> Option<f64> {
    let (mut x, mut y, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for optimum in budgets.iter().filter_map(|b| b.optimum) {
        let params = size(optimum.params)?;
        x.push(libm::log(6.0 * params * optimum.tokens));
        y.push(libm::log(params));
        weights.push(1.0 / (optimum.spread * optimum.spread));
    }
    let line = Line::over(&x, &weights).filter(|_| x.len() >= FEWEST_BUDGETS)?;
    Some(line.fit(y.into_iter())[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fits::isoflop::Optimum;
    use crate::stats::assert_close;

    #[test]
    fn a_power_of_the_size_moves_the_exponent_as_algebra_says() {
        // N = C^a and D = C^(1−a)/6; N′ = N^p: C′ = C^(ap + 1 − a), so a′ = ap/(ap + 1 − a).
        let (a, p) = (0.4, 1.5);
        let optimum = |flops: f64| Optimum {
            params: libm::pow(flops, a),
            tokens: libm::pow(flops, 1.0 - a) / 6.0,
            loss: 3.0,
            spread: 0.1,
            valid: 1.0,
        };
        let budget = |flops: f64| Budget { flops, sizes: 7, optimum: Some(optimum(flops)), left_out: None };
        let budgets: Vec<Budget> = [1e10, 2e10, 4e10, 9e10].map(budget).into();
        assert_close(exponent(&budgets, Some).unwrap(), a, 1e-12);
        let found = exponent(&budgets, |n| Some(libm::pow(n, p))).unwrap();
        assert_close(found, a * p / (a * p + 1.0 - a), 1e-12);
        assert_eq!(exponent(&budgets, |_| None), None);
        assert_eq!(exponent(&budgets[..2], Some), None);
    }
}
