//! The columns that an experiment says its table shows.

use crate::support::{SUITE, check, suite, with};
use preheat_suites::definition::Column;

const KEY: &str = "experiments[0].show";

/// The small suite whose experiment shows `yaml`.
fn showing(yaml: &str) -> String {
    with("    tiers:\n", &format!("    show: {yaml}\n    tiers:\n"))
}

fn columns(yaml: &str) -> Vec<(String, String)> {
    let suite = suite(yaml);
    suite.experiments[0].show.iter().map(|Column { metric, title }| (metric.clone(), title.clone())).collect()
}

#[test]
fn columns_keep_the_order_of_writing_and_a_title_may_be_left_out() {
    let pairs = [("val_loss", "val loss, nats"), ("stalled", "stalled"), ("capped_loss", "b")];
    assert_eq!(
        columns(&showing(r#"{val_loss: "val loss, nats", stalled: , capped_loss: b}"#)),
        pairs.map(|(metric, title)| (metric.to_string(), title.to_string()))
    );
    assert!(columns(SUITE).is_empty());
}

#[test]
fn a_layer_is_a_number_from_1() {
    let probed = |metric: &str| {
        showing(&format!("{{{metric}: x}}"))
            .replace("train: {batch: 8, steps: 100,", "train: {batch: 8, steps: 100, probe: signal,")
    };
    assert_eq!(columns(&probed("init.hidden_scale.2")).len(), 1);
    let suite = preheat_suites::definition::parse(
        "small.yaml",
        probed("init.hidden_scale.0").as_bytes(),
        &crate::support::registry(),
    );
    assert!(suite.unwrap_err().to_string().contains("no run here has the metric `init.hidden_scale.0`"));
}

#[test]
fn mistakes_are_answered() {
    let middle = "val_loss, capped_loss, stall_gap, stalled, diverged, unigram_entropy";
    let last = "jacobian_norm, jacobian_over_theory";
    check(
        showing("{vall_loss: x}"),
        &format!(
            "suites/small.yaml:19:12: {KEY}.vall_loss: no run here has the metric `vall_loss`; allowed: {middle}, entropy_rate, {last}"
        ),
    );
    // Without the probe there is no gradient of a layer.
    check(
        showing("{init.hidden_scale.max: x}"),
        &format!(
            "suites/small.yaml:19:12: {KEY}.init.hidden_scale.max: no run here has the metric `init.hidden_scale.max`; allowed: entropy_rate, {middle}, {last}"
        ),
    );
    check(showing("{}"), &format!("suites/small.yaml:19:11: {KEY}: is empty; allowed: metric: title, at least one"));
    check(
        showing(r#"{val_loss: " "}"#),
        &format!(
            "suites/small.yaml:19:22: {KEY}.val_loss: is blank; allowed: a title, or nothing for the metric's name"
        ),
    );
    check(
        showing("{val_loss: x, stalled: x}"),
        &format!(
            "suites/small.yaml:19:34: {KEY}.stalled: `x` is the title of an earlier column; allowed: each title once"
        ),
    );
    check(
        showing("{val_loss: 3}"),
        &format!("suites/small.yaml:19:22: {KEY}.val_loss: is integer `3`; allowed: text, or nothing"),
    );
    check(
        showing("{val_loss: a, val_loss: b}"),
        &format!("suites/small.yaml:19:25: {KEY}.val_loss: is given twice; allowed: each key once"),
    );
}
