//! What the runs of an experiment say of compute-optimal training, its arms being sizes of one model: losses by tokens,
//! seed by seed, and the numbers that claims read off their isoFLOP curves.

use super::Select;
use super::select::{by_seed, cells, matches, name};
use crate::fits::accounting::Convention;
use crate::fits::curve::Point;
use crate::fits::isoflop::{self, Budget, IsoFlop, Laws, Options, Procedure};
use crate::fits::noise::{self, Noise};
use crate::fits::reading::{Reading, isoflop_points};
use crate::fits::{convert, saturating::Saturating};
use crate::record::{Measured, Observation};
use crate::train::metrics::{size_metric, tokens_of};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An axis of runs that answer for one budget each: only their last loss counts.
const PER_BUDGET: &str = "train.budget_flops";
/// Draws by which a fit decides whether a budget's minimum lies inside.
const DRAWS: u32 = 200;
/// Their seed.
const DRAW_SEED: u64 = 1;

/// How the FLOPs of a token are counted, and whose optima they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Counting {
    /// 6N with the head.
    #[default]
    Standard,
    /// The optima of the standard count, counted without the head: the same models and tokens.
    Kaplan,
    /// Budgets and optima of their own, counted without the head.
    KaplanRefit,
    /// Budgets and optima of their own, counted with attention.
    Attention,
}

impl Counting {
    /// The count by which budgets are cut.
    const fn convention(self) -> Convention {
        match self {
            Self::Standard | Self::Kaplan => Convention::Standard,
            Self::KaplanRefit => Convention::Kaplan,
            Self::Attention => Convention::Attention,
        }
    }
}

/// A number of a family's isoFLOP curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FitMeasure {
    /// a of N* ∝ C^a.
    Exponent,
    /// R² of that law.
    R2,
    /// The lowest loss of the smallest budget that all sides have, nats a token.
    FirstLoss,
    /// That of the largest budget.
    LastLoss,
    /// The first of these less the last.
    LossFall,
    /// |L − prediction| at the largest budget, where E + A·C^−α is fitted to the smaller ones, nats a token.
    Extrapolation,
}

/// One size: its runs by seed.
#[derive(Clone, Debug)]
pub(super) struct Size {
    /// The arm.
    pub(super) arm: String,
    /// FLOPs a token over 6, by convention.
    params: BTreeMap<Convention, f64>,
    /// Losses by training tokens of each seed.
    runs: BTreeMap<u64, BTreeMap<u64, f64>>,
}

/// The sizes of an experiment, rising, with the seeds that all of them have.
#[derive(Clone, Debug)]
pub(super) struct Family {
    pub(super) sizes: Vec<Size>,
    pub(super) seeds: Vec<u64>,
}

/// A seed of a size that is left out.
pub(super) type LeftOut<'a> = Option<(&'a str, u64)>;

impl Family {
    /// Reads the runs of a selection of every arm.
    pub(super) fn of(observations: &[Observation], select: &Select) -> Result<Self, String> {
        let mut arms: Vec<&str> = observations
            .iter()
            .filter(|o| o.experiment == select.experiment && !o.selection)
            .map(|o| o.arm.as_str())
            .collect();
        arms.sort_unstable();
        arms.dedup();
        let sizes = arms.into_iter().map(|arm| size(observations, &Select { arm: arm.into(), ..select.clone() }));
        let mut sizes = sizes.collect::<Result<Vec<Size>, String>>()?;
        let params = |size: &Size| size.params[&Convention::Standard];
        sizes.sort_by(|a, b| params(a).total_cmp(&params(b)));
        let first = sizes.first().ok_or_else(|| format!("no runs of {}", name(select)))?;
        let seeds = first.runs.keys().copied().filter(|seed| sizes.iter().all(|s| s.runs.contains_key(seed)));
        let seeds = seeds.collect();
        Ok(Self { sizes, seeds })
    }

    /// The sizes of a sweep, whose axes may be open: their losses are not read here.
    pub(super) fn sizes_of(observations: &[Observation], select: &Select) -> Result<Self, String> {
        let mut family = Self { sizes: Vec::new(), seeds: Vec::new() };
        for seen in observations.iter().filter(|o| !o.selection && matches(select, o)) {
            if family.sizes.iter().all(|size| size.arm != seen.arm) {
                let params = params(&seen.measured).ok_or_else(|| format!("no size of {}", name(select)))?;
                family.sizes.push(Size { arm: seen.arm.clone(), params, runs: BTreeMap::new() });
            }
            if !family.seeds.contains(&seen.seed) {
                family.seeds.push(seen.seed);
            }
        }
        family.seeds.sort_unstable();
        family.sizes.sort_by(|a, b| a.params().total_cmp(&b.params()));
        Ok(family)
    }

    /// The standard deviation of a mean over seeds, from how seeds differ at each size and number of tokens; `None` of
    /// one seed.
    fn noise(&self) -> Option<Noise> {
        let (mut sum, mut df) = (0.0, 0usize);
        for size in &self.sizes {
            for tokens in size.tokens(&self.seeds) {
                let losses: Vec<f64> = self.seeds.iter().map(|seed| size.runs[seed][&tokens]).collect();
                let mean = losses.iter().sum::<f64>() / losses.len() as f64;
                sum += losses.iter().map(|loss| (loss - mean) * (loss - mean)).sum::<f64>();
                df += losses.len() - 1;
            }
        }
        let variance = sum / df.max(1) as f64 / self.seeds.len().max(1) as f64;
        (df > 0 && variance > 0.0).then(|| Noise::constant(variance.sqrt()))
    }

    /// Points at budgets that double from `least` FLOPs on, of mean losses over seeds.
    fn points(&self, convention: Convention, least: f64, without: LeftOut<'_>) -> Vec<Point> {
        let mut points = Vec::new();
        for size in &self.sizes {
            let params = size.params[&convention];
            let seeds: Vec<u64> =
                self.seeds.iter().copied().filter(|seed| without != Some((&size.arm, *seed))).collect();
            let known: Vec<[f64; 2]> =
                size.tokens(&seeds).map(|tokens| [tokens as f64, size.mean(&seeds, tokens)]).collect();
            points.extend(isoflop_points(params, &known, least));
        }
        points
    }

    /// The isoFLOP fit of mean losses.
    pub(super) fn fit(&self, counting: Counting, least: f64, without: LeftOut<'_>) -> Result<Fitted<'_>, String> {
        let points = self.points(counting.convention(), least, without);
        let options = Options {
            procedure: Procedure::Local,
            noise: self.noise(),
            reading: noise::Reading::Intended,
            bootstraps: DRAWS,
            seed: DRAW_SEED,
        };
        let IsoFlop { budgets, laws, .. } = isoflop::fit(&points, &options);
        Ok(Fitted { family: self, counting, laws: laws?, budgets })
    }

    /// A size under another count.
    fn converted(&self, to: Convention) -> Option<Reading> {
        Reading::over(self.sizes.iter().map(|size| [size.params[&Convention::Standard], size.params[&to]]))
    }
}

impl Size {
    /// Numbers of tokens at which every one of the seeds has a loss.
    fn tokens<'s>(&'s self, seeds: &'s [u64]) -> impl Iterator<Item = u64> + 's {
        let first = seeds.first().and_then(|seed| self.runs.get(seed));
        let all = first.into_iter().flat_map(|losses| losses.keys().copied());
        all.filter(|tokens| seeds.iter().all(|seed| self.runs[seed].contains_key(tokens)))
    }

    fn mean(&self, seeds: &[u64], tokens: u64) -> f64 {
        seeds.iter().map(|seed| self.runs[seed][&tokens]).sum::<f64>() / seeds.len() as f64
    }

    /// Parameters with the head.
    pub(super) fn params(&self) -> f64 {
        self.params[&Convention::Standard]
    }
}

fn size(observations: &[Observation], select: &Select) -> Result<Size, String> {
    let mut size = Size { arm: select.arm.clone(), params: BTreeMap::new(), runs: BTreeMap::new() };
    let cells = cells(observations, select);
    let per_budget = cells.iter().any(|cell| cell.contains_key(PER_BUDGET));
    if cells.len() > 1 && !per_budget {
        return Err(format!("open axes of {}", name(select)));
    }
    for axes in cells {
        for (seed, run) in by_seed(observations, &Select { axes, ..select.clone() }, false)? {
            if size.params.is_empty() {
                size.params = params(run).ok_or_else(|| format!("no size of {} seed {seed}", name(select)))?;
            }
            let losses = run.metrics.iter().filter_map(|(name, loss)| Some((tokens_of(name)?, *loss)));
            let losses = losses.filter(|(_, loss)| loss.is_finite() && *loss > 0.0);
            let known = size.runs.entry(seed).or_default();
            match per_budget {
                false => known.extend(losses),
                true => known.extend(losses.max_by_key(|(tokens, _)| *tokens)),
            }
        }
    }
    Ok(size)
}

/// A run's size under every convention.
pub(super) fn params(run: &Measured) -> Option<BTreeMap<Convention, f64>> {
    let size = |convention| Some((convention, *run.metrics.get(&size_metric(convention))?));
    Convention::ALL.into_iter().map(size).collect()
}

/// A family's fit.
pub(super) struct Fitted<'f> {
    family: &'f Family,
    counting: Counting,
    pub(super) laws: Laws,
    pub(super) budgets: Vec<Budget>,
}

impl Fitted<'_> {
    /// Lowest losses by budget.
    fn losses(&self) -> Vec<[f64; 2]> {
        self.budgets.iter().filter_map(|b| Some([b.flops, b.optimum?.loss])).collect()
    }

    /// A number of the fit. `shared` are the budgets that count where losses of two sides are compared.
    pub(super) fn measure(&self, measure: FitMeasure, shared: &[f64]) -> Result<f64, String> {
        let losses = || -> Vec<[f64; 2]> { self.losses().into_iter().filter(|[c, _]| shared.contains(c)).collect() };
        let ends = || {
            let losses = losses();
            let ends = losses.first().zip(losses.last()).map(|(first, last)| [first[1], last[1]]);
            ends.ok_or_else(|| "the sides share no budget".to_string())
        };
        match measure {
            FitMeasure::Exponent => self.exponent(),
            FitMeasure::R2 => Ok(self.laws.params.r2),
            FitMeasure::FirstLoss => Ok(ends()?[0]),
            FitMeasure::LastLoss => Ok(ends()?[1]),
            FitMeasure::LossFall => ends().map(|[first, last]| first - last),
            FitMeasure::Extrapolation => {
                let losses = losses();
                let (last, smaller) = losses.split_last().ok_or("no budget has an optimum")?;
                let law = Saturating::through(smaller).ok_or("too few budgets for a saturating law")?;
                Ok((law.at(last[0]) - last[1]).abs())
            }
        }
    }

    fn exponent(&self) -> Result<f64, String> {
        if self.counting != Counting::Kaplan {
            return Ok(self.laws.params.exponent);
        }
        let sizes = self.family.converted(Convention::Kaplan).ok_or("one size")?;
        convert::exponent(&self.budgets, |n| sizes.at(n)).ok_or_else(|| "an optimum lies outside the sizes".into())
    }

    /// Budgets with an optimum inside.
    pub(super) fn inside(&self) -> impl Iterator<Item = f64> + '_ {
        self.budgets.iter().filter(|b| b.optimum.is_some()).map(|b| b.flops)
    }

    /// How many budgets take part, and why others do not.
    pub(super) fn about(&self) -> String {
        let out: Vec<String> =
            self.budgets.iter().filter_map(|b| Some(format!("{:e}: {}", b.flops, b.left_out.as_ref()?))).collect();
        let all = format!("{} of {} budgets", self.inside().count(), self.budgets.len());
        if out.is_empty() { all } else { format!("{all} (left out {})", out.join("; ")) }
    }
}
