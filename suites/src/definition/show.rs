//! The columns that an experiment's table shows: metrics that its runs have, each once, each with a title.

use super::error::{DefinitionError, nearest_first, quoted};
use super::measured::reading_from;
use super::reader::Placed;
use super::suite::{Arm, Column, Setup};
use super::wire::{ExperimentWire, Title};
use crate::train::metrics;

type Result<T> = std::result::Result<T, DefinitionError>;

/// The columns as written; none where the experiment does not say. A metric must be one that the runs of some tier
/// can have; whether their model and task measure it shows only in training.
pub(crate) fn columns<'s>(wire: &ExperimentWire, setups: impl Iterator<Item = &'s Setup>) -> Result<Vec<Column>> {
    let Some(show) = &wire.show else { return Ok(Vec::new()) };
    if show.value.0.is_empty() {
        return Err(DefinitionError::at(&show.place, "is empty").allowed("metric: title, at least one"));
    }
    let mut known: Vec<String> = Vec::new();
    let arms: Vec<&Arm> = setups.flat_map(|s| &s.arms).collect();
    for point in arms.iter().flat_map(|a| &a.points) {
        for name in metrics::names(&point.recipe.train, point.named) {
            if !known.contains(&name) {
                known.push(name);
            }
        }
    }
    let mut columns: Vec<Column> = Vec::new();
    for (metric, title) in &show.value.0 {
        let read = |arm: &&Arm| {
            reading_from(&metric.value, arm).is_some_and(|(x, from)| x.earliest().is_none_or(|share| share >= from))
        };
        if !known.contains(&metrics::pattern(&metric.value)) && !arms.iter().any(read) {
            let message = format!("no run here has the metric {}", quoted(&metric.value));
            let allowed = nearest_first(&metric.value, known.iter().map(String::as_str));
            return Err(DefinitionError::at(&metric.place, message).allowed(allowed));
        }
        let column = Column { metric: metric.value.clone(), title: title_of(metric, title)? };
        if columns.iter().any(|earlier| earlier.title == column.title) {
            let message = format!("{} is the title of an earlier column", quoted(&column.title));
            return Err(DefinitionError::at(&title.place, message).allowed("each title once"));
        }
        columns.push(column);
    }
    Ok(columns)
}

fn title_of(metric: &Placed<String>, title: &Placed<Title>) -> Result<String> {
    match &title.value.0 {
        None => Ok(metric.value.clone()),
        Some(text) if text.trim().is_empty() => {
            Err(DefinitionError::at(&title.place, "is blank").allowed("a title, or nothing for the metric's name"))
        }
        Some(text) => Ok(text.clone()),
    }
}
