//! The standard normal distribution.

use super::root::increasing_root;
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// P(Z > z).
pub fn normal_upper_tail(z: f64) -> f64 {
    0.5 * libm::erfc(z * FRAC_1_SQRT_2)
}

/// The z with P(Z ≤ z) = p, for p in \[0, 1\].
pub fn normal_quantile(p: f64) -> f64 {
    if p.is_nan() {
        f64::NAN
    } else if p > 0.5 {
        normal_upper_quantile(1.0 - p)
    } else {
        -normal_upper_quantile(p)
    }
}

/// The z ≥ 0 with P(Z > z) = q, for q in \[0, 0.5\]. Small q keep their accuracy.
pub(crate) fn normal_upper_quantile(q: f64) -> f64 {
    if q >= 0.5 {
        return 0.0;
    }
    if q <= 0.0 {
        return f64::INFINITY;
    }
    let f = |z: f64| {
        let tail = normal_upper_tail(z);
        let density = libm::exp(-0.5 * z * z) / (2.0 * PI).sqrt();
        (libm::log(q) - libm::log(tail), density / tail)
    };
    // The tail at 38 is about 1e-316.
    increasing_root(f, 0.0, 38.0, (-2.0 * libm::log(2.0 * q)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::assert_close;

    // SciPy 1.17.1: stats.norm.ppf.
    #[test]
    fn agrees_with_reference_values() {
        for (p, expected) in [
            (0.5, 0.0),
            (0.975, 1.959_963_984_540_054),
            (0.9, 1.281_551_565_544_600_4),
            (1e-12, -7.034_483_825_301_131),
            (0.3, -0.524_400_512_708_040_9),
            (0.999_999, 4.753_424_308_817_087),
        ] {
            assert_close(normal_quantile(p), expected, 1e-10);
        }
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(normal_quantile(1.0), f64::INFINITY);
        assert!(normal_quantile(f64::NAN).is_nan());
    }
}
