//! The table of a suite's claims, and the lines below it.

use super::numbers::{interval, number};
use super::{Style, draw};
use crate::results::ClaimResult;
use preheat_suites::claims::{Expect, Sweep, Swept, Verdict};
use preheat_suites::registry::Scalar;

/// Below the table of a sweep.
const SWEPT: &str = "Each cell is the effect and its verdict at that value. Those at other values than the claims' own have intervals that are simultaneous among themselves.";

/// The claims that this tier judges as a table, what its columns mean, the claims in words, and the names of those
/// that this tier leaves to others.
pub(super) fn claims(all: &[ClaimResult], style: Style) -> String {
    let (others, judged): (Vec<&ClaimResult>, Vec<_>) = all.iter().partition(|c| c.is_of_another_tier());
    let mut parts = Vec::new();
    if !judged.is_empty() {
        parts.push(draw(rows(&judged), style));
        parts.push(legend(&judged));
        parts.push(judged.iter().map(|claim| sentence(claim, style)).collect::<Vec<_>>().join("\n"));
        parts.extend(sweeps(&judged, style));
    }
    if !others.is_empty() {
        let names: Vec<&str> = others.iter().map(|c| c.id.as_str()).collect();
        parts.push(format!("Not judged in this tier: {}.", names.join(", ")));
    }
    parts.join("\n\n")
}

fn rows(claims: &[&ClaimResult]) -> Vec<Vec<String>> {
    let header = ["claim", "paper says", "ours", "95 % interval", "expected", "n", "verdict"];
    let mut rows = vec![header.map(String::from).to_vec()];
    for claim in claims {
        rows.push(vec![
            format!("{} ({})", claim.id, claim.paper_claim),
            claim.paper_number.clone(),
            claim.effect.map(number).unwrap_or_default(),
            claim.interval.map(interval).unwrap_or_default(),
            expected(claim.expect),
            claim.n.to_string(),
            verdict(claim),
        ]);
    }
    rows
}

/// A table for each axis that claims are swept over: effect and verdict at every value, and where the verdict is
/// another one than that of the claim.
fn sweeps(claims: &[&ClaimResult], style: Style) -> Vec<String> {
    let swept: Vec<(&ClaimResult, &Sweep)> = claims.iter().filter_map(|c| Some((*c, c.sweep.as_ref()?))).collect();
    let mut axes: Vec<&str> = swept.iter().map(|(_, sweep)| sweep.axis.as_str()).collect();
    axes.sort_unstable();
    axes.dedup();
    let table = |axis: &str| {
        let rows: Vec<_> = swept.iter().filter(|(_, sweep)| sweep.axis == axis).copied().collect();
        let mut values: Vec<&Scalar> = Vec::new();
        for (_, sweep) in &rows {
            for value in std::iter::once(&sweep.value).chain(sweep.others.iter().map(|x| &x.value)) {
                if !values.iter().any(|seen| seen.same(value)) {
                    values.push(value);
                }
            }
        }
        values.sort_by(|a, b| real(a).total_cmp(&real(b)));
        format!("{}\n\n{SWEPT}", draw(sweep_rows(axis, &rows, &values), style))
    };
    axes.into_iter().map(table).collect()
}

fn sweep_rows(axis: &str, rows: &[(&ClaimResult, &Sweep)], values: &[&Scalar]) -> Vec<Vec<String>> {
    let mut header = vec![format!("claim over {axis}")];
    header.extend(values.iter().map(ToString::to_string));
    header.push("another verdict".into());
    let mut table = vec![header];
    for (claim, sweep) in rows {
        let mut row = vec![claim.id.clone()];
        for value in values {
            let other = sweep.others.iter().find(|x| x.value.same(value));
            row.push(match other {
                Some(x) => with_verdict(x.effect, x.verdict),
                None if sweep.value.same(value) => with_verdict(claim.effect, claim.verdict),
                None => String::new(),
            });
        }
        let flips = |x: &&Swept| x.verdict != claim.verdict;
        let places: Vec<String> = sweep.others.iter().filter(flips).map(|x| format!("at {}", x.value)).collect();
        row.push(if places.is_empty() { "no".into() } else { places.join(", ") });
        table.push(row);
    }
    table
}

fn with_verdict(effect: Option<f64>, verdict: Verdict) -> String {
    let effect = effect.map(|x| number(x) + " ").unwrap_or_default();
    effect + verdict_name(verdict)
}

/// An axis value as a number, after all numbers where it is none.
fn real(value: &Scalar) -> f64 {
    value.number().unwrap_or(f64::INFINITY)
}

/// `> 0.15`, `< 0.1`, `in (-0.1, 0.1)`.
fn expected(expect: Expect) -> String {
    match expect {
        Expect::Above(x) => format!("> {x}"),
        Expect::Below(x) => format!("< {x}"),
        Expect::Within([low, high]) => format!("in ({low}, {high})"),
    }
}

fn legend(claims: &[&ClaimResult]) -> String {
    let family = claims.iter().filter(|c| c.level.is_some()).count();
    let mut text = match family {
        0 => "No claim has the data to be judged.".to_string(),
        1 => "The interval is a 95 % interval: one claim is judged in this tier.".to_string(),
        m => format!("Intervals are simultaneous 95 % (Holm over the {m} claims of the suite judged in this tier)."),
    };
    if claims.iter().any(|c| c.level.is_none() && c.interval.is_some()) {
        text.push_str(" With too few seeds they are plain 95 % and decide nothing.");
    }
    text.push_str(
        " A claim is reproduced where its whole interval lies in what is expected, refuted where it lies outside.",
    );
    text
}

/// `reproduced`, `inconclusive (tier)`.
pub fn verdict(claim: &ClaimResult) -> String {
    let word = verdict_name(claim.verdict);
    claim.why.as_ref().map_or(word.to_string(), |why| format!("{word} ({why})"))
}

/// A verdict's word.
pub const fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Reproduced => "reproduced",
        Verdict::Refuted => "refuted",
        Verdict::Inconclusive => "inconclusive",
    }
}

/// `x8: What is claimed (where). Judged at schedule.peak_lr=0.005.`
fn sentence(claim: &ClaimResult, style: Style) -> String {
    let (open, close) = if style == Style::Markdown { ("- **", ":**") } else { ("", ":") };
    let at = claim.at.as_ref().map(|at| format!(" Judged at {at}.")).unwrap_or_default();
    let words = claim.sentence.trim_end().trim_end_matches('.');
    format!("{open}{}{close} {words} ({}).{at}", claim.id, claim.place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{observed, result};

    fn text(edit: impl FnOnce(&mut Vec<ClaimResult>)) -> String {
        let mut all = result(&observed()).claims;
        edit(&mut all);
        claims(&all, Style::Plain)
    }

    #[test]
    fn what_was_expected_is_said_as_a_margin() {
        let cases = [
            (Expect::Above(0.15), "> 0.15"),
            (Expect::Above(0.0), "> 0"),
            (Expect::Below(-0.4), "< -0.4"),
            (Expect::Within([-0.1, 0.1]), "in (-0.1, 0.1)"),
        ];
        for (expect, words) in cases {
            assert_eq!(expected(expect), words);
        }
    }

    #[test]
    fn claims_of_other_tiers_are_one_line_and_no_row() {
        let lines = text(|_| ());
        assert!(lines.ends_with("\n\nNot judged in this tier: x2-claim."), "{lines}");
        assert_eq!(lines.matches("x2-claim").count(), 1, "{lines}");
        assert!(lines.contains("Holm over the 2 claims"), "{lines}");
        let none = text(|all| all.retain(ClaimResult::is_of_another_tier));
        assert_eq!(none, "Not judged in this tier: x2-claim.");
        let all = text(|all| all.retain(|c| !c.is_of_another_tier()));
        assert!(!all.contains("Not judged"), "{all}");
    }

    #[test]
    fn a_sweep_says_where_the_verdict_flips() {
        let lines = text(|_| ());
        let row = lines
            .lines()
            .find(|line| line.trim_start().starts_with("x0-claim ") && line.contains("0.3750"))
            .expect("a row");
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let expected = ["x0-claim", "0.3750 reproduced", "0.5000 reproduced", "-0.5000 refuted", "inconclusive"];
        assert_eq!((&cells[..5], cells[5]), (&expected[..], "at 0.6, at 0.8"));
        let same = text(|all| all[0].sweep.as_mut().unwrap().others.truncate(1));
        assert!(same.lines().any(|line| line.contains("0.3750 reproduced") && line.ends_with("| no")), "{same}");
        assert!(!text(|all| all[0].sweep = None).contains("another verdict"));
    }

    #[test]
    fn an_interval_that_decides_nothing_is_said_to_be_plain() {
        let few = |claim: &mut ClaimResult| {
            (claim.why, claim.level, claim.verdict) = (Some("n < 8".into()), None, Verdict::Inconclusive);
        };
        let lines = text(|all| few(&mut all[0]));
        assert!(lines.contains("one claim is judged") && lines.contains("With too few seeds"), "{lines}");
        assert!(lines.contains("inconclusive (n < 8)"), "{lines}");
        let lines = text(|all| all[..2].iter_mut().for_each(few));
        assert!(lines.contains("No claim has the data"), "{lines}");
        assert!(!text(|_| ()).contains("With too few seeds"));
    }

    #[test]
    fn a_sentence_ends_with_one_full_stop_and_says_where_it_was_judged() {
        let mut claim = result(&observed()).claims.remove(1);
        let with = "x1-claim: Claim 1 holds (Table 2). Judged at schedule.peak_lr=0.003.";
        assert_eq!(sentence(&claim, Style::Plain), with);
        claim.sentence = "Claim 1 holds".into();
        assert_eq!(sentence(&claim, Style::Plain), with);
        claim.at = None;
        assert_eq!(sentence(&claim, Style::Markdown), "- **x1-claim:** Claim 1 holds (Table 2).");
    }
}
