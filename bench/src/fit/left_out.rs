//! What fits leave out, told in full or in few lines.

use super::outcome::{Fit, name};
use preheat_suites::fits::accounting::Convention;
use std::collections::BTreeMap;

/// One line a budget.
pub fn each(fits: &[Fit]) -> Vec<String> {
    let of = |fit: &Fit| -> Vec<String> {
        let group = name(&fit.group);
        reasons(fit).map(|(flops, why)| format!("{group}: budget {flops:e}: {why}; left out")).collect()
    };
    fits.iter().flat_map(of).collect()
}

/// One line a group: how many budgets, from where to where, and why. Groups that keep none, whose rows say so, share one.
pub fn summary(fits: &[Fit]) -> Vec<String> {
    let (empty, some): (Vec<&Fit>, Vec<&Fit>) = fits.iter().partition(|fit| reasons(fit).count() == fit.budgets.len());
    let mut lines: Vec<String> = some.into_iter().filter_map(|fit| line(&name(&fit.group), &[fit])).collect();
    let who = match empty[..] {
        [fit] => name(&fit.group),
        _ => format!("{} groups that keep no budget", empty.len()),
    };
    lines.extend(line(&who, &empty));
    lines
}

fn line(who: &str, fits: &[&Fit]) -> Option<String> {
    let mut kinds: BTreeMap<String, Vec<(f64, &str)>> = BTreeMap::new();
    for (flops, why) in fits.iter().flat_map(|fit| reasons(fit)) {
        kinds.entry(kind(why)).or_default().push((flops, why));
    }
    let mut kinds: Vec<Vec<(f64, &str)>> = kinds.into_values().collect();
    kinds.iter_mut().for_each(|alike| alike.sort_by(|a, b| a.0.total_cmp(&b.0)));
    kinds.sort_by(|a, b| a[0].0.total_cmp(&b[0].0));
    let out: usize = kinds.iter().map(Vec::len).sum();
    let all: usize = fits.iter().map(|fit| fit.budgets.len()).sum();
    let head = format!("{who}: {out} of {all} budgets left out");
    match &kinds[..] {
        [] => None,
        [only] => Some(format!("{head} ({}): {}", place(only), merged(only))),
        _ => {
            let told = kinds.iter().map(|alike| format!("{} ({}): {}", alike.len(), place(alike), merged(alike)));
            Some(format!("{head}: {}", told.collect::<Vec<_>>().join("; ")))
        }
    }
}

fn reasons(fit: &Fit) -> impl Iterator<Item = (f64, &str)> {
    fit.budgets.iter().filter_map(|budget| Some((budget.flops, budget.left_out.as_deref()?)))
}

/// `budget 1e19`, or `1.00e17 to 8.00e17`.
fn place(alike: &[(f64, &str)]) -> String {
    match alike {
        [(flops, _)] => format!("budget {flops:e}"),
        _ => format!("{:.2e} to {:.2e}", alike[0].0, alike[alike.len() - 1].0),
    }
}

/// A reason without its numbers.
fn kind(why: &str) -> String {
    why.split(' ').filter(|word| word.parse::<f64>().is_err()).collect::<Vec<_>>().join(" ")
}

/// Reasons of one kind as one, each number as the range of theirs.
fn merged(alike: &[(f64, &str)]) -> String {
    let words = |at: usize| alike.iter().filter_map(move |(_, why)| why.split(' ').nth(at)?.parse::<f64>().ok());
    let word = |(at, own): (usize, &str)| {
        let low = words(at).fold(f64::INFINITY, f64::min);
        let high = words(at).fold(f64::NEG_INFINITY, f64::max);
        if low < high { format!("{low} to {high}") } else { own.to_string() }
    };
    alike[0].1.split(' ').enumerate().map(word).collect::<Vec<_>>().join(" ")
}

/// Why a count without the head has no law where the standard one has, and what its law is by the standard optima.
pub fn headless(fits: &[Fit]) -> Vec<String> {
    let line = |fit: &Fit| {
        let [small, large] = fit.head_share?;
        let exponent =
            fit.recounted.filter(|_| fit.exponent.is_none() && fit.convention == Convention::Kaplan.name())?;
        Some(format!(
            "{}: no law of its own: the head is {:.0} % of the smallest size and {:.0} % of the largest, so without it \
             small sizes cost little and are the best or nearly so at every budget. The optima of the standard count, \
             counted without the head, have N* ∝ C^{exponent:.4}",
            name(&fit.group),
            100.0 * small,
            100.0 * large,
        ))
    };
    fits.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_in_numbers_alone_are_one() {
        let whys = ["only 53.8 % of the draws", "only 7 % of the draws", "only 79.5 % of the draws"];
        assert!(whys.iter().all(|why| kind(why) == "only % of the draws"));
        let alike: Vec<(f64, &str)> = [1e9, 2e9, 4e9].into_iter().zip(whys).collect();
        assert_eq!(
            (place(&alike), merged(&alike)),
            ("1.00e9 to 4.00e9".into(), "only 7 to 79.5 % of the draws".into())
        );
        assert_eq!((place(&alike[..1]), merged(&alike[..1])), ("budget 1e9".into(), whys[0].into()));
    }
}
