//! A table's fits: which procedure and noise each group takes, and everything that is told of them.

use super::left_out;
use super::table::{COUNTING, Rows, Table};
use preheat_kernels::rng::Stream;
use preheat_suites::fits::accounting::Convention;
use preheat_suites::fits::convert;
use preheat_suites::fits::curve::Point;
use preheat_suites::fits::hyper::{Hyper, hyper};
use preheat_suites::fits::isoflop::{self, Budget, IsoFlop, Laws, Options, Procedure};
use preheat_suites::fits::law::Law;
use preheat_suites::fits::noise::{Noise, Reading};
use preheat_suites::fits::parametric::{self, Parametric};
use preheat_suites::fits::published::{ArmRow, ClaimRow, Fitted, Group, Paper, papers};
use preheat_suites::fits::reading::Reading as Between;
use preheat_suites::fits::seed_of;
use serde::Serialize;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The procedure; chosen by [`outcome`] where it is not given.
    pub procedure: Option<Procedure>,
    /// The noise of every group.
    pub noise: Option<Noise>,
    /// Bootstrap draws.
    pub bootstraps: u32,
    /// Their seed.
    pub seed: u64,
    /// Budgets to predict at, FLOPs.
    pub predict: Vec<f64>,
    /// Draws of the parametric fit, where it is wanted.
    pub parametric: Option<u32>,
}

/// Everything that was found. What `--format json` prints.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Version of this shape.
    pub schema: u32,
    /// The table.
    pub file: String,
    /// How optima were found, and why so.
    pub procedure: Procedure,
    /// Why this procedure.
    pub because: String,
    /// Bootstrap draws.
    pub bootstraps: u32,
    /// Their seed.
    pub seed: u64,
    /// One a group.
    pub fits: Vec<Fit>,
    /// The published fits beside ours.
    pub arms: Vec<ArmRow>,
    /// Verdicts of the claims that the table has something to say about.
    pub claims: Vec<ClaimRow>,
    /// The paper that `arms` and `claims` speak of.
    pub paper: Option<&'static str>,
    /// What a reader must know about rows and budgets, one line each.
    pub warnings: Vec<String>,
    /// The same with one line for the budgets of a group.
    #[serde(skip)]
    pub brief: Vec<String>,
}

/// One group's fit. Numbers are null where there is no law.
#[derive(Debug, Serialize)]
pub struct Fit {
    /// Text columns and their values.
    pub group: Group,
    /// How FLOPs are counted.
    pub convention: &'static str,
    /// N* = coefficient · C^exponent.
    pub exponent: Option<f64>,
    /// N* at 1 FLOP.
    pub coefficient: Option<f64>,
    /// Of ln N*, every budget counting the same.
    pub r2: Option<f64>,
    /// 95 %, of the exponent.
    pub interval: Option<[f64; 2]>,
    /// Budgets that take part.
    pub n: usize,
    /// Why there is no law.
    pub why: Option<String>,
    /// Noise that was drawn.
    pub noise: Option<NoiseUsed>,
    /// By how much the scatter about the law widened the interval.
    pub widened: Option<f64>,
    /// D* = coefficient · C^exponent.
    pub tokens: Option<TokensLaw>,
    /// Lowest and highest D/N of the 95 % band over the table's budgets.
    pub tokens_per_param: Option<[f64; 2]>,
    /// The fit under the other reading of the noise model.
    pub other_noise: Option<OtherNoise>,
    /// Asked for.
    pub predictions: Vec<Prediction>,
    /// Every budget.
    pub budgets: Vec<BudgetRow>,
    /// L = E + A/N^α + B/D^β.
    pub parametric: Option<Parametric>,
    /// Why there is none.
    pub parametric_why: Option<String>,
    /// Exponent of the standard count's optima, the same models and tokens counted this way; null where the table does
    /// not say a size's other counts.
    pub recounted: Option<f64>,
    /// What this count leaves away of the smallest and of the largest size.
    #[serde(skip)]
    pub(super) head_share: Option<[f64; 2]>,
    #[serde(skip)]
    pub(super) found: Vec<Budget>,
    #[serde(skip)]
    pub(super) points: Vec<Point>,
    #[serde(skip)]
    pub(super) laws: Option<Laws>,
}

/// The noise of a fit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NoiseUsed {
    /// The model.
    #[serde(flatten)]
    pub model: Noise,
    /// How it was read.
    pub reading: Reading,
    /// Whether it comes from the curves themselves.
    pub estimated: bool,
}

/// The law of D*.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TokensLaw {
    /// Exponent.
    pub exponent: f64,
    /// D* at 1 FLOP.
    pub coefficient: f64,
    /// R².
    pub r2: f64,
    /// 95 %, of the exponent.
    pub interval: [f64; 2],
}

/// The same points with the noise read the other way.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OtherNoise {
    /// The noise.
    pub noise: NoiseUsed,
    /// Exponent.
    pub exponent: Option<f64>,
    /// Its interval.
    pub interval: Option<[f64; 2]>,
    /// Budgets that take part.
    pub n: usize,
    /// Its exponent less the fit's.
    pub difference: Option<f64>,
}

/// A law read at a budget.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Prediction {
    /// C.
    pub flops: f64,
    /// N*.
    pub params: f64,
    /// 95 %.
    pub params_interval: [f64; 2],
    /// D*.
    pub tokens: f64,
    /// 95 %.
    pub tokens_interval: [f64; 2],
    /// Batch, rate and β₂ at N* by the laws of Porian et al. 2024, which count the head; null under another count.
    pub hyper: Option<Hyper>,
}

/// A budget's optimum, or why it has none.
#[derive(Clone, Debug, Serialize)]
pub struct BudgetRow {
    /// C.
    pub flops: f64,
    /// Different sizes.
    pub sizes: usize,
    /// N*.
    pub params: Option<f64>,
    /// D*.
    pub tokens: Option<f64>,
    /// L*.
    pub loss: Option<f64>,
    /// Spread of ln N* that weighs it.
    pub spread: Option<f64>,
    /// Share of the draws with a minimum inside.
    pub valid: Option<f64>,
    /// Why it is left out.
    pub left_out: Option<String>,
}

/// Fits every group of a table.
///
/// # Panics
/// Where a fit does.
pub fn outcome(file: &str, table: &Table, asked: &Asked) -> Outcome {
    let paper = papers().into_iter().find(|paper| table.groups.iter().any(|rows| paper.arm(&rows.group).is_some()));
    let (procedure, because) = choose(paper, asked);
    // A thread a group: groups share nothing, and their order is the table's.
    let mut fits: Vec<Fit> = std::thread::scope(|scope| {
        let one = |rows| scope.spawn(move || fit(rows, procedure, paper, asked));
        let running: Vec<_> = table.groups.iter().map(one).collect();
        running.into_iter().map(|fit| fit.join().expect("a fit ends")).collect()
    });
    recount(&mut fits, &table.groups);
    let brief = [table.warnings.clone(), left_out::summary(&fits), left_out::headless(&fits)].concat();
    let warnings = [table.warnings.clone(), left_out::each(&fits), left_out::headless(&fits)].concat();
    let options = |fit: &Fit| options(&fit.group, procedure, paper, asked);
    let fitted: Vec<Fitted<'_>> = fits
        .iter()
        .map(|fit| Fitted { group: &fit.group, points: &fit.points, laws: fit.laws.as_ref(), options: options(fit) })
        .collect();
    let judged = paper.filter(|_| procedure == Procedure::Authors);
    let (arms, claims) = judged.map(|paper| (paper.beside(&fitted), paper.judge(&fitted))).unwrap_or_default();
    Outcome {
        schema: 1,
        file: file.into(),
        procedure,
        because,
        bootstraps: asked.bootstraps,
        seed: asked.seed,
        arms,
        claims,
        paper: judged.map(|paper| paper.title.as_str()),
        fits,
        warnings,
        brief,
    }
}

/// Counts the optima of the standard count anew for the groups of the same runs under other counts.
fn recount(fits: &mut [Fit], groups: &[Rows]) {
    let runs =
        |group: &Group| group.iter().filter(|(key, _)| *key != COUNTING).map(|(_, v)| v.clone()).collect::<Vec<_>>();
    for at in 0..fits.len() {
        let standard = |fit: &&Fit| {
            fit.convention == Convention::Standard.name()
                && runs(&fit.group) == runs(&fits[at].group)
                && fit.laws.is_some()
        };
        let Some(standard) = fits.iter().find(standard) else { continue };
        let sizes = Between::over(groups[at].sizes.iter().copied());
        let recounted = sizes.and_then(|sizes| convert::exponent(&standard.found, |n| sizes.at(n)));
        fits[at].recounted = recounted;
    }
}

/// What a count leaves away of the smallest and of the largest size, as shares of the standard count.
fn head_share(rows: &Rows) -> Option<[f64; 2]> {
    let (first, last) = rows.sizes.first().zip(rows.sizes.last())?;
    Some([first, last].map(|[standard, own]| 1.0 - own / standard))
}

/// A group in one line.
pub fn name(group: &Group) -> String {
    let words: Vec<&str> = group.values().map(String::as_str).collect();
    if words.is_empty() { "the table".into() } else { words.join(" ") }
}

fn choose(paper: Option<&Paper>, asked: &Asked) -> (Procedure, String) {
    match (asked.procedure, asked.noise, paper) {
        (Some(procedure), ..) => (procedure, "--procedure".into()),
        (None, Some(_), _) => (Procedure::Authors, "the noise is given".into()),
        (None, None, Some(paper)) => (Procedure::Authors, format!("the table holds arms of {}", paper.title)),
        (None, None, None) => (Procedure::Local, "the default".into()),
    }
}

fn options(group: &Group, procedure: Procedure, paper: Option<&Paper>, asked: &Asked) -> Options {
    let published = || paper.filter(|_| procedure == Procedure::Authors).and_then(|paper| paper.noise(group));
    let reading = match procedure {
        Procedure::Authors => Reading::Coded,
        Procedure::Local => Reading::Intended,
    };
    let key: String = group.iter().map(|(column, value)| format!("{column}={value}\n")).collect();
    Options {
        procedure,
        noise: asked.noise.or_else(published),
        reading,
        bootstraps: asked.bootstraps,
        seed: seed_of(asked.seed, &key),
    }
}

fn fit(rows: &Rows, procedure: Procedure, paper: Option<&Paper>, asked: &Asked) -> Fit {
    let options = options(&rows.group, procedure, paper, asked);
    let IsoFlop { budgets, noise, laws } = isoflop::fit(&rows.points, &options);
    let parametric =
        asked.parametric.map(|draws| parametric::fit(&rows.points, draws, Stream::new(options.seed, u32::MAX)));
    let law = laws.as_ref().ok().map(|laws| &laws.params);
    let other_noise = other_reading(rows, &options, paper).map(|other| {
        let found = isoflop::fit(&rows.points, &other);
        let theirs = found.laws.as_ref().ok().map(|laws| &laws.params);
        OtherNoise {
            noise: used(other.noise.unwrap_or(Noise::constant(0.0)), &other, false),
            exponent: theirs.map(|law| law.exponent),
            interval: theirs.map(|law| law.interval),
            n: theirs.map_or(0, |law| law.n),
            difference: theirs.zip(law).map(|(theirs, ours)| theirs.exponent - ours.exponent),
        }
    });
    Fit {
        group: rows.group.clone(),
        convention: rows.convention.name(),
        exponent: law.map(|law| law.exponent),
        coefficient: law.map(|law| law.coefficient),
        r2: law.map(|law| law.r2),
        interval: law.map(|law| law.interval),
        n: law.map_or(0, |law| law.n),
        why: laws.as_ref().err().cloned(),
        noise: noise.map(|noise| used(noise, &options, options.noise.is_none())),
        widened: laws.as_ref().ok().map(|laws| laws.widened),
        tokens: laws.as_ref().ok().map(|laws| tokens_law(&laws.tokens)),
        tokens_per_param: laws.as_ref().ok().map(|laws| laws.tokens_per_param),
        other_noise,
        predictions: laws.as_ref().map(|laws| predictions(laws, rows.convention, &asked.predict)).unwrap_or_default(),
        budgets: budgets.iter().cloned().map(row).collect(),
        recounted: None,
        head_share: head_share(rows),
        found: budgets,
        parametric_why: parametric.as_ref().and_then(|found| found.as_ref().err().cloned()),
        parametric: parametric.and_then(Result::ok),
        points: rows.points.clone(),
        laws: laws.ok(),
    }
}

const fn used(model: Noise, options: &Options, estimated: bool) -> NoiseUsed {
    NoiseUsed { model, reading: options.reading, estimated }
}

/// The same fit with the noise model as it is meant: the given ramp, or the paper's where the given σ is the paper's low
/// one.
fn other_reading(rows: &Rows, options: &Options, paper: Option<&Paper>) -> Option<Options> {
    let given = options.noise.filter(|_| options.reading == Reading::Coded)?;
    let published = || paper?.noise(&rows.group).filter(|noise| noise.low == given.low);
    let ramp = if given.is_constant() { published()? } else { given };
    Some(Options { noise: Some(ramp), reading: Reading::Intended, ..*options })
}

const fn tokens_law(law: &Law) -> TokensLaw {
    TokensLaw { exponent: law.exponent, coefficient: law.coefficient, r2: law.r2, interval: law.interval }
}

fn predictions(laws: &Laws, convention: Convention, budgets: &[f64]) -> Vec<Prediction> {
    let at = |flops: &f64| Prediction {
        flops: *flops,
        params: laws.params.at(*flops),
        params_interval: laws.params.interval_at(*flops),
        tokens: laws.tokens.at(*flops),
        tokens_interval: laws.tokens.interval_at(*flops),
        hyper: (convention == Convention::Standard).then(|| hyper(laws.params.at(*flops))),
    };
    budgets.iter().map(at).collect()
}

fn row(budget: Budget) -> BudgetRow {
    let Budget { flops, sizes, optimum, left_out } = budget;
    BudgetRow {
        flops,
        sizes,
        params: optimum.map(|o| o.params),
        tokens: optimum.map(|o| o.tokens),
        loss: optimum.map(|o| o.loss),
        spread: optimum.map(|o| o.spread),
        valid: optimum.map(|o| o.valid),
        left_out,
    }
}
