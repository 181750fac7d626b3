//! Numbers for people.

use crate::results::Summary;

/// Four significant digits, without an exponent between 0.001 and 100,000.
pub fn number(x: f64) -> String {
    if x == 0.0 {
        return "0".into();
    }
    let size = x.abs();
    if !(1e-3..1e5).contains(&size) {
        return format!("{x:.3e}");
    }
    let decimals = if size >= 1000.0 {
        0
    } else if size >= 100.0 {
        1
    } else if size >= 10.0 {
        2
    } else if size >= 1.0 {
        3
    } else {
        4
    };
    format!("{x:.decimals$}")
}

/// `3.131 ±0.012 (n=5)`: mean and sample standard deviation over seeds; `1.000 (n=8)` where all are one value; `7/8`
/// where `flag` says that each is 0 or 1.
pub fn cell(summary: &Summary, flag: bool) -> String {
    let n = summary.n;
    if flag && summary.values.iter().all(|x| matches!(x, Some(0.0 | 1.0))) {
        return format!("{}/{n}", summary.values.iter().filter(|x| **x == Some(1.0)).count());
    }
    let first = summary.values.first().copied().flatten();
    if let Some(one) = first.filter(|_| summary.values.iter().all(|x| *x == first)) {
        // Its mean may differ from it by rounding.
        return format!("{} (n={n})", number(one));
    }
    match (summary.mean, summary.sd) {
        (Some(mean), Some(sd)) => format!("{} ±{} (n={n})", number(mean), spread(sd)),
        (Some(mean), None) => format!("{} (n={n})", number(mean)),
        (None, _) => {
            let bad = summary.values.iter().filter(|x| x.is_none()).count();
            format!("not finite {bad}/{n}")
        }
    }
}

/// Two significant digits, at most four decimals where it is not tiny.
fn spread(sd: f64) -> String {
    if sd == 0.0 {
        "0".into()
    } else if sd < 1e-3 {
        format!("{sd:.0e}")
    } else if sd < 1.0 {
        format!("{sd:.3}")
    } else {
        number(sd)
    }
}

/// `[0.12, 0.34]`.
pub fn interval([low, high]: [f64; 2]) -> String {
    format!("[{}, {}]", number(low), number(high))
}

/// A count with a prefix: `812`, `21.4 k`.
pub fn count(x: f64) -> String {
    let (scale, prefix) = prefix(x);
    if scale == 1.0 { format!("{x}") } else { format!("{:.1} {prefix}", x / scale) }
}

/// FLOPs with a prefix: `1.20 T`.
pub fn flops(x: f64) -> String {
    let (scale, prefix) = prefix(x);
    format!("{:.2} {prefix}", x / scale).trim_end().to_string()
}

fn prefix(x: f64) -> (f64, &'static str) {
    match x {
        x if x >= 1e15 => (1e15, "P"),
        x if x >= 1e12 => (1e12, "T"),
        x if x >= 1e9 => (1e9, "G"),
        x if x >= 1e6 => (1e6, "M"),
        x if x >= 1e3 => (1e3, "k"),
        _ => (1.0, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_honest() {
        let cases = [
            (0.0, "0"),
            (3.131_49, "3.131"),
            (-0.25, "-0.2500"),
            (31.416, "31.42"),
            (123.456, "123.5"),
            (65_536.0, "65536"),
            (2.5e-7, "2.500e-7"),
            (1e6, "1.000e6"),
            (f64::INFINITY, "inf"),
        ];
        for (x, expected) in cases {
            assert_eq!(number(x), expected);
        }
    }

    #[test]
    fn cells_show_mean_sd_and_n() {
        let cases: [(&[f64], &str); 7] = [
            (&[3.22, 3.24], "3.230 ±0.014 (n=2)"),
            (&[3.12], "3.120 (n=1)"),
            (&[1.0, 1.0], "1.000 (n=2)"),
            (&[0.1; 3], "0.1000 (n=3)"),
            (&[1.0, f64::NAN], "not finite 1/2"),
            (&[f64::NAN; 2], "not finite 2/2"),
            (&[1.0, 1.0005], "1.000 ±4e-4 (n=2)"),
        ];
        for (values, expected) in cases {
            assert_eq!(cell(&Summary::of(values), false), expected);
        }
    }

    #[test]
    fn flags_are_counted() {
        let cases: [(&[f64], &str); 5] = [
            (&[0.0; 8], "0/8"),
            (&[1.0, 0.0, 1.0], "2/3"),
            (&[1.0], "1/1"),
            (&[1.0, f64::NAN], "not finite 1/2"),
            // No flag after all.
            (&[0.5, 1.5], "1.000 ±0.707 (n=2)"),
        ];
        for (values, expected) in cases {
            assert_eq!(cell(&Summary::of(values), true), expected);
        }
    }

    #[test]
    fn counts_are_whole_below_a_thousand() {
        assert_eq!(["812", "21.4 k", "1.2 M"], [812.0, 21_440.0, 1.2e6].map(count));
    }

    #[test]
    fn flops_have_prefixes() {
        assert_eq!(["0.00", "1.50 k", "2.00 G", "1.20 T", "3.00 P"], [0.0, 1.5e3, 2e9, 1.2e12, 3e15].map(flops));
    }
}
