//! What an experiment asks the report to draw.

use crate::support::{SUITE, check, suite, with};
use preheat_suites::definition::Draw;

const KEY: &str = "experiments[0].draw";

/// The small suite whose experiment draws `yaml`.
fn drawing(yaml: &str) -> String {
    with("    tiers:\n", &format!("    draw: {yaml}\n    tiers:\n"))
}

/// The same with the probe of gradients.
fn probed(yaml: &str) -> String {
    drawing(yaml).replace("train: {batch: 8, steps: 100,", "train: {batch: 8, steps: 100, probe: gradients,")
}

fn drawn(yaml: &str) -> Option<Draw> {
    suite(yaml).experiments[0].draw.clone()
}

#[test]
fn a_drawing_is_one_curve_or_a_histogram() {
    assert_eq!(drawn(SUITE), None);
    let lines = drawn(&drawing("{lines: {curve: val_loss}}")).expect("a drawing");
    assert_eq!((&lines, lines.curves()), (&Draw::Lines { curve: "val_loss".into() }, vec!["val_loss"]));
    let bars = drawn(&probed("{histogram: {steps: [1, 4, 10]}}")).expect("a drawing");
    assert_eq!(bars, Draw::Histogram { steps: vec![1, 4, 10] });
    assert_eq!((bars.curves().len(), bars.curves()[31]), (32, "gradient_bin.32"));
}

#[test]
fn mistakes_are_answered() {
    check(
        drawing("{lines: {curve: vall_loss}}"),
        &format!(
            "suites/small.yaml:19:27: {KEY}.lines.curve: no run here has the curve `vall_loss`; allowed: val_loss, grad_norm, lr, train_loss, param_norm, update_norm"
        ),
    );
    check(
        drawing("{histogram: {steps: [1]}}"),
        &format!(
            "suites/small.yaml:19:11: {KEY}: no run here counts its gradients; allowed: with the probe `gradients`"
        ),
    );
    for steps in ["[]", "[0, 1]", "[1, 11]", "[2, 1]", "[3, 3]"] {
        check(
            probed(&format!("{{histogram: {{steps: {steps}}}}}")),
            &format!("suites/small.yaml:19:31: {KEY}.histogram.steps: is {steps}; allowed: some of 1 to 10, in order"),
        );
    }
}
