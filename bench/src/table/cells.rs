//! The table of one experiment: a row a cell, a column a metric.

use super::numbers::cell;
use crate::results::{Axes, CellResult};
use preheat_suites::definition::Column;
use preheat_suites::train::metrics::is_flag;

/// Metrics of an experiment that does not say which it shows and has no `val_loss`.
const FEW: usize = 3;

/// Header and rows. `shown` are the columns that the experiment asks for, if it does. A metric that no cell has is
/// left out: another tier measures it.
pub(super) fn rows(cells: &[&CellResult], shown: Option<&[Column]>) -> Vec<Vec<String>> {
    let axes = union(cells.iter().map(|c| &c.axes));
    let mut columns = shown.map_or_else(|| default(cells), <[Column]>::to_vec);
    columns.retain(|column| cells.iter().any(|c| c.metrics.contains_key(&column.metric)));
    let mut header = vec![cells[0].experiment.clone()];
    header.extend(axes.iter().map(|axis| short(axis, &axes)));
    header.extend(columns.iter().map(|column| column.title.clone()));
    let mut rows = vec![header];
    for here in cells {
        let value = |column: &Column| {
            here.metrics.get(&column.metric).map(|m| cell(m, is_flag(&column.metric))).unwrap_or_default()
        };
        let mut row = vec![here.arm.clone()];
        row.extend(axes.iter().map(|axis| here.axes.get(axis).map(ToString::to_string).unwrap_or_default()));
        row.extend(columns.iter().map(value));
        rows.push(row);
    }
    rows
}

/// `val_loss`; without it the first few metrics, losses first, none of a single layer.
fn default(cells: &[&CellResult]) -> Vec<Column> {
    let mut names: Vec<&str> = cells.iter().flat_map(|c| c.metrics.keys().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    if names.contains(&"val_loss") {
        names = vec!["val_loss"];
    }
    names.retain(|name| name.split('.').all(|part| part.parse::<u64>().is_err()));
    names.sort_by_key(|name| (!name.ends_with("loss"), name.contains('.'), *name));
    names.truncate(FEW);
    names.into_iter().map(|name| Column { metric: name.into(), title: name.into() }).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Summary;
    use crate::testing::{observed, result};

    fn cell_of(metrics: &[(&str, f64)]) -> CellResult {
        let metrics = metrics.iter().map(|(name, x)| ((*name).to_string(), Summary::of(&[*x]))).collect();
        CellResult { experiment: "e".into(), arm: "a".into(), axes: Axes::new(), metrics }
    }

    fn column(metric: &str, title: &str) -> Column {
        Column { metric: metric.into(), title: title.into() }
    }

    #[test]
    fn columns_are_those_asked_for_in_their_order_with_their_titles() {
        let result = result(&observed());
        let cells: Vec<&CellResult> = result.cells.iter().collect();
        let shown = [column("stalled", "stalls"), column("jacobian_norm", "elsewhere"), column("val_loss", "nats")];
        let rows = rows(&cells, Some(&shown));
        assert_eq!(rows[0], ["sweep", "peak_lr", "stalls", "nats"]);
        assert_eq!(rows[1], ["pre-ln", "0.003", "0/3", "3.286 ±0.143 (n=3)"]);
        assert_eq!(rows[2], ["post-ln", "0.003", "3/3", "3.786 ±0.143 (n=3)"]);
    }

    #[test]
    fn without_a_wish_it_is_the_loss_or_the_first_few() {
        let with = cell_of(&[("a", 1.0), ("val_loss", 2.0)]);
        assert_eq!(default(&[&with]), [column("val_loss", "val_loss")]);
        let without = cell_of(&[("init.x.3", 1.0), ("a", 1.0), ("init.val_loss", 1.0), ("b.x", 1.0), ("b", 1.0)]);
        let names: Vec<String> = default(&[&without]).into_iter().map(|c| c.metric).collect();
        assert_eq!(names, ["init.val_loss", "a", "b"]);
        assert_eq!(default(&[&cell_of(&[])]), []);
    }

    #[test]
    fn axes_that_end_alike_keep_their_paths() {
        let axes = ["a.lr", "b.lr", "c.width"].map(String::from);
        assert_eq!(axes.each_ref().map(|x| short(x, &axes)), ["a.lr", "b.lr", "width"]);
    }
}
