//! Verdicts by hand-computed values, invariances, and simulations of coverage and of false decisions.

use super::*;
use crate::claims::{At, Kind, Select};
use crate::record::{Measured, Outcome, Point};
use crate::registry::Scalar;
use crate::stats::assert_close;
use preheat_kernels::rng::Stream;
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(in crate::claims) const LR: &str = "schedule.peak_lr";

pub(in crate::claims) fn seen(arm: &str, axes: &[(&str, Scalar)], seed: u64, metrics: &[(&str, f64)]) -> Observation {
    let measured = Measured {
        outcome: Outcome::Finished,
        curves: BTreeMap::new(),
        metrics: metrics.iter().map(|(name, value)| (name.to_string(), *value)).collect(),
        digest: String::new(),
    };
    let axes = axes.iter().map(|(path, value)| (path.to_string(), value.clone())).collect();
    Observation { experiment: "e".into(), arm: arm.into(), axes, seed, selection: false, measured }
}

pub(in crate::claims) fn lr(value: f64) -> [(&'static str, Scalar); 1] {
    [(LR, Scalar::Real(value))]
}

/// Claim runs of `arm` without axes, one a value, seeds from 0.
pub(in crate::claims) fn runs(arm: &str, metric: &str, values: &[f64]) -> Vec<Observation> {
    values.iter().enumerate().map(|(seed, v)| seen(arm, &[], seed as u64, &[(metric, *v)])).collect()
}

pub(in crate::claims) fn select(arm: &str) -> Select {
    Select { experiment: "e".into(), arm: arm.into(), axes: BTreeMap::new() }
}

pub(in crate::claims) fn claim(kind: Kind, expect: Expect) -> Claim {
    Claim {
        id: "c".into(),
        paper_claim: "X1".into(),
        sentence: String::new(),
        place: String::new(),
        paper_number: String::new(),
        tiers: vec![Tier::Quick],
        kind,
        expect,
        sweep: None,
    }
}

fn difference(at: At) -> Kind {
    Kind::Difference { metric: "val_loss".into(), of: select("a"), minus: select("b"), at }
}

fn value() -> Kind {
    Kind::Value { metric: "m".into(), of: select("a") }
}

fn share(metric: &str) -> Kind {
    Kind::Fraction { metric: metric.into(), of: select("a"), at_best_of: None }
}

pub(in crate::claims) fn one(kind: Kind, expect: Expect, observations: &[Observation]) -> Judged {
    judge(&[claim(kind, expect)], Tier::Quick, observations).remove(0)
}

pub(in crate::claims) fn assert_interval(judged: &Judged, expected: [f64; 2]) {
    let [low, high] = judged.interval.unwrap();
    assert_close(low, expected[0], 1e-9);
    assert_close(high, expected[1], 1e-9);
}

/// t(0.975) with 2 degrees of freedom.
pub(in crate::claims) const T2: f64 = 4.302_652_729_749_462;

#[test]
fn difference_is_paired_by_seed() {
    let mut data = runs("a", "val_loss", &[1.0, 2.0, 9.0]);
    // In another order, and with a seed that `a` lacks. Differences by seed: 1, 2, 3.
    data.extend([seen("b", &[], 2, &[("val_loss", 6.0)]), seen("b", &[], 7, &[("val_loss", 99.0)])]);
    data.extend(runs("b", "val_loss", &[0.0, 0.0]));
    let judged = one(difference(At::Given), Expect::Above(-1.0), &data);
    assert_eq!((judged.effect, judged.n, judged.verdict), (Some(2.0), 3, Verdict::Reproduced));
    let half = T2 / 3.0f64.sqrt();
    assert_interval(&judged, [2.0 - half, 2.0 + half]);
    assert_eq!((judged.at, judged.why), (None, None));
}

#[test]
fn a_rate_at_which_a_run_diverged_is_not_chosen() {
    let mut data = Vec::new();
    for (arm, shift) in [("a", 0.0), ("b", 1.0)] {
        for (rate, loss, diverges) in [(0.1, 5.0, false), (0.2, 4.0, true), (0.3, 4.5, false)] {
            for (seed, selection) in [(1, false), (2, false), (101, true)] {
                let mut run = seen(arm, &lr(rate), seed, &[("val_loss", loss + shift)]);
                run.selection = selection;
                if diverges && selection {
                    run.measured.outcome = Outcome::Diverged { step: 3 };
                }
                data.push(run);
            }
        }
    }
    let judged = one(difference(At::EachBest), Expect::Below(0.0), &data);
    assert_eq!((judged.effect, judged.at.as_deref()), (Some(-1.0), Some("schedule.peak_lr=0.3")));
}

#[test]
fn ratio_is_taken_in_logarithms() {
    let mut data = runs("a", "m", &[1.0, 2.0, 4.0]);
    data.extend(runs("b", "other", &[0.5, 0.5, 0.5]));
    let ratio = Kind::Ratio {
        metric: "m".into(),
        over_metric: Some("other".into()),
        of: select("a"),
        over: select("b"),
        at: At::Given,
    };
    // ln ratios: ln 2, 2 ln 2, 3 ln 2; mean 2 ln 2, s = ln 2.
    let judged = one(ratio.clone(), Expect::Below(0.1), &data);
    assert_close(judged.effect.unwrap(), 4.0, 1e-12);
    let factor = libm::pow(2.0, T2 / 3.0f64.sqrt());
    assert_interval(&judged, [4.0 / factor, 4.0 * factor]);
    assert_eq!(judged.verdict, Verdict::Refuted);
    data[1].measured.metrics.insert("m".into(), 0.0);
    assert_eq!(one(ratio, Expect::Below(0.1), &data).why.unwrap(), "no data: no logarithm of m = 0");
}

#[test]
fn value_gives_every_verdict_of_every_expectation() {
    let data = runs("a", "m", &[1.0, 2.0, 3.0]);
    let half = T2 / 3.0f64.sqrt();
    for (expect, verdict) in [
        (Expect::Above(-1.0), Verdict::Reproduced),
        (Expect::Above(0.0), Verdict::Inconclusive),
        (Expect::Above(5.0), Verdict::Refuted),
        (Expect::Below(5.0), Verdict::Reproduced),
        (Expect::Below(4.0), Verdict::Inconclusive),
        (Expect::Below(-1.0), Verdict::Refuted),
        (Expect::Within([-1.0, 5.0]), Verdict::Reproduced),
        (Expect::Within([0.0, 5.0]), Verdict::Inconclusive),
        (Expect::Within([1.9, 2.1]), Verdict::Inconclusive),
        (Expect::Within([5.0, 7.0]), Verdict::Refuted),
        (Expect::Within([-7.0, -1.0]), Verdict::Refuted),
    ] {
        let judged = one(value(), expect, &data);
        assert_eq!(judged.verdict, verdict, "{expect:?}");
        assert_interval(&judged, [2.0 - half, 2.0 + half]);
        assert_eq!(judged.why, None);
    }
}

#[test]
fn slope_over_an_axis_from_an_x_on() {
    let kind = |from, linear_x| Kind::Slope {
        metric: "m".into(),
        of: select("a"),
        over: Some("model.layers".into()),
        from,
        indices: vec![],
        linear_x,
    };
    let mut data = Vec::new();
    for (seed, power) in [(0, 1.0), (1, 2.0), (2, 3.0)] {
        for layers in [1i64, 2, 4, 8] {
            // Off the line at 1, which `from` leaves out.
            let m = if layers == 1 { 50.0 } else { libm::pow(layers as f64, power) };
            data.push(seen("a", &[("model.layers", Scalar::Int(layers))], seed, &[("m", m)]));
        }
    }
    let judged = one(kind(Some(2.0), false), Expect::Above(-1.0), &data);
    assert_close(judged.effect.unwrap(), 2.0, 1e-12);
    let half = T2 / 3.0f64.sqrt();
    assert_interval(&judged, [2.0 - half, 2.0 + half]);
    // x itself: x = 2, 4, 8 has least-squares weights (-8, -2, 10)/56 of y = p ln x = p ln 2 (1, 2, 3).
    let judged = one(kind(Some(2.0), true), Expect::Above(-1.0), &data);
    assert_close(judged.effect.unwrap(), 2.0 * std::f64::consts::LN_2 * 18.0 / 56.0, 1e-12);
    assert_eq!(
        one(kind(Some(8.0), false), Expect::Above(0.0), &data).why.unwrap(),
        "no data: a slope needs two different x"
    );
    for (seed, width) in [(0, 8), (0, 16)] {
        data.push(seen("w", &[("model.layers", Scalar::Int(2)), ("width", Scalar::Int(width))], seed, &[("m", 1.0)]));
    }
    let mut open = kind(None, false);
    if let Kind::Slope { of, .. } = &mut open {
        of.arm = "w".into();
    }
    assert_eq!(one(open, Expect::Above(0.0), &data).why.unwrap(), "no data: open axes of e/w besides model.layers");
}

#[test]
fn slope_over_indices() {
    let kind = |indices| Kind::Slope {
        metric: "norm.{i}.w".into(),
        of: select("a"),
        over: None,
        from: None,
        indices,
        linear_x: false,
    };
    let row = |seed, c: f64| seen("a", &[], seed, &[("norm.1.w", c), ("norm.3.w", c / 3.0), ("norm.9.w", c / 9.0)]);
    let data = [row(0, 2.0), row(1, 5.0)];
    let judged = one(kind(vec![1, 3, 9]), Expect::Within([-1.1, -0.9]), &data);
    assert_close(judged.effect.unwrap(), -1.0, 1e-12);
    assert_eq!(judged.verdict, Verdict::Reproduced);
    assert_eq!(one(kind(vec![1, 2]), Expect::Above(0.0), &data).why.unwrap(), "no data: no norm.2.w of e/a seed 0");
    assert_eq!(one(kind(vec![0, 1]), Expect::Above(0.0), &data).why.unwrap(), "no data: no norm.0.w of e/a seed 0");
    assert_eq!(
        one(kind(vec![]), Expect::Above(0.0), &data).why.unwrap(),
        "no data: a slope needs either `over` or `indices`"
    );
}

#[test]
fn fraction_is_exact_and_needs_eight_seeds() {
    let all = [0.0; 8];
    let judged = one(share("stalled"), Expect::Below(0.4), &runs("a", "stalled", &all));
    assert_eq!((judged.effect, judged.n, judged.verdict), (Some(0.0), 8, Verdict::Reproduced));
    let [low, high] = judged.interval.unwrap();
    assert_eq!(low, 0.0);
    assert_close(high, 0.369_416_647_552_819_2, 1e-9);
    // Not below: a share of 0 could be 0.36.
    assert_eq!(one(share("stalled"), Expect::Below(0.3), &runs("a", "stalled", &all)).verdict, Verdict::Inconclusive);
    assert_eq!(one(share("stalled"), Expect::Above(0.4), &runs("a", "stalled", &all)).verdict, Verdict::Refuted);
    let judged = one(share("stalled"), Expect::Below(0.9), &runs("a", "stalled", &all[..7]));
    assert_eq!((judged.verdict, judged.why.as_deref()), (Verdict::Inconclusive, Some("n < 8")));
    assert!(judged.interval.is_some());
    let judged = one(share("stalled"), Expect::Below(0.9), &runs("a", "stalled", &[0.5; 9]));
    assert_eq!(judged.why.unwrap(), "no data: stalled = 0.5 is neither 0 nor 1");
}

pub(in crate::claims) fn with_curve(arm: &str, seed: u64, points: &[(u64, f64)]) -> Observation {
    let mut run = seen(arm, &[], seed, &[]);
    let point = |(step, value): &(u64, f64)| Point { step: *step, value: value.is_finite().then_some(*value) };
    run.measured.curves.insert("val_loss".into(), points.iter().map(point).collect());
    run
}

fn steps_ratio() -> Kind {
    Kind::StepsRatio { curve: "val_loss".into(), of: select("a"), reference: select("b"), at: At::Given }
}

#[test]
fn steps_ratio_counts_to_the_references_final_value() {
    let reference = |seed| with_curve("b", seed, &[(0, 3.0), (50, 2.5), (100, 2.0)]);
    let mut data = vec![reference(0), reference(1)];
    // Reached at 50 (touching it) and, after a value that is not finite, at 25: ratios 1/2 and 1/4.
    data.push(with_curve("a", 0, &[(0, 1.0), (25, 2.1), (50, 2.0), (100, 2.2)]));
    data.push(with_curve("a", 1, &[(0, 3.0), (10, f64::NAN), (25, 1.9)]));
    let judged = one(steps_ratio(), Expect::Below(1e9), &data);
    assert_close(judged.effect.unwrap(), libm::pow(2.0, -1.5), 1e-12);
    assert_eq!(judged.verdict, Verdict::Reproduced);
    // A diverged reference sets no target.
    data[0].measured.outcome = Outcome::Diverged { step: 100 };
    assert_eq!(one(steps_ratio(), Expect::Below(1e9), &data).why.unwrap(), "no data: no val_loss curve of e/b seed 0");
}

#[test]
fn a_target_never_reached_cannot_reproduce() {
    let mut data = Vec::new();
    for seed in 0..3 {
        data.push(with_curve("b", seed, &[(50, 2.5), (100, 2.0)]));
        data.push(with_curve("a", seed, &[(10, 2.4), (20, f64::NAN)]));
    }
    // A run that broke off counts as the reference's steps: ratio 1, a lower bound.
    let judged = one(steps_ratio(), Expect::Below(7.0), &data);
    assert_eq!((judged.effect, judged.verdict), (Some(1.0), Verdict::Inconclusive));
    assert_eq!(judged.why.unwrap(), "target not reached: 3 of 3");
    assert_eq!(one(steps_ratio(), Expect::Above(0.5), &data).verdict, Verdict::Inconclusive);
    assert_eq!(one(steps_ratio(), Expect::Above(2.0), &data).verdict, Verdict::Inconclusive);
    assert_eq!(one(steps_ratio(), Expect::Below(0.5), &data).verdict, Verdict::Refuted);
}

/// Arms `a` and `b` over rates 1, 2, 3: claim runs hold the rate (a) and ten times the rate (b), two seeds;
/// selection runs hold the given losses.
fn grid(a: [f64; 3], b: [f64; 3]) -> Vec<Observation> {
    let mut data = Vec::new();
    for (arm, losses, scale) in [("a", a, 1.0), ("b", b, 10.0)] {
        for (rate, loss) in [1.0, 2.0, 3.0].into_iter().zip(losses) {
            for seed in [0, 1] {
                data.push(seen(arm, &lr(rate), seed, &[("val_loss", scale * rate), ("stalled", 0.0)]));
                let spread = if seed == 0 { 0.5 } else { -0.5 };
                let chosen = seen(arm, &lr(rate), 100 + seed, &[("val_loss", loss + spread), ("stalled", 1.0)]);
                data.push(Observation { selection: true, ..chosen });
            }
        }
    }
    data
}

#[test]
fn selection_runs_choose_the_cells() {
    let data = grid([5.0, 4.0, 6.0], [7.0, 7.5, 2.0]);
    for (at, effect, chosen) in [
        (At::SecondsBest, 3.0 - 30.0, "schedule.peak_lr=3.0"),
        (At::FirstsBest, 2.0 - 20.0, "schedule.peak_lr=2.0"),
        (At::EachBest, 2.0 - 30.0, "schedule.peak_lr=2.0 / 3.0"),
    ] {
        let judged = one(difference(at), Expect::Below(0.0), &data);
        assert_eq!((judged.effect, judged.at.as_deref()), (Some(effect), Some(chosen)));
        assert_eq!(judged.verdict, Verdict::Reproduced);
    }
    let judged = one(difference(At::Given), Expect::Below(0.0), &data);
    assert_eq!(judged.why.unwrap(), "no data: open axes of e/a: schedule.peak_lr");
    // A fixed axis needs no choice; an integer finds a real.
    let mut kind = difference(At::Given);
    if let Kind::Difference { of, minus, .. } = &mut kind {
        of.axes.insert(LR.into(), Scalar::Int(1));
        minus.axes.insert(LR.into(), Scalar::Real(2.0));
    }
    let judged = one(kind, Expect::Below(0.0), &data);
    assert_eq!((judged.effect, judged.at), (Some(1.0 - 20.0), None));
}

#[test]
fn equal_selection_means_take_the_first_cell() {
    let data = grid([4.0, 4.0, 4.0], [5.0, 4.0, 4.0]);
    assert_eq!(one(difference(At::EachBest), Expect::Below(0.0), &data).at.unwrap(), "schedule.peak_lr=1.0 / 2.0");
}

#[test]
fn a_fraction_is_taken_at_the_best_cell_of_another_arm() {
    let data = grid([5.0, 4.0, 6.0], [7.0, 7.5, 2.0]);
    let at = |best| {
        one(Kind::Fraction { metric: "stalled".into(), of: select("a"), at_best_of: best }, Expect::Below(0.5), &data)
    };
    assert_eq!(at(None).at.unwrap(), "schedule.peak_lr=2.0");
    let judged = at(Some(select("b")));
    assert_eq!((judged.at.as_deref(), judged.effect), (Some("schedule.peak_lr=3.0"), Some(0.0)));
}

#[test]
fn missing_data_are_named() {
    let mut data = grid([5.0, 4.0, 6.0], [7.0, 7.5, 2.0]);
    let why = |data: &[Observation]| one(difference(At::EachBest), Expect::Below(0.0), data).why.unwrap();
    let claims_only: Vec<_> = data.iter().filter(|o| !o.selection).cloned().collect();
    assert_eq!(why(&claims_only), "no data: no selection runs of e/a schedule.peak_lr=1.0");
    let selection_only: Vec<_> = data.iter().filter(|o| o.selection).cloned().collect();
    assert!(why(&selection_only).starts_with("no data: no runs of e/b schedule.peak_lr=3.0"));
    assert_eq!(why(&[]), "no data: no runs of e/a");
    let mut twice = data.clone();
    twice.extend(claims_only);
    assert_eq!(why(&twice), "no data: e/b schedule.peak_lr=3.0 has seed 0 twice");
    let mut broken = data.clone();
    broken.retain(|o| !(o.selection && o.seed == 101 && o.axes[LR] == Scalar::Real(2.0)));
    assert_eq!(why(&broken), "no data: selection seeds of e/a differ between cells");
    for run in &mut data {
        run.measured.metrics.insert("val_loss".into(), f64::NAN);
    }
    assert_eq!(why(&data), "no data: no val_loss of e/a schedule.peak_lr=1.0 seed 100");
}

#[test]
fn few_seeds_points_and_other_tiers() {
    let judged = one(value(), Expect::Above(0.0), &runs("a", "m", &[5.0]));
    assert_eq!((judged.verdict, judged.why.as_deref()), (Verdict::Inconclusive, Some("n < 2")));
    assert_eq!((judged.effect, judged.interval, judged.n), (Some(5.0), None, 1));
    // No spread: the interval is the point, at any level. A point on the boundary is not above it.
    for (expect, verdict) in [(Expect::Above(0.0), Verdict::Reproduced), (Expect::Above(0.1), Verdict::Refuted)] {
        let judged = one(value(), expect, &runs("a", "m", &[0.1; 31]));
        assert_eq!((judged.verdict, judged.interval), (verdict, Some([0.1, 0.1])));
    }
    let data = runs("a", "m", &[1.0, 2.0, 3.0]);
    let judged = judge(&[claim(value(), Expect::Above(-1.0))], Tier::Full, &data).remove(0);
    assert_eq!((judged.verdict, judged.why.as_deref()), (Verdict::Inconclusive, Some("tier")));
    let half = T2 / 3.0f64.sqrt();
    assert_interval(&judged, [2.0 - half, 2.0 + half]);
    assert_eq!(judge(&[], Tier::Quick, &data), []);
}

#[test]
fn the_printed_interval_is_at_holms_level_and_decides() {
    // One value each, mean 2 and s = 1: the claim's boundary sets its p.
    let data = runs("a", "m", &[1.0, 2.0, 3.0]);
    let mut claims: Vec<Claim> = [-2.0, -0.6, -40.0].map(|v| claim(value(), Expect::Above(v))).into();
    // These do not count in m.
    claims.push(Claim { tiers: vec![Tier::Full], ..claim(value(), Expect::Above(0.0)) });
    claims.push(claim(share("absent"), Expect::Above(0.5)));
    let judged = judge(&claims, Tier::Quick, &data);
    // t with 2 degrees of freedom has the closed quantile (2q−1)/sqrt(2q(1−q)), q the lower tail.
    let half = |alpha: f64| {
        let q = 1.0 - 0.5 * alpha;
        (2.0 * q - 1.0) / (2.0 * q * (1.0 - q)).sqrt() / 3.0f64.sqrt()
    };
    // t = 42√3, 4√3, 2.6√3: p about 0.0002, 0.0202 and 0.0463, each just below its level.
    for (row, level) in judged.iter().zip([0.05 / 2.0, 0.05, 0.05 / 3.0]) {
        assert_interval(row, [2.0 - half(level), 2.0 + half(level)]);
        assert_eq!(row.verdict, Verdict::Reproduced);
    }
    // One more claim in the family, and the second smallest fails at 0.05/3: so does all that follows.
    claims.push(claim(value(), Expect::Above(-0.6)));
    let judged = judge(&claims, Tier::Quick, &data);
    let level = 0.05 / 3.0;
    for (row, (level, verdict)) in [&judged[2], &judged[0], &judged[1], &judged[5]].into_iter().zip([
        (0.05 / 4.0, Verdict::Reproduced),
        (level, Verdict::Inconclusive),
        (level, Verdict::Inconclusive),
        (level, Verdict::Inconclusive),
    ]) {
        assert_interval(row, [2.0 - half(level), 2.0 + half(level)]);
        assert_eq!(row.verdict, verdict);
    }
}

/// All kinds over one grid of runs with noise from `seed`.
fn everything(seed: u64) -> (Vec<Claim>, Vec<Observation>) {
    let mut noise = vec![0.0f32; 4096];
    Stream::new(seed, 3).fill_normal(0, &mut noise);
    let mut noise = noise.into_iter().map(f64::from);
    let mut data = Vec::new();
    for arm in ["a", "b"] {
        for rate in [1.0, 2.0, 3.0] {
            for seed in 0..10 {
                let mut next = || 5.0 + 0.3 * noise.next().unwrap();
                let metrics = [("val_loss", next()), ("m", next()), ("stalled", f64::from(u8::from(next() > 5.2)))];
                let mut run = seen(arm, &lr(rate), seed, &metrics);
                run.selection = seed >= 8;
                let points = [10, 20, 30].map(|step| Point { step, value: Some(next() - 0.05 * step as f64) });
                run.measured.curves.insert("val_loss".into(), points.into());
                data.push(run);
            }
        }
    }
    let (of, over) = (select("a"), select("b"));
    let over_axis = Some(LR.to_string());
    let kinds = [
        difference(At::EachBest),
        difference(At::SecondsBest),
        Kind::Ratio { metric: "m".into(), over_metric: None, of: of.clone(), over, at: At::FirstsBest },
        value(),
        share("stalled"),
        Kind::Slope { metric: "m".into(), of, over: over_axis, from: None, indices: vec![], linear_x: true },
        Kind::StepsRatio { curve: "val_loss".into(), of: select("a"), reference: select("b"), at: At::EachBest },
    ];
    (kinds.map(|kind| claim(kind, Expect::Below(0.9))).into(), data)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_observations_changes_nothing(seed in 0u64..1000, shuffle in any::<u64>()) {
        let (claims, mut data) = everything(seed);
        let before = judge(&claims, Tier::Quick, &data);
        prop_assert!(before.iter().all(|row| row.effect.is_some()));
        let stream = Stream::new(shuffle, 0);
        for i in (1..data.len()).rev() {
            data.swap(i, stream.below(0, i as u64, i as u64 + 1) as usize);
        }
        prop_assert_eq!(judge(&claims, Tier::Quick, &data), before);
    }

    /// An increasing map of the means, the same for all cells, keeps every argmin.
    #[test]
    fn selection_values_only_choose(seed in 0u64..1000, scale in 0.01f64..100.0, shift in -10.0f64..10.0) {
        let (claims, mut data) = everything(seed);
        let before = judge(&claims, Tier::Quick, &data);
        for run in data.iter_mut().filter(|o| o.selection) {
            run.measured.curves.clear();
            for value in run.measured.metrics.values_mut() {
                *value = *value * scale + shift;
            }
        }
        prop_assert_eq!(judge(&claims, Tier::Quick, &data), before);
    }
}

/// `count` standard normals.
pub(in crate::claims) fn normals(seed: u64, count: usize) -> Vec<f64> {
    let mut draws = vec![0.0f32; count];
    Stream::new(seed, 17).fill_normal(0, &mut draws);
    draws.into_iter().map(f64::from).collect()
}

#[test]
fn the_interval_covers_as_often_as_it_says() {
    const DRAWS: u64 = 2000;
    let mut covered = 0;
    for draw in 0..DRAWS {
        let noise = normals(draw, 10);
        let mut data = runs("a", "val_loss", &noise[..5]);
        data.extend(runs("b", "val_loss", &noise[5..].iter().map(|v| v - 0.7).collect::<Vec<_>>()));
        let [low, high] = one(difference(At::Given), Expect::Above(0.0), &data).interval.unwrap();
        covered += u64::from(low <= 0.7 && 0.7 <= high);
    }
    let share = covered as f64 / DRAWS as f64;
    assert!((0.93..=0.97).contains(&share), "{share}");
}

/// Five claims, each with its true effect exactly on a boundary: any decision is false. Holm keeps the share
/// of suites with any false decision at 5 %; without it, about 1 − 0.95⁵ = 23 % would have one.
#[test]
fn false_decisions_of_a_suite_stay_below_the_family_rate() {
    const DRAWS: u64 = 1000;
    const ARMS: [&str; 5] = ["a", "b", "c", "d", "e"];
    let expects = [
        Expect::Above(0.0),
        Expect::Below(0.0),
        Expect::Within([0.0, 50.0]),
        Expect::Above(0.0),
        Expect::Within([-50.0, 0.0]),
    ];
    let claims: Vec<Claim> = ARMS
        .into_iter()
        .zip(expects)
        .map(|(arm, expect)| claim(Kind::Value { metric: "m".into(), of: select(arm) }, expect))
        .collect();
    let (mut any, mut unadjusted) = (0, 0);
    for draw in 0..DRAWS {
        let noise = normals(10_000 + draw, 30);
        let data: Vec<_> = ARMS.iter().zip(noise.chunks(6)).flat_map(|(arm, values)| runs(arm, "m", values)).collect();
        let decided = |row: &Judged| row.verdict != Verdict::Inconclusive;
        any += u64::from(judge(&claims, Tier::Quick, &data).iter().any(decided));
        unadjusted +=
            u64::from(claims.iter().any(|claim| decided(&judge(std::slice::from_ref(claim), Tier::Quick, &data)[0])));
    }
    let draws = DRAWS as f64;
    let deviation = (0.05 * 0.95 / draws).sqrt();
    let share = any as f64 / draws;
    assert!(share <= 0.05 + 3.0 * deviation, "{share}");
    // The simulation can see the difference.
    assert!(unadjusted as f64 / draws > 0.15, "{unadjusted} of {draws}");
    assert!(share > 0.01, "{share}");
}
