//! The gate of fast math, calibrated where no GPU is: a device that multiplies as tensor cores do passes it, and the
//! errors that it is for do not.

mod bounds;
mod lab;
mod planted;
mod rounded;

use lab::{Trained, carry_out, smoke};
use planted::{Fault, Planted};
use preheat_bench::golden::fast::{Compared, Side, compare};
use preheat_bench::golden::{Difference, Golden};
use preheat_bench::lab::carry::Suite;
use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::device::Device;
use rounded::Rounded;
use std::path::Path;
use std::sync::Arc;

/// Two arms and two learning rates of a tiny model, three seeds.
const TINY: &str = "\
suite: tiny
title: A tiny suite
paper: {key: nobody2026, authors: Nobody, year: 2026}
prose: For tests.
experiments:
  - id: training
    about: Pre-LN and post-LN
    recipe:
      model: {transformer: {layers: 1, width: 8, heads: 2}}
      task: {language: {vocab: 16, seq: 8}}
      optimizer: {adam: {beta2: 0.98}}
      schedule: {linear: {peak_lr: 1e-2, warmup_steps: 4}}
      train: {batch: 4, steps: 12, eval_sequences: 8, eval_every: 6}
    arms:
      post: {model: {transformer: {norm: post-ln}}}
      pre: {model: {transformer: {norm: pre-ln}}}
    grid: {schedule.peak_lr: [3e-3, 1e-2]}
    seeds: {first: 1, count: 3}
    tiers: {smoke: {}}
claims:
  - id: learns
    paper_claim: T1
    sentence: Pre-LN ends near post-LN.
    place: Section 1
    paper_number: \"0\"
    tiers: [smoke]
    kind:
      difference:
        metric: val_loss
        of: {experiment: training, arm: post, axes: {schedule.peak_lr: 3e-3}}
        minus: {experiment: training, arm: pre, axes: {schedule.peak_lr: 3e-3}}
        at: given
    expect: {within: [-2, 2]}
";

/// The tiny suite after `edit` of its text.
fn tiny(edit: impl FnOnce(&str) -> String) -> Suite {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tiny.yaml"), edit(TINY)).expect("it is written");
    smoke(Some(folder.path().to_path_buf())).remove(0)
}

fn cpu() -> Cpu {
    Cpu::new(Simd::detect())
}
fn exact() -> Arc<dyn Device> {
    Arc::new(cpu())
}
fn fast() -> Arc<dyn Device> {
    Arc::new(Rounded::new(cpu()))
}

fn side(trained: &Trained) -> Side<'_> {
    Side { result: &trained.result, early: &trained.early }
}

fn judge(golden: &Trained, here: &Trained) -> Compared {
    compare(side(golden), side(here))
}

/// The kinds of what is red, and what it says.
fn red(compared: &Compared) -> (Vec<&'static str>, String) {
    let kind = |d: &Difference| match d {
        Difference::Scalars { .. } => "scalars",
        Difference::Window { .. } => "window",
        Difference::Losses { .. } => "losses",
        Difference::Science { .. } => "science",
        other => panic!("{other}"),
    };
    let words = compared.differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    (compared.differences.iter().map(kind).collect(), words)
}

#[test]
fn a_hundred_clean_reruns_on_other_seeds_raise_no_alarm() {
    // Two arms with two seeds each: a hundred of them are some seconds.
    let small = |text: &str| text.replace("count: 3", "count: 2").replace("[3e-3, 1e-2]", "[3e-3]");
    let (suite, exact, fast) = (tiny(small), exact(), fast());
    for shift in 1..=100 {
        let compared = judge(&carry_out(&suite, &exact, 1000 * shift), &carry_out(&suite, &fast, 1000 * shift));
        assert_eq!(compared, Compared::default(), "seeds from {}", 1000 * shift);
    }
}

/// Golden as it was accepted, the smoke tiers as a tensor core would train them.
#[test]
fn the_smoke_tiers_in_bf16_are_as_golden() {
    let golden = Golden::new(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../golden")));
    let (suites, fast) = (smoke(None), fast());
    for suite in &suites {
        let here = carry_out(suite, &fast, 0);
        let stem = here.result.stem();
        let result = golden.load(&stem).expect("it can be read").unwrap_or_else(|| panic!("no golden of {stem}"));
        let early =
            golden.beginnings(&stem).expect("it can be read").unwrap_or_else(|| panic!("no beginnings of {stem}"));
        let compared = judge(&Trained { result, early }, &here);
        assert_eq!(compared.differences, vec![], "{stem}");
        // After three steps two learning rates may be as good, and bf16 take the other.
        let chose = |why: &String| why.contains("a later stage chose otherwise");
        assert!(compared.undecided.as_ref().is_none_or(chose), "{stem}: {:?}", compared.undecided);
    }
    assert!(suites.len() > 2);
}

#[test]
fn what_goes_wrong_between_host_and_device_shows_in_the_window() {
    let suite = tiny(str::to_string);
    let golden = carry_out(&suite, &exact(), 0);
    for fault in [Fault::Beta2(0.9), Fault::Beta2(0.999), Fault::NoCorrection, Fault::OneStepLate] {
        let device: Arc<dyn Device> = Arc::new(Planted { device: Rounded::new(cpu()), fault });
        let compared = judge(&golden, &carry_out(&suite, &device, 0));
        let (kinds, words) = red(&compared);
        assert!(kinds.contains(&"window"), "{fault:?}: {kinds:?} {words}");
    }
}

#[test]
fn what_goes_wrong_on_the_host_shows_in_its_scalars_alone_if_need_be() {
    let suite = tiny(str::to_string);
    let golden = carry_out(&suite, &exact(), 0);
    let edits: [(&str, &str); 4] = [
        ("beta2: 0.98", "beta2: 0.9799999"),
        ("warmup_steps: 4", "warmup_steps: 5"),
        ("adam: {beta2: 0.98}", "adam: {beta2: 0.98, eps: 1.1e-8}"),
        ("beta2: 0.98", "beta2: 0.999"),
    ];
    for (was, is) in edits {
        let other = carry_out(&tiny(|text| text.replace(was, is)), &fast(), 0);
        // The same places, as if the code behind an unchanged definition had moved.
        let compared = judge(&golden, &as_runs_of(&golden, other));
        let (kinds, words) = red(&compared);
        assert!(kinds.contains(&"scalars"), "{is}: {kinds:?} {words}");
        assert!(words.contains("training/") && words.contains("12 of 12 runs"), "{words}");
        assert_eq!(words.contains("lr was"), was.starts_with("warmup"), "{words}");
    }
}

/// `other` under the names of the runs of `golden`, place by place.
fn as_runs_of(golden: &Trained, mut other: Trained) -> Trained {
    for (mine, theirs) in golden.result.runs.iter().zip(&mut other.result.runs) {
        let early = other.early.remove(&theirs.id).expect("each run once");
        theirs.id = mine.id.clone();
        other.early.insert(mine.id.clone(), early);
    }
    other
}

#[test]
fn a_device_that_learns_otherwise_later_shows_in_final_losses() {
    let suite = tiny(|text| text.replace("steps: 12", "steps: 60"));
    let golden = carry_out(&suite, &exact(), 0);
    let late = Fault::AfterTheWindow;
    let device: Arc<dyn Device> = Arc::new(Planted { device: Rounded::new(cpu()), fault: late });
    let compared = judge(&golden, &carry_out(&suite, &device, 0));
    let (kinds, words) = red(&compared);
    assert!(kinds.contains(&"losses") && !kinds.contains(&"window"), "{kinds:?} {words} {:?}", compared.undecided);
}
