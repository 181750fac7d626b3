//! Which cells a claim reads. Selection runs choose a cell of the open axes and do nothing else; claim runs
//! never choose.

use super::{At, EVERY_ARM, Select};
use crate::record::{Measured, Observation, Outcome};
use crate::registry::Scalar;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Values of all axes of a cell, by dotted path.
pub(super) type Axes = BTreeMap<String, Scalar>;

/// One side of a comparison with all axes settled.
#[derive(Clone, Debug)]
pub(super) struct Side {
    /// The runs: every axis is fixed.
    pub(super) select: Select,
    /// Axes that the claim left open and that have several values.
    open: Vec<String>,
}

/// The order of axis values: numbers by size (`1` is `1.0`), then flags, then text.
pub(super) fn order(a: &Scalar, b: &Scalar) -> Ordering {
    match (a.number(), b.number()) {
        (Some(x), Some(y)) => x.total_cmp(&y),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => match (a, b) {
            (Scalar::Flag(x), Scalar::Flag(y)) => x.cmp(y),
            (Scalar::Text(x), Scalar::Text(y)) => x.cmp(y),
            (Scalar::Flag(_), _) => Ordering::Less,
            _ => Ordering::Greater,
        },
    }
}

fn order_axes(a: &Axes, b: &Axes) -> Ordering {
    let keys = a.keys().cmp(b.keys());
    keys.then_with(|| {
        a.values().zip(b.values()).map(|(x, y)| order(x, y)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    })
}

pub(super) fn matches(select: &Select, seen: &Observation) -> bool {
    seen.experiment == select.experiment
        && (select.arm == EVERY_ARM || seen.arm == select.arm)
        && select.axes.iter().all(|(path, value)| seen.axes.get(path).is_some_and(|v| order(v, value).is_eq()))
}

/// The cells of `select` along one open axis, in its order, each with its value there.
///
/// # Errors
/// Another axis is open too, or a cell lacks this one.
pub(super) fn axis_cells(
    observations: &[Observation],
    select: &Select,
    path: &str,
) -> Result<Vec<(Scalar, Select)>, String> {
    let mut found: Vec<(Scalar, Select)> = Vec::new();
    for cell in cells(observations, select) {
        let value = cell.get(path).cloned().ok_or_else(|| format!("no axis {path} of {}", name(select)))?;
        if found.iter().any(|(seen, _)| order(seen, &value).is_eq()) {
            return Err(format!("open axes of {} besides {path}", name(select)));
        }
        found.push((value, Select { axes: cell, ..select.clone() }));
    }
    if found.is_empty() { Err(format!("no runs of {}", name(select))) } else { Ok(found) }
}

/// One value a seed that both sides have.
pub(super) fn paired<T>(
    observations: &[Observation],
    [first, second]: [&Select; 2],
    mut value: impl FnMut(&Measured, &Measured, u64) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let second = by_seed(observations, second, false)?;
    let first = by_seed(observations, first, false)?;
    let both = first.into_iter().filter_map(|(seed, a)| second.get(&seed).map(|b| (seed, a, *b)));
    both.map(|(seed, a, b)| value(a, b, seed)).collect()
}

/// `experiment/arm path=value …`, for messages.
pub(super) fn name(select: &Select) -> String {
    let axes: String = select.axes.iter().map(|(path, value)| format!(" {path}={value}")).collect();
    format!("{}/{}{axes}", select.experiment, select.arm)
}

/// All cells of `select` in axis order: by path, then by value.
pub(super) fn cells(observations: &[Observation], select: &Select) -> Vec<Axes> {
    let mut cells: Vec<Axes> = observations.iter().filter(|o| matches(select, o)).map(|o| o.axes.clone()).collect();
    cells.sort_by(order_axes);
    cells.dedup_by(|a, b| order_axes(a, b).is_eq());
    cells
}

/// The measurements of `select` by seed, of selection runs or of claim runs.
///
/// # Errors
/// Says which seed was seen twice, or that there are none.
pub(super) fn by_seed<'a>(
    observations: &'a [Observation],
    select: &Select,
    selection: bool,
) -> Result<BTreeMap<u64, &'a Measured>, String> {
    let mut runs: Vec<(u64, &Measured)> = observations
        .iter()
        .filter(|o| o.selection == selection && matches(select, o))
        .map(|o| (o.seed, &o.measured))
        .collect();
    runs.sort_by_key(|(seed, _)| *seed);
    if let Some(twice) = runs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("{} has seed {} twice", name(select), twice[0].0));
    }
    let what = if selection { "selection runs" } else { "runs" };
    if runs.is_empty() { Err(format!("no {what} of {}", name(select))) } else { Ok(runs.into_iter().collect()) }
}

/// A final metric or a reading, finite.
pub(super) fn metric(measured: &Measured, metric: &str, select: &Select, seed: u64) -> Result<f64, String> {
    let value = measured.value(metric).filter(|v| v.is_finite());
    value.ok_or_else(|| format!("no {metric} of {} seed {seed}", name(select)))
}

/// The cell of `select` with the smallest mean of `metric` over selection seeds; the first in axis order of
/// equals. A single cell needs no selection runs.
pub(super) fn best(observations: &[Observation], select: &Select, by: &str) -> Result<Side, String> {
    let cells = cells(observations, select);
    let open = open_axes(&cells);
    let mut best: Option<(f64, &Axes)> = None;
    let mut seeds: Option<Vec<u64>> = None;
    for cell in &cells {
        if cells.len() == 1 {
            best = Some((0.0, cell));
            break;
        }
        let here = Select { axes: cell.clone(), ..select.clone() };
        let runs = by_seed(observations, &here, true)?;
        // Means over different seeds do not compare.
        let own: Vec<u64> = runs.keys().copied().collect();
        if seeds.get_or_insert_with(|| own.clone()) != &own {
            return Err(format!("selection seeds of {} differ between cells", name(select)));
        }
        // A run that diverged counts as one that learned nothing where it is judged; it is never a reason to choose.
        let choosing = |(seed, run): (&u64, &&Measured)| match run.outcome {
            Outcome::Diverged { .. } => Ok(f64::INFINITY),
            _ => metric(run, by, &here, *seed),
        };
        let values: Result<Vec<f64>, String> = runs.iter().map(choosing).collect();
        let mean = values?.iter().sum::<f64>() / own.len() as f64;
        if best.is_none_or(|(least, _)| mean < least) {
            best = Some((mean, cell));
        }
    }
    let (_, cell) = best.ok_or_else(|| format!("no runs of {}", name(select)))?;
    Ok(Side { select: Select { axes: cell.clone(), ..select.clone() }, open })
}

/// `select` at the cell of `chosen`: its own fixed axes, and `chosen`'s values for the others that it has.
pub(super) fn at_cell_of(observations: &[Observation], select: &Select, chosen: &Side) -> Result<Side, String> {
    let all = cells(observations, select);
    let mut settled = select.clone();
    for (path, value) in &chosen.select.axes {
        if all.iter().any(|cell| cell.contains_key(path)) {
            settled.axes.entry(path.clone()).or_insert_with(|| value.clone());
        }
    }
    let side = given(observations, &settled)?;
    Ok(Side { open: open_axes(&all), ..side })
}

/// `select` where nothing is open.
pub(super) fn given(observations: &[Observation], select: &Select) -> Result<Side, String> {
    let cells = cells(observations, select);
    match cells.as_slice() {
        [cell] => Ok(Side { select: Select { axes: cell.clone(), ..select.clone() }, open: Vec::new() }),
        [] => Err(format!("no runs of {}", name(select))),
        _ => Err(format!("open axes of {}: {}", name(select), open_axes(&cells).join(", "))),
    }
}

/// Settles both sides of a comparison.
pub(super) fn sides(
    observations: &[Observation],
    [first, second]: [&Select; 2],
    at: At,
    by: &str,
) -> Result<[Side; 2], String> {
    Ok(match at {
        At::SecondsBest => {
            let second = best(observations, second, by)?;
            [at_cell_of(observations, first, &second)?, second]
        }
        At::FirstsBest => {
            let first = best(observations, first, by)?;
            let second = at_cell_of(observations, second, &first)?;
            [first, second]
        }
        At::EachBest => [best(observations, first, by)?, best(observations, second, by)?],
        At::Given => [given(observations, first)?, given(observations, second)?],
    })
}

/// The axes with several values, or that not every cell has.
fn open_axes(cells: &[Axes]) -> Vec<String> {
    let mut paths: Vec<&String> = cells.iter().flat_map(BTreeMap::keys).collect();
    paths.sort();
    paths.dedup();
    let differs = |path: &&String| {
        let value = |cell: &Axes| cell.get(*path).cloned();
        cells.iter().any(|cell| match (value(cell), value(&cells[0])) {
            (Some(a), Some(b)) => order(&a, &b).is_ne(),
            (a, b) => a.is_some() != b.is_some(),
        })
    };
    paths.into_iter().filter(differs).cloned().collect()
}

/// The chosen cells for the reader: `path=value`, or `path=first / second` where the sides differ. `None`
/// where nothing was open.
pub(super) fn describe(sides: &[Side]) -> Option<String> {
    let mut paths: Vec<&String> = sides.iter().flat_map(|side| &side.open).collect();
    paths.sort();
    paths.dedup();
    let text = |path: &&String| {
        let mut values: Vec<&Scalar> = sides.iter().filter_map(|side| side.select.axes.get(*path)).collect();
        values.dedup_by(|a, b| order(a, b).is_eq());
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        format!("{path}={}", values.join(" / "))
    };
    let parts: Vec<String> = paths.iter().map(text).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
