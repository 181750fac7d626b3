//! Fast math against what exact math accepted. Bits differ and numbers are close, so four things are asked: the host's
//! scalars exactly; the early window within a tolerance that rounding explains; final losses by equivalence over seeds;
//! every verdict equal.

use super::compare::{Difference, cell_key, missing, pairs, science};
use crate::results::{CellResult, RunResult, SuiteResult};
use crate::table::{interval, number};
use preheat_suites::run::RunId;
use preheat_suites::stats::equivalence::{Inclusion, inclusion};
use preheat_suites::stats::mean::Mean;
use preheat_suites::train::{Early, metrics};
use std::collections::{BTreeMap, BTreeSet};

/// How far a training loss of the early window may lie from the exact one: nats/token at the first step, and as much more
/// at each further step.
pub const LOSS_TOLERANCE: f64 = 0.01;
/// How far a gradient norm, an update's norm or a metric at initialisation may lie from the exact one, as a share of it.
pub const NORM_TOLERANCE: f64 = 0.1;
/// Below this a norm or a metric is compared as if it were this: what is nearly zero has no share. A metric whose scale is 1
/// is compared as if it were 1.
const NORM_FLOOR: f64 = 1e-3;
/// The least margin of final losses, nats/token. Above it the margin is the standard deviation over seeds.
pub const LOSS_MARGIN: f64 = 0.02;
/// Level of the interval by which losses are shown to be equivalent: two one-sided tests at half of it.
const EQUIVALENCE_LEVEL: f64 = 0.1;
/// Level at which any of a suite's cells is shown to differ, divided by their number.
const DIFFERENCE_LEVEL: f64 = 0.01;
/// How many things a difference names.
const NAMED: usize = 3;

/// A result, and how its runs begin.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// The result.
    pub result: &'a SuiteResult,
    /// How its runs begin.
    pub early: &'a BTreeMap<RunId, Early>,
}

/// What a comparison came to. Green where both are empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compared {
    /// What is red.
    pub differences: Vec<Difference>,
    /// Why something could not be decided. One line.
    pub undecided: Option<String>,
}

/// Compares a result of fast math with the accepted one.
pub fn compare(golden: Side<'_>, here: Side<'_>) -> Compared {
    let definition = missing(golden.result, here.result, RunResult::label);
    if !definition.is_empty() {
        // Without the same runs nothing else means anything.
        return Compared { differences: definition, undecided: None };
    }
    let accepted: BTreeSet<&RunId> = golden.result.runs.iter().map(|run| &run.id).collect();
    let (known, other): (Vec<_>, Vec<_>) = here.result.runs.iter().partition(|run| accepted.contains(&run.id));
    let lacking = known.iter().filter(|run| !golden.early.contains_key(&run.id)).count();
    if lacking > 0 {
        let why = format!("golden does not hold how {lacking} of its runs begin; `preheat accept` writes it");
        return Compared { differences: Vec::new(), undecided: Some(why) };
    }
    let mut differences = Vec::new();
    differences.extend(scalars(golden, here));
    differences.extend(window(golden, here));
    let (losses, mut undecided) = losses(golden.result, here.result);
    if let Some(run) = other.first() {
        // A choice between values that are nearly as good, or another definition: the place does not tell which.
        let (count, first) = (other.len(), run.label());
        undecided
            .get_or_insert(format!("{count} runs are not golden's, as where a later stage chose otherwise: {first}"));
    }
    differences.extend(losses);
    differences.extend(science(golden.result, here.result));
    Compared { differences, undecided }
}

/// The runs that both sides know the beginning of, each once: golden's, then this bench's.
fn begun<'a>(golden: Side<'a>, here: Side<'a>) -> Vec<(&'a RunResult, &'a Early, &'a Early)> {
    let mut runs: BTreeMap<&RunId, _> = BTreeMap::new();
    for run in &here.result.runs {
        if let (Some(was), Some(is)) = (golden.early.get(&run.id), here.early.get(&run.id)) {
            runs.entry(&run.id).or_insert((run, was, is));
        }
    }
    runs.into_values().collect()
}

fn scalars(golden: Side<'_>, here: Side<'_>) -> Option<Difference> {
    let begun = begun(golden, here);
    let moved: Vec<_> = begun.iter().filter(|(_, was, is)| was.scalars != is.scalars || was.lr != is.lr).collect();
    let first = moved.iter().take(NAMED).map(|(run, was, is)| format!("{}{}", run.label(), rate(was, is))).collect();
    (!moved.is_empty()).then_some(Difference::Scalars { runs: moved.len(), of: begun.len(), first })
}

/// The first learning rate that moved, if one did.
fn rate(was: &Early, is: &Early) -> String {
    let at = was.lr.iter().zip(&is.lr).position(|(a, b)| a != b);
    let word = |x: Option<f64>| x.map_or("not finite".into(), |x| x.to_string());
    at.map_or(String::new(), |i| format!(" step {}: lr was {} and is {}", i + 1, word(was.lr[i]), word(is.lr[i])))
}

/// A number that left its tolerance.
struct Left {
    /// Distance over tolerance.
    ratio: f64,
    what: String,
}

fn window(golden: Side<'_>, here: Side<'_>) -> Option<Difference> {
    let begun = begun(golden, here);
    let mut left: Vec<Left> = Vec::new();
    for (run, was, is) in &begun {
        // Of equals the first.
        let worst = in_window(was, is).into_iter().rev().max_by(|a, b| a.ratio.total_cmp(&b.ratio));
        left.extend(worst.map(|w| Left { what: format!("{} {}", run.label(), w.what), ..w }));
    }
    let runs = left.len();
    left.extend(at_initialisation(golden.result, here.result));
    let ratio = |ratio: f64| if ratio.is_finite() { ratio } else { f64::MAX };
    left.sort_by(|a, b| ratio(b.ratio).total_cmp(&ratio(a.ratio)));
    let first = left.iter().take(NAMED).map(|x| x.what.clone()).collect();
    (!left.is_empty()).then_some(Difference::Window { runs, of: begun.len(), first })
}

/// What of a run's window left its tolerance.
fn in_window(was: &Early, is: &Early) -> Vec<Left> {
    let curves = [
        ("train_loss", &was.train_loss, &is.train_loss, None),
        ("grad_norm", &was.grad_norm, &is.grad_norm, Some(NORM_TOLERANCE)),
        ("update_norm", &was.update_norm, &is.update_norm, Some(NORM_TOLERANCE)),
    ];
    let mut left = Vec::new();
    for (name, was, is, share) in curves {
        // A run that diverged on one side only is shorter there.
        for i in 0..was.len().max(is.len()) {
            let at = |curve: &[Option<f64>]| curve.get(i).copied().flatten();
            let (a, b) = (at(was), at(is));
            let tolerance = |a: f64| match share {
                None => LOSS_TOLERANCE * (i + 1) as f64,
                Some(share) => share * a.abs().max(NORM_FLOOR),
            };
            left.extend(
                outside(a, b, tolerance)
                    .map(|(ratio, words)| Left { ratio, what: format!("{name} {}: {words}", i + 1) }),
            );
        }
    }
    left
}

/// How many tolerances lie between two numbers, and both in words, where it is more than one.
fn outside(was: Option<f64>, is: Option<f64>, tolerance: impl Fn(f64) -> f64) -> Option<(f64, String)> {
    let word = |x: Option<f64>| x.map_or("not finite".to_string(), number);
    let (ratio, allowed) = match (was, is) {
        (None, None) => return None,
        (Some(a), Some(b)) => ((b - a).abs() / tolerance(a), number(tolerance(a))),
        _ => (f64::INFINITY, "none".into()),
    };
    (ratio > 1.0).then(|| (ratio, format!("{} instead of {} (tolerance {allowed})", word(is), word(was))))
}

/// Metrics at initialisation, which no step has touched yet.
fn at_initialisation(golden: &SuiteResult, here: &SuiteResult) -> Vec<Left> {
    let mut left = Vec::new();
    for (was, is) in pairs(&golden.cells, &here.cells, cell_key) {
        for (name, values) in was.metrics.iter().filter(|(name, _)| name.starts_with("init.")) {
            let Some(now) = is.metrics.get(name) else { continue };
            let floor = if metrics::is_of_one(name) { 1.0 } else { NORM_FLOOR };
            for (a, b) in values.values.iter().zip(&now.values) {
                let tolerance = |a: f64| NORM_TOLERANCE * a.abs().max(floor);
                left.extend(
                    outside(*a, *b, tolerance)
                        .map(|(ratio, words)| Left { ratio, what: format!("{} {name}: {words}", cell_key(is)) }),
                );
            }
        }
    }
    left
}

/// Final losses, in margins. Red where a cell or the whole suite is shown to differ; undecided where the suite is not
/// shown to be equivalent.
fn losses(golden: &SuiteResult, here: &SuiteResult) -> (Vec<Difference>, Option<String>) {
    let both = pairs(&golden.cells, &here.cells, cell_key);
    let cells: Vec<(String, Vec<f64>)> =
        both.filter_map(|(was, is)| Some((cell_key(is), in_margins(was, is)?))).collect();
    let (one, all) = ([-1.0, 1.0], cells.iter().flat_map(|(_, x)| x).copied().collect::<Vec<f64>>());
    let shown = |values: &[f64], level: f64| Mean::of(values).and_then(|m| Some((m.mean, m.interval(level)?)));
    let differs = |what: &str, (effect, range): (f64, [f64; 2])| Difference::Losses {
        what: what.to_string(),
        effect: format!("{} {}", number(effect), interval(range)),
    };
    let level = DIFFERENCE_LEVEL / cells.len().max(1) as f64;
    let mut red: Vec<Difference> = cells
        .iter()
        .filter_map(|(name, values)| Some((name, shown(values, level)?)))
        .filter(|(_, (_, range))| inclusion(*range, one) == Inclusion::Outside)
        .map(|(name, shown)| differs(name, shown))
        .collect();
    let Some(whole) = shown(&all, EQUIVALENCE_LEVEL) else { return (red, None) };
    match inclusion(whole.1, one) {
        Inclusion::Inside => (red, None),
        Inclusion::Outside => {
            red.push(differs("all cells", whole));
            (red, None)
        }
        Inclusion::Straddles => {
            let (effect, range) = (number(whole.0), interval(whole.1));
            let why =
                format!("final losses are neither equivalent nor different: {effect} {range} margins; more seeds");
            (red, Some(why))
        }
    }
}

/// Differences of a cell's final losses, seed by seed, in margins. `None` for a cell without losses.
fn in_margins(was: &CellResult, is: &CellResult) -> Option<Vec<f64>> {
    let (was, is) = (was.metrics.get("val_loss")?, is.metrics.get("val_loss")?);
    let margin = was.sd.unwrap_or(0.0).max(LOSS_MARGIN);
    Some(was.values.iter().zip(&is.values).filter_map(|(a, b)| Some(((*b)? - (*a)?) / margin)).collect())
}

#[cfg(test)]
#[path = "fast_tests.rs"]
mod tests;
