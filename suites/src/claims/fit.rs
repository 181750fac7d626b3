//! Effects read off compute-optimal fits, with intervals by leaving out one run at a time.
//!
//! A fit takes mean losses over seeds. Its standard error is the jackknife's, with sizes as strata: each seed of each size
//! is left out once, on both sides of a difference at the same time, so that arms are paired by seed. With θ(k,s) the
//! number without seed s of size k and n seeds,
//!
//! ```text
//! v_k = (n − 1)/n · Σ_s (θ(k,s) − mean_s θ(k,s))²,   se² = Σ_k v_k,   df = (Σ_k v_k)² / Σ_k v_k²/(n − 1)
//! ```
//!
//! (Efron 1982; degrees of freedom by Welch and Satterthwaite). It knows how seeds differ, not whether the law is one.

use super::effects::{Effect, Estimate};
use super::family::{Family, FitMeasure, Fitted, LeftOut};
use super::judge::FAMILY_ALPHA;
use super::select::{by_seed, cells};
use super::{Fit, FitLine, FitRow, Optimum, Select, Tier};
use crate::fits::tuning::{Trial, law, tuned};
use crate::record::Observation;
use crate::registry::Scalar;
use crate::stats::student::t_upper_quantile;

/// A number with the jackknife's standard error.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Jackknife {
    pub(super) value: f64,
    /// `None` from one seed.
    error: Option<(f64, f64)>,
    pub(super) n: usize,
}

impl Jackknife {
    /// Of `theta`, a function of what is left out; `strata` are the sizes' arms.
    fn of(
        strata: &[String],
        seeds: &[u64],
        theta: impl Fn(LeftOut<'_>) -> Result<f64, String>,
    ) -> Result<Self, String> {
        let (value, n) = (theta(None)?, seeds.len());
        if n < 2 {
            return Ok(Self { value, error: None, n });
        }
        let (mut sum, mut squares) = (0.0, 0.0);
        for arm in strata {
            let without =
                |seed: &u64| theta(Some((arm, *seed))).map_err(|why| format!("without seed {seed} of {arm}: {why}"));
            let left = seeds.iter().map(without).collect::<Result<Vec<f64>, String>>()?;
            let mean = left.iter().sum::<f64>() / n as f64;
            let spread: f64 = left.iter().map(|x| (x - mean) * (x - mean)).sum();
            let variance = (n - 1) as f64 / n as f64 * spread;
            sum += variance;
            squares += variance * variance / (n - 1) as f64;
        }
        let df = if squares > 0.0 { sum * sum / squares } else { (n - 1) as f64 };
        Ok(Self { value, error: Some((sum.sqrt(), df)), n })
    }

    /// The two-sided 1 − `alpha` interval; `None` from one seed.
    pub(super) fn interval(&self, alpha: f64) -> Option<[f64; 2]> {
        let (error, df) = self.error?;
        let half = if error > 0.0 { t_upper_quantile(0.5 * alpha, df) * error } else { 0.0 };
        Some([self.value - half, self.value + half])
    }
}

/// The effect of a claim about fits.
pub(super) fn fit(observations: &[Observation], fit: &Fit) -> Result<Effect, String> {
    let of = Family::of(observations, &fit.of)?;
    let minus = fit.minus.as_ref().map(|minus| Family::of(observations, minus)).transpose()?;
    let shared = |seed: &u64| minus.as_ref().is_none_or(|family| family.seeds.contains(seed));
    let seeds: Vec<u64> = of.seeds.iter().copied().filter(shared).collect();
    if seeds.is_empty() {
        return Err("no common seeds".into());
    }
    let (of, minus) = (Family { seeds: seeds.clone(), ..of }, minus.map(|m| Family { seeds: seeds.clone(), ..m }));
    let other = fit.minus_counting.unwrap_or(fit.counting);
    let theta = |without: LeftOut<'_>| {
        let first = of.fit(fit.counting, fit.from, without)?;
        let Some(minus) = &minus else {
            let budgets: Vec<f64> = first.inside().collect();
            return first.measure(fit.measure, &budgets);
        };
        let second = minus.fit(other, fit.from, without)?;
        let budgets = common(&first, &second);
        Ok(first.measure(fit.measure, &budgets)? - second.measure(fit.measure, &budgets)?)
    };
    let mut strata: Vec<String> =
        of.sizes.iter().chain(minus.iter().flat_map(|m| &m.sizes)).map(|size| size.arm.clone()).collect();
    strata.sort_unstable();
    strata.dedup();
    let found = Jackknife::of(&strata, &seeds, theta)?;
    let mut about = of.fit(fit.counting, fit.from, None)?.about();
    if let Some(minus) = &minus {
        let second = minus.fit(other, fit.from, None)?.about();
        if second != about {
            about = format!("{about} / {second}");
        }
    }
    Ok(Effect::new(Estimate::Jackknife(found), &[]).about(about))
}

fn common(first: &Fitted<'_>, second: &Fitted<'_>) -> Vec<f64> {
    first.inside().filter(|flops| second.inside().any(|other| other == *flops)).collect()
}

/// The exponents that a suite reports beside the paper's, in its order; those of other tiers are left out.
pub fn rows(lines: &[FitLine], tier: Tier, observations: &[Observation]) -> Vec<FitRow> {
    let here = lines.iter().filter(|line| line.tiers.contains(&tier));
    here.map(|line| {
        let (row, paper) = (line.row.clone(), line.paper.clone());
        let none = FitRow {
            row,
            paper,
            exponent: None,
            interval: None,
            r2: None,
            tokens_per_param: None,
            n: 0,
            about: String::new(),
        };
        row_of(line, observations, none.clone())
            .unwrap_or_else(|why| FitRow { about: format!("no data: {why}"), ..none })
    })
    .collect()
}

fn row_of(line: &FitLine, observations: &[Observation], row: FitRow) -> Result<FitRow, String> {
    let family = Family::of(observations, &line.of)?;
    let strata: Vec<String> = family.sizes.iter().map(|size| size.arm.clone()).collect();
    let fit = |without: LeftOut<'_>| family.fit(line.counting, line.from, without);
    let found = Jackknife::of(&strata, &family.seeds, |without| fit(without)?.measure(FitMeasure::Exponent, &[]))?;
    let fitted = fit(None)?;
    let ratios = fitted.budgets.iter().filter_map(|b| b.optimum).map(|o| o.tokens / o.params);
    let range = ratios.fold([f64::INFINITY, 0.0f64], |[low, high], r| [low.min(r), high.max(r)]);
    Ok(FitRow {
        exponent: Some(found.value),
        interval: found.interval(FAMILY_ALPHA),
        r2: Some(fitted.laws.params.r2),
        tokens_per_param: Some(range),
        n: found.n,
        about: fitted.about(),
        ..row
    })
}

/// The exponent of what is best for each size over the size.
pub(super) fn optimum(observations: &[Observation], claim: &Optimum) -> Result<Effect, String> {
    let family = Family::sizes_of(observations, &claim.of)?;
    let trials = |without: LeftOut<'_>| trials(observations, claim, &family, without);
    let theta = |without: LeftOut<'_>| law(&tuned(&trials(without)?), claim.knob).map(|law| law.exponent);
    let strata: Vec<String> = family.sizes.iter().map(|size| size.arm.clone()).collect();
    let all = tuned(&trials(None)?);
    let faults: Vec<String> =
        all.iter().filter_map(|size| Some(format!("N = {}: {}", size.params, size.of(claim.knob).err()?))).collect();
    let found = Jackknife::of(&strata, &family.seeds, theta)?;
    let about = format!("{} of {} sizes", all.len() - faults.len(), all.len());
    let about = if faults.is_empty() { about } else { format!("{about} (fault of the grid: {})", faults.join("; ")) };
    Ok(Effect::new(Estimate::Jackknife(found), &[]).about(about))
}

/// One trial a cell of a sweep: the mean of the metric over seeds.
fn trials(
    observations: &[Observation],
    claim: &Optimum,
    family: &Family,
    without: LeftOut<'_>,
) -> Result<Vec<Trial>, String> {
    let mut trials = Vec::new();
    for size in &family.sizes {
        let select = Select { arm: size.arm.clone(), ..claim.of.clone() };
        for axes in cells(observations, &select) {
            let runs = by_seed(observations, &Select { axes: axes.clone(), ..select.clone() }, false)?;
            let kept = runs.iter().filter(|(seed, _)| without != Some((&size.arm, **seed)));
            // A run that diverged has a loss that no rate would be chosen for.
            let losses: Vec<f64> = kept.map(|(_, run)| run.value(&claim.metric).unwrap_or(f64::NAN)).collect();
            let axis = |path: &str| axes.get(path).and_then(Scalar::number).unwrap_or(1.0);
            trials.push(Trial {
                params: size.params(),
                rate: axis("schedule.peak_lr"),
                batch: axis("train.batch"),
                beta2: axis("optimizer.beta2"),
                loss: losses.iter().sum::<f64>() / losses.len() as f64,
            });
        }
    }
    Ok(trials)
}

#[cfg(test)]
#[path = "fit_tests.rs"]
mod tests;
