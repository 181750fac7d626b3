//! Which cells of a plan are wanted.

use super::Cell;
use std::fmt;
use std::str::FromStr;

/// Terms divided by commas; a cell must fit all of them. `word` fits where `experiment/arm` contains it;
/// `axis=value` fits grid values by dotted path or by its last part, and `experiment`, `arm` and `seed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Contains(String),
    Equals { axis: String, value: String },
}

/// A filter that says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError(String);

impl std::error::Error for FilterError {}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter {:?} has an empty term; allowed: words and axis=value, divided by commas", self.0)
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let term = |term: &str| match term.split_once('=') {
            Some((axis, value)) if !axis.trim().is_empty() && !value.trim().is_empty() => {
                Ok(Term::Equals { axis: axis.trim().into(), value: value.trim().into() })
            }
            None if !term.trim().is_empty() => Ok(Term::Contains(term.trim().into())),
            _ => Err(FilterError(text.into())),
        };
        text.split(',').map(term).collect::<Result<_, _>>().map(Self)
    }
}

impl Filter {
    /// Whether `cell` fits all terms.
    pub fn names(&self, cell: &Cell) -> bool {
        self.0.iter().all(|term| match term {
            Term::Contains(word) => format!("{}/{}", cell.experiment, cell.arm).contains(word),
            Term::Equals { axis, value } => match axis.as_str() {
                "experiment" => cell.experiment == *value,
                "arm" => cell.arm == *value,
                "seed" => same(&cell.seed.to_string(), value),
                _ => cell.axes.iter().any(|(path, found)| {
                    let last = path.rsplit('.').next().unwrap_or(path);
                    (path == axis || last == axis) && same(&found.to_string(), value)
                }),
            },
        })
    }
}

/// Equal as numbers where both are, as text otherwise: `3e-3` is `0.003`.
fn same(a: &str, b: &str) -> bool {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}
