//! Root of an increasing function: Newton's steps inside a shrinking bracket.

/// The root of an increasing `f` in `[low, high]`, to the last bits. `f` gives value and slope; a Newton step
/// that leaves the bracket, or is not finite, is replaced by bisection.
///
/// The value must be negative or zero at `low` and positive or zero at `high`; else the nearer end is returned.
pub(crate) fn increasing_root(f: impl Fn(f64) -> (f64, f64), mut low: f64, mut high: f64, start: f64) -> f64 {
    const MOST_STEPS: usize = 200;
    let mut x = start.clamp(low, high);
    for step in 0..MOST_STEPS {
        let (value, slope) = f(x);
        if value == 0.0 {
            return x;
        }
        if value < 0.0 {
            low = x;
        } else {
            high = x;
        }
        let newton = x - value / slope;
        // Every eighth step halves the bracket, so that slow Newton steps cannot use up all steps.
        let next = if newton > low && newton < high && step % 8 != 7 { newton } else { 0.5 * (low + high) };
        if (next - x).abs() <= 2.0 * f64::EPSILON * x.abs() || next == low || next == high {
            return next;
        }
        x = next;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_roots_where_newton_alone_fails() {
        // Newton diverges on atan from 3; the cube root's slope at its root is infinite.
        let atan = increasing_root(|x| (libm::atan(x), 1.0 / (1.0 + x * x)), -50.0, 80.0, 3.0);
        assert!(atan.abs() < 1e-12, "{atan}");
        let cbrt = increasing_root(|x| (libm::cbrt(x - 0.3), f64::NAN), -1.0, 31.0, 7.0);
        assert!((cbrt - 0.3).abs() < 1e-12, "{cbrt}");
    }

    #[test]
    fn returns_an_end_when_there_is_no_root_inside() {
        assert!((increasing_root(|x| (x + 5.0, 1.0), 0.0, 1.0, 0.5)).abs() < 1e-12);
        assert!((increasing_root(|x| (x - 5.0, 1.0), 0.0, 1.0, 0.5) - 1.0).abs() < 1e-12);
    }
}
