//! Effects over an axis, and sweeps: hand-computed values, false decisions, both verdicts.

use super::judge::judge;
use super::judge::tests::{LR, T2, assert_interval, claim, lr, normals, one, seen, select};
use super::{Claim, Expect, Extreme, Kind, Tier, Verdict};
use crate::record::Observation;
use crate::registry::Scalar;
use crate::stats::assert_close;
use crate::stats::student::t_upper_quantile;

/// Arm `a` at rates 1, 2, 3 …: one list of values a rate, seeds from 0.
fn rated(values: &[&[f64]]) -> Vec<Observation> {
    let cells = values.iter().enumerate();
    let run = |rate: usize, seed: usize, v: f64| seen("a", &lr((rate + 1) as f64), seed as u64, &[("m", v)]);
    cells.flat_map(|(rate, row)| row.iter().enumerate().map(move |(seed, v)| run(rate, seed, *v))).collect()
}

fn neighbours(extreme: Extreme) -> Kind {
    Kind::Neighbours { metric: "m".into(), of: select("a"), over: LR.into(), extreme }
}

fn spread() -> Kind {
    Kind::Spread { metric: "m".into(), of: select("a"), over: LR.into() }
}

fn each(extreme: Extreme) -> Kind {
    Kind::EachDifference { metric: "m".into(), of: select("a"), over: LR.into(), minus: select("b"), extreme }
}

/// Half of the interval of a mean of three values one apart, at a two-sided level.
fn half(alpha: f64) -> f64 {
    t_upper_quantile(0.5 * alpha, 2.0) / 3.0f64.sqrt()
}

#[test]
fn the_least_step_along_an_axis() {
    // Steps by seed: 9, 10, 11 and then 4, 5, 6. Given out of order, with a seed that one rate lacks.
    let mut data = rated(&[&[0.0, 0.0, 0.0, 99.0], &[9.0, 10.0, 11.0], &[13.0, 15.0, 17.0]]);
    data.reverse();
    let judged = one(neighbours(Extreme::Least), Expect::Above(0.0), &data);
    assert_eq!((judged.effect, judged.n, judged.verdict), (Some(5.0), 3, Verdict::Reproduced));
    // Above a value every step must be, each at the full level; below it one alone.
    assert_interval(&judged, [5.0 - half(0.05), 5.0 + half(0.025)]);
    assert_close(half(0.05), T2 / 3.0f64.sqrt(), 1e-9);
    let greatest = one(neighbours(Extreme::Greatest), Expect::Below(0.0), &data);
    assert_eq!((greatest.effect, greatest.verdict), (Some(10.0), Verdict::Refuted));
    assert_interval(&greatest, [10.0 - half(0.025), 10.0 + half(0.05)]);
    // One step down refutes a rise.
    let data = rated(&[&[0.0, 0.0, 0.0], &[9.0, 10.0, 11.0], &[0.0, 1.0, 2.0]]);
    let judged = one(neighbours(Extreme::Least), Expect::Above(0.0), &data);
    assert_eq!((judged.effect, judged.verdict), (Some(-9.0), Verdict::Refuted));
}

#[test]
fn a_spread_is_small_or_is_not() {
    let near = rated(&[&[0.0, 1.0, 2.0], &[0.01, 1.02, 2.0], &[0.0, 1.01, 1.99]]);
    let judged = one(spread(), Expect::Below(0.1), &near);
    assert_eq!(judged.verdict, Verdict::Reproduced);
    assert_close(judged.effect.unwrap(), 0.03 / 3.0, 1e-9);
    let far = rated(&[&[0.0, 1.0, 2.0], &[-0.49, 0.5, 1.5], &[0.0, 1.01, 1.99]]);
    let judged = one(spread(), Expect::Below(0.1), &far);
    assert_eq!(judged.verdict, Verdict::Refuted);
    assert!(judged.effect.unwrap() > 0.49, "{judged:?}");
}

#[test]
fn each_value_of_an_axis_against_one_other_side() {
    let mut data = rated(&[&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]]);
    data.extend((0..3).map(|seed| seen("b", &[], seed, &[("m", 10.0)])));
    // −9, −8, −7 and −6, −5, −4.
    let judged = one(each(Extreme::Greatest), Expect::Below(0.0), &data);
    assert_eq!((judged.effect, judged.verdict), (Some(-5.0), Verdict::Reproduced));
    assert_interval(&judged, [-5.0 - half(0.025), -5.0 + half(0.05)]);
    let judged = one(each(Extreme::Least), Expect::Above(0.0), &data);
    assert_eq!((judged.effect, judged.verdict), (Some(-8.0), Verdict::Refuted));
}

#[test]
fn what_an_axis_lacks_is_said() {
    let why = |kind, data: &[Observation]| one(kind, Expect::Above(0.0), data).why.unwrap();
    let data = rated(&[&[1.0, 2.0]]);
    assert_eq!(why(neighbours(Extreme::Least), &data), "no data: one value of schedule.peak_lr; two are needed");
    assert_eq!(why(spread(), &[]), "no data: no runs of e/a");
    assert_eq!(why(each(Extreme::Least), &data), "no data: no runs of e/b");
    let mut twice = data.clone();
    for run in &data {
        let mut other = run.clone();
        other.axes.insert("task.shift".into(), Scalar::Real(0.5));
        twice.push(other);
    }
    assert_eq!(why(spread(), &twice), "no data: open axes of e/a besides schedule.peak_lr");
    let apart = [seen("a", &lr(1.0), 0, &[("m", 1.0)]), seen("a", &lr(2.0), 1, &[("m", 1.0)])];
    assert_eq!(why(spread(), &apart), "no data: no common seeds");
    let few = one(spread(), Expect::Below(1.0), &rated(&[&[1.0], &[2.0]]));
    assert_eq!((few.why.as_deref(), few.interval), (Some("n < 2"), None));
}

/// Three true steps; the least is exactly on the boundary, so every decision is false.
#[test]
fn extremes_decide_falsely_at_most_as_often_as_they_say() {
    const DRAWS: u64 = 2000;
    let rate = |steps: [f64; 3], expect, wanted| {
        let mut decided = 0;
        for draw in 0..DRAWS {
            let noise = normals(draw, 20);
            let mut level = 0.0;
            let mut rows: Vec<Vec<f64>> = vec![vec![0.0; 5]];
            for (step, chunk) in steps.iter().zip(noise.chunks(5)) {
                level += step;
                let last = rows[rows.len() - 1].clone();
                rows.push(last.iter().zip(chunk).map(|(x, e)| x + step + e).collect());
            }
            assert!(level.is_finite());
            let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
            decided += u64::from(one(neighbours(Extreme::Least), expect, &rated(&rows)).verdict == wanted);
        }
        decided as f64 / DRAWS as f64
    };
    let slack = 3.0 * (0.025 * 0.975 / DRAWS as f64).sqrt();
    // The others far above: a rise is claimed falsely in one tail of one test.
    let claimed = rate([0.0, 50.0, 50.0], Expect::Above(0.0), Verdict::Reproduced);
    assert!((0.01..=0.025 + slack).contains(&claimed), "{claimed}");
    // All on the boundary: a fall is claimed falsely by any of three.
    let denied = rate([0.0; 3], Expect::Above(0.0), Verdict::Refuted);
    assert!((0.01..=0.025 + slack).contains(&denied), "{denied}");
}

/// `a` less `b` is `gaps[i]` at the i-th shift, with a spread of 0.01 over three seeds.
fn shifted(gaps: &[(f64, f64)]) -> Vec<Observation> {
    let mut data = Vec::new();
    for (shift, gap) in gaps {
        for seed in 0..3 {
            let axes = [("task.shift", Scalar::Real(*shift))];
            let noise = 0.01 * (seed as f64 - 1.0);
            data.push(seen("a", &axes, seed, &[("m", 1.0 + gap + noise)]));
            data.push(seen("b", &axes, seed, &[("m", 1.0)]));
        }
    }
    data
}

fn swept(expect: Expect) -> Claim {
    let side = |arm: &str| {
        let mut select = select(arm);
        select.axes.insert("task.shift".into(), Scalar::Real(0.4));
        select
    };
    let kind = Kind::Difference { metric: "m".into(), of: side("a"), minus: side("b"), at: super::At::Given };
    Claim { sweep: Some("task.shift".into()), ..claim(kind, expect) }
}

#[test]
fn a_sweep_judges_the_other_values_and_costs_the_claim_nothing() {
    let data = shifted(&[(0.8, -0.5), (0.2, 0.5), (0.4, 0.5), (0.6, 0.001)]);
    let plain = Claim { sweep: None, ..swept(Expect::Above(0.0)) };
    let alone = judge(std::slice::from_ref(&plain), Tier::Quick, &data).remove(0);
    let judged = judge(&[swept(Expect::Above(0.0)), plain], Tier::Quick, &data);
    assert_eq!(judged[1].sweep, None);
    let sweep = judged[0].sweep.clone().unwrap();
    assert_eq!((sweep.axis.as_str(), &sweep.value), ("task.shift", &Scalar::Real(0.4)));
    let found: Vec<_> = sweep.others.iter().map(|x| (x.value.to_string(), x.verdict, x.n)).collect();
    let verdicts = [Verdict::Reproduced, Verdict::Inconclusive, Verdict::Refuted];
    let expected = ["0.2", "0.6", "0.8"].into_iter().zip(verdicts).map(|(x, v)| (x.to_string(), v, 3));
    assert_eq!(found, expected.collect::<Vec<_>>());
    assert_close(sweep.others[2].effect.unwrap(), -0.5, 1e-9);
    // Alone in its family, as without the sweep; the others share theirs.
    let own = judge(&[swept(Expect::Above(0.0))], Tier::Quick, &data).remove(0);
    assert_eq!((own.interval, own.level, own.verdict), (alone.interval, alone.level, alone.verdict));
    let width = |ends: [f64; 2]| ends[1] - ends[0];
    assert!(width(sweep.others[0].interval.unwrap()) > 1.2 * width(own.interval.unwrap()));
}

#[test]
fn a_sweep_without_other_values_or_in_another_tier_is_none() {
    let data = shifted(&[(0.4, 0.5)]);
    assert_eq!(judge(&[swept(Expect::Above(0.0))], Tier::Quick, &data)[0].sweep, None);
    let more = shifted(&[(0.4, 0.5), (0.8, 0.5)]);
    assert_eq!(judge(&[swept(Expect::Above(0.0))], Tier::Full, &more)[0].sweep, None);
    // A side that was not run there is said.
    let half: Vec<_> =
        more.iter().filter(|o| o.arm == "a" || o.axes["task.shift"] == Scalar::Real(0.4)).cloned().collect();
    let judged = judge(&[swept(Expect::Above(0.0))], Tier::Quick, &half).remove(0);
    let other = &judged.sweep.unwrap().others[0];
    assert_eq!(other.why.as_deref(), Some("no data: no runs of e/b task.shift=0.8"));
    assert_eq!((other.verdict, judged.verdict), (Verdict::Inconclusive, Verdict::Reproduced));
}
