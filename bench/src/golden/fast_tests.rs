//! What the comparison of fast math sees, on results made by hand.

use super::*;
use crate::testing::{observed, result};
use preheat_suites::claims::Verdict;
use preheat_suites::record::Observation;

/// Golden, this bench's result, and how the runs of each begin.
struct Both {
    was: SuiteResult,
    is: SuiteResult,
    began: BTreeMap<RunId, Early>,
    begins: BTreeMap<RunId, Early>,
}

fn begins(seed: u64) -> Early {
    let at = |x: f64| vec![Some(x), Some(0.9 * x), Some(0.8 * x)];
    Early {
        scalars: "scalars".into(),
        lr: at(0.001),
        train_loss: at(4.0 + seed as f64 / 10.0),
        grad_norm: at(2.0),
        update_norm: vec![Some(0.01)],
    }
}

/// The same on both sides, with a metric at initialisation.
fn same() -> Both {
    let mut seen = observed();
    for (_, x) in &mut seen {
        x.measured.metrics.insert("init.hidden_scale.mean".into(), 1.5);
    }
    let early: BTreeMap<RunId, Early> = seen.iter().map(|(id, x)| (id.clone(), begins(x.seed))).collect();
    let result = result(&seen);
    Both { was: result.clone(), is: result, began: early.clone(), begins: early }
}

fn compared(both: &Both) -> Compared {
    let side = |result, early| Side { result, early };
    compare(side(&both.was, &both.began), side(&both.is, &both.begins))
}

/// What is red after `edit`, a line each.
fn after(edit: impl FnOnce(&mut Both)) -> Vec<String> {
    let mut both = same();
    edit(&mut both);
    let Compared { differences, undecided } = compared(&both);
    assert_eq!(undecided, None);
    differences.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn check(lines: &[String], expected: &[&str]) {
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    for (line, word) in lines.iter().zip(expected) {
        assert!(line.contains(word), "{line:?} should hold {word:?}");
    }
}

/// The beginning of the first run by its place in the plan.
fn first(both: &mut Both) -> &mut Early {
    both.begins.get_mut(&both.is.runs[0].id).expect("it began")
}

#[test]
fn equal_and_nearly_equal_are_green() {
    check(&after(|_| ()), &[]);
    let near = after(|both| {
        both.is.runs.iter_mut().for_each(|run| run.digest = "other bits".into());
        for early in both.begins.values_mut() {
            early.train_loss[0] = early.train_loss[0].map(|x| x + 0.9 * LOSS_TOLERANCE);
            early.train_loss[2] = early.train_loss[2].map(|x| x - 2.9 * LOSS_TOLERANCE);
            early.grad_norm[1] = early.grad_norm[1].map(|x| x * (1.0 + 0.9 * NORM_TOLERANCE));
        }
    });
    check(&near, &[]);
}

#[test]
fn a_host_number_that_moves_at_all_is_red_and_named() {
    let lr = after(|both| first(both).lr[1] = first(both).lr[1].map(f64::next_up));
    check(
        &lr,
        &[
            "scalars: the host's numbers of 1 of 8 runs moved: sweep/pre-ln schedule.peak_lr=0.003 seed 1 step 2: lr was",
        ],
    );
    check(&after(|both| first(both).scalars = "moved".into()), &["scalars: the host's numbers of 1 of 8 runs"]);
}

#[test]
fn a_loss_or_a_norm_beyond_its_tolerance_is_red_and_named() {
    let loss = after(|both| first(both).train_loss[1] = first(both).train_loss[1].map(|x| x + 2.1 * LOSS_TOLERANCE));
    check(
        &loss,
        &[
            "window: 1 of 8 runs begin otherwise than rounding explains: sweep/pre-ln schedule.peak_lr=0.003 seed 1 train_loss 2: 3.711 instead of 3.690 (tolerance 0.0200)",
        ],
    );
    let norm = after(|both| first(both).grad_norm[0] = Some(2.0 * (1.0 + 1.1 * NORM_TOLERANCE)));
    check(&norm, &["grad_norm 1: 2.220 instead of 2.000"]);
    check(&after(|both| first(both).update_norm[0] = Some(0.005)), &["update_norm 1: 0.0050 instead of 0.0100"]);
    let init = after(|both| {
        let metric = both.is.cells[0].metrics.get_mut("init.hidden_scale.mean").expect("a metric");
        metric.values[2] = Some(1.8);
    });
    check(&init, &["window: 0 of 8 runs"]);
    assert!(init[0].contains("init.hidden_scale.mean: 1.800 instead of 1.500"), "{init:?}");
}

#[test]
fn one_that_diverges_on_one_side_alone_is_red() {
    check(
        &after(|both| first(both).train_loss[2] = None),
        &["train_loss 3: not finite instead of 3.280 (tolerance none)"],
    );
    check(&after(|both| first(both).train_loss.truncate(1)), &["train_loss 2: not finite"]);
    let both = after(|both| {
        let id = both.is.runs[0].id.clone();
        both.began.get_mut(&id).expect("it began").train_loss[2] = None;
        both.begins.get_mut(&id).expect("it began").train_loss[2] = None;
    });
    check(&both, &[]);
}

#[test]
fn a_flipped_verdict_and_another_definition_are_red() {
    check(
        &after(|both| both.is.claims[0].verdict = Verdict::Refuted),
        &["science: claim x0-claim (X0) was reproduced"],
    );
    // Nothing else is told where the runs are not the same.
    let gone = after(|both| {
        drop(both.is.runs.pop());
        both.is.claims[0].verdict = Verdict::Refuted;
    });
    check(&gone, &["definition: runs that only golden has: 1"]);
}

#[test]
fn golden_that_does_not_know_how_runs_begin_decides_nothing() {
    let mut both = same();
    both.began.pop_first();
    let Compared { differences, undecided } = compared(&both);
    assert_eq!(differences, vec![]);
    assert!(undecided.is_some_and(|why| why.contains("how 1 of its runs begin; `preheat accept` writes it")));
}

#[test]
fn a_run_in_golden_s_place_that_is_another_decides_nothing() {
    let mut both = same();
    both.is.runs[0].id = RunId("another value was chosen".into());
    let Compared { differences, undecided } = compared(&both);
    assert_eq!(differences, vec![]);
    assert!(undecided.is_some_and(|why| why.contains("1 runs are not golden's") && why.contains("sweep/pre-ln")));
}

/// Golden and this bench with `seeds` seeds whose final losses differ by `by(seed)`.
fn with_losses(seeds: u64, by: impl Fn(u64) -> f64) -> Compared {
    let template = observed();
    let (mut was, mut is) = (Vec::new(), Vec::new());
    for seed in 1..=seeds {
        for (_, x) in template.iter().filter(|(_, x)| x.seed == 1) {
            let loss = 3.0 + 0.01 * (seed % 3) as f64;
            let with = |loss: f64| {
                let mut seen = Observation { seed, ..x.clone() };
                seen.measured.metrics.insert("val_loss".into(), loss);
                (RunId(format!("{} {seed}", x.arm)), seen)
            };
            was.push(with(loss));
            is.push(with(loss + by(seed)));
        }
    }
    let early: BTreeMap<RunId, Early> = was.iter().map(|(id, _)| (id.clone(), Early::default())).collect();
    let (was, is) = (result(&was), result(&is));
    compared(&Both { was, is, began: early.clone(), begins: early })
}

#[test]
fn losses_are_equivalent_different_or_undecided() {
    assert_eq!(with_losses(6, |seed| 1e-3 * (seed % 2) as f64), Compared::default());
    let apart = with_losses(6, |seed| 0.5 + 0.01 * (seed % 2) as f64);
    let told: Vec<String> = apart.differences.iter().map(ToString::to_string).collect();
    assert!(told.len() == 3 && told[0].starts_with("losses: final losses of sweep/pre-ln"), "{told:?}");
    assert!(
        told[2].starts_with("losses: final losses of all cells differ by 25") && apart.undecided.is_none(),
        "{told:?}"
    );
    let wild = with_losses(3, |seed| if seed == 1 { 0.3 } else { -0.1 });
    assert_eq!(wild.differences, vec![]);
    assert!(wild.undecided.is_some_and(|why| why.contains("neither equivalent nor different")));
    // Seeds that scatter make a wider margin.
    assert!(with_losses(1, |_| 0.001).differences.is_empty());
}
