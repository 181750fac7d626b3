//! What differs from golden, and of which kind it is.

use crate::drawing::Drawing;
use crate::results::{CellResult, ClaimResult, RunResult, SuiteResult, place};
use crate::table::{self, number};
use preheat_suites::claims::ranking::Ranked;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How many runs or cells a difference names.
const NAMED: usize = 3;

/// One kind of difference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Difference {
    /// Bits moved: equal runs with other digests.
    Numerics {
        /// How many.
        runs: usize,
        /// Of how many common ones.
        of: usize,
        /// The first few.
        first: Vec<String>,
    },
    /// A verdict flipped.
    Science {
        /// The claim's id.
        claim: String,
        /// Golden's verdict.
        was: String,
        /// This bench's verdict.
        is: String,
        /// This bench's effect and interval.
        effect: String,
    },
    /// A run, a cell or a claim of one side that the other lacks: the definition changed, or a run failed.
    Missing {
        /// `runs`, `cells` or `claims`.
        what: String,
        /// Those that only golden has.
        only_golden: Vec<String>,
        /// Those that only this bench has.
        only_here: Vec<String>,
    },
    /// Fast math: learning rates or the optimizer's scalars moved, which no device computes.
    Scalars {
        /// How many runs.
        runs: usize,
        /// Of how many.
        of: usize,
        /// The first few.
        first: Vec<String>,
    },
    /// Fast math: runs begin otherwise than rounding explains.
    Window {
        /// How many runs.
        runs: usize,
        /// Of how many.
        of: usize,
        /// The worst few.
        first: Vec<String>,
    },
    /// Fast math: final losses differ by more than their margin.
    Losses {
        /// Which.
        what: String,
        /// The difference and its interval, in margins.
        effect: String,
    },
    /// The runs are equal and what was computed from them is not: statistics or wording changed.
    Derived {
        /// What moved, the first few.
        first: Vec<String>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numerics { runs, of, first } => {
                write!(f, "numerics: the digests of {runs} of {of} runs moved: {}", first.join("; "))?;
                if *runs > first.len() { write!(f, "; …") } else { Ok(()) }
            }
            Self::Science { claim, was, is, effect } => {
                write!(f, "science: claim {claim} was {was} and is {is}")?;
                if effect.is_empty() { Ok(()) } else { write!(f, " (effect {effect})") }
            }
            Self::Missing { what, only_golden, only_here } => {
                let name = |list: &[String]| {
                    let more = if list.len() > NAMED { "; …" } else { "" };
                    format!("{} ({}{more})", list.len(), list[..list.len().min(NAMED)].join("; "))
                };
                write!(f, "definition: {what}")?;
                if !only_golden.is_empty() {
                    write!(f, " that only golden has: {}", name(only_golden))?;
                }
                if !only_here.is_empty() {
                    let comma = if only_golden.is_empty() { "" } else { "," };
                    write!(f, "{comma} that golden lacks: {}", name(only_here))?;
                }
                Ok(())
            }
            Self::Scalars { runs, of, first } => {
                write!(f, "scalars: the host's numbers of {runs} of {of} runs moved: {}", first.join("; "))
            }
            Self::Window { runs, of, first } => {
                write!(f, "window: {runs} of {of} runs begin otherwise than rounding explains: {}", first.join("; "))
            }
            Self::Losses { what, effect } => {
                write!(f, "losses: final losses of {what} differ by {effect} margins")
            }
            Self::Derived { first } => write!(f, "derived: equal runs, other tables: {}", first.join("; ")),
        }
    }
}

/// Compares exactly. Nothing differs if and only if the two are equal.
pub fn compare(golden: &SuiteResult, here: &SuiteResult) -> Vec<Difference> {
    let mut found = Vec::new();
    found.extend(numerics(golden, here));
    found.extend(science(golden, here));
    found.extend(missing(golden, here, run_key));
    if found.is_empty() && golden != here {
        found.push(Difference::Derived { first: derived(golden, here) });
    }
    found
}

fn numerics(golden: &SuiteResult, here: &SuiteResult) -> Option<Difference> {
    // The place takes part, not only the id: runs are compared where they stand.
    let common: Vec<_> = pairs(&golden.runs, &here.runs, run_key).collect();
    let moved: Vec<_> =
        common.iter().filter(|(was, is)| was.digest != is.digest || was.outcome != is.outcome).collect();
    let first = moved.iter().take(NAMED).map(|(_, is)| is.label()).collect();
    (!moved.is_empty()).then_some(Difference::Numerics { runs: moved.len(), of: common.len(), first })
}

pub(super) fn science(golden: &SuiteResult, here: &SuiteResult) -> Vec<Difference> {
    let flipped = pairs(&golden.claims, &here.claims, claim_key).filter(|(was, is)| was.verdict != is.verdict);
    let swept = pairs(&golden.claims, &here.claims, claim_key).flat_map(|(was, is)| swept(was, is));
    flipped
        .map(|(was, is)| {
            let effect = is.effect.map(number).unwrap_or_default();
            let range = is.interval.map(|x| format!(" {}", table::interval(x))).unwrap_or_default();
            Difference::Science {
                claim: format!("{} ({})", is.id, is.paper_claim),
                was: table::verdict(was),
                is: table::verdict(is),
                effect: effect + &range,
            }
        })
        .chain(swept)
        .collect()
}

/// Verdicts that flipped at another value of the axis that a claim is swept over.
fn swept(was: &ClaimResult, is: &ClaimResult) -> Vec<Difference> {
    let (Some(was), Some(now)) = (&was.sweep, &is.sweep) else { return Vec::new() };
    let both = now.others.iter().filter_map(|b| Some((was.others.iter().find(|a| a.value.same(&b.value))?, b)));
    let flipped = both.filter(|(a, b)| a.verdict != b.verdict);
    flipped
        .map(|(a, b)| Difference::Science {
            claim: format!("{} ({}) at {}={}", is.id, is.paper_claim, now.axis, b.value),
            was: table::verdict_name(a.verdict).into(),
            is: table::verdict_name(b.verdict).into(),
            effect: b.effect.map(number).unwrap_or_default(),
        })
        .collect()
}

pub(super) fn missing(golden: &SuiteResult, here: &SuiteResult, run_key: fn(&RunResult) -> String) -> Vec<Difference> {
    let lists = [
        ("runs", only(&golden.runs, &here.runs, run_key), only(&here.runs, &golden.runs, run_key)),
        ("cells", only(&golden.cells, &here.cells, cell_key), only(&here.cells, &golden.cells, cell_key)),
        ("claims", only(&golden.claims, &here.claims, claim_key), only(&here.claims, &golden.claims, claim_key)),
        (
            "rankings",
            only(&golden.rankings, &here.rankings, ranking_key),
            only(&here.rankings, &golden.rankings, ranking_key),
        ),
        (
            "drawings",
            only(&golden.drawings, &here.drawings, drawing_key),
            only(&here.drawings, &golden.drawings, drawing_key),
        ),
    ];
    let differ = lists.into_iter().filter(|(_, a, b)| !(a.is_empty() && b.is_empty()));
    differ
        .map(|(what, only_golden, only_here)| Difference::Missing { what: what.into(), only_golden, only_here })
        .collect()
}

fn derived(golden: &SuiteResult, here: &SuiteResult) -> Vec<String> {
    let cells = pairs(&golden.cells, &here.cells, cell_key).filter(|(a, b)| a != b).map(|(_, b)| cell_key(b));
    let claims = pairs(&golden.claims, &here.claims, claim_key).filter(|(a, b)| a != b).map(|(_, b)| claim_key(b));
    let rankings = pairs(&golden.rankings, &here.rankings, ranking_key).filter(|(a, b)| a != b).map(|(_, b)| b);
    let drawings = pairs(&golden.drawings, &here.drawings, drawing_key).filter(|(a, b)| a != b).map(|(_, b)| b);
    let others = rankings.map(ranking_key).chain(drawings.map(drawing_key));
    let mut first: Vec<String> = cells.chain(claims).chain(others).take(NAMED).collect();
    if first.is_empty() {
        first.push("the header or the order".into());
    }
    first
}

fn run_key(run: &RunResult) -> String {
    format!("{} {}", run.label(), run.id)
}

pub(super) fn cell_key(cell: &CellResult) -> String {
    place(&cell.experiment, &cell.arm, &cell.axes)
}

fn ranking_key(ranked: &Ranked) -> String {
    format!("ranking {}", ranked.id)
}

fn drawing_key(drawing: &Drawing) -> String {
    format!("drawing of {}", drawing.experiment)
}

fn claim_key(claim: &ClaimResult) -> String {
    claim.id.clone()
}

pub(super) fn pairs<'a, T>(
    golden: &'a [T],
    here: &'a [T],
    key: fn(&T) -> String,
) -> impl Iterator<Item = (&'a T, &'a T)> {
    let index: std::collections::BTreeMap<String, &T> = golden.iter().map(|x| (key(x), x)).collect();
    here.iter().filter_map(move |is| index.get(&key(is)).map(|was| (*was, is)))
}

fn only<T>(a: &[T], b: &[T], key: fn(&T) -> String) -> Vec<String> {
    let there: std::collections::BTreeSet<String> = b.iter().map(key).collect();
    a.iter().map(key).filter(|x| !there.contains(x)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{observed, result};
    use preheat_suites::claims::Verdict;

    /// The kinds of difference after `edit`, as the reader sees them.
    fn after(edit: impl FnOnce(&mut SuiteResult)) -> Vec<String> {
        let golden = result(&observed());
        let mut here = golden.clone();
        edit(&mut here);
        compare(&golden, &here).iter().map(ToString::to_string).collect()
    }

    fn check(lines: &[String], expected: &[&str]) {
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        for (line, word) in lines.iter().zip(expected) {
            assert!(line.contains(word), "{line:?} should hold {word:?}");
        }
    }

    #[test]
    fn equal_is_green() {
        check(&after(|_| ()), &[]);
    }

    #[test]
    fn a_moved_digest_is_numerics_and_names_the_run() {
        let lines = after(|x| x.runs[1].digest = "moved".into());
        check(&lines, &["numerics: the digests of 1 of 8 runs moved: sweep/pre-ln schedule.peak_lr=0.003 seed 2"]);
        let lines = after(|x| x.runs.iter_mut().for_each(|r| r.digest = "moved".into()));
        check(&lines, &["8 of 8 runs"]);
        assert!(lines[0].ends_with('…'), "{lines:?}");
    }

    #[test]
    fn a_flipped_verdict_is_science_and_says_was_and_is() {
        let lines = after(|x| x.claims[0].verdict = Verdict::Refuted);
        check(&lines, &["science: claim x0-claim (X0) was reproduced and is refuted (effect 0.5000 [0.2500, 0.7500])"]);
        let lines = after(|x| x.claims[0].sweep.as_mut().unwrap().others[0].verdict = Verdict::Inconclusive);
        check(&lines, &["claim x0-claim (X0) at task.shift=0.2 was reproduced and is inconclusive (effect 0.3750)"]);
    }

    #[test]
    fn a_missing_run_a_new_cell_and_a_lost_claim_are_named() {
        check(&after(|x| drop(x.runs.pop())), &["definition: runs that only golden has: 1"]);
        check(&after(|x| x.cells[0].arm = "new".into()), &["cells that only golden has: 1"]);
        check(&after(|x| drop(x.claims.remove(0))), &["claims that only golden has: 1 (x0-claim)"]);
    }

    #[test]
    fn any_other_change_is_still_red() {
        check(&after(|x| x.claims[0].effect = Some(0.5 + f64::EPSILON)), &["derived: equal runs, other tables: x0"]);
        check(&after(|x| x.scale.push('!')), &["the header"]);
        check(&after(|x| x.claims[0].sweep = None), &["derived: equal runs, other tables: x0"]);
        check(&after(|x| x.runs.swap(0, 1)), &["the header or the order"]);
    }
}
