//! Each acceptance leaves its lines in CHANGELOG.md.

use super::Difference;
use crate::results::SuiteResult;
use crate::store::envelope::write_atomic;
use crate::table::verdict_name;
use preheat_suites::claims::Verdict;
use std::fs;
use std::io;
use std::path::Path;

/// The heading under which lines go.
const UNRELEASED: &str = "## [Unreleased]";

/// The lines for accepting `here` over `golden`, each marked `[numerics]` or `[claim]`.
pub fn lines(
    golden: Option<&SuiteResult>,
    here: &SuiteResult,
    differences: &[Difference],
    reason: Option<&str>,
) -> Vec<String> {
    let suite = here.stem();
    let because = reason.map(|r| format!(" ({})", r.trim())).unwrap_or_default();
    let digest = |x: &SuiteResult| x.digest[..12.min(x.digest.len())].to_string();
    let Some(golden) = golden else {
        let count = |v: Verdict| here.claims.iter().filter(|c| c.verdict == v).count();
        let verdicts = [Verdict::Reproduced, Verdict::Refuted, Verdict::Inconclusive]
            .map(|v| format!("{} {}", count(v), verdict_name(v)));
        return vec![
            format!("- [numerics] {suite}: first golden, {} runs, digest {}{because}", here.runs.len(), digest(here)),
            format!("- [claim] {suite}: {}{because}", verdicts.join(", ")),
        ];
    };
    let mut lines = Vec::new();
    let moved = format!("digest {} → {}", digest(golden), digest(here));
    for difference in differences {
        lines.push(match difference {
            Difference::Numerics { runs, of, .. } => {
                format!("- [numerics] {suite}: {runs} of {of} runs moved, {moved}{because}")
            }
            Difference::Science { claim, was, is, .. } => format!("- [claim] {suite}: {claim}: {was} → {is}{because}"),
            Difference::Missing { what, only_golden, only_here } => {
                let tag = if what == "runs" { "numerics" } else { "claim" };
                format!("- [{tag}] {suite}: {what}: {} new, {} gone{because}", only_here.len(), only_golden.len())
            }
            Difference::Derived { first } => format!("- [claim] {suite}: {}{because}", first.join("; ")),
            // Fast math is compared and never accepted.
            fast @ (Difference::Scalars { .. } | Difference::Window { .. } | Difference::Losses { .. }) => {
                format!("- [numerics] {suite}: {fast}{because}")
            }
        });
    }
    lines
}

/// Puts `lines` at the end of the unreleased section of the file at `path`; a missing file or section is
/// made. Where they stand there already, an acceptance that did not come to its end wrote them.
///
/// # Errors
/// One line.
pub fn add(path: &Path, lines: &[String]) -> Result<(), String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => "# Changelog\n".to_string(),
        Err(e) => return Err(format!("{}: {e}", path.display())),
    };
    write_atomic(path, spliced(&text, lines).as_bytes()).map_err(|e| format!("{}: {e}", path.display()))
}

fn spliced(text: &str, lines: &[String]) -> String {
    let mut all: Vec<&str> = text.lines().collect();
    let is_unreleased = |line: &&str| line.to_lowercase().replace(['[', ']'], "").starts_with("## unreleased");
    let start = all.iter().position(is_unreleased).unwrap_or_else(|| {
        let first = all.iter().position(|line| line.starts_with("## ")).unwrap_or(all.len());
        let blank = first > 0 && all[first - 1].trim().is_empty();
        let heading: &[&str] = if blank { &[UNRELEASED, ""] } else { &["", UNRELEASED, ""] };
        all.splice(first..first, heading.iter().copied());
        first + usize::from(!blank)
    });
    let section = all[start + 1..].iter().position(|line| line.starts_with("## ")).map_or(all.len(), |n| start + 1 + n);
    let end = all[..section].iter().rposition(|line| !line.trim().is_empty()).map_or(section, |n| n + 1);
    let mut new: Vec<&str> = lines.iter().map(String::as_str).collect();
    if all[start + 1..end].ends_with(&new) {
        return text.to_string();
    }
    if end == start + 1 {
        new.insert(0, "");
    }
    all.splice(end..end, new);
    all.join("\n").trim_end().to_string() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{observed, result};

    fn check(before: &str, after: &str) {
        assert_eq!(spliced(before, &["- [claim] new".to_string()]), after);
    }

    #[test]
    fn lines_go_to_the_end_of_the_unreleased_section() {
        check("# Changelog\n", "# Changelog\n\n## [Unreleased]\n\n- [claim] new\n");
        check(
            "# C\n\n## Unreleased\n\n- old\n\n## 0.1.0\n\n- x\n",
            "# C\n\n## Unreleased\n\n- old\n- [claim] new\n\n## 0.1.0\n\n- x\n",
        );
        check("# C\n\n## [Unreleased]\n", "# C\n\n## [Unreleased]\n\n- [claim] new\n");
        check("# C\n\n## 0.1.0\n\n- x\n", "# C\n\n## [Unreleased]\n\n- [claim] new\n\n## 0.1.0\n\n- x\n");
    }

    #[test]
    fn lines_that_end_the_section_are_not_written_again() {
        let lines = ["- [claim] b".to_string(), "- [claim] c".to_string()];
        let once = spliced("# C\n\n## [Unreleased]\n\n- a\n", &lines);
        assert_eq!(once, "# C\n\n## [Unreleased]\n\n- a\n- [claim] b\n- [claim] c\n");
        assert_eq!(spliced(&once, &lines), once);
        assert!(spliced(&once, &lines[..1]).ends_with("- [claim] c\n- [claim] b\n"), "another change in between");
    }

    #[test]
    fn the_first_acceptance_counts_verdicts_and_a_later_one_names_changes() {
        let golden = result(&observed());
        let first = lines(None, &golden, &[], Some("first run"));
        assert!(first[0].contains("[numerics] demo.quick: first golden, 8 runs"), "{first:?}");
        assert!(first[1].ends_with("1 reproduced, 1 refuted, 1 inconclusive (first run)"), "{first:?}");

        let mut here = golden.clone();
        here.runs[0].digest = "moved".into();
        here.claims[0].verdict = Verdict::Refuted;
        let later = lines(Some(&golden), &here, &super::super::compare(&golden, &here), None);
        assert!(later[0].contains("[numerics] demo.quick: 1 of 8 runs moved"), "{later:?}");
        assert!(later[1].contains("x0-claim (X0): reproduced → refuted"), "{later:?}");
    }
}
