//! Rankings: arms side by side by the loss at the best rate, the band of rates near it, and what the lack of warm-up costs.

use super::select::{axis_cells, by_seed};
use super::{Select, Tier};
use crate::record::{Measured, Observation, Outcome};
use crate::registry::Scalar;
use crate::stats::mean::Mean;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A ranking, as a suite's YAML states it.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ranking {
    /// Unique within the suite.
    pub id: String,
    /// One sentence.
    pub about: String,
    /// A final metric; smaller is better.
    pub metric: String,
    /// The axis that is searched, e.g. `schedule.peak_lr`.
    pub over: String,
    /// How much above its best value a point still counts as near it, in the metric's unit.
    pub margin: f64,
    /// Tiers whose runs are ranked.
    pub tiers: Vec<Tier>,
    /// What is ranked.
    pub rows: Vec<Row>,
}

/// One of the ranked.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What the table calls it.
    pub name: String,
    /// Its runs with warm-up.
    pub warmup: Select,
    /// Its runs without.
    pub none: Select,
}

/// A ranking of what was measured, best first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranked {
    /// As in [`Ranking`].
    pub id: String,
    /// As in [`Ranking`].
    pub about: String,
    /// As in [`Ranking`].
    pub metric: String,
    /// As in [`Ranking`].
    pub over: String,
    /// As in [`Ranking`].
    pub margin: f64,
    /// By the metric with warm-up; what has none comes last.
    pub rows: Vec<RankedRow>,
}

/// What was measured of one of the ranked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankedRow {
    /// As in [`Row`].
    pub name: String,
    /// With warm-up.
    pub warmup: Option<Best>,
    /// Without.
    pub none: Option<Best>,
    /// The metric without warm-up less that with it, paired by seed, each at its own best point.
    pub loses: Option<Spread>,
    /// The same, both at the point that is best with warm-up; nothing where a run diverged there.
    pub loses_there: Option<Spread>,
}

/// One side of a row at its best point: chosen by the mean over selection seeds where there are any, measured on the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// The point of the axis.
    pub at: Scalar,
    /// The metric there.
    pub value: Spread,
    /// Ends of the widest run of neighbouring points around it whose means are within the margin.
    pub band: [Scalar; 2],
    /// Whether the band ends where the axis does, below and above.
    pub open: [bool; 2],
}

/// A mean over seeds and its sample standard deviation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation.
    pub sd: f64,
    /// Seeds.
    pub n: usize,
}

/// One point of the axis: its value, its mean over selection seeds, the metric by seed. `None` where a run has none or
/// did not finish: what stands in for the loss of a run that diverged is no loss at this point.
struct Point {
    at: Scalar,
    chooses: Option<f64>,
    values: Option<BTreeMap<u64, f64>>,
}

/// Ranks what was observed. A row without runs stays in the table, empty.
pub fn rank(ranking: &Ranking, observations: &[Observation]) -> Ranked {
    let Ranking { id, about, metric, over, margin, rows, .. } = ranking.clone();
    let row = |row: Row| {
        let sides = [&row.warmup, &row.none].map(|select| points(observations, select, &over, &metric));
        let [warmup, none] = sides.each_ref().map(|points| best(points, margin));
        let at = |points: &[Point], at: &Scalar| points.iter().find(|p| p.at.same(at)).and_then(|p| p.values.clone());
        let there = warmup.as_ref().and_then(|best| at(&sides[0], &best.at));
        let own = none.as_ref().and_then(|best| at(&sides[1], &best.at));
        let same = warmup.as_ref().and_then(|best| at(&sides[1], &best.at));
        RankedRow {
            name: row.name,
            loses: paired(own.as_ref(), there.as_ref()),
            loses_there: paired(same.as_ref(), there.as_ref()),
            warmup,
            none,
        }
    };
    let mut rows: Vec<RankedRow> = rows.into_iter().map(row).collect();
    let loss = |row: &RankedRow| row.warmup.as_ref().map_or(f64::INFINITY, |best| best.value.mean);
    rows.sort_by(|a, b| loss(a).total_cmp(&loss(b)));
    Ranked { id, about, metric, over, margin, rows }
}

/// The points of one side in the axis's order; none where nothing was run.
fn points(observations: &[Observation], select: &Select, over: &str, metric: &str) -> Vec<Point> {
    let cells = axis_cells(observations, select, over).unwrap_or_default();
    let values = |select: &Select, selection: bool| {
        let runs = by_seed(observations, select, selection).ok()?;
        let finished = |run: &Measured| run.value(metric).filter(|x| x.is_finite() && run.outcome == Outcome::Finished);
        let values = runs.into_iter().map(|(seed, run)| Some((seed, finished(run)?)));
        values.collect::<Option<BTreeMap<u64, f64>>>()
    };
    let point = |(at, select): (Scalar, Select)| {
        let measured = values(&select, false);
        let has_selection = by_seed(observations, &select, true).is_ok();
        let choosing = if has_selection { values(&select, true) } else { measured.clone() };
        Point { at, chooses: choosing.map(|x| mean(&x)), values: measured }
    };
    cells.into_iter().map(point).collect()
}

fn mean(values: &BTreeMap<u64, f64>) -> f64 {
    values.values().sum::<f64>() / values.len() as f64
}

fn best(points: &[Point], margin: f64) -> Option<Best> {
    let usable = |p: &&(usize, &Point)| p.1.chooses.is_some() && p.1.values.is_some();
    let indexed: Vec<(usize, &Point)> = points.iter().enumerate().collect();
    let chosen = indexed
        .iter()
        .filter(usable)
        .min_by(|a, b| a.1.chooses.unwrap_or(f64::NAN).total_cmp(&b.1.chooses.unwrap_or(f64::NAN)))?;
    let (here, point) = *chosen;
    let value = spread(point.values.as_ref()?.values().copied())?;
    let near = |i: &usize| points[*i].values.as_ref().is_some_and(|x| mean(x) <= value.mean + margin);
    let first = (0..here).rev().take_while(near).last().unwrap_or(here);
    let last = (here + 1..points.len()).take_while(near).last().unwrap_or(here);
    let band = [first, last].map(|i| points[i].at.clone());
    Some(Best { at: point.at.clone(), value, band, open: [first == 0, last + 1 == points.len()] })
}

fn spread(values: impl Iterator<Item = f64>) -> Option<Spread> {
    let values: Vec<f64> = values.collect();
    let mean = Mean::of(&values)?;
    let squares: f64 = values.iter().map(|x| (x - mean.mean) * (x - mean.mean)).sum();
    let sd = if mean.n > 1 { (squares / (mean.n - 1) as f64).sqrt() } else { 0.0 };
    Some(Spread { mean: mean.mean, sd, n: mean.n })
}

fn paired(a: Option<&BTreeMap<u64, f64>>, b: Option<&BTreeMap<u64, f64>>) -> Option<Spread> {
    let (a, b) = (a?, b?);
    spread(a.iter().filter_map(|(seed, x)| Some(x - b.get(seed)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(arm: &str, rate: f64, seed: u64, selection: bool, loss: f64) -> Observation {
        let outcome = if loss.is_finite() { Outcome::Finished } else { Outcome::Diverged { step: 3 } };
        let metrics = if loss.is_finite() { BTreeMap::from([("val_loss".to_string(), loss)]) } else { BTreeMap::new() };
        Observation {
            experiment: "e".into(),
            arm: arm.into(),
            axes: BTreeMap::from([("schedule.peak_lr".to_string(), Scalar::Real(rate))]),
            seed,
            selection,
            measured: Measured { outcome, curves: BTreeMap::new(), metrics, digest: String::new() },
        }
    }

    /// Losses of seeds 1 and 2 lie 0.01 on both sides of the means given, that of the selection seed is given.
    fn arm(name: &str, points: &[(f64, f64, f64)]) -> Vec<Observation> {
        let runs = |&(rate, mean, chooses): &(f64, f64, f64)| {
            [(1, false, mean - 0.01), (2, false, mean + 0.01), (101, true, chooses)]
                .map(|(seed, selection, loss)| seen(name, rate, seed, selection, loss))
        };
        points.iter().flat_map(runs).collect()
    }

    fn ranking(arms: &[&str]) -> Ranking {
        let select = |arm: &str| Select { experiment: "e".into(), arm: arm.into(), axes: BTreeMap::new() };
        let row = |arm: &&str| Row { name: (*arm).into(), warmup: select(arm), none: select(&format!("{arm}-none")) };
        Ranking {
            id: "all".into(),
            about: "all".into(),
            metric: "val_loss".into(),
            over: "schedule.peak_lr".into(),
            margin: 0.05,
            tiers: vec![Tier::Full],
            rows: arms.iter().map(row).collect(),
        }
    }

    #[test]
    fn the_selection_seed_chooses_and_the_others_measure() {
        let mut all = arm("a", &[(1.0, 3.4, 3.4), (2.0, 3.24, 3.1), (4.0, 3.2, 3.2), (8.0, 3.28, 3.3)]);
        all.extend(arm("a-none", &[(1.0, 3.5, 3.4), (2.0, 3.75, 3.8), (4.0, f64::NAN, f64::NAN)]));
        all.extend(arm("b", &[(1.0, 3.0, 3.0), (2.0, 3.3, 3.3)]));
        let ranked = rank(&ranking(&["a", "b", "c"]), &all);
        let names: Vec<&str> = ranked.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["b", "a", "c"]);
        let a = &ranked.rows[1];
        let warm = a.warmup.as_ref().unwrap();
        assert_eq!(
            (&warm.at, &warm.band, warm.open),
            (&Scalar::Real(2.0), &[2.0, 8.0].map(Scalar::Real), [false, true])
        );
        assert!((warm.value.mean - 3.24).abs() < 1e-12 && (warm.value.sd - 0.01 * 2f64.sqrt()).abs() < 1e-12);
        assert_eq!(warm.value.n, 2);
        assert_eq!(a.none.as_ref().unwrap().at, Scalar::Real(1.0));
        let lost = |spread: &Option<Spread>| spread.as_ref().map(|s| ((s.mean * 1e9).round() / 1e9, s.n));
        assert_eq!((lost(&a.loses), lost(&a.loses_there)), (Some((0.26, 2)), Some((0.51, 2))));
        let b = &ranked.rows[0];
        assert_eq!((&b.none, &b.loses, b.warmup.as_ref().unwrap().open), (&None, &None, [true, false]));
        assert_eq!((&ranked.rows[2].warmup, &ranked.rows[2].loses_there), (&None, &None));
    }

    #[test]
    fn a_point_where_a_run_diverged_is_neither_best_nor_near() {
        let mut all = arm("a", &[(1.0, 3.2, 3.2), (2.0, 3.1, 3.1), (4.0, 3.1, f64::NAN), (8.0, 3.1, 3.0)]);
        // Its loss is the finite number that training puts in its place.
        let diverged = |o: &mut Observation| o.measured.outcome = Outcome::Diverged { step: 7 };
        all.iter_mut().filter(|o| o.axes["schedule.peak_lr"] == Scalar::Real(8.0) && o.seed == 2).for_each(diverged);
        all.extend(arm("a-none", &[(1.0, 3.3, 3.3), (2.0, f64::NAN, 3.1)]));
        let ranked = rank(&ranking(&["a"]), &all);
        let warm = ranked.rows[0].warmup.as_ref().unwrap();
        assert_eq!((&warm.at, &warm.band), (&Scalar::Real(2.0), &[2.0, 4.0].map(Scalar::Real)));
        assert_eq!(ranked.rows[0].loses_there, None);
        assert!(ranked.rows[0].loses.is_some());
    }

    #[test]
    fn without_selection_seeds_all_choose() {
        let mut all = arm("a", &[(1.0, 3.2, 0.0), (2.0, 3.0, 9.0)]);
        all.retain(|o| !o.selection);
        let ranked = rank(&ranking(&["a"]), &all);
        assert_eq!(ranked.rows[0].warmup.as_ref().unwrap().at, Scalar::Real(2.0));
    }
}
