//! Fits of runs with a known law, their intervals, and what is missing.

use super::super::judge::tests::{one, seen};
use super::super::{Counting, EVERY_ARM, Expect, FitMeasure, Kind, Knob, Verdict};
use super::*;
use crate::claims::select::Axes;
use crate::fits::accounting::Convention;
use crate::fits::synthetic::Truth;
use crate::stats::assert_close;
use crate::train::metrics::size_metric;
use preheat_kernels::rng::Stream;

/// N* ∝ C^0.55, near 20 tokens a parameter.
const TRUTH: Truth = Truth { e: 2.0, a: 60.0, b: 250.0, alpha: 0.36, beta: 0.44 };
const WIDTHS: [f64; 9] = [4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0];
const SEEDS: u64 = 3;

/// Body and head of a width.
fn size_of(width: f64) -> [f64; 2] {
    [24.0 * width * width, 1024.0 * width]
}

/// Runs of every size up to the largest budget, each with noise of its own, the same in every experiment.
fn family(experiment: &str, truth: &Truth, sigma: f64, draw: u64) -> Vec<Observation> {
    let mut all = Vec::new();
    for (k, width) in WIDTHS.into_iter().enumerate() {
        let [body, head] = size_of(width);
        let params = body + head;
        for seed in 0..SEEDS {
            let mut normal = [0.0f32; 1];
            Stream::new(draw, seed as u32).fill_normal(k as u32, &mut normal);
            let mut metrics = vec![
                ("size.standard".to_string(), params),
                ("size.kaplan".to_string(), body),
                ("size.attention".to_string(), params + 64.0 * width * 2.0),
                ("size.chinchilla-exact".to_string(), params),
            ];
            for half_octave in 0..16 {
                let tokens = (3.2e11 / (6.0 * params) * libm::pow(2.0, -0.5 * f64::from(half_octave))).ceil();
                let loss = truth.loss(params, tokens) + sigma * f64::from(normal[0]);
                metrics.push((format!("loss_at.{tokens}"), loss));
            }
            let metrics: Vec<(&str, f64)> = metrics.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            let mut run = seen(&format!("w{width}"), &[], seed, &metrics);
            run.experiment = experiment.into();
            all.push(run);
        }
    }
    all
}

fn every(experiment: &str) -> Select {
    Select { experiment: experiment.into(), arm: EVERY_ARM.into(), axes: Axes::new() }
}

fn kind(measure: FitMeasure, of: &str, counting: Counting, minus: Option<(&str, Counting)>) -> Kind {
    Kind::Fit(Fit {
        measure,
        of: every(of),
        counting,
        minus: minus.map(|(experiment, _)| every(experiment)),
        minus_counting: minus.map(|(_, counting)| counting),
        from: 2e10,
    })
}

#[test]
fn the_exponent_of_a_known_law_is_found() {
    let data = family("a", &TRUTH, 0.0, 1);
    let judged = one(kind(FitMeasure::Exponent, "a", Counting::Standard, None), Expect::Above(0.5), &data);
    assert_close(judged.effect.unwrap(), TRUTH.exponent(), 0.01);
    assert_eq!((judged.n, judged.verdict), (3, Verdict::Reproduced));
    let interval = judged.interval.unwrap();
    assert!(interval[1] - interval[0] < 1e-6, "equal seeds leave no spread: {interval:?}");
    assert!(judged.at.unwrap().starts_with("5 of 5 budgets"));
}

#[test]
fn the_same_optima_under_another_count() {
    let data = family("a", &TRUTH, 0.0, 1);
    let rise = kind(FitMeasure::Exponent, "a", Counting::Kaplan, Some(("a", Counting::Standard)));
    let judged = one(rise, Expect::Above(0.05), &data);
    // By hand from the true optima at the ends: slopes of ln body over ln C'.
    let converted = |flops: f64| {
        let params = TRUTH.optimum(flops);
        let width = (-1024.0 + f64::sqrt(1024.0 * 1024.0 + 96.0 * params)) / 48.0;
        let body = 24.0 * width * width;
        [libm::log(body), libm::log(6.0 * body * flops / (6.0 * params))]
    };
    let ([y0, x0], [y1, x1]) = (converted(2e10), converted(3.2e11));
    assert_close(judged.effect.unwrap() + TRUTH.exponent(), (y1 - y0) / (x1 - x0), 0.03);
    assert_eq!(judged.verdict, Verdict::Reproduced);
}

#[test]
fn what_seeds_share_cancels_in_a_difference() {
    let mut data = family("a", &TRUTH, 0.004, 7);
    data.extend(family("b", &TRUTH, 0.004, 7));
    let same = kind(FitMeasure::Exponent, "a", Counting::Standard, Some(("b", Counting::Standard)));
    let judged = one(same, Expect::Within([-0.01, 0.01]), &data);
    assert_eq!((judged.effect, judged.interval), (Some(0.0), Some([0.0, 0.0])));
    let alone = one(kind(FitMeasure::Exponent, "a", Counting::Standard, None), Expect::Above(0.5), &data);
    let [low, high] = alone.interval.unwrap();
    assert!(high - low > 0.01, "{low} to {high}");
}

#[test]
fn the_interval_covers_the_exponent() {
    let draws = 120;
    let truth = one(
        kind(FitMeasure::Exponent, "a", Counting::Standard, None),
        Expect::Above(0.5),
        &family("a", &TRUTH, 0.0, 1),
    );
    let truth = truth.effect.unwrap();
    let covers = (0..draws).filter(|draw| {
        let data = family("a", &TRUTH, 0.004, 1000 + draw);
        let found = one(kind(FitMeasure::Exponent, "a", Counting::Standard, None), Expect::Above(0.5), &data);
        let [low, high] = found.interval.unwrap();
        low <= truth && truth <= high
    });
    // 95 % of 120 is 114; a binomial is at or above 105 in 99.98 %.
    let covers = covers.count();
    assert!(covers >= 105, "{covers} of {draws}");
}

#[test]
fn losses_of_the_ends_and_their_extrapolation() {
    let data = family("a", &TRUTH, 0.0, 1);
    let measure =
        |measure| one(kind(measure, "a", Counting::Standard, None), Expect::Above(0.0), &data).effect.unwrap();
    let lowest = |flops: f64| TRUTH.loss(TRUTH.optimum(flops), flops / (6.0 * TRUTH.optimum(flops)));
    assert_close(measure(FitMeasure::FirstLoss), lowest(2e10), 2e-3);
    assert_close(measure(FitMeasure::LastLoss), lowest(3.2e11), 2e-3);
    assert_close(measure(FitMeasure::LossFall), lowest(2e10) - lowest(3.2e11), 2e-2);
    // Along the optima the law is exact: E + const·C^(−αβ/(α+β)).
    assert!(measure(FitMeasure::Extrapolation) < 5e-3);
    assert!(measure(FitMeasure::R2) > 0.999);
}

#[test]
fn runs_of_one_budget_count_with_their_last_loss_alone() {
    let whole = family("a", &TRUTH, 0.0, 1);
    let mut cut = Vec::new();
    for budget in [2e10, 4e10, 8e10, 1.6e11, 3.2e11] {
        for run in &whole {
            let mut run = run.clone();
            let params = run.measured.metrics["size.standard"];
            let most = (budget / (6.0 * params)).ceil();
            run.measured.metrics.retain(|name, _| tokens(name).is_none_or(|tokens| tokens <= most));
            // What comes before the end is of another schedule's making.
            let last = run.measured.metrics.keys().filter_map(|name| tokens(name)).fold(0.0, f64::max);
            for (name, loss) in &mut run.measured.metrics {
                *loss += if tokens(name).is_some_and(|tokens| tokens < last) { 1.0 } else { 0.0 };
            }
            run.axes.insert("train.budget_flops".into(), Scalar::Real(budget));
            cut.push(run);
        }
    }
    let exponent = |data: &[Observation]| {
        one(kind(FitMeasure::Exponent, "a", Counting::Standard, None), Expect::Above(0.5), data).effect.unwrap()
    };
    assert_close(exponent(&cut), exponent(&whole), 5e-3);
}

fn tokens(name: &str) -> Option<f64> {
    crate::train::metrics::tokens_of(name).map(|tokens| tokens as f64)
}

#[test]
fn what_is_missing_is_said() {
    let none = one(kind(FitMeasure::Exponent, "b", Counting::Standard, None), Expect::Above(0.5), &[]);
    assert!(none.why.unwrap().starts_with("no data: no runs of b/*"));
    let mut small = family("a", &TRUTH, 0.0, 1);
    small.retain(|run| ["w4", "w6", "w8"].contains(&run.arm.as_str()));
    let edge = one(kind(FitMeasure::Exponent, "a", Counting::Standard, None), Expect::Above(0.5), &small);
    assert!(edge.why.unwrap().contains("budgets have a minimum inside"));
    let mut alone = family("a", &TRUTH, 0.0, 1);
    alone.retain(|run| run.seed == 0);
    let one_seed = one(kind(FitMeasure::Exponent, "a", Counting::Standard, None), Expect::Above(0.5), &alone);
    assert_eq!(one_seed.why.as_deref(), Some("n < 2"));
}

#[test]
fn of_one_stratum_it_is_the_t_interval_of_a_mean() {
    let values = [0.3, -0.1, 0.5, 0.7, 0.2];
    let theta = |without: LeftOut<'_>| {
        let kept: Vec<f64> =
            (0..5).filter(|s| without.is_none_or(|(_, seed)| seed != *s)).map(|s| values[s as usize]).collect();
        Ok(kept.iter().sum::<f64>() / kept.len() as f64)
    };
    let found = Jackknife::of(&["k".to_string()], &[0, 1, 2, 3, 4], theta).unwrap();
    let mean = crate::stats::mean::Mean::of(&values).unwrap();
    for alpha in [0.05, 0.001] {
        let (ours, theirs) = (found.interval(alpha).unwrap(), mean.interval(alpha).unwrap());
        assert_close(ours[0], theirs[0], 1e-10);
        assert_close(ours[1], theirs[1], 1e-10);
    }
}

/// Two strata of one variance: twice its standard error's square, and twice the degrees of freedom.
#[test]
fn degrees_of_freedom_are_those_of_welch_and_satterthwaite() {
    let values = [0.3, -0.1, 0.5, 0.7, 0.2];
    let mean_of = |arm: &str, without: LeftOut<'_>| {
        let kept = (0..5).filter(|s| without.is_none_or(|(left, seed)| left != arm || seed != *s));
        let kept: Vec<f64> = kept.map(|s| values[s as usize]).collect();
        kept.iter().sum::<f64>() / kept.len() as f64
    };
    let theta = |without: LeftOut<'_>| Ok(mean_of("k", without) + mean_of("l", without));
    let found = Jackknife::of(&["k".to_string(), "l".to_string()], &[0, 1, 2, 3, 4], theta).unwrap();
    let error = crate::stats::mean::Mean::of(&values).unwrap().standard_error.unwrap();
    let half = t_upper_quantile(0.025, 8.0) * 2.0f64.sqrt() * error;
    let [low, high] = found.interval(0.05).unwrap();
    assert_close(low, 0.64 - half, 1e-10);
    assert_close(high, 0.64 + half, 1e-10);
}

#[test]
fn the_best_rate_over_the_size() {
    let mut data = Vec::new();
    for width in WIDTHS {
        let [body, head] = size_of(width);
        let best = 3.7 * libm::pow(body + head, -0.36);
        for step in -3..=3 {
            let rate = best * libm::pow(1.7, f64::from(step) + 0.3);
            let rates: &[(&str, Scalar)] = &[("schedule.peak_lr", Scalar::Real(rate))];
            let loss = 3.0 + libm::log(rate / best) * libm::log(rate / best);
            let sizes = Convention::ALL.map(size_metric);
            let metrics: Vec<(&str, f64)> = sizes.iter().map(|name| (name.as_str(), body + head)).collect();
            for seed in 0..2 {
                let metrics = [&metrics[..], &[("val_loss", loss)]].concat();
                data.push(seen(&format!("w{width}"), rates, seed, &metrics));
            }
        }
    }
    let of = Select { experiment: data[0].experiment.clone(), ..every("") };
    let kind = |knob| Kind::OptimumSlope(Optimum { knob, metric: "val_loss".into(), of: of.clone() });
    let judged = one(kind(Knob::Rate), Expect::Below(0.0), &data);
    assert_close(judged.effect.unwrap(), -0.36, 1e-6);
    assert_eq!(judged.at.as_deref(), Some("9 of 9 sizes"));
    // Without the upper rates of a size its best one is at an edge, and told.
    data.retain(|run| {
        run.arm != "w4" || run.axes["schedule.peak_lr"].number().unwrap() < 3.7 * libm::pow(4480.0, -0.36)
    });
    let judged = one(kind(Knob::Rate), Expect::Below(0.0), &data);
    assert_close(judged.effect.unwrap(), -0.36, 1e-6);
    let told = judged.at.unwrap();
    assert!(told.starts_with("8 of 9 sizes (fault of the grid: N = 4480") && told.contains("upper edge"), "{told}");
    let batch = one(kind(Knob::Batch), Expect::Above(0.0), &data);
    assert!(batch.effect.is_some_and(|x| x.abs() < 1e-12), "one batch has no slope");
}
