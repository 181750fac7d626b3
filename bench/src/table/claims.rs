//! The table of a suite's claims, and the lines below it.

use super::numbers::{interval, number};
use super::{Style, draw};
use crate::results::ClaimResult;
use preheat_suites::claims::{Expect, Verdict};

/// The claims that this tier judges as a table, what its columns mean, the claims in words, and the names of those
/// that this tier leaves to others.
pub(super) fn claims(all: &[ClaimResult], style: Style) -> String {
    let (others, judged): (Vec<&ClaimResult>, Vec<_>) = all.iter().partition(|c| c.is_of_another_tier());
    let mut parts = Vec::new();
    if !judged.is_empty() {
        parts.push(draw(rows(&judged), style));
        parts.push(legend(&judged));
        parts.push(judged.iter().map(|claim| sentence(claim, style)).collect::<Vec<_>>().join("\n"));
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
