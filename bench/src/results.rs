//! The result model: what a suite's runs amount to. It is what `--format json` prints and what golden
//! holds; every table is rendered from it alone.

use crate::drawing::{Drawing, drawings};
use preheat_suites::claims::judge::OTHER_TIER;
use preheat_suites::claims::ranking::{Ranked, Ranking, rank};
use preheat_suites::claims::{Claim, Expect, FitRow, Judged, Sweep, Tier, Verdict};
use preheat_suites::definition::{Column, Draw};
use preheat_suites::record::{Measured, Observation, Outcome};
use preheat_suites::registry::Scalar;
use preheat_suites::run::RunId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of this model's JSON.
pub const SCHEMA: u32 = 1;

/// Grid axes of a cell by dotted path.
pub type Axes = BTreeMap<String, Scalar>;

/// One suite at one tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteResult {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of the bit contract.
    pub numerics: u32,
    /// The suite's name.
    pub name: String,
    /// What it is about.
    pub title: String,
    /// Its tier.
    pub tier: Tier,
    /// At which scale it was tried, in words.
    pub scale: String,
    /// blake3 over the runs' digests in plan order.
    pub digest: String,
    /// The columns that tables show, by experiment; one that is not here has a table's default.
    pub show: BTreeMap<String, Vec<Column>>,
    /// One entry a cell, in plan order.
    pub cells: Vec<CellResult>,
    /// One entry a claim, in the suite's order.
    pub claims: Vec<ClaimResult>,
    /// Arms side by side, in the suite's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rankings: Vec<Ranked>,
    /// What the report draws, in the experiments' order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drawings: Vec<Drawing>,
    /// Exponents that the suite reports beside the paper's, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fits: Vec<FitRow>,
    /// One entry a run, in plan order.
    pub runs: Vec<RunResult>,
}

/// The claim seeds of one cell: an arm of an experiment at one point of the grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellResult {
    /// Experiment id.
    pub experiment: String,
    /// Arm name.
    pub arm: String,
    /// Point of the grid.
    pub axes: Axes,
    /// Final metrics by name, and what the experiment's columns read off curves.
    pub metrics: BTreeMap<String, Summary>,
}

/// A metric over seeds. Values that are not finite count in `values` (as `null`) and leave no mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Mean.
    pub mean: Option<f64>,
    /// Sample standard deviation; from two seeds on.
    pub sd: Option<f64>,
    /// Seeds.
    pub n: usize,
    /// Every seed's value, in seed order.
    pub values: Vec<Option<f64>>,
}

/// A claim and its verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimResult {
    /// The claim's id in the suite.
    pub id: String,
    /// The paper's claim.
    pub paper_claim: String,
    /// What is claimed.
    pub sentence: String,
    /// Where the paper says it.
    pub place: String,
    /// The paper's number.
    pub paper_number: String,
    /// The effects that reproduce it.
    pub expect: Expect,
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is inconclusive without data.
    pub why: Option<String>,
    /// The effect.
    pub effect: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<[f64; 2]>,
    /// The level by Holm's procedure; `None` where the claim takes no part in the family.
    pub level: Option<f64>,
    /// Seeds.
    pub n: usize,
    /// The cells that the selection seeds chose.
    pub at: Option<String>,
    /// The claim at other values of an axis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Sweep>,
}

/// One run's identity, outcome and bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunResult {
    /// The run.
    pub id: RunId,
    /// Experiment id.
    pub experiment: String,
    /// Arm name.
    pub arm: String,
    /// Point of the grid.
    pub axes: Axes,
    /// Its seed.
    pub seed: u64,
    /// Used to choose rates only.
    pub selection: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Digest of its final parameters and metrics.
    pub digest: String,
}

impl Summary {
    /// Of each seed's value, in seed order. Sums go in that order, so equal values give equal bits.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len();
        let finite = values.iter().all(|x| x.is_finite());
        let mean = (n > 0 && finite).then(|| values.iter().sum::<f64>() / n as f64);
        let sd = mean.filter(|_| n > 1).map(|mean| {
            let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
            (squares / (n - 1) as f64).sqrt()
        });
        Self { mean, sd, n, values: values.iter().map(|x| x.is_finite().then_some(*x)).collect() }
    }
}

/// What a result takes from its suite's definition.
pub struct About<'a> {
    /// The tier.
    pub tier: Tier,
    /// The suite's name.
    pub name: &'a str,
    /// What it is about.
    pub title: &'a str,
    /// Columns by experiment.
    pub show: &'a BTreeMap<String, Vec<Column>>,
    /// What is drawn, by experiment.
    pub draw: &'a [(String, Draw)],
    /// Its claims.
    pub claims: &'a [Claim],
    /// Its rankings.
    pub rankings: &'a [Ranking],
}

impl SuiteResult {
    /// From a suite's observations in plan order, each with its run, and the judged claims, one a claim in their order.
    pub fn new(about: &About<'_>, scale: String, observed: &[(RunId, Observation)], judged: Vec<Judged>) -> Self {
        let &About { tier, name, title, show, draw, claims, rankings } = about;
        let observations: Vec<&Observation> = observed.iter().map(|(_, seen)| seen).collect();
        let runs: Vec<_> = observed.iter().map(|(id, seen)| RunResult::new(id, seen)).collect();
        Self {
            schema: SCHEMA,
            numerics: preheat_kernels::NUMERICS,
            name: name.to_string(),
            title: title.to_string(),
            tier,
            scale,
            digest: digest(&runs),
            show: show.clone(),
            cells: cells(observed, show),
            rankings: ranked(rankings, tier, observed),
            drawings: drawings(draw, &observations),
            fits: Vec::new(),
            claims: claims.iter().zip(judged).map(|(claim, x)| ClaimResult::new(claim, x)).collect(),
            runs,
        }
    }

    /// The file name's stem in golden: `suite.tier`.
    pub fn stem(&self) -> String {
        stem(&self.name, self.tier)
    }
}

/// `suite.tier`.
pub fn stem(suite: &str, tier: Tier) -> String {
    format!("{suite}.{}", tier_name(tier))
}

/// A tier's word, as the command line takes it.
pub const fn tier_name(tier: Tier) -> &'static str {
    match tier {
        Tier::Smoke => "smoke",
        Tier::Quick => "quick",
        Tier::Full => "full",
        Tier::Paper => "paper",
    }
}

impl RunResult {
    fn new(id: &RunId, seen: &Observation) -> Self {
        Self {
            id: id.clone(),
            experiment: seen.experiment.clone(),
            arm: seen.arm.clone(),
            axes: seen.axes.clone(),
            seed: seen.seed,
            selection: seen.selection,
            outcome: seen.measured.outcome.clone(),
            digest: seen.measured.digest.clone(),
        }
    }

    /// `experiment/arm axis=value seed N`.
    pub fn label(&self) -> String {
        let kind = if self.selection { "selection seed" } else { "seed" };
        format!("{} {kind} {}", place(&self.experiment, &self.arm, &self.axes), self.seed)
    }
}

/// `experiment/arm axis=value …`.
pub fn place(experiment: &str, arm: &str, axes: &Axes) -> String {
    let mut text = format!("{experiment}/{arm}");
    for (axis, value) in axes {
        text.push_str(&format!(" {axis}={value}"));
    }
    text
}

impl ClaimResult {
    fn new(claim: &Claim, judged: Judged) -> Self {
        let Judged { id, paper_claim, verdict, why, effect, interval, level, n, at, sweep } = judged;
        Self {
            sentence: claim.sentence.clone(),
            place: claim.place.clone(),
            paper_number: claim.paper_number.clone(),
            expect: claim.expect,
            id,
            paper_claim,
            verdict,
            why,
            effect,
            interval,
            level,
            n,
            at,
            sweep,
        }
    }

    /// Whether the claim is left to other tiers.
    pub fn is_of_another_tier(&self) -> bool {
        self.why.as_deref() == Some(OTHER_TIER)
    }
}

fn ranked(rankings: &[Ranking], tier: Tier, observed: &[(RunId, Observation)]) -> Vec<Ranked> {
    let here: Vec<&Ranking> = rankings.iter().filter(|ranking| ranking.tiers.contains(&tier)).collect();
    if here.is_empty() {
        return Vec::new();
    }
    let observations: Vec<Observation> = observed.iter().map(|(_, seen)| seen.clone()).collect();
    here.into_iter().map(|ranking| rank(ranking, &observations)).collect()
}

fn digest(runs: &[RunResult]) -> String {
    let mut hasher = blake3::Hasher::new();
    for run in runs {
        hasher.update(run.digest.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finalize().to_hex().to_string()
}

fn cells(observed: &[(RunId, Observation)], show: &BTreeMap<String, Vec<Column>>) -> Vec<CellResult> {
    let mut cells: Vec<(CellResult, Vec<(u64, &Measured)>)> = Vec::new();
    for (_, seen) in observed.iter().filter(|(_, seen)| !seen.selection) {
        let same = |c: &CellResult| c.experiment == seen.experiment && c.arm == seen.arm && c.axes == seen.axes;
        let at = cells.iter().position(|(cell, _)| same(cell)).unwrap_or_else(|| {
            let Observation { experiment, arm, axes, .. } = seen.clone();
            cells.push((CellResult { experiment, arm, axes, metrics: BTreeMap::new() }, Vec::new()));
            cells.len() - 1
        });
        cells[at].1.push((seen.seed, &seen.measured));
    }
    let summed = cells.into_iter().map(|(mut cell, mut seeds)| {
        seeds.sort_by_key(|(seed, _)| *seed);
        let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (name, value) in seeds.iter().flat_map(|(_, measured)| &measured.metrics) {
            values.entry(name).or_default().push(*value);
        }
        for Column { metric, .. } in show.get(&cell.experiment).into_iter().flatten() {
            let read: Vec<Option<f64>> = seeds.iter().map(|(_, measured)| measured.value(metric)).collect();
            // None at all where another tier measures it.
            if !values.contains_key(metric.as_str()) && read.iter().any(Option::is_some) {
                values.insert(metric, read.into_iter().map(|x| x.unwrap_or(f64::NAN)).collect());
            }
        }
        cell.metrics = values.into_iter().map(|(name, values)| (name.to_string(), Summary::of(&values))).collect();
        cell
    });
    summed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{observed, result};
    use preheat_suites::record::Point;

    #[test]
    fn a_summary_has_a_mean_only_of_finite_values() {
        let one = Summary::of(&[2.5]);
        assert_eq!((one.mean, one.sd, one.n), (Some(2.5), None, 1));
        let two = Summary::of(&[1.0, 3.0]);
        assert_eq!((two.mean, two.sd), (Some(2.0), Some(2.0_f64.sqrt())));
        let bad = Summary::of(&[1.0, f64::NAN, f64::INFINITY]);
        assert_eq!((bad.mean, bad.sd, bad.n), (None, None, 3));
        assert_eq!(bad.values, [Some(1.0), None, None]);
        assert_eq!(Summary::of(&[]).mean, None);
    }

    #[test]
    fn cells_leave_selection_seeds_out_and_the_digest_does_not() {
        let mut seen = observed();
        let all = result(&seen);
        assert_eq!(all.cells.len(), 2);
        assert!(all.cells.iter().all(|c| c.metrics["val_loss"].n == 3));
        seen.iter_mut().find(|(_, x)| x.selection).unwrap().1.measured.digest = "moved".into();
        let moved = result(&seen);
        assert_eq!(all.cells, moved.cells);
        assert_ne!(all.digest, moved.digest);
    }

    #[test]
    fn columns_that_read_curves_stand_beside_the_metrics() {
        let mut seen = observed();
        for (_, x) in seen.iter_mut().filter(|(_, x)| x.arm == "pre-ln") {
            let point = |step, value| Point { step, value: Some(value) };
            x.measured.curves.insert("val_loss".into(), vec![point(10, x.seed as f64), point(20, 0.5)]);
        }
        let column = |metric: &str| Column { metric: metric.into(), title: metric.into() };
        let columns = ["val_loss@50%", "val_loss", "other@50%"].map(column).to_vec();
        let found = cells(&seen, &BTreeMap::from([("sweep".to_string(), columns)]));
        let pre = &found.iter().find(|c| c.arm == "pre-ln").unwrap().metrics;
        assert_eq!(pre["val_loss@50%"].values, [Some(1.0), Some(2.0), Some(3.0)]);
        assert_eq!(pre["val_loss"], cells(&seen, &BTreeMap::new())[0].metrics["val_loss"]);
        assert!(!pre.contains_key("other@50%"));
        let post = &found.iter().find(|c| c.arm == "post-ln").unwrap().metrics;
        assert!(!post.contains_key("val_loss@50%"));
    }

    #[test]
    fn results_survive_json() {
        let all = result(&observed());
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<SuiteResult>(&text).unwrap(), all);
    }
}
