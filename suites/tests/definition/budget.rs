//! Lengths by compute and tokens: the steps that follow, and the line for each slip.

use preheat_suites::claims::Tier;
use preheat_suites::definition::{Registry, parse, parse_recipe};
use preheat_suites::fits::published::porian2024;
use preheat_suites::models::MODELS;
use preheat_suites::plan::{Plan, PlanOptions};
use preheat_suites::record::{Measured, Outcome};
use preheat_suites::registry::build;
use preheat_suites::run::Recipe;
use std::collections::BTreeMap;

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

const TUNED: &str = "suite: small
title: Small
paper: {key: k, authors: A, year: 2024}
experiments:
  - id: sweep
    about: batches
    recipe: &recipe
      model: {transformer: {layers: 1, width: 16}}
      task: {language: {vocab: 64, seq: 16}}
      optimizer: {adam: {}}
      schedule: {constant: {peak_lr: 1e-2, warmup_tokens: params}}
      train: {batch: 1, eval_sequences: 4, budget_flops: 1e9}
    arms: &arms
      a: {}
      b: {model: {transformer: {width: 32}}}
    grid: {train.batch: [1, 2]}
    seeds: {first: 1, count: 1}
    tiers: {quick: {}}
  - id: tuned
    about: the best of each
    recipe: *recipe
    arms: *arms
    take: {train.batch: {best_of: {experiment: sweep, metric: val_loss}}}
    seeds: {first: 5, count: 1}
    tiers: {quick: {}}
";

/// Each arm takes from the arm of its own name, and its steps follow the batch so that tokens stay.
#[test]
fn a_batch_is_taken_by_arm_and_keeps_the_tokens() {
    let suite = parse("small.yaml", TUNED.as_bytes(), &Registry::builtin()).unwrap();
    let plan = Plan::new(&suite, Tier::Quick, &PlanOptions::default()).unwrap();
    let mut done = BTreeMap::new();
    for planned in plan.resolve_stage(0, &done).unwrap() {
        let (arm, batch) = (planned.cells[0].arm.as_str(), planned.run.recipe.train.int("batch"));
        let loss = if (arm == "a") == (batch == 1) { 1.0 } else { 2.0 };
        let metrics = BTreeMap::from([("val_loss".to_string(), loss)]);
        let measured = Measured { outcome: Outcome::Finished, curves: BTreeMap::new(), metrics, digest: String::new() };
        done.insert(planned.run.id(), measured);
    }
    let runs = plan.resolve_stage(1, &done).unwrap();
    let of = |arm: &str| runs.iter().find(|r| r.cells[0].arm == arm).unwrap().run.recipe.clone();
    for (arm, batch, width) in [("a", 1, 16.0), ("b", 2, 32.0)] {
        let (recipe, params) = (of(arm), 12.0 * width * width + 64.0 * width);
        let steps = |tokens: f64| (tokens / (batch as f64 * 16.0)).ceil() as i64;
        assert_eq!(recipe.train.int("batch"), batch, "{arm}");
        assert_eq!(recipe.train.int("steps"), steps(1e9 / (6.0 * params)), "{arm}");
        assert_eq!(recipe.schedule.params.int("warmup_steps"), steps(params), "{arm}");
    }
}

#[test]
fn the_paper_tier_of_scaling_has_the_papers_sizes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scaling.yaml");
    let suite = parse("scaling.yaml", &std::fs::read(path).unwrap(), &Registry::builtin()).unwrap();
    let plan = Plan::new(&suite, Tier::Paper, &PlanOptions::default()).unwrap();
    let mut sizes = std::collections::BTreeSet::new();
    for planned in plan.resolve_stage(0, &BTreeMap::new()).unwrap() {
        let model = build("model", MODELS, &planned.run.recipe.model).unwrap();
        let shape = model.counted(50432, 2048).unwrap();
        sizes.insert((shape.width, shape.layers, shape.d_ff(), shape.body_params(), shape.all_params()));
    }
    let published = porian2024().shapes();
    let published = published.iter().map(|s| (s.width, s.layers, s.d_ff(), s.body_params(), s.all_params()));
    assert_eq!(sizes, published.collect());
}
