//! Each claim of the papers in one row: which suite asks for it, and what each tier says.

use crate::results::{ClaimResult, SuiteResult, tier_name};
use crate::table::{Style, draw, verdict_name};
use preheat_suites::claims::{Tier, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// A paper's id such as `X10` in reading order: letters, then the number.
type Id = (String, Option<u32>, String);

fn id(text: &str) -> Id {
    let letters: String = text.chars().take_while(|c| !c.is_ascii_digit()).collect();
    let number = text[letters.len()..].parse().ok();
    (letters, number, text.to_string())
}

/// The table, under a heading; nothing where no tier judges a claim.
pub(super) fn claims(results: &[SuiteResult]) -> String {
    let mut cells: BTreeMap<(&str, Id), BTreeMap<Tier, Vec<&ClaimResult>>> = BTreeMap::new();
    let mut tiers = BTreeSet::new();
    for result in results {
        for claim in result.claims.iter().filter(|claim| !claim.is_of_another_tier()) {
            tiers.insert(result.tier);
            let row = cells.entry((&result.name, id(&claim.paper_claim))).or_default();
            row.entry(result.tier).or_default().push(claim);
        }
    }
    if tiers.is_empty() {
        return String::new();
    }
    let header = ["suite", "paper's claim"].map(String::from).into_iter();
    let mut rows = vec![header.chain(tiers.iter().map(|tier| tier_name(*tier).to_string())).collect()];
    for ((suite, (.., claim)), by_tier) in &cells {
        let counts = tiers.iter().map(|tier| by_tier.get(tier).map(|claims| counted(claims)).unwrap_or_default());
        rows.push([(*suite).to_string(), claim.clone()].into_iter().chain(counts).collect::<Vec<_>>());
    }
    format!("\n### Claims of the papers\n\n{}\n", draw(rows, Style::Markdown))
}

/// `2 reproduced, 1 refuted`.
fn counted(claims: &[&ClaimResult]) -> String {
    let all = [Verdict::Reproduced, Verdict::Refuted, Verdict::Inconclusive];
    let counts = all.map(|verdict| (claims.iter().filter(|claim| claim.verdict == verdict).count(), verdict));
    let named = counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, verdict)| format!("{n} {}", verdict_name(verdict)));
    named.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{observed, result};

    #[test]
    fn a_row_a_claim_and_a_column_a_tier_that_judges() {
        let mut quick = result(&observed());
        let mut full = quick.clone();
        full.tier = Tier::Full;
        quick.claims[0].paper_claim = "X10".into();
        quick.claims[1].paper_claim = "X2".into();
        quick.claims[2].paper_claim = "X10".into();
        quick.claims[2].why = None;
        full.claims.truncate(1);
        full.claims[0].paper_claim = "X2".into();
        full.claims[0].verdict = Verdict::Refuted;
        let text = claims(&[full, quick]);
        let rows: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(rows[3], "| suite | paper's claim | quick | full |");
        assert_eq!(
            rows[5..],
            ["| demo | X2 | 1 refuted | 1 refuted |", "| demo | X10 | 1 reproduced, 1 inconclusive | |"]
        );
    }

    #[test]
    fn a_tier_that_judges_nothing_has_no_column() {
        let mut smoke = result(&observed());
        smoke.claims.clear();
        assert_eq!(claims(&[smoke]), "");
    }
}
