//! Student's t distribution.

use super::beta::{incomplete_beta, ln_beta};
use super::normal::normal_upper_quantile;
use super::root::increasing_root;

/// P(T > t) for t ≥ 0 and `df` > 0 degrees of freedom: I_x(df/2, 1/2) / 2 at x = df / (df + t²) (DLMF 8.17).
fn upper_tail(t: f64, df: f64) -> f64 {
    let (tt, sum) = (t * t, df + t * t);
    0.5 * incomplete_beta(0.5 * df, 0.5, df / sum, tt / sum)
}

/// P(T ≤ t) with `df` > 0 degrees of freedom.
pub fn t_cdf(t: f64, df: f64) -> f64 {
    if t > 0.0 { 1.0 - upper_tail(t, df) } else { upper_tail(-t, df) }
}

/// The t with P(T ≤ t) = p, for p in \[0, 1\].
pub fn t_quantile(p: f64, df: f64) -> f64 {
    if p.is_nan() {
        f64::NAN
    } else if p > 0.5 {
        t_upper_quantile(1.0 - p, df)
    } else {
        -t_upper_quantile(p, df)
    }
}

/// The t ≥ 0 with P(T > t) = q, for q in \[0, 0.5\]. Small q keep their accuracy, which 1 − q would lose.
pub fn t_upper_quantile(q: f64, df: f64) -> f64 {
    if q >= 0.5 {
        return 0.0;
    }
    if q <= 0.0 {
        return f64::INFINITY;
    }
    // The t tail is the heavier one, so the normal quantile is a lower bound and a good start.
    let low = normal_upper_quantile(q);
    let mut high = 2.0 * low.max(0.5);
    while upper_tail(high, df) > q {
        high *= 2.0;
    }
    let ln_scale = 0.5 * libm::log(df) + ln_beta(0.5 * df, 0.5);
    let f = |t: f64| {
        let tail = upper_tail(t, df);
        let density = libm::exp(-0.5 * (df + 1.0) * libm::log1p(t * t / df) - ln_scale);
        (libm::log(q) - libm::log(tail), density / tail)
    };
    increasing_root(f, 0.0, high, low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::assert_close;

    // SciPy 1.17.1: stats.t.cdf, .ppf, .isf.
    #[test]
    fn agrees_with_reference_values() {
        for (t, df, expected) in [
            (0.0, 3.0, 0.5),
            (1.0, 1.0, 0.75),
            (-2.5, 4.0, 0.033_383_272_405_994_07),
            (0.01, 7.0, 0.503_849_841_178_189_1),
            (4.0, 31.0, 0.999_817_347_473_217_7),
            (-12.0, 2.0, 0.003_436_466_838_579_23),
            (1.96, 1e4, 0.974_988_239_884_083_5),
        ] {
            assert_close(t_cdf(t, df), expected, 1e-11);
        }
        for (p, df, expected) in [
            (0.975, 1.0, 12.706_204_736_174_694),
            (0.975, 2.0, 4.302_652_729_749_462),
            (0.975, 4.0, 2.776_445_105_197_793_4),
            (0.995, 7.0, 3.499_483_297_350_492_4),
            (0.9, 31.0, 1.309_463_549_494_645_4),
            (0.3, 5.0, -0.559_429_644_469_360_4),
            (1.0 - 1e-6, 3.0, 103.299_467_779_428_98),
            (0.975, 1e4, 1.960_201_239_890_626),
        ] {
            assert_close(t_quantile(p, df), expected, 1e-9);
        }
        for (q, df, expected) in [
            (1e-12, 2.0, 707_106.781_185_486_9),
            (1e-12, 1.0, 318_309_886_183.790_7),
            (1e-9, 33.0, 8.164_242_900_514_168),
        ] {
            assert_close(t_upper_quantile(q, df), expected, 1e-9);
        }
    }

    #[test]
    fn ends_and_nan() {
        assert_eq!(t_quantile(0.5, 3.0), 0.0);
        assert_eq!(t_quantile(1.0, 3.0), f64::INFINITY);
        assert!(t_quantile(f64::NAN, 3.0).is_nan());
        assert!(t_cdf(f64::NAN, 3.0).is_nan());
        assert_close(t_cdf(1e200, 2.0), 1.0, 1e-15);
    }
}
