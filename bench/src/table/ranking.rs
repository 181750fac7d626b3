//! The table of a ranking.

use super::numbers::number;
use super::{Style, draw};
use preheat_suites::claims::ranking::{Best, Ranked, RankedRow, Spread};
use preheat_suites::registry::Scalar;

/// Title, table and what its columns mean.
pub(super) fn table(ranked: &Ranked, style: Style) -> String {
    let axis = ranked.over.rsplit('.').next().unwrap_or_default();
    let header = [
        ranked.id.clone(),
        format!("best {axis}"),
        format!("{} there", ranked.metric),
        format!("{axis} within {}", ranked.margin),
        "factor".into(),
        format!("best {axis} without warm-up"),
        "within".into(),
        "loses without, best against best".into(),
        "loses without, at its best".into(),
    ];
    let rows = std::iter::once(header.to_vec()).chain(ranked.rows.iter().map(row)).collect();
    format!("{}\n\n{}", draw(rows, style), legend(ranked))
}

fn row(row: &RankedRow) -> Vec<String> {
    let at = |best: &Option<Best>| best.as_ref().map(|best| best.at.to_string()).unwrap_or_default();
    let lost = |lost: &Option<Spread>, both: bool| lost.as_ref().map_or_else(|| none(both), spread);
    let both = row.warmup.is_some() && row.none.is_some();
    vec![
        row.name.clone(),
        at(&row.warmup),
        row.warmup.as_ref().map(|best| spread(&best.value)).unwrap_or_default(),
        row.warmup.as_ref().map(band).unwrap_or_default(),
        row.warmup.as_ref().map(factor).unwrap_or_default(),
        at(&row.none),
        row.none.as_ref().map(band).unwrap_or_default(),
        lost(&row.loses, both),
        lost(&row.loses_there, both),
    ]
}

fn none(both: bool) -> String {
    if both { "diverges".into() } else { String::new() }
}

fn spread(x: &Spread) -> String {
    format!("{} ±{} (n={})", number(x.mean), number(x.sd), x.n)
}

/// `0.003–0.03`; an end that is the axis's own in parentheses.
fn band(best: &Best) -> String {
    let [low, high] = &best.band;
    let end = |x: &Scalar, open: bool| if open { format!("({x})") } else { x.to_string() };
    format!("{} to {}", end(low, best.open[0]), end(high, best.open[1]))
}

/// How many times the band's lower end its upper end is.
fn factor(best: &Best) -> String {
    let [low, high] = best.band.each_ref().map(Scalar::number);
    let (Some(low), Some(high)) = (low, high) else { return String::new() };
    let least = if best.open.contains(&true) { "≥ " } else { "" };
    format!("{least}{:.1}", high / low)
}

fn legend(ranked: &Ranked) -> String {
    format!(
        "{}: by {} at the best point of {}, which selection seeds choose; then the widest band of neighbouring points within {} of \
         it, (in parentheses) where it ends with the grid. What is lost without warm-up is paired by seed: each at its own best \
         point, and both at the point that is best with warm-up. ± is the sample standard deviation.",
        ranked.about.trim_end_matches('.'),
        ranked.metric,
        ranked.over,
        ranked.margin
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(at: f64, band: [f64; 2], open: [bool; 2]) -> Best {
        let value = Spread { mean: 3.21, sd: 0.0123, n: 3 };
        Best { at: Scalar::Real(at), value, band: band.map(Scalar::Real), open }
    }

    fn ranked(rows: Vec<RankedRow>) -> Ranked {
        let (id, about) = ("all".to_string(), "All of them.".to_string());
        Ranked { id, about, metric: "val_loss".into(), over: "schedule.peak_lr".into(), margin: 0.05, rows }
    }

    #[test]
    fn a_row_says_band_factor_and_loss() {
        let lost = Spread { mean: 0.25, sd: 0.5, n: 3 };
        let full = RankedRow {
            name: "adam".into(),
            warmup: Some(best(0.02, [0.005, 0.04], [false, true])),
            none: Some(best(0.01, [0.01, 0.01], [false, false])),
            loses: Some(lost),
            loses_there: None,
        };
        let empty = RankedRow { name: "none".into(), warmup: None, none: None, loses: None, loses_there: None };
        assert_eq!(
            row(&full),
            [
                "adam",
                "0.02",
                "3.210 ±0.0123 (n=3)",
                "0.005 to (0.04)",
                "≥ 8.0",
                "0.01",
                "0.01 to 0.01",
                "0.2500 ±0.5000 (n=3)",
                "diverges"
            ]
        );
        assert_eq!(row(&empty), ["none", "", "", "", "", "", "", "", ""]);
        let text = table(&ranked(vec![full, empty]), Style::Markdown);
        assert!(text.contains("best peak_lr") && text.contains("All of them: by val_loss"), "{text}");
    }

    #[test]
    fn a_closed_band_has_its_factor() {
        assert_eq!(factor(&best(2.0, [1.0, 4.0], [false, false])), "4.0");
    }
}
