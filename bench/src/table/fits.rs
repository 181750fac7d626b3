//! The table of exponents that a suite reports beside the paper's.

use super::numbers::number;
use super::{Style, draw};
use preheat_suites::claims::FitRow;

/// Below it.
const LEGEND: &str = "N* is proportional to C^a at compute-optimal training. Nothing is asserted of a. Intervals are plain 95 %, by leaving out one run at a time: they know how seeds differ, not whether the law is one.";

/// The table, its legend, and what was left out of each fit.
pub(super) fn fits(rows: &[FitRow], style: Style) -> String {
    let header = ["exponent a", "paper says", "ours", "95 % interval", "R²", "D*/N*", "n"];
    let mut table = vec![header.map(String::from).to_vec()];
    table.extend(rows.iter().map(row));
    let notes: Vec<String> = rows.iter().filter_map(|row| note(row, style)).collect();
    let notes = if notes.is_empty() { String::new() } else { format!("\n\n{}", notes.join("\n")) };
    format!("{}\n\n{LEGEND}{notes}", draw(table, style))
}

fn row(row: &FitRow) -> Vec<String> {
    let three = |x: f64| format!("{x:.3}");
    vec![
        row.row.clone(),
        row.paper.clone(),
        row.exponent.map_or_else(|| "no law".into(), three),
        row.interval.map(|[low, high]| format!("[{low:.3}, {high:.3}]")).unwrap_or_default(),
        row.r2.map(three).unwrap_or_default(),
        row.tokens_per_param.map(|[low, high]| format!("{} to {}", number(low), number(high))).unwrap_or_default(),
        row.n.to_string(),
    ]
}

fn note(row: &FitRow, style: Style) -> Option<String> {
    let open = if style == Style::Markdown { "- " } else { "" };
    (!row.about.is_empty()).then(|| format!("{open}{}: {}.", row.row, row.about))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_a_law_says_why() {
        let row = FitRow {
            row: "long warm-up".into(),
            paper: ".835".into(),
            exponent: Some(0.8125),
            interval: Some([0.7, 0.9]),
            r2: Some(0.99),
            tokens_per_param: Some([8.0, 90.5]),
            n: 3,
            about: "5 of 5 budgets".into(),
        };
        let none = FitRow {
            row: "tuned".into(),
            exponent: None,
            interval: None,
            r2: None,
            tokens_per_param: None,
            n: 0,
            about: "no data: no runs".into(),
            ..row.clone()
        };
        let text = fits(&[row, none], Style::Plain);
        assert!(text.contains("0.812") && text.contains("[0.700, 0.900]") && text.contains("8.000 to 90.5"), "{text}");
        assert!(text.contains("no law") && text.ends_with("tuned: no data: no runs."), "{text}");
    }
}
