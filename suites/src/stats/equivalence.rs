//! Decisions by interval inclusion.
//!
//! An effect is shown to lie in a range when its whole interval does. For a range with two ends that is the two
//! one-sided tests of Schuirmann (1987), here with the two-sided interval, hence at half their usual level.

/// Where an interval lies against an open range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inclusion {
    /// Wholly inside.
    Inside,
    /// Wholly outside: beyond one end, or touching it.
    Outside,
    /// Neither.
    Straddles,
}

/// Where `interval` lies against the open range (`range[0]`, `range[1]`); infinite ends are no ends.
pub fn inclusion(interval: [f64; 2], range: [f64; 2]) -> Inclusion {
    if interval[0] > range[0] && interval[1] < range[1] {
        Inclusion::Inside
    } else if interval[1] <= range[0] || interval[0] >= range[1] {
        Inclusion::Outside
    } else {
        Inclusion::Straddles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_places() {
        let range = [-1.0, 2.0];
        for (interval, expected) in [
            ([-0.5, 1.5], Inclusion::Inside),
            ([-1.0, 0.0], Inclusion::Straddles),
            ([0.0, 2.0], Inclusion::Straddles),
            ([-3.0, 4.0], Inclusion::Straddles),
            ([2.0, 3.0], Inclusion::Outside),
            ([-7.0, -1.0], Inclusion::Outside),
            ([2.0, 2.0], Inclusion::Outside),
            ([1.0, 1.0], Inclusion::Inside),
            ([f64::NAN, f64::NAN], Inclusion::Straddles),
        ] {
            assert_eq!(inclusion(interval, range), expected, "{interval:?}");
        }
        assert_eq!(inclusion([0.1, 9.0], [0.0, f64::INFINITY]), Inclusion::Inside);
        assert_eq!(inclusion([-9.0, 0.0], [0.0, f64::INFINITY]), Inclusion::Outside);
    }
}
