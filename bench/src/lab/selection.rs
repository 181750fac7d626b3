//! `--filter`: which cells are wanted.

use crate::results::Axes;

/// One expression: a part of `experiment/arm`, or `key=value` of a grid axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// A part of `experiment/arm`.
    Part(String),
    /// An axis, by its dotted path or the last part of it, and its value.
    Axis(String, String),
}

impl Filter {
    /// Reads an expression; `=` tells the two forms apart. Several pairs may stand in one, with commas.
    ///
    /// # Errors
    /// One line.
    pub fn parse(text: &str) -> Result<Vec<Self>, String> {
        let one = |part: &str| match part.split_once('=') {
            _ if part.is_empty() => Err("--filter: an empty expression".to_string()),
            Some(("", _) | (_, "")) => Err(format!("--filter {part}: a key and a value, as in peak_lr=0.001")),
            Some((key, value)) => Ok(Self::Axis(key.trim().to_string(), value.trim().to_string())),
            None => Ok(Self::Part(part.trim().to_string())),
        };
        text.split(',').map(|part| one(part.trim())).collect()
    }

    /// Whether a cell is wanted.
    pub fn matches(&self, experiment: &str, arm: &str, axes: &Axes) -> bool {
        match self {
            Self::Part(part) => format!("{experiment}/{arm}").contains(part),
            Self::Axis(key, value) => axes.iter().any(|(axis, found)| {
                let named = axis == key || axis.strip_suffix(key.as_str()).is_some_and(|head| head.ends_with('.'));
                let found = found.to_string();
                let equal = found == *value || number(&found).is_some_and(|x| Some(x) == number(value));
                named && equal
            }),
        }
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use preheat_suites::registry::Scalar;
    use std::collections::BTreeMap;

    fn check(expression: &str, expected: bool) {
        let axes = BTreeMap::from([
            ("schedule.peak_lr".to_string(), Scalar::Real(0.001)),
            ("model.layers".to_string(), Scalar::Int(6)),
        ]);
        let found = Filter::parse(expression).unwrap().iter().all(|f| f.matches("sweep", "pre-ln", &axes));
        assert_eq!(found, expected, "{expression}");
    }

    #[test]
    fn expressions_match_places_and_axes() {
        check("pre", true);
        check("sweep/pre-ln", true);
        check("post", false);
        check("peak_lr=0.001", true);
        check("peak_lr=1e-3", true);
        check("schedule.peak_lr=1e-3", true);
        check("lr=1e-3", false);
        check("model.layers=6", true);
        check("layers=6.0", true);
        check("layers=7", false);
        check("sweep,layers=6", true);
        check("sweep, layers=7", false);
    }

    #[test]
    fn half_expressions_are_refused() {
        for bad in ["", "=1", "a=", "a,,b"] {
            assert!(Filter::parse(bad).is_err(), "{bad:?}");
        }
    }
}
