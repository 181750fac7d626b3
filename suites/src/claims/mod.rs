//! Claims as data: what a paper says, which runs decide it, and what would decide it.

#[cfg(test)]
mod axis_tests;
#[cfg(test)]
mod curve_tests;
mod curves;
mod effects;
mod family;
mod fit;
pub mod judge;
mod many;
pub mod ranking;
mod select;
mod sweep;

pub use crate::fits::tuning::Knob;
use crate::registry::Scalar;
pub use family::{Counting, FitMeasure};
pub use fit::rows;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Part of the tests: at most 1 GFLOP a suite.
    Smoke,
    /// The default: the claims' own arms.
    Quick,
    /// Wide grids, more seeds.
    Full,
    /// The papers' own shapes on real data.
    Paper,
}

/// One claim of a paper, as a suite's YAML states it.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Unique within the suite, e.g. `x8-same-rate`.
    pub id: String,
    /// The paper's claim, e.g. `X8`.
    pub paper_claim: String,
    /// What is claimed, in one sentence.
    pub sentence: String,
    /// Where the paper says it.
    pub place: String,
    /// The paper's number, as printed in the tables.
    pub paper_number: String,
    /// Tiers that can decide it; in others its verdict is `inconclusive (tier)`.
    pub tiers: Vec<Tier>,
    /// What is measured.
    pub kind: Kind,
    /// Which values of the effect reproduce the claim.
    pub expect: Expect,
    /// An axis that its selections fix: the claim is judged at every other value that is run, too.
    #[serde(default)]
    pub sweep: Option<String>,
}

/// Runs of one arm of one experiment, some grid axes fixed.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Select {
    /// Experiment id.
    pub experiment: String,
    /// Arm name; [`EVERY_ARM`] in claims about fits, whose arms are sizes.
    pub arm: String,
    /// Fixed axes by dotted path. Axes that stay open are resolved by the kind.
    #[serde(default)]
    pub axes: BTreeMap<String, Scalar>,
}

/// The word for every arm of an experiment.
pub const EVERY_ARM: &str = "*";

/// A number of a compute-optimal fit, or the difference of two.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// What is measured.
    pub measure: FitMeasure,
    /// The runs: every arm of an experiment, each a size.
    pub of: Select,
    /// How their FLOPs are counted.
    #[serde(default)]
    pub counting: Counting,
    /// What the same number is taken off.
    #[serde(default)]
    pub minus: Option<Select>,
    /// How FLOPs are counted there; as in `counting` where not given.
    #[serde(default)]
    pub minus_counting: Option<Counting>,
    /// The smallest budget, FLOPs; further ones double.
    pub from: f64,
}

/// What is best for each size, over the size.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Optimum {
    /// What is tuned.
    pub knob: Knob,
    /// A final metric; the smallest is best.
    pub metric: String,
    /// The sweep: every arm, each a size; the axes of rate, batch and β₂ stay open.
    pub of: Select,
}

/// An exponent that a suite reports beside the paper's and asserts nothing of.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FitLine {
    /// What it is, in the table.
    pub row: String,
    /// The paper's exponent, as the table prints it.
    pub paper: String,
    /// Tiers that have it.
    pub tiers: Vec<Tier>,
    /// The runs: every arm of an experiment, each a size.
    pub of: Select,
    /// How their FLOPs are counted.
    #[serde(default)]
    pub counting: Counting,
    /// The smallest budget, FLOPs; further ones double.
    pub from: f64,
}

/// A reported exponent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitRow {
    /// As in [`FitLine`].
    pub row: String,
    /// As in [`FitLine`].
    pub paper: String,
    /// a of N* ∝ C^a.
    pub exponent: Option<f64>,
    /// Its 95 % interval, by leaving out one run at a time.
    pub interval: Option<[f64; 2]>,
    /// R² of the law, under the count of the budgets.
    pub r2: Option<f64>,
    /// D*/N* at the optima, lowest and highest.
    pub tokens_per_param: Option<[f64; 2]>,
    /// Seeds.
    pub n: usize,
    /// Budgets that take part, and why others do not; or what is missing.
    pub about: String,
}

/// How the open axes (the learning rate) of the two sides of a comparison are chosen: always by the mean
/// of `metric` over selection seeds, which the claim itself does not use. Smaller is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum At {
    /// Both sides at the best cell of the second side (`minus`, `over`), the winner's best rate.
    SecondsBest,
    /// Both sides at the best cell of the first side.
    FirstsBest,
    /// Each side at its own best cell.
    EachBest,
    /// Nothing is open.
    Given,
}

/// Which of several means is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Extreme {
    /// The smallest.
    Least,
    /// The largest.
    Greatest,
}

/// What is measured, paired by seed. Where a final metric is asked for, a reading of a curve can stand (see
/// [`crate::readings`]).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Kind {
    /// Mean over seeds of `metric(of) − metric(minus)`.
    Difference {
        /// A final metric.
        metric: String,
        /// First side.
        of: Select,
        /// Second side.
        minus: Select,
        /// How open axes are chosen.
        at: At,
    },
    /// exp of the mean over seeds of ln(metric(of)/metric(over)): a ratio, its interval taken in logarithms.
    Ratio {
        /// Metric of the first side.
        metric: String,
        /// Metric of the second side; the same where it is not given.
        #[serde(default)]
        over_metric: Option<String>,
        /// First side.
        of: Select,
        /// Second side.
        over: Select,
        /// How open axes are chosen.
        at: At,
    },
    /// Mean over seeds of `metric`.
    Value {
        /// A final metric.
        metric: String,
        /// The runs; open axes are chosen by [`At::EachBest`]'s rule where any is open.
        of: Select,
    },
    /// Mean over seeds of the least-squares slope of ln metric against ln x.
    Slope {
        /// A final metric; `{i}` in the name takes the values of `indices` as x instead of an axis.
        metric: String,
        /// The runs.
        of: Select,
        /// The axis that is x, e.g. `model.layers`.
        #[serde(default)]
        over: Option<String>,
        /// Only x of at least this.
        #[serde(default)]
        from: Option<f64>,
        /// Values of `{i}`.
        #[serde(default)]
        indices: Vec<u64>,
        /// x itself instead of ln x (a slope per layer).
        #[serde(default)]
        linear_x: bool,
    },
    /// Share of seeds where `metric` is 1 (`stalled`, `diverged`), with an exact (Clopper–Pearson) interval.
    Fraction {
        /// A 0/1 metric.
        metric: String,
        /// The runs.
        of: Select,
        /// Second side whose best cell is taken for open axes; `of`'s own best otherwise.
        #[serde(default)]
        at_best_of: Option<Select>,
    },
    /// exp of the mean over seeds of ln(first step at which `of`'s curve is at or below the final value of
    /// `reference`'s curve, over the reference's steps). A run that never gets there counts as its last step, at
    /// least the reference's, and the claim cannot be reproduced by it.
    StepsRatio {
        /// A curve, e.g. `val_loss`.
        curve: String,
        /// The side that should be faster.
        of: Select,
        /// The side whose final value is the target.
        reference: Select,
        /// How open axes are chosen.
        at: At,
    },
    /// The least or greatest mean difference of `metric` between a value of an axis and the one below it: above 0 the
    /// least says that it rises all along, below 0 the greatest says that it falls.
    Neighbours {
        /// A final metric.
        metric: String,
        /// The runs.
        of: Select,
        /// The axis, e.g. `schedule.peak_lr`.
        over: String,
        /// Which difference.
        extreme: Extreme,
    },
    /// The greatest mean difference of `metric` between any two values of an axis. Below a margin it says that all of
    /// them are equivalent.
    Spread {
        /// A final metric.
        metric: String,
        /// The runs.
        of: Select,
        /// The axis.
        over: String,
    },
    /// The least or greatest, over the values of an axis of `of`, of the mean difference `metric(of) − metric(minus)`.
    EachDifference {
        /// A final metric.
        metric: String,
        /// First side, at each value of the axis.
        of: Select,
        /// The axis.
        over: String,
        /// Second side, one cell.
        minus: Select,
        /// Which difference.
        extreme: Extreme,
    },
    /// Mean over seeds of the share of the steps from which on `of`'s curve stays below `reference`'s, linear between
    /// evaluations. A run that is not below in the end counts as 1, and the claim cannot be reproduced by it; one that
    /// is below at all evaluations counts as the first.
    Crossover {
        /// A curve, e.g. `val_loss`.
        curve: String,
        /// The side that overtakes.
        of: Select,
        /// The side that is overtaken.
        reference: Select,
        /// How open axes are chosen.
        at: At,
    },
    /// Mean over seeds of R² of the least-squares line of one curve against another of the same run, over its
    /// evaluations.
    Linearity {
        /// The curve that is x.
        x: String,
        /// The curve that is y.
        y: String,
        /// The runs.
        of: Select,
        /// Of exp of both curves: perplexities of losses.
        #[serde(default)]
        perplexity: bool,
    },
    /// A number of a compute-optimal fit of mean losses over seeds, or the difference of two; the runs have the probe
    /// `isoflop`. Its interval is the jackknife's (see `fit.rs`).
    Fit(Fit),
    /// The exponent of the power law of the best rate, batch or β₂ over the size, with the jackknife's interval.
    OptimumSlope(Optimum),
}

impl Kind {
    /// Whether its selections are of every arm.
    pub const fn takes_every_arm(&self) -> bool {
        matches!(self, Self::Fit(_) | Self::OptimumSlope(_))
    }
}

/// The effects that reproduce a claim. An interval inside reproduces, one outside refutes, else inconclusive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Expect {
    /// Effect > value.
    Above(f64),
    /// Effect < value.
    Below(f64),
    /// low < effect < high: equivalence, by two one-sided tests.
    Within([f64; 2]),
}

/// What the judge says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The interval lies inside what is expected.
    Reproduced,
    /// The interval lies outside.
    Refuted,
    /// It does neither, or data are missing.
    Inconclusive,
}

/// A judged claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The claim's id.
    pub id: String,
    /// The paper's claim.
    pub paper_claim: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is inconclusive apart from its interval: `tier`, `no data: …`, `n < 2`, `target not reached: 1 of 5`.
    pub why: Option<String>,
    /// The effect, where there is one.
    pub effect: Option<f64>,
    /// The simultaneous 95 % interval (Holm over the suite) that decided the verdict; the plain 95 % interval
    /// where `why` says that nothing can be decided.
    pub interval: Option<[f64; 2]>,
    /// The level that Holm's procedure gave the claim, and 1 minus the interval's coverage; `None` where the claim
    /// takes no part in the family.
    pub level: Option<f64>,
    /// Seeds.
    pub n: usize,
    /// The cell(s) that the selection seeds chose, for the reader, e.g. `schedule.peak_lr=0.006`.
    pub at: Option<String>,
    /// The same claim at other values of an axis, where it is swept over one that has others in this tier.
    pub sweep: Option<Sweep>,
}

/// A claim over the values of an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// The axis by dotted path.
    pub axis: String,
    /// The value at which the claim itself is judged.
    pub value: Scalar,
    /// The others, in order. Their intervals are simultaneous over all swept claims of the suite, apart from the
    /// claims themselves.
    pub others: Vec<Swept>,
}

/// A claim at another value of the axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Swept {
    /// The value.
    pub value: Scalar,
    /// As in [`Judged`].
    pub verdict: Verdict,
    /// As in [`Judged`].
    pub why: Option<String>,
    /// As in [`Judged`].
    pub effect: Option<f64>,
    /// As in [`Judged`].
    pub interval: Option<[f64; 2]>,
    /// As in [`Judged`].
    pub n: usize,
}
