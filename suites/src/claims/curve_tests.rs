//! Crossovers and straight lines by hand-computed values, both verdicts of each.

use super::judge::tests::{one, select, with_curve};
use super::{At, Expect, Kind, Verdict};
use crate::record::{Observation, Outcome, Point};
use crate::stats::assert_close;

fn crossover() -> Kind {
    Kind::Crossover { curve: "val_loss".into(), of: select("a"), reference: select("b"), at: At::Given }
}

#[test]
fn a_crossover_lies_between_evaluations() {
    let reference = |seed| with_curve("b", seed, &[(0, 9.0), (10, 3.0), (20, 2.9), (40, 2.8)]);
    let mut data = vec![reference(0), reference(1)];
    // Below at 10, above at 20 by 0.1, below at 40 by 0.3: three quarters of the way back. Step 0 does not count.
    data.push(with_curve("a", 0, &[(0, 9.5), (10, 2.5), (20, 3.0), (40, 2.5)]));
    // Touching is not below.
    data.push(with_curve("a", 1, &[(0, 9.0), (10, 3.0), (20, 2.0), (40, 2.0)]));
    let judged = one(crossover(), Expect::Within([0.0, 1.0]), &data);
    assert_close(judged.effect.unwrap(), 0.5 * (25.0 / 40.0 + 10.0 / 40.0), 1e-12);
    // Two seeds far apart decide little; equal ones decide.
    let same: Vec<Observation> = [0, 1]
        .into_iter()
        .flat_map(|seed| [reference(seed), with_curve("a", seed, &[(10, 3.1), (20, 2.8), (40, 2.5)])])
        .collect();
    let at = |expect| one(crossover(), expect, &same).verdict;
    assert_close(one(crossover(), Expect::Below(0.5), &same).effect.unwrap(), 15.0 / 40.0, 1e-9);
    assert_eq!(at(Expect::Within([0.3, 0.6])), Verdict::Reproduced);
    assert_eq!(at(Expect::Within([0.6, 0.9])), Verdict::Refuted);
}

#[test]
fn ahead_from_the_start_or_never() {
    let both = |a: &[(u64, f64)]| -> Vec<Observation> {
        let pair = |seed| [with_curve("b", seed, &[(0, 9.0), (10, 3.0), (20, 2.0)]), with_curve("a", seed, a)];
        (0..3).flat_map(pair).collect()
    };
    let ahead = one(crossover(), Expect::Above(0.6), &both(&[(0, 8.0), (10, 2.9), (20, 1.9)]));
    assert_eq!((ahead.effect, ahead.verdict), (Some(0.5), Verdict::Refuted));
    // Never below in the end: a lower bound, which reproduces nothing.
    let behind = both(&[(10, 2.0), (20, 2.0)]);
    let judged = one(crossover(), Expect::Below(2.0), &behind);
    assert_eq!((judged.effect, judged.why.as_deref()), (Some(1.0), Some("target not reached: 3 of 3")));
    assert_eq!(one(crossover(), Expect::Below(0.9), &behind).verdict, Verdict::Refuted);
}

#[test]
fn curves_that_do_not_compare_are_named() {
    let why = |data: &[Observation]| one(crossover(), Expect::Below(1.0), data).why.unwrap();
    let reference = with_curve("b", 0, &[(10, 3.0), (20, 2.0)]);
    let apart = [reference.clone(), with_curve("a", 0, &[(5, 3.0), (15, 2.0)])];
    assert_eq!(why(&apart), "no data: no common step of e/a and e/b seed 0");
    let broken = [reference.clone(), with_curve("a", 0, &[(10, f64::NAN), (20, 2.0)])];
    assert_eq!(why(&broken), "no data: no val_loss curve of e/a seed 0");
    let mut diverged = [reference, with_curve("a", 0, &[(10, 3.0)])];
    diverged[1].measured.outcome = Outcome::Diverged { step: 11 };
    assert_eq!(why(&diverged), "no data: no val_loss curve of e/a seed 0");
}

/// Perplexities of `x` 1, 2, 4 against those given; losses are their logarithms.
fn lined(y: [f64; 3]) -> Vec<Observation> {
    let run = |seed| {
        let curve = |values: [f64; 3]| {
            let point = |(i, v): (usize, f64)| Point { step: i as u64, value: Some(libm::log(v)) };
            values.into_iter().enumerate().map(point).collect::<Vec<_>>()
        };
        let mut run = with_curve("a", seed, &[(0, 0.0)]);
        run.measured.curves.insert("x".into(), curve([1.0, 2.0, 4.0]));
        run.measured.curves.insert("y".into(), curve(y));
        run
    };
    vec![run(0), run(1)]
}

#[test]
fn a_line_of_perplexities() {
    let line = |perplexity| Kind::Linearity { x: "x".into(), y: "y".into(), of: select("a"), perplexity };
    let straight = lined([7.0, 6.0, 4.0]);
    let judged = one(line(true), Expect::Above(0.999), &straight);
    assert_close(judged.effect.unwrap(), 1.0, 1e-9);
    assert_eq!((judged.verdict, judged.n), (Verdict::Reproduced, 2));
    // The same points bend in logarithms.
    let bent = one(line(false), Expect::Above(0.999), &straight);
    assert!(bent.verdict == Verdict::Refuted && bent.effect.unwrap() > 0.9, "{bent:?}");
    // x − 7/3 is −4/3, −1/3, 5/3; y − 2 is −1, 1, 0: R² = (4/3 − 1/3)²/(14/3·2).
    let scattered = one(line(true), Expect::Above(0.9), &lined([1.0, 3.0, 2.0]));
    assert_close(scattered.effect.unwrap(), 3.0 / 28.0, 1e-9);
    assert_eq!(scattered.verdict, Verdict::Refuted);
    let missing = Kind::Linearity { x: "x".into(), y: "z".into(), of: select("a"), perplexity: true };
    assert_eq!(one(missing, Expect::Above(0.9), &straight).why.unwrap(), "no data: no z curve of e/a seed 0");
}
