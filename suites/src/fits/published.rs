//! What a paper publishes of its fits (`published/*.yaml`), and the verdicts that a table of its points allows.

use super::accounting::{Convention, FeedForward, Shape};
use super::curve::{Point, Schedule, cost};
use super::isoflop::{self, Laws, Options};
use super::law;
use super::noise::Noise;
use super::recount;
use crate::claims::{Expect, Verdict};
use crate::stats::equivalence::{Inclusion, inclusion};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Most draws of points that are counted anew.
const RECOUNT_DRAWS: u32 = 2_000;

/// The text columns of a table and their values: what makes a group.
pub type Group = BTreeMap<String, String>;

/// One paper's published fits.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paper {
    /// Short name.
    pub key: String,
    /// Authors, year, title.
    pub title: String,
    /// The noise of losses, by what a group must hold.
    noise: Vec<NoiseOf>,
    seq: u64,
    vocab: u64,
    heads: u64,
    shapes: Vec<[u64; 2]>,
    /// How far an exponent or an interval's end may be from the published one.
    pub tolerance: f64,
    /// The budget at which [`Published::params`] is predicted, FLOPs.
    pub predict_flops: f64,
    /// Published fits.
    pub arms: Vec<Arm>,
    claims: Vec<Claim>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoiseOf {
    when: Group,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

/// One published fit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// Id within the paper.
    pub id: String,
    /// What it is.
    pub about: String,
    /// The group that it is in a table.
    group: Group,
    /// What the paper says.
    pub published: Published,
}

/// A published law of N*(C).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Exponent.
    pub exponent: f64,
    /// Its 95 % interval.
    #[serde(default)]
    pub interval: Option<[f64; 2]>,
    /// R².
    #[serde(default)]
    pub r2: Option<f64>,
    /// Tokens per parameter, lowest and highest.
    #[serde(default)]
    pub tokens_per_param: Option<[f64; 2]>,
    /// N* at [`Paper::predict_flops`].
    #[serde(default)]
    pub params: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    id: String,
    sentence: String,
    place: String,
    paper: String,
    measure: Measure,
    expect: Expect,
    judge: By,
}

/// What a claim measures.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Measure {
    /// The exponent of an arm.
    Exponent { arm: String },
    /// The exponent of `from` less that of `to`.
    Drop { from: String, to: String },
    /// The share of the head in a size's parameters.
    HeadShare { arm: String, of: End },
    /// How far the exponent moves when the arm's FLOPs are counted anew. Where the table holds the paper's own arm of
    /// that count, it is taken instead.
    Recount { arm: String, counting: String, published: String },
    /// FLOPs that the arm's points cost.
    Cost { arm: String, runs: Schedule },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    Smallest,
    Largest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum By {
    Value,
    Interval,
}

/// A group of a table with its points and its fit.
#[derive(Clone, Copy, Debug)]
pub struct Fitted<'a> {
    /// The group.
    pub group: &'a Group,
    /// Its points.
    pub points: &'a [Point],
    /// Its laws, where it has some.
    pub laws: Option<&'a Laws>,
    /// What it was fitted with.
    pub options: Options,
}

/// An arm beside its published fit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmRow {
    /// Id within the paper.
    pub arm: String,
    /// What it is.
    pub about: String,
    /// What the paper says.
    pub published: Published,
    /// Our exponent.
    pub exponent: f64,
    /// Our interval.
    pub interval: [f64; 2],
    /// Our N* at the paper's budget.
    pub params: f64,
    /// Whether exponent and interval's ends are within the tolerance; ends that are not published do not count.
    pub as_published: bool,
}

/// A judged claim.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClaimRow {
    /// Id, beginning with the paper's.
    pub id: String,
    /// The claim.
    pub sentence: String,
    /// Where it stands.
    pub place: String,
    /// The paper's number.
    pub paper: String,
    /// Ours.
    pub effect: Option<f64>,
    /// Its 95 % interval, where the rule reads one.
    pub interval: Option<[f64; 2]>,
    /// What reproduces the claim.
    pub expect: Expect,
    /// The verdict.
    pub verdict: Verdict,
    /// What is missing, or how it was measured.
    pub why: Option<String>,
}

/// The papers that this program knows.
pub fn papers() -> [&'static Paper; 1] {
    [porian2024()]
}

/// Porian et al. 2024.
pub fn porian2024() -> &'static Paper {
    static PAPER: OnceLock<Paper> = OnceLock::new();
    let text = include_str!("../../published/porian2024.yaml");
    PAPER.get_or_init(|| serde_yaml::from_str(text).expect("the crate's own file, which a test reads"))
}

impl Paper {
    /// The arm that a group is.
    pub fn arm(&self, group: &Group) -> Option<&Arm> {
        self.arms.iter().find(|arm| holds(group, &arm.group))
    }

    /// The noise that the paper gives a group's losses.
    pub fn noise(&self, group: &Group) -> Option<Noise> {
        let found = self.noise.iter().find(|noise| holds(group, &noise.when))?;
        Some(Noise { low: found.low, high: found.high, from: found.from, to: found.to })
    }

    /// The paper's grid of models.
    pub fn shapes(&self) -> Vec<Shape> {
        let shape = |[width, layers]: &[u64; 2]| Shape {
            width: *width,
            layers: *layers,
            seq: self.seq,
            vocab: self.vocab,
            heads: self.heads,
            feed_forward: FeedForward::Gated,
        };
        self.shapes.iter().map(shape).collect()
    }

    /// The table's groups that are arms of the paper, in the paper's order, beside what it publishes.
    pub fn beside(&self, table: &[Fitted<'_>]) -> Vec<ArmRow> {
        let row = |arm: &Arm| {
            let law = &self.fitted(table, &arm.id)?.laws?.params;
            let near = |ours: f64, theirs: f64| (ours - theirs).abs() <= self.tolerance;
            let ends = arm
                .published
                .interval
                .is_none_or(|theirs| near(law.interval[0], theirs[0]) && near(law.interval[1], theirs[1]));
            Some(ArmRow {
                arm: arm.id.clone(),
                about: arm.about.clone(),
                published: arm.published.clone(),
                exponent: law.exponent,
                interval: law.interval,
                params: law.at(self.predict_flops),
                as_published: ends && near(law.exponent, arm.published.exponent),
            })
        };
        self.arms.iter().filter_map(row).collect()
    }

    /// The verdicts of the claims that the table has something to say about.
    pub fn judge(&self, table: &[Fitted<'_>]) -> Vec<ClaimRow> {
        let shown =
            self.claims.iter().filter(|claim| claim.measure.arms().iter().any(|arm| self.fitted(table, arm).is_some()));
        shown.map(|claim| self.row(claim, table)).collect()
    }

    fn row(&self, claim: &Claim, table: &[Fitted<'_>]) -> ClaimRow {
        let measured = self.measure(&claim.measure, table);
        let (effect, interval, note) = match &measured {
            Ok(m) => (Some(m.value), m.interval, m.note.clone()),
            Err(why) => (None, None, Some(format!("no data: {why}"))),
        };
        let decided_by = match claim.judge {
            By::Value => effect.map(|value| [value, value]),
            By::Interval => interval,
        };
        ClaimRow {
            id: claim.id.clone(),
            sentence: claim.sentence.clone(),
            place: claim.place.clone(),
            paper: claim.paper.clone(),
            effect,
            interval,
            expect: claim.expect,
            verdict: decided_by.map_or(Verdict::Inconclusive, |found| verdict(found, claim.expect)),
            why: note,
        }
    }

    fn fitted<'t, 'a>(&self, table: &'t [Fitted<'a>], arm: &str) -> Option<&'t Fitted<'a>> {
        let arm = self.arms.iter().find(|a| a.id == arm)?;
        table.iter().find(|fitted| holds(fitted.group, &arm.group))
    }

    fn laws<'a>(&self, table: &[Fitted<'a>], arm: &str) -> Result<&'a Laws, String> {
        self.fitted(table, arm).and_then(|fitted| fitted.laws).ok_or_else(|| format!("the arm {arm} has no fit"))
    }

    fn measure(&self, measure: &Measure, table: &[Fitted<'_>]) -> Result<Measured, String> {
        match measure {
            Measure::Exponent { arm } => {
                let law = &self.laws(table, arm)?.params;
                Ok(Measured { value: law.exponent, interval: Some(law.interval), note: None })
            }
            Measure::Drop { from, to } => Ok(drop_of(self.laws(table, from)?, self.laws(table, to)?)),
            Measure::Cost { arm, runs } => {
                let fitted = self.fitted(table, arm).ok_or_else(|| format!("the arm {arm} is not in the table"))?;
                Ok(Measured { value: cost(fitted.points, *runs), interval: None, note: None })
            }
            Measure::HeadShare { arm, of } => self.head_share(arm, *of, table),
            Measure::Recount { arm, counting, published } => self.moved(arm, counting, published, table),
        }
    }

    fn head_share(&self, arm: &str, of: End, table: &[Fitted<'_>]) -> Result<Measured, String> {
        let fitted = self.fitted(table, arm).ok_or_else(|| format!("the arm {arm} is not in the table"))?;
        let sizes = fitted.points.iter().map(|p| p.params);
        let size = match of {
            End::Smallest => sizes.fold(f64::INFINITY, f64::min),
            End::Largest => sizes.fold(0.0, f64::max),
        };
        let shapes = self.shapes();
        let shape = recount::shape(&shapes, Convention::Standard, size)
            .ok_or_else(|| format!("no model of the paper has {size} parameters"))?;
        let share = 1.0 - Convention::Kaplan.size(shape) / Convention::Standard.size(shape);
        Ok(Measured { value: share, interval: None, note: None })
    }

    fn moved(&self, arm: &str, counting: &str, published: &str, table: &[Fitted<'_>]) -> Result<Measured, String> {
        let before = self.laws(table, arm)?;
        if let Ok(own) = self.laws(table, published) {
            return Ok(drop_of(own, before));
        }
        let fitted = self.fitted(table, arm).ok_or_else(|| format!("the arm {arm} is not in the table"))?;
        let convention = Convention::of(counting).ok_or_else(|| format!("no count is called {counting}"))?;
        let points = recount::recount(fitted.points, Convention::Standard, convention, &self.shapes())?;
        let bootstraps = fitted.options.bootstraps.min(RECOUNT_DRAWS);
        let after = isoflop::fit(&points, &Options { bootstraps, ..fitted.options }).laws?;
        let note = format!("the {arm} arm's points counted anew: {:.4}", after.params.exponent);
        Ok(Measured { note: Some(note), ..drop_of(&after, before) })
    }
}

struct Measured {
    value: f64,
    interval: Option<[f64; 2]>,
    note: Option<String>,
}

/// The difference of two exponents, draw by draw: the draws of two groups are independent.
fn drop_of(from: &Laws, to: &Laws) -> Measured {
    let draws = from.params.exponents().zip(to.params.exponents()).map(|(a, b)| a - b);
    let value = from.params.exponent - to.params.exponent;
    Measured { value, interval: Some(law::interval(draws.collect())), note: None }
}

/// Whether `group` has every value of `wanted`.
fn holds(group: &Group, wanted: &Group) -> bool {
    wanted.iter().all(|(column, value)| group.get(column) == Some(value))
}

fn verdict(found: [f64; 2], expect: Expect) -> Verdict {
    let range = match expect {
        Expect::Above(value) => [value, f64::INFINITY],
        Expect::Below(value) => [f64::NEG_INFINITY, value],
        Expect::Within(range) => range,
    };
    match inclusion(found, range) {
        Inclusion::Inside => Verdict::Reproduced,
        Inclusion::Outside => Verdict::Refuted,
        Inclusion::Straddles => Verdict::Inconclusive,
    }
}

impl Measure {
    /// The arms that it cannot do without.
    fn arms(&self) -> Vec<&str> {
        match self {
            Self::Exponent { arm }
            | Self::HeadShare { arm, .. }
            | Self::Recount { arm, .. }
            | Self::Cost { arm, .. } => {
                vec![arm]
            }
            Self::Drop { from, to } => vec![from, to],
        }
    }
}

#[cfg(test)]
#[path = "published_tests.rs"]
mod tests;
