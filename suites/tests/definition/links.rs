//! References: between experiments, and from claims to experiments.

use crate::support::{SUITE, check, suite, with};
use preheat_suites::claims::Tier;

/// The small suite with a second experiment, of which tests change one piece.
pub(crate) const SECOND: &str = "  - id: second
    about: takes the best rate and a checkpoint
    recipe:
      model: {transformer: {width: 32, heads: 4}}
      task: {language: {}}
      optimizer: {sgd: {}}
      schedule: {linear: {peak_lr: 1e-2}}
      train: {batch: 8, steps: 50, eval_sequences: 16}
    arms: {base: {}}
    seeds: {first: 1, count: 1}
    take: {schedule.peak_lr: {best_of: {experiment: training, arm: warm, metric: val_loss}}}
    tiers: {quick: {}}
";

/// The small suite with [`SECOND`], `from` replaced by `to` in it.
pub(crate) fn second(from: &str, to: &str) -> String {
    assert!(from.is_empty() || SECOND.matches(from).count() == 1, "{from:?} must stand there once");
    let second = if from.is_empty() { SECOND.to_string() } else { SECOND.replace(from, to) };
    with("claims:\n", &format!("{second}claims:\n"))
}

#[test]
fn both_hold() {
    let suite = suite(&second("", ""));
    let quick = &suite.experiment("second").unwrap().setups[&Tier::Quick];
    assert_eq!(quick.arms[0].points[0].recipe.schedule.params.real("peak_lr"), 1e-3);
}

#[test]
fn takes() {
    check(
        second("experiment: training", "experiment: trainin"),
        "suites/small.yaml:32:53: experiments[1].take.schedule.peak_lr.best_of.experiment: unknown experiment `trainin`; allowed: training, second",
    );
    check(
        second("arm: warm", "arm: wram"),
        "suites/small.yaml:32:68: experiments[1].take.schedule.peak_lr.best_of.arm: unknown arm `wram` of `training` in tier quick (arm base of tier quick); allowed: warm, plain",
    );
    check(
        second("take: {schedule.peak_lr", "take: {schedule.warmup_steps"),
        "suites/small.yaml:32:12: experiments[1].take.schedule.warmup_steps: is no axis of the grid of `training` (arm base of tier quick); allowed: schedule.peak_lr",
    );
    check(
        second("take: {schedule.peak_lr", "grid: {schedule.peak_lr: [1]}\n    take: {schedule.peak_lr"),
        "suites/small.yaml:33:12: experiments[1].take.schedule.peak_lr: is an axis of the grid too; allowed: one of the two",
    );
    let both = second("    take:", "    grid: {model.layers: [1, 4]}\n    take:");
    let both = both.replace("    grid: {schedule", "    grid: {model.layers: [1, 2], schedule");
    check(
        both,
        "suites/small.yaml:33:12: experiments[1].take.schedule.peak_lr: no grid point of `training` has model.layers=4 (arm base of tier quick); allowed: values of shared axes that both have",
    );
    check(
        second("best_of:", "worst_of:"),
        "suites/small.yaml:32:31: experiments[1].take.schedule.peak_lr.worst_of: `worst_of` is unknown; allowed: best_of",
    );
    check(
        second("tiers: {quick: {}}", "tiers: {full: {}}"),
        "suites/small.yaml:32:53: experiments[1].take.schedule.peak_lr.best_of.experiment: experiment `training` does not run in tier full (arm base of tier full); allowed: smoke, quick",
    );
    check(
        second("experiment: training, arm: warm", "experiment: second, arm: base"),
        "suites/small.yaml:32:53: experiments[1].take.schedule.peak_lr.best_of.experiment: the experiments wait for each other: second → second; allowed: an experiment that does not come later",
    );
    let optimizer = "optimizer: {adam: {}}\n      schedule: {linear: {peak_lr: 3e-3}}\n      train: {batch: 8, steps: 100, eval_sequences: 16}";
    assert!(SUITE.contains(optimizer));
    let ring = second("", "").replace(
        "    tiers:\n      smoke:",
        "    take: {optimizer.beta2: {best_of: {experiment: second, arm: base, metric: val_loss}}}\n    tiers:\n      smoke:",
    );
    check(
        ring,
        "suites/small.yaml:33:53: experiments[1].take.schedule.peak_lr.best_of.experiment: the experiments wait for each other: training → second → training; allowed: an experiment that does not come later",
    );
}

fn start(text: &str) -> String {
    let take = SECOND.lines().find(|l| l.contains("take:")).unwrap();
    second(take, &format!("    start: {{from: {text}}}\n    grid: {{schedule.peak_lr: [1e-3, 3e-3]}}"))
}

#[test]
fn starts() {
    suite(&start("{experiment: training, arm: warm, step: 100}"));
    check(
        start("{experiment: training, arm: warm, step: 101}"),
        "suites/small.yaml:32:59: experiments[1].start.from.step: step 101 of a run of 100 steps; allowed: 1 to 100",
    );
    check(
        start("{experiment: training, arm: warm, step: 0}"),
        "suites/small.yaml:32:59: experiments[1].start.from.step: step 0 of a run of 100 steps; allowed: 1 to 100",
    );
    check(
        start("{experiment: training, arm: cold, step: 1}"),
        "suites/small.yaml:32:47: experiments[1].start.from.arm: unknown arm `cold` of `training` in tier quick; allowed: warm, plain",
    );
    check(
        start("{experiment: other, arm: cold, step: 1}"),
        "suites/small.yaml:32:32: experiments[1].start.from.experiment: unknown experiment `other`; allowed: second, training",
    );
    let open = start("{experiment: training, arm: warm, step: 1}");
    let tier = "tiers: {quick: {start: {from: {experiment: training, arm: warm, step: 100}}}}";
    suite(&start("{experiment: training, arm: warm, step: 999}").replace("tiers: {quick: {}}", tier));
    check(
        open.replace("\n    grid: {schedule.peak_lr: [1e-3, 3e-3]}", ""),
        "suites/small.yaml:32:32: experiments[1].start.from.experiment: 3 runs of `training` fit each run here; allowed: one: give the other axes one value, or the same axes here",
    );
    check(
        open.replace("[1e-3, 3e-3]", "[2e-3, 3e-3]"),
        "suites/small.yaml:32:32: experiments[1].start.from.experiment: 0 runs of `training` fit each run here; allowed: one: give the other axes one value, or the same axes here",
    );
    check(
        open.replace("seeds: {first: 1, count: 1}", "seeds: {first: 2, count: 2}"),
        "suites/small.yaml:31:12: experiments[1].seeds: seed 3 is run here but not by `training`; allowed: seeds that both run",
    );
}

#[test]
fn starts_by_share_at_the_end_and_with_the_optimizers_state() {
    let step = |yaml: &str| {
        let quick = suite(yaml).experiment("second").unwrap().setups[&Tier::Quick].clone();
        let start = quick.arms[0].start.clone().unwrap();
        (start.step, start.optimizer_state)
    };
    assert_eq!(step(&start("{experiment: training, arm: warm}")), (100, false));
    assert_eq!(step(&start("{experiment: training, arm: warm, share: 0.186}")), (19, false));
    assert_eq!(step(&start("{experiment: training, arm: warm, share: 0.001}")), (1, false));
    let adam = |yaml: String| yaml.replace("optimizer: {sgd: {}}", "optimizer: {adam: {beta2: 0.9}}");
    let kept = start("{experiment: training, arm: warm, optimizer_state: kept}");
    assert_eq!(step(&adam(kept.clone())), (100, true));
    assert_eq!(step(&start("{experiment: training, arm: warm, step: 7, optimizer_state: reset}")), (7, false));
    check(
        kept,
        "suites/small.yaml:32:70: experiments[1].start.from.optimizer_state: the state of optimizer `adam` does not fit `sgd`; allowed: reset, or the same optimizer",
    );
    check(
        start("{experiment: training, arm: warm, optimizer_state: keep}"),
        "suites/small.yaml:32:70: experiments[1].start.from.optimizer_state: `keep` is unknown; allowed: kept, reset",
    );
    check(
        start("{experiment: training, arm: warm, share: 1.01}"),
        "suites/small.yaml:32:60: experiments[1].start.from.share: is 1.01; allowed: a number above 0.0, to 1.0",
    );
    check(
        start("{experiment: training, arm: warm, step: 3, share: 0.5}"),
        "suites/small.yaml:32:69: experiments[1].start.from.share: stands beside a step; allowed: step or share, or neither",
    );
    let still = start("{experiment: training, arm: warm}");
    check(
        still.replace("steps: 100, eval_sequences", "steps: 0, eval_sequences"),
        "suites/small.yaml:32:32: experiments[1].start.from.experiment: the runs of `training` have no steps; allowed: runs that train",
    );
    let lengths = "grid: {train.steps: [20, 100]}";
    let differ = start("{experiment: training, arm: warm, share: 0.5}")
        .replace("grid: {schedule.peak_lr: [1e-3, 1, 3e-3]}", lengths)
        .replace("grid: {schedule.peak_lr: [1e-3, 3e-3]}", lengths)
        .replace("grid: {schedule.peak_lr: [3e-3]}", lengths)
        .replace("axes: {schedule.peak_lr: 1}", "axes: {train.steps: 20}");
    check(
        differ,
        "suites/small.yaml:32:32: experiments[1].start.from.experiment: the runs of `training` differ in their steps; allowed: a step that all have",
    );
}

#[test]
fn an_arms_start_goes_before_the_others() {
    let own =
        "arms: {base: {}, early: {start: {from: {experiment: training, arm: plain, step: 5}}}, cold: {start: fresh}}";
    let yaml = start("{experiment: training, arm: warm}").replace("arms: {base: {}}", own);
    let arms = suite(&yaml).experiment("second").unwrap().setups[&Tier::Quick].arms.clone();
    let starts: Vec<_> = arms.iter().map(|a| a.start.as_ref().map(|s| (s.arm.as_str(), s.step))).collect();
    assert_eq!(starts, [Some(("warm", 100)), Some(("plain", 5)), None]);
    check(
        yaml.replace("arm: plain, step: 5", "arm: plain, step: 500"),
        "suites/small.yaml:30:85: experiments[1].arms.early.start.from.step: step 500 of a run of 100 steps; allowed: 1 to 100",
    );
    check(
        yaml.replace("start: fresh", "start: frsh"),
        "suites/small.yaml:30:105: experiments[1].arms.cold.start: `frsh` is unknown; allowed: fresh, from",
    );
    // A start of an arm alone makes a later stage, too.
    let alone =
        second("    take: {schedule.peak_lr: {best_of: {experiment: training, arm: warm, metric: val_loss}}}\n", "")
            .replace("arms: {base: {}}", own)
            .replace("arms: {base: {}, early", "grid: {schedule.peak_lr: [1e-3]}\n    arms: {base: {}, early");
    assert_eq!(suite(&alone).experiment("second").unwrap().stage, 1);
}

#[test]
fn a_sweep_is_over_an_axis_that_the_claim_fixes() {
    let sweep = |axis: &str| with("    tiers: [quick]\n", &format!("    tiers: [quick]\n    sweep: {axis}\n"));
    suite(&sweep("schedule.peak_lr"));
    check(
        sweep("schedule.warmup_steps"),
        "suites/small.yaml:29:12: claims[0].sweep: `schedule.warmup_steps` is no axis that the claim fixes; allowed: schedule.peak_lr",
    );
}

#[test]
fn claims_refer_to_what_is_run() {
    check(
        with("experiment: training, arm: warm", "experiment: trainnig, arm: warm"),
        "suites/small.yaml:32:26: claims[0].kind.difference.of.experiment: unknown experiment `trainnig`; allowed: training",
    );
    check(
        with("arm: warm}", "arm: hot}"),
        "suites/small.yaml:32:41: claims[0].kind.difference.of.arm: unknown arm `hot` of `training` in tier quick; allowed: warm, plain",
    );
    check(
        with("arm: warm}", "arm: \"*\"}"),
        "suites/small.yaml:32:41: claims[0].kind.difference.of.arm: is `*`; allowed: the name of one arm in a claim of this kind",
    );
    check(
        with("axes: {schedule.peak_lr: 1}", "axes: {schedule.warmup_steps: 1}"),
        "suites/small.yaml:33:58: claims[0].kind.difference.minus.axes.schedule.warmup_steps: `schedule.warmup_steps` is no axis of `training` in tier quick; allowed: schedule.peak_lr",
    );
    check(
        with("axes: {schedule.peak_lr: 1}", "axes: {schedule.peak_lr: 2}"),
        "suites/small.yaml:33:76: claims[0].kind.difference.minus.axes.schedule.peak_lr: is no value of this axis in tier quick; allowed: 0.001, 1.0, 0.003",
    );
    check(
        with("axes: {schedule.peak_lr: 1}", "axes: {schedule.peak_lr: .nan}"),
        "suites/small.yaml:33:76: claims[0].kind.difference.minus.axes.schedule.peak_lr: is NaN, must be finite; allowed: a finite number",
    );
    check(
        with("axes: {schedule.peak_lr: 1}", "axes: {schedule.peak_lr: [1]}"),
        "suites/small.yaml:33:76: claims[0].kind.difference.minus.axes.schedule.peak_lr: is a list; allowed: a number, text, true or false",
    );
    check(
        with("tiers: [quick]", "tiers: [quick, full]"),
        "suites/small.yaml:32:26: claims[0].kind.difference.of.experiment: experiment `training` does not run in the claim's tier full; allowed: smoke, quick",
    );
    check(
        with("tiers: [quick]", "tiers: [smoke]"),
        "suites/small.yaml:32:41: claims[0].kind.difference.of.arm: unknown arm `warm` of `training` in tier smoke; allowed: plain",
    );
    check(
        with("tiers: [quick]", "tiers: []"),
        "suites/small.yaml:28:12: claims[0].tiers: is empty; allowed: smoke, quick, full, paper",
    );
    check(
        with("tiers: [quick]", "tiers: [quck]"),
        "suites/small.yaml:28:13: claims[0].tiers[0]: `quck` is unknown; allowed: quick, smoke, full, paper",
    );
    check(
        with("      difference:", "      diference:"),
        "suites/small.yaml:30:7: claims[0].kind.diference: `diference` is unknown; allowed: difference, ratio, value, slope, fraction, steps-ratio, neighbours, spread, each-difference, crossover, linearity, fit, optimum-slope",
    );
    let kind = SUITE[SUITE.find("      difference:").unwrap()..SUITE.find("    expect:").unwrap()].to_string();
    let slope = "      slope: {metric: val_loss, of: {experiment: training, arm: warm}, over: schedule.peak_lr}\n";
    suite(&with(&kind, slope));
    check(
        with(&kind, &slope.replace("over: schedule.peak_lr", "over: schedule.peak")),
        "suites/small.yaml:30:78: claims[0].kind.slope.over: `schedule.peak` is no axis of `training` in tier quick; allowed: schedule.peak_lr",
    );
}
