//! From isoFLOP curves to N*(C) and D*(C): the lowest point of each budget's curve, its bootstrap, and the power laws
//! through them (Hoffmann et al. 2022, approach 2; Porian et al. 2024, `analysis.py`).

use super::akima::{Akima, GRID_PER_GAP, Grid};
use super::curve::{Axis, Curve, Point, budgets};
use super::law::Law;
use super::line::Line;
use super::local::Local;
use super::noise::{self, Noise, Reading};
use crate::stats::median::median;
use crate::stats::normal::normal_quantile;
use preheat_kernels::rng::Stream;

/// Sizes that a budget needs.
pub const FEWEST_SIZES: usize = 3;
/// Budgets that a law needs.
pub const FEWEST_BUDGETS: usize = 3;
/// The least spread of ln N*, in mean gaps between sizes: N* is not known better than the sizes are spaced.
const LEAST_SPREAD: f64 = 0.33;
/// Points from the smallest to the largest budget at which tokens per parameter are read.
const RATIO_POINTS: u32 = 20;

/// How a curve's lowest point is found, and what is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Procedure {
    /// As Porian et al. do: Akima's interpolation, the median of the draws as the optimum, a budget kept where half of
    /// its draws have a minimum inside.
    Authors,
    /// Ours: a local cubic, the data's own optimum, a budget kept where 95 % of its draws have a minimum inside, and
    /// the interval widened where optima scatter more about the law than their draws do.
    Local,
}

impl Procedure {
    /// The least share of draws whose minimum lies inside.
    const fn least_valid(self) -> f64 {
        match self {
            Self::Authors => 0.5,
            Self::Local => 0.95,
        }
    }
}

/// What a fit is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How optima are found.
    pub procedure: Procedure,
    /// The losses' noise; estimated from the curves where it is not given.
    pub noise: Option<Noise>,
    /// How the noise model is read.
    pub reading: Reading,
    /// Bootstrap draws.
    pub bootstraps: u32,
    /// Seed of the draws.
    pub seed: u64,
}

/// One budget of a fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// C, FLOPs.
    pub flops: f64,
    /// Different sizes.
    pub sizes: usize,
    /// Where the loss is lowest, if the budget takes part.
    pub optimum: Option<Optimum>,
    /// Why it does not.
    pub left_out: Option<String>,
}

/// The lowest point of a budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimum {
    /// N*.
    pub params: f64,
    /// D*.
    pub tokens: f64,
    /// L*, nats a token, by the data themselves.
    pub loss: f64,
    /// Spread of ln N* that weighs it.
    pub spread: f64,
    /// Share of the draws with a minimum inside, the smaller one of N and D.
    pub valid: f64,
}

/// The laws through the optima.
#[derive(Clone, Debug, PartialEq)]
pub struct Laws {
    /// N*(C).
    pub params: Law,
    /// D*(C).
    pub tokens: Law,
    /// Lowest and highest tokens per parameter of the 95 % band over the table's budgets.
    pub tokens_per_param: [f64; 2],
    /// By how much the scatter about the law widened the interval; 1 where it did not.
    pub widened: f64,
}

/// All that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct IsoFlop {
    /// Every budget, rising.
    pub budgets: Vec<Budget>,
    /// The noise that was drawn; `None` where it could not be estimated.
    pub noise: Option<Noise>,
    /// The laws, or in one line why there are none.
    pub laws: Result<Laws, String>,
}

/// Fits the points of one group.
pub fn fit(points: &[Point], options: &Options) -> IsoFlop {
    let grouped = budgets(points);
    let curves: Vec<Curve> = grouped.iter().map(|(_, points)| Curve::of(points, Axis::Params)).collect();
    let sigma = || noise::estimate(&curves).map(Noise::constant);
    let noise = options.noise.or_else(sigma);
    let mut found = Vec::with_capacity(grouped.len());
    let mut budgets = Vec::with_capacity(grouped.len());
    for (index, ((flops, points), curve)) in grouped.iter().zip(&curves).enumerate() {
        let stream = |axis: u32| Stream::new(options.seed, 2 * index as u32 + axis);
        let both = match (curve.x.len(), noise) {
            (k, _) if k < FEWEST_SIZES => Err(format!("{k} {}; at least {FEWEST_SIZES} are needed", sizes(k))),
            (_, None) => Err("three sizes do not show the noise; it must be given".into()),
            (_, Some(noise)) => {
                let params = side(curve, options, noise, stream(0)).map_err(|why| format!("{why} of the sizes"));
                params.and_then(|params| match mirror(points) {
                    Some(ln_product) => Ok((params.mirrored(ln_product), params)),
                    None => side(&Curve::of(points, Axis::Tokens), options, noise, stream(1))
                        .map_err(|why| format!("{why} of the tokens"))
                        .map(|tokens| (tokens, params)),
                })
            }
        };
        let mut budget = Budget { flops: *flops, sizes: curve.x.len(), optimum: None, left_out: None };
        match both {
            Err(why) => budget.left_out = Some(why),
            Ok((tokens, params)) => {
                budget.optimum = Some(Optimum {
                    params: libm::exp(params.at),
                    tokens: libm::exp(tokens.at),
                    loss: params.loss,
                    spread: params.spread,
                    valid: params.valid.min(tokens.valid),
                });
                found.push((*flops, params, tokens));
            }
        }
        budgets.push(budget);
    }
    let laws = laws(points, &grouped, &found, options.procedure);
    IsoFlop { budgets, noise, laws }
}

const fn sizes(k: usize) -> &'static str {
    if k == 1 { "size" } else { "sizes" }
}

/// The optimum of a curve on one axis.
struct Side {
    /// ln N* or ln D*.
    at: f64,
    /// The loss there, nats a token.
    loss: f64,
    spread: f64,
    valid: f64,
    /// ln N* or ln D* of the draws with a minimum inside, in their order.
    draws: Vec<f64>,
}

impl Side {
    /// The optimum over tokens, where tokens are the product's logarithm less that of parameters: the same curve, read
    /// backwards.
    fn mirrored(&self, ln_product: f64) -> Self {
        let draws = self.draws.iter().map(|at| ln_product - at).collect();
        Self { at: ln_product - self.at, draws, ..*self }
    }
}

/// ln of N·D, where it is the same for all points of a budget (to one part in a million: tokens are whole numbers).
fn mirror(points: &[Point]) -> Option<f64> {
    let products = points.iter().map(|p| p.params * p.tokens);
    let (low, high) = products.fold((f64::INFINITY, 0.0f64), |(low, high), p| (low.min(p), high.max(p)));
    (high <= low * (1.0 + 1e-6)).then(|| libm::log((low * high).sqrt()))
}

fn side(curve: &Curve, options: &Options, noise: Noise, stream: Stream) -> Result<Side, String> {
    let mut finder = Finder::over(&curve.x, options.procedure);
    let Some((own, loss)) = finder.lowest(&curve.loss) else {
        return Err(edge(curve).into());
    };
    let sigma: Vec<f64> = curve.loss.iter().map(|loss| noise.sigma(*loss, options.reading)).collect();
    let draws = draw(&mut finder, &curve.loss, &sigma, options.bootstraps, stream);
    let valid = draws.len() as f64 / f64::from(options.bootstraps.max(1));
    if valid < options.procedure.least_valid() {
        return Err(format!("only {:.1} % of the draws have a minimum inside the range", 100.0 * valid));
    }
    let least = LEAST_SPREAD * GRID_PER_GAP as f64 * Grid::over(&curve.x).step();
    let spread = deviation(&draws).max(least) / valid;
    let at = match options.procedure {
        Procedure::Authors => median(draws.iter().copied()),
        Procedure::Local => own,
    };
    Ok(Side { at, loss, spread, valid, draws })
}

/// Which edge a curve's minimum is at.
fn edge(curve: &Curve) -> &'static str {
    match curve.lowest() {
        0 => "the minimum is at the lower edge",
        last if last + 1 == curve.x.len() => "the minimum is at the upper edge",
        _ => "there is no minimum inside the range",
    }
}

/// Optima of `bootstraps` noisy copies of a curve; copies with their minimum at an edge have none. Draw b takes the
/// stream's step b. Nothing is allocated in the loop.
fn draw(finder: &mut Finder, loss: &[f64], sigma: &[f64], bootstraps: u32, stream: Stream) -> Vec<f64> {
    let mut normals = vec![0.0f32; loss.len()];
    let mut noisy = loss.to_vec();
    let mut found = Vec::with_capacity(bootstraps as usize);
    for step in 0..bootstraps {
        stream.fill_normal(step, &mut normals);
        for (i, value) in noisy.iter_mut().enumerate() {
            *value = loss[i] + sigma[i] * f64::from(normals[i]);
        }
        found.extend(finder.lowest(&noisy).map(|(at, _)| at));
    }
    found
}

/// Population standard deviation; 0 of none.
fn deviation(values: &[f64]) -> f64 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n).sqrt()
}

/// What finds the lowest point of values over fixed abscissas.
enum Finder {
    Akima { curve: Akima, grid: Grid, ln_loss: Vec<f64> },
    Local(Local),
}

impl Finder {
    fn over(x: &[f64], procedure: Procedure) -> Self {
        match procedure {
            Procedure::Authors => {
                Self::Akima { curve: Akima::over(x), grid: Grid::over(x), ln_loss: vec![0.0; x.len()] }
            }
            Procedure::Local => Self::Local(Local::over(x)),
        }
    }

    /// Place and loss of the lowest point.
    fn lowest(&mut self, loss: &[f64]) -> Option<(f64, f64)> {
        match self {
            Self::Local(local) => local.lowest(loss),
            Self::Akima { curve, grid, ln_loss } => {
                ln_loss.iter_mut().zip(loss).for_each(|(ln, loss)| *ln = libm::log(*loss));
                curve.set(ln_loss);
                grid.lowest(curve, ln_loss).map(|(at, ln)| (at, libm::exp(ln)))
            }
        }
    }
}

/// The interpolated curve of one budget for a drawing: N and L at every point of the grid, and at the ends.
pub fn drawn(points: &[Point]) -> Vec<[f64; 2]> {
    let curve = Curve::of(points, Axis::Params);
    let ln_loss: Vec<f64> = curve.loss.iter().map(|loss| libm::log(*loss)).collect();
    if curve.x.len() < FEWEST_SIZES {
        return curve.x.iter().zip(&ln_loss).map(|(x, y)| [libm::exp(*x), libm::exp(*y)]).collect();
    }
    let mut akima = Akima::over(&curve.x);
    akima.set(&ln_loss);
    Grid::over(&curve.x).points().map(|x| [libm::exp(x), libm::exp(akima.value(&ln_loss, x))]).collect()
}

fn laws(
    points: &[Point],
    all: &[(f64, Vec<Point>)],
    found: &[(f64, Side, Side)],
    procedure: Procedure,
) -> Result<Laws, String> {
    let n = found.len();
    if n < FEWEST_BUDGETS {
        return Err(format!(
            "{n} of {} budgets have a minimum inside; at least {FEWEST_BUDGETS} are needed",
            all.len()
        ));
    }
    let x: Vec<f64> = found.iter().map(|(flops, ..)| libm::log(*flops)).collect();
    let (params, widened) = law(&x, &found.iter().map(|(_, side, _)| side).collect::<Vec<_>>(), procedure)?;
    let (tokens, _) = law(&x, &found.iter().map(|(.., side)| side).collect::<Vec<_>>(), procedure)?;
    let tokens_per_param = ratio(points, &params, all[0].0, all[all.len() - 1].0);
    Ok(Laws { params, tokens, tokens_per_param, widened })
}

fn law(x: &[f64], sides: &[&Side], procedure: Procedure) -> Result<(Law, f64), String> {
    let weights: Vec<f64> = sides.iter().map(|side| 1.0 / (side.spread * side.spread)).collect();
    let line = Line::over(x, &weights).ok_or("the budgets do not differ")?;
    let y: Vec<f64> = sides.iter().map(|side| side.at).collect();
    let widened = match procedure {
        Procedure::Authors => 1.0,
        Procedure::Local => scatter(&line, x, &y, sides),
    };
    let draws: Vec<&[f64]> = sides.iter().map(|side| side.draws.as_slice()).collect();
    Ok((Law::through(&line, x, &y, &draws, widened), widened))
}

/// The scatter of the optima about their line, in units of their draws' deviation (Birge 1932), where it is more than
/// chance gives in one of twenty tables; else 1.
fn scatter(line: &Line, x: &[f64], y: &[f64], sides: &[&Side]) -> f64 {
    let [slope, level] = line.fit(y.iter().copied());
    let mut sum = 0.0;
    for ((x, y), side) in x.iter().zip(y).zip(sides) {
        let off = (y - level - slope * (x - line.centre)) / deviation(&side.draws);
        sum += off * off;
    }
    let birge = (sum / (x.len() - 2) as f64).sqrt();
    // Without noise the draws do not differ, and nothing can be said.
    if birge * birge > chance((x.len() - 2) as f64) && birge.is_finite() { birge } else { 1.0 }
}

/// The 95 % quantile of χ²/df, by Wilson and Hilferty's cube (1931).
fn chance(df: f64) -> f64 {
    let share = 2.0 / (9.0 * df);
    let root = 1.0 - share + normal_quantile(0.95) * share.sqrt();
    root * root * root
}

/// Lowest and highest D/N of the band of N*(C) from the least to the most compute: D = C/(k N), with k FLOPs a
/// parameter and token, the median over the table (6 but for an exact count).
fn ratio(points: &[Point], law: &Law, least: f64, most: f64) -> [f64; 2] {
    let per = median(points.iter().map(|p| p.flops / (p.params * p.tokens)));
    let (mut low, mut high) = (f64::INFINITY, 0.0f64);
    for i in 0..RATIO_POINTS {
        let share = f64::from(i) / f64::from(RATIO_POINTS - 1);
        let flops = libm::exp(libm::log(least) + share * (libm::log(most) - libm::log(least)));
        let [few, many] = law.interval_at(flops);
        low = low.min(flops / (per * many * many));
        high = high.max(flops / (per * few * few));
    }
    [low, high]
}

#[cfg(test)]
#[path = "isoflop_tests.rs"]
mod tests;
