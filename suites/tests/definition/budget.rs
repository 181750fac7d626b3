//! Lengths by compute and tokens: the steps that follow, and the line for each slip.

use preheat_suites::definition::{Registry, parse_recipe};
use preheat_suites::run::Recipe;

fn recipe(schedule: &str, train: &str) -> Result<Recipe, String> {
    let yaml = format!(
        "model: {{transformer: {{layers: 2, width: 16}}}}\n\
         task: {{language: {{vocab: 64, seq: 16}}}}\n\
         optimizer: {{adam: {{}}}}\n\
         schedule: {{constant: {{peak_lr: 1e-2, {schedule}}}}}\n\
         train: {{batch: 2, eval_sequences: 2, {train}}}\n"
    );
    parse_recipe("recipe", &yaml, &Registry::builtin()).map_err(|e| e.to_string())
}

/// 12·2·16² + 64·16.
const PARAMS: f64 = 7168.0;

#[test]
fn steps_follow_from_compute_and_are_the_run_that_gives_them() {
    let budget = recipe("warmup_tokens: params", "budget_flops: 1e9").unwrap();
    let steps = (1e9 / (6.0 * PARAMS) / 32.0).ceil() as i64;
    assert_eq!(budget, recipe("warmup_steps: 224", &format!("steps: {steps}")).unwrap());
    assert_eq!(budget.train.int("steps"), 727);
    let capped = recipe("warmup_tokens: 100", "budget_flops: 1e9, most_tokens_per_param: 1").unwrap();
    assert_eq!((capped.train.int("steps"), capped.schedule.params.int("warmup_steps")), (224, 4));
}

#[test]
fn a_warm_up_in_tokens_may_be_longer_than_the_run() {
    let long = recipe("warmup_tokens: 1000000", "steps: 10").unwrap();
    assert_eq!(long.schedule.params.int("warmup_steps"), 31250);
    assert!(recipe("warmup_steps: 31250", "steps: 10").unwrap_err().contains("is not below the run's 10 steps"));
}

#[test]
fn slips_are_one_line_each() {
    for (schedule, train, expected) in [
        ("", "steps: 5, budget_flops: 1e9", "steps: stands beside `budget_flops`; allowed: one of the two"),
        (
            "",
            "steps: 5, most_tokens_per_param: 1",
            "most_tokens_per_param: stands without `budget_flops`; allowed: both, or steps",
        ),
        (
            "warmup_steps: 1, warmup_tokens: 5",
            "steps: 5",
            "warmup_steps: stands beside `warmup_tokens`; allowed: one of the two",
        ),
    ] {
        let why = recipe(schedule, train).unwrap_err();
        assert!(why.contains(expected), "{why}");
    }
}
