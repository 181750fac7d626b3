//! What the report draws of an experiment: curves that its runs have.

use super::error::{DefinitionError, nearest_first, quoted};
use super::suite::{Arm, Draw, Setup};
use super::wire::{DrawWire, ExperimentWire};
use crate::train::{COUNTED_STEPS, metrics};

type Result<T> = std::result::Result<T, DefinitionError>;

/// The drawing as written; none where the experiment does not ask for one. Its curves must be such that the runs of some
/// tier have.
pub(crate) fn drawing<'s>(wire: &ExperimentWire, setups: impl Iterator<Item = &'s Setup>) -> Result<Option<Draw>> {
    let Some(draw) = &wire.draw else { return Ok(None) };
    let mut known: Vec<String> = Vec::new();
    for point in setups.flat_map(|s| &s.arms).flat_map(|arm: &Arm| &arm.points) {
        for curve in metrics::curves(&point.recipe.train, point.named) {
            if !known.contains(&curve) {
                known.push(curve);
            }
        }
    }
    let (curves, histograms): (Vec<&str>, Vec<&str>) =
        known.iter().map(String::as_str).partition(|name| !name.ends_with("{l}"));
    match &draw.value {
        DrawWire::Lines { curve } if curves.contains(&curve.value.as_str()) => {
            Ok(Some(Draw::Lines { curve: curve.value.clone() }))
        }
        DrawWire::Lines { curve } => {
            let message = format!("no run here has the curve {}", quoted(&curve.value));
            Err(DefinitionError::at(&curve.place, message).allowed(nearest_first(&curve.value, curves)))
        }
        DrawWire::Histogram { .. } if histograms.is_empty() => {
            Err(DefinitionError::at(&draw.place, "no run here counts its gradients")
                .allowed("with the probe `gradients`"))
        }
        DrawWire::Histogram { steps } => {
            let rising = steps.value.windows(2).all(|pair| pair[0] < pair[1]);
            let counted = steps.value.iter().all(|step| (1..=COUNTED_STEPS).contains(step));
            if steps.value.is_empty() || !rising || !counted {
                let allowed = format!("some of 1 to {COUNTED_STEPS}, in order");
                return Err(DefinitionError::at(&steps.place, format!("is {:?}", steps.value)).allowed(allowed));
            }
            Ok(Some(Draw::Histogram { steps: steps.value.clone() }))
        }
    }
}
