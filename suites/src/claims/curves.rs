//! Effects read from whole curves: when one is passed, when two cross, whether two lie on a line.

use super::Select;
use super::effects::{Effect, Estimate, each, ln, mean, selects};
use super::select::{Side, given, name, paired};
use crate::record::{Measured, Observation, Outcome};
use crate::stats::least_squares::r_squared;

fn missing(curve: &str, select: &Select, seed: u64) -> String {
    format!("no {curve} curve of {} seed {seed}", name(select))
}

/// First step at or below the reference's final value, over the reference's steps.
pub(super) fn steps_ratio(observations: &[Observation], curve: &str, sides: &[Side; 2]) -> Result<Effect, String> {
    let mut unreached = 0;
    let values = paired(observations, selects(sides), |fast, reference, seed| {
        let missing = |side: &Side| missing(curve, &side.select, seed);
        // A diverged reference sets no target: its last value is that of a short run.
        let end = reference.curves.get(curve).and_then(|points| points.last());
        let finished = end.filter(|_| reference.outcome == Outcome::Finished);
        let (steps, target) = finished.and_then(|p| Some((p.step, p.value?))).ok_or_else(|| missing(&sides[1]))?;
        let points = fast.curves.get(curve).filter(|points| !points.is_empty()).ok_or_else(|| missing(&sides[0]))?;
        // Step 0 is before any training.
        let reached = points.iter().find(|p| p.step > 0 && p.value.is_some_and(|v| v <= target));
        let step = match reached {
            Some(point) => point.step,
            None => {
                unreached += 1;
                points[points.len() - 1].step.max(steps)
            }
        };
        Ok(ln(step as f64, "step")? - ln(steps as f64, "steps")?)
    })?;
    Ok(Effect::new(Estimate::ExpMean(mean(&values)?), sides).with_unreached(unreached))
}

/// The share of the steps after which `sides[0]`'s curve stays below `sides[1]`'s, linear between evaluations that both
/// have. Where it is below from the first evaluation on, that one's share; where it is not below in the end, 1.
pub(super) fn crossover(observations: &[Observation], curve: &str, sides: &[Side; 2]) -> Result<Effect, String> {
    let mut unreached = 0;
    let values = paired(observations, selects(sides), |under, over, seed| {
        let [under, over] = [(under, &sides[0]), (over, &sides[1])]
            .map(|(run, side)| values_by_step(run, curve).ok_or_else(|| missing(curve, &side.select, seed)));
        let (under, over) = (under?, over?);
        let shared = under.iter().filter_map(|(step, a)| {
            let (_, b) = over.iter().find(|(other, _)| other == step)?;
            // Step 0 is before any training.
            (*step > 0).then_some((*step as f64, a - b))
        });
        let gaps: Vec<(f64, f64)> = shared.collect();
        let (Some(first), Some(last)) = (gaps.first(), gaps.last()) else {
            return Err(format!(
                "no common step of {} and {} seed {seed}",
                name(&sides[0].select),
                name(&sides[1].select)
            ));
        };
        let crossing = match gaps.iter().rposition(|(_, gap)| *gap >= 0.0) {
            None => first.0,
            Some(at) if at + 1 == gaps.len() => {
                unreached += 1;
                last.0
            }
            Some(at) => {
                let [(step, gap), (next, below)] = [gaps[at], gaps[at + 1]];
                step + (next - step) * gap / (gap - below)
            }
        };
        Ok(crossing / last.0)
    })?;
    Ok(Effect::new(Estimate::Mean(mean(&values)?), sides).with_unreached(unreached))
}

/// Mean over seeds of R² of the straight line of one curve against another of the same run, over the evaluations that
/// both have, the start included.
pub(super) fn linearity(
    observations: &[Observation],
    names: [&str; 2],
    of: &Select,
    perplexity: bool,
) -> Result<Effect, String> {
    let side = given(observations, of)?;
    let values = each(observations, &side.select, |run, seed| {
        let [x, y] = names.map(|curve| values_by_step(run, curve).ok_or_else(|| missing(curve, &side.select, seed)));
        let (x, y) = (x?, y?);
        let scale = |loss: f64| if perplexity { libm::exp(loss) } else { loss };
        let both = x.iter().filter_map(|(step, a)| {
            let (_, b) = y.iter().find(|(other, _)| other == step)?;
            Some((scale(*a), scale(*b)))
        });
        let (x, y): (Vec<f64>, Vec<f64>) = both.unzip();
        r_squared(&x, &y).ok_or_else(|| format!("{} seed {seed} has too few points for a line", name(&side.select)))
    })?;
    Ok(Effect::new(Estimate::Mean(mean(&values)?), &[side]))
}

/// The curve of a finished run as (step, value); `None` where it has none or a value is not finite.
fn values_by_step(run: &Measured, curve: &str) -> Option<Vec<(u64, f64)>> {
    let points = run.curves.get(curve).filter(|_| run.outcome == Outcome::Finished)?;
    points.iter().map(|p| Some((p.step, p.value?))).collect()
}
