//! Tables of a suite's result: for a terminal, for a pipe, for Markdown, and as CSV.

mod cells;
mod claims;
pub mod csv;
mod fits;
mod numbers;
mod ranking;

pub use claims::{verdict, verdict_name};
pub use numbers::{cell, count, flops, interval, number};

use crate::results::{CellResult, SuiteResult, tier_name};
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

/// What a cell says.
const LEGEND: &str =
    "A cell is the mean over n seeds, ± their sample standard deviation, or k/n, the seeds where it is so.";

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
        let shown = result.show.get(&experiment[0].experiment).map(Vec::as_slice);
        let _ = writeln!(text, "{}\n", draw(cells::rows(&experiment, shown), style));
        let drawn = result.drawings.iter().filter(|drawing| drawing.experiment == experiment[0].experiment);
        for drawing in drawn.filter(|_| style == Style::Markdown) {
            let _ = writeln!(text, "![{}]({})\n", drawing.title, drawing.path(&result.stem()));
        }
    }
    if !result.cells.is_empty() {
        let _ = writeln!(text, "{LEGEND}\n");
    }
    for ranked in &result.rankings {
        let _ = writeln!(text, "{}\n", ranking::table(ranked, style));
    }
    if !result.fits.is_empty() {
        let _ = writeln!(text, "{}\n", fits::fits(&result.fits, style));
    }
    if !result.claims.is_empty() {
        let _ = writeln!(text, "{}\n", claims::claims(&result.claims, style));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
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
    use preheat_suites::registry::Scalar;

    #[test]
    fn the_published_table() {
        insta::assert_snapshot!(suite(&result(&observed()), Style::Plain));
    }

    #[test]
    fn the_markdown_table() {
        insta::assert_snapshot!(suite(&result(&observed()), Style::Markdown));
    }

    #[test]
    fn rows_keep_the_grid_and_not_the_alphabet() {
        let mut shuffled = observed();
        for (at, (_, seen)) in shuffled.iter_mut().enumerate() {
            let width = [32, 64, 128, 256][at / 2];
            seen.axes = [("model.width".to_string(), Scalar::Int(width))].into();
            (seen.arm, seen.selection) = ("post".into(), false);
        }
        let text = suite(&result(&shuffled), Style::Plain);
        let places: Vec<usize> =
            ["| 32", "| 64", "| 128", "| 256"].map(|x| text.find(x).unwrap_or_else(|| panic!("{x}: {text}"))).to_vec();
        assert!(places.is_sorted(), "{text}");
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
