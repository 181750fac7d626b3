//! The metrics and curves that claims and taken values name.

use crate::support::{SUITE, check, suite, with};

/// The suite with another kind of claim.
fn claiming(kind: &str) -> String {
    let (from, to) = (SUITE.find("    kind:").unwrap(), SUITE.find("    expect:").unwrap());
    format!("{}    kind: {kind}\n{}", &SUITE[..from], &SUITE[to..])
}

const WARM: &str = "{experiment: training, arm: warm}";
const PLAIN: &str = "{experiment: training, arm: plain}";
const FINAL: &str =
    "capped_loss, stall_gap, stalled, diverged, unigram_entropy, entropy_rate, jacobian_norm, jacobian_over_theory";
const AT: &str = "suites/small.yaml:29:";

#[test]
fn a_metric_that_no_run_has() {
    check(
        with("metric: val_loss\n", "metric: val_los\n"),
        &format!(
            "suites/small.yaml:31:17: claims[0].kind.difference.metric: no run of `training/warm` in tier quick has the metric `val_los`; allowed: val_loss, {FINAL}"
        ),
    );
    check(
        claiming(&format!("{{value: {{metric: init.val_loss, of: {WARM}}}}}")),
        &format!(
            "{AT}28: claims[0].kind.value.metric: no run of `training/warm` in tier quick has the metric `init.val_loss`; allowed: val_loss, {FINAL}"
        ),
    );
    check(
        claiming(&format!("{{ratio: {{metric: val_loss, over_metric: loss, of: {WARM}, over: {WARM}, at: given}}}}")),
        &format!(
            "{AT}51: claims[0].kind.ratio.over_metric: no run of `training/warm` in tier quick has the metric `loss`; allowed: val_loss, {FINAL}"
        ),
    );
}

#[test]
fn a_share_of_what_is_not_0_or_1() {
    check(
        claiming(&format!("{{fraction: {{metric: val_loss, of: {WARM}}}}}")),
        &format!(
            "{AT}31: claims[0].kind.fraction.metric: no run of `training/warm` in tier quick has the 0/1 metric `val_loss`; allowed: stalled, diverged"
        ),
    );
    suite(&claiming(&format!("{{fraction: {{metric: stalled, of: {WARM}}}}}")));
}

#[test]
fn a_layer_of_runs_without_a_probe() {
    let slope = |metric: &str| {
        claiming(&format!("{{slope: {{metric: '{metric}', of: {WARM}, indices: [1, 2], linear_x: true}}}}"))
    };
    let wrong = format!(
        "{AT}28: claims[0].kind.slope.metric: no run of `training/warm` in tier quick has the metric `init.hidden_scale.1`; allowed: entropy_rate, val_loss, capped_loss, stall_gap, stalled, diverged, unigram_entropy, jacobian_norm, jacobian_over_theory"
    );
    check(slope("init.hidden_scale.{i}"), &wrong);
    let probed = |text: String| text.replace("eval_sequences: 16", "eval_sequences: 16, probe: signal");
    suite(&probed(slope("init.hidden_scale.{i}")));
    // Layers count from 1.
    let zero = probed(slope("init.hidden_scale.{i}").replace("[1, 2]", "[0]"));
    let why = preheat_suites::definition::parse("suites/small.yaml", zero.as_bytes(), &crate::support::registry());
    assert!(why.expect_err("no layer 0").message.ends_with("has the metric `init.hidden_scale.0`"));
}

#[test]
fn a_curve_that_no_run_has() {
    let kind = |curve: &str| {
        claiming(&format!("{{steps-ratio: {{curve: {curve}, of: {WARM}, reference: {PLAIN}, at: given}}}}"))
    };
    check(
        kind("loss"),
        &format!(
            "{AT}33: claims[0].kind.steps-ratio.curve: no run of `training/warm` in tier quick has the curve `loss`; allowed: lr, grad_norm, train_loss, param_norm, update_norm, val_loss"
        ),
    );
    suite(&kind("train_loss"));
}

#[test]
fn what_is_read_off_a_curve() {
    let value = |metric: &str, train: &str| {
        let text = claiming(&format!("{{value: {{metric: {metric}, of: {WARM}}}}}"));
        text.replace("eval_sequences: 16", &format!("eval_sequences: 16{train}"))
    };
    for (metric, train) in [
        ("val_loss@100%", ""),
        ("val_loss.average", ""),
        ("train_loss@1%", ""),
        ("train_loss.change@50%", ""),
        ("val_loss@7.5%", ", eval_every: 7"),
        ("val_loss.change@7%", ", eval_every: 7"),
    ] {
        suite(&value(metric, train));
    }
    let early = |metric: &str, from: &str| {
        format!(
            "{AT}28: claims[0].kind.value.metric: `{metric}` is before the first evaluation of `training/warm` in tier quick; allowed: shares from {from}% on; runs that start from a checkpoint have 0%"
        )
    };
    check(value("val_loss@99%", ""), &early("val_loss@99%", "100"));
    check(value("val_loss@6%", ", eval_every: 7"), &early("val_loss@6%", "7"));
    check(value("val_loss.rise", ", eval_every: 7"), &early("val_loss.rise", "7"));
    check(value("val_loss.change@0%", ", eval_every: 7"), &early("val_loss.change@0%", "7"));
    check(
        value("vall_loss@50%", ""),
        &format!(
            "{AT}28: claims[0].kind.value.metric: no run of `training/warm` in tier quick has the metric `vall_loss@50%`; allowed: val_loss, {FINAL}"
        ),
    );
}

#[test]
fn both_curves_of_a_line_and_a_crossing() {
    let line = |x: &str| claiming(&format!("{{linearity: {{x: {x}, y: val_loss, of: {WARM}, perplexity: true}}}}"));
    suite(&line("train_loss"));
    check(
        line("tain_loss"),
        &format!(
            "{AT}27: claims[0].kind.linearity.x: no run of `training/warm` in tier quick has the curve `tain_loss`; allowed: train_loss, grad_norm, lr, param_norm, update_norm, val_loss"
        ),
    );
    suite(&claiming(&format!("{{crossover: {{curve: val_loss, of: {WARM}, reference: {PLAIN}, at: given}}}}")));
    let spread = |over: &str| claiming(&format!("{{spread: {{metric: val_loss, of: {WARM}, over: {over}}}}}"));
    suite(&spread("schedule.peak_lr"));
    check(
        spread("schedule.peak"),
        &format!(
            "{AT}84: claims[0].kind.spread.over: `schedule.peak` is no axis of `training` in tier quick; allowed: schedule.peak_lr"
        ),
    );
}

#[test]
fn a_value_taken_by_a_metric_that_no_run_has() {
    let second = "  - id: second\n    about: takes a rate\n    recipe:\n      model: {transformer: {width: 8}}\n      task: {language: {}}\n      optimizer: {adam: {}}\n      schedule: {linear: {peak_lr: 1}}\n      train: {batch: 8, steps: 20, eval_sequences: 16}\n    arms: {base: {}}\n    seeds: {first: 1, count: 2}\n    take: {schedule.peak_lr: {best_of: {experiment: training, arm: warm, metric: METRIC}}}\n    tiers: {quick: {}}\nclaims:\n";
    let taking = |metric: &str| with("claims:\n", &second.replace("METRIC", metric));
    suite(&taking("capped_loss"));
    check(
        taking("capped_los"),
        "suites/small.yaml:32:82: experiments[1].take.schedule.peak_lr.best_of.metric: no run of `training/warm` in tier quick has the metric `capped_los` (arm base of tier quick); allowed: capped_loss, val_loss, stall_gap, stalled, diverged, unigram_entropy, entropy_rate, jacobian_norm, jacobian_over_theory",
    );
}
