//! The report: golden's tables as pages. It needs golden alone, so it works in a fresh clone.

mod papers;
mod splice;

pub use splice::{Marker, splice};

use crate::drawing;
use crate::results::{ClaimResult, SuiteResult, tier_name};
use crate::table::{self, Style, draw};
use preheat_suites::claims::Verdict;

/// The command that makes the pages, as they say.
pub const COMMAND: &str = "cargo xtask report";

/// The overview: one row a suite.
pub fn summary(results: &[SuiteResult]) -> String {
    let mut rows = vec![
        ["suite", "tier", "scale", "runs", "reproduced", "refuted", "inconclusive", "not judged", "digest"]
            .map(String::from)
            .to_vec(),
    ];
    for result in results {
        let (others, judged): (Vec<&ClaimResult>, Vec<_>) = result.claims.iter().partition(|c| c.is_of_another_tier());
        let count = |v: Verdict| judged.iter().filter(|c| c.verdict == v).count().to_string();
        rows.push(vec![
            result.name.clone(),
            tier_name(result.tier).into(),
            result.scale.clone(),
            result.runs.len().to_string(),
            count(Verdict::Reproduced),
            count(Verdict::Refuted),
            count(Verdict::Inconclusive),
            others.len().to_string(),
            format!("`{}`", &result.digest[..12.min(result.digest.len())]),
        ]);
    }
    format!("Made by `{COMMAND}` from `golden/`.\n\n{}\n", draw(rows, Style::Markdown))
}

/// Every suite's tables.
pub fn results(results: &[SuiteResult]) -> String {
    let mut text = format!("Made by `{COMMAND}` from `golden/`.\n");
    text.push_str(&papers::claims(results));
    for result in results {
        text.push('\n');
        text.push_str(table::suite(result, Style::Markdown).trim_end());
        text.push_str(&format!("\n\nMade by `cargo xtask bench {} --tier {}`.\n", result.name, tier_name(result.tier)));
    }
    text
}

/// Every suite's drawings: path and SVG.
pub fn drawings(results: &[SuiteResult]) -> Vec<(String, String)> {
    let of = |result: &SuiteResult| {
        let stem = result.stem();
        result.drawings.iter().map(|drawing| (drawing.path(&stem), drawing::svg(drawing))).collect::<Vec<_>>()
    };
    results.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{observed, result};

    #[test]
    fn the_summary_counts_verdicts() {
        insta::assert_snapshot!(summary(&[result(&observed())]));
    }

    #[test]
    fn the_pages_say_which_command_made_them() {
        let text = results(&[result(&observed())]);
        assert!(text.contains("cargo xtask bench demo --tier quick"), "{text}");
        assert!(text.contains("### demo (quick)"), "{text}");
    }
}
