//! Tables of a suite's result: for a terminal, for a pipe, for Markdown, and as CSV.

pub mod csv;
mod numbers;

pub use numbers::{count, flops, interval, mean_sd, number};

use crate::results::{Axes, CellResult, ClaimResult, SuiteResult, tier_name};
use preheat_suites::claims::Verdict;
use std::fmt::Write;
use tabled::builder::Builder;
use tabled::settings::Style as Lines;

/// How a table is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Box drawing characters, for a terminal.
    Unicode,
    /// ASCII, for a pipe and for golden.
    Plain,
    /// Markdown.
    Markdown,
}

/// Digits of the digest that a header shows.
const DIGEST: usize = 12;

/// The published table of one suite: header, cells, claims.
pub fn suite(result: &SuiteResult, style: Style) -> String {
    let mut text = String::new();
    let (hash, tick) = if style == Style::Markdown { ("### ", "`") } else { ("", "") };
    let digest = &result.digest[..DIGEST.min(result.digest.len())];
    let _ = writeln!(
        text,
        "{hash}{} ({}): {}\n\n{} · digest {tick}{digest}{tick}\n",
        result.name,
        tier_name(result.tier),
        result.title,
        result.scale
    );
    for experiment in experiments(result) {
        let (varying, constant) = metrics(&experiment);
        text.push_str(&draw(cells(&experiment, &varying), style));
        text.push_str("\n\n");
        if !constant.is_empty() {
            let _ = writeln!(text, "{} in every cell: {}\n", experiment[0].experiment, constant.join(", "));
        }
    }
    if !result.claims.is_empty() {
        text.push_str(&draw(claims(&result.claims), style));
        text.push_str("\n\n");
        for claim in &result.claims {
            text.push_str(&footnote(claim, style));
        }
    }
    while text.ends_with("\n\n") {
        text.pop();
    }
    text
}

/// Cells by experiment, each in plan order.
fn experiments(result: &SuiteResult) -> Vec<Vec<&CellResult>> {
    let mut groups: Vec<Vec<&CellResult>> = Vec::new();
    for cell in &result.cells {
        match groups.iter_mut().find(|g| g[0].experiment == cell.experiment) {
            Some(group) => group.push(cell),
            None => groups.push(vec![cell]),
        }
    }
    groups
}

/// More columns than this stay in the JSON.
const MOST_METRICS: usize = 6;

/// The metrics that are columns, the losses first; and those that are one number everywhere, in words.
fn metrics<'a>(cells: &[&'a CellResult]) -> (Vec<&'a str>, Vec<String>) {
    let mut names: Vec<&str> = cells.iter().flat_map(|c| c.metrics.keys().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    // A norm per layer stays in the JSON.
    names.retain(|name| name.split('.').all(|part| part.parse::<u64>().is_err()));
    names.sort_by_key(|name| (!name.ends_with("loss"), name.contains('.'), *name));
    let constant = |name: &str| {
        let first = cells[0].metrics.get(name)?.values.first().copied()??;
        let same = |c: &&CellResult| c.metrics.get(name).is_some_and(|m| m.values.iter().all(|x| *x == Some(first)));
        // One cell alone says nothing about what varies.
        (cells.len() > 1 && cells.iter().all(same)).then(|| format!("{name} {}", number(first)))
    };
    let (same, mut varying): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|name| constant(name).is_some());
    varying.truncate(MOST_METRICS);
    (varying, same.into_iter().filter_map(constant).collect())
}

fn cells(cells: &[&CellResult], metrics: &[&str]) -> Vec<Vec<String>> {
    let axes = union(cells.iter().map(|c| &c.axes));
    let mut rows = vec![
        [cells[0].experiment.clone()]
            .into_iter()
            .chain(axes.iter().map(|axis| short(axis, &axes)))
            .chain(metrics.iter().map(|m| (*m).to_string()))
            .collect::<Vec<_>>(),
    ];
    for cell in cells {
        let mut row = vec![cell.arm.clone()];
        row.extend(axes.iter().map(|axis| cell.axes.get(axis).map(ToString::to_string).unwrap_or_default()));
        row.extend(metrics.iter().map(|name| cell.metrics.get(*name).map(mean_sd).unwrap_or_default()));
        rows.push(row);
    }
    rows
}

/// The last part of an axis's dotted path, where no other axis ends the same.
fn short(axis: &str, axes: &[String]) -> String {
    let last = |x: &str| x.rsplit('.').next().unwrap_or_default().to_string();
    let alone = axes.iter().filter(|other| last(other) == last(axis)).count() == 1;
    if alone { last(axis) } else { axis.to_string() }
}

fn union<'a>(axes: impl Iterator<Item = &'a Axes>) -> Vec<String> {
    let mut names: Vec<String> = axes.flat_map(|a| a.keys().cloned()).collect();
    names.sort();
    names.dedup();
    names
}

fn claims(claims: &[ClaimResult]) -> Vec<Vec<String>> {
    let mut rows = vec![["claim", "paper says", "effect", "95 % interval", "n", "verdict"].map(String::from).to_vec()];
    for claim in claims {
        rows.push(vec![
            format!("{} ({})", claim.id, claim.paper_claim),
            claim.paper_number.clone(),
            claim.effect.map(number).unwrap_or_default(),
            claim.interval.map(interval).unwrap_or_default(),
            claim.n.to_string(),
            verdict(claim),
        ]);
    }
    rows
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

fn footnote(claim: &ClaimResult, style: Style) -> String {
    let bullet = if style == Style::Markdown { "- **" } else { "" };
    let close = if style == Style::Markdown { ":**" } else { ":" };
    let at = claim.at.as_ref().map(|at| format!(" At {at}.")).unwrap_or_default();
    format!("{bullet}{}{close} {} ({}){at}\n", claim.id, claim.sentence, claim.place)
}

/// Draws rows, the first of which is the header.
pub fn draw(rows: Vec<Vec<String>>, style: Style) -> String {
    let clean = |cell: String| cell.replace('\n', " ").replace('|', if style == Style::Markdown { "\\|" } else { "|" });
    let mut builder = Builder::default();
    for row in rows {
        builder.push_record(row.into_iter().map(clean));
    }
    let mut table = builder.build();
    let drawn = match style {
        Style::Unicode => table.with(Lines::rounded()),
        Style::Plain => table.with(Lines::psql()),
        Style::Markdown => table.with(Lines::markdown()),
    };
    let drawn = drawn.to_string();
    drawn.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{observed, result};

    #[test]
    fn the_published_table() {
        insta::assert_snapshot!(suite(&result(&observed()), Style::Plain));
    }

    #[test]
    fn the_markdown_table() {
        insta::assert_snapshot!(suite(&result(&observed()), Style::Markdown));
    }

    #[test]
    fn axes_that_end_alike_keep_their_paths() {
        let axes = ["a.lr", "b.lr", "c.width"].map(String::from);
        assert_eq!(axes.each_ref().map(|x| short(x, &axes)), ["a.lr", "b.lr", "width"]);
    }

    #[test]
    fn a_suite_without_cells_or_claims_is_its_header() {
        let mut empty = result(&[]);
        empty.claims.clear();
        assert_eq!(
            suite(&empty, Style::Plain),
            format!("demo (quick): A demonstration\n\n10 steps · digest {}\n", &empty.digest[..12])
        );
    }

    #[test]
    fn a_bar_in_a_cell_does_not_break_markdown() {
        let text = draw(vec![vec!["a|b".into(), "c\nd".into()]], Style::Markdown);
        assert!(text.contains("a\\|b") && text.contains("c d"), "{text}");
    }
}
