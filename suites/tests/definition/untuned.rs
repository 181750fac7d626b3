//! `warmup_steps: untuned`: 2/(1−β2) steps of the recipe's own optimizer, or one clear line.

use crate::links::{SECOND, second};
use crate::support::SUITE;
use preheat_suites::claims::Tier;
use preheat_suites::definition::{Registry, Suite, parse, parse_recipe};
use preheat_suites::optimizers::OPTIMIZERS;
use preheat_suites::run::{Run, Start};

fn yaml(optimizer: &str, warmup: &str) -> String {
    format!(
        "model: {{transformer: {{layers: 1, width: 8}}}}\n\
         task: {{language: {{}}}}\n\
         optimizer: {{{optimizer}}}\n\
         schedule: {{linear: {{peak_lr: 1e-2, decay_from: 100, warmup_steps: {warmup}}}}}\n\
         train: {{batch: 2, steps: 150, eval_sequences: 2}}\n"
    )
}

fn id(optimizer: &str, warmup: &str) -> Result<String, String> {
    let recipe = parse_recipe("recipe", &yaml(optimizer, warmup), &Registry::builtin()).map_err(|e| e.to_string())?;
    Ok(Run { recipe, seed: 1, data_seed: 1, start: Start::Fresh }.canonical())
}

#[test]
fn is_the_run_that_gives_the_number() {
    for (beta2, steps) in [("0.98", "100"), ("0.9", "20"), ("0.5", "4")] {
        for name in ["adam", "adamw", "radam", "adam-2k", "gi-adam", "lamb", "novograd"] {
            let optimizer = format!("{name}: {{beta2: {beta2}}}");
            let untuned = id(&optimizer, "untuned").unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(untuned, id(&optimizer, steps).unwrap(), "{optimizer}");
            assert_ne!(untuned, id(&optimizer, "3").unwrap(), "{optimizer}");
        }
    }
}

#[test]
fn is_refused_where_no_second_moment_decays() {
    for name in ["sgd", "lion", "adafactor", "muon"] {
        let place = "recipe:4:67: schedule.linear.warmup_steps";
        let line = format!(
            "{place}: is `untuned`, and optimizer `{name}` has no second moment to take it from; allowed: a number of steps, or an optimizer such as adam"
        );
        assert_eq!(id(&format!("{name}: {{}}"), "untuned"), Err(line));
    }
    // Each optimizer stands in one of the two tests.
    assert_eq!(OPTIMIZERS.len(), 7 + 4);
}

#[test]
fn other_words_and_lengths_that_do_not_fit() {
    let place = "recipe:4:67: schedule.linear.warmup_steps";
    let word = format!("{place}: is `tuned`; allowed: a whole number from 0 to 10000000, or untuned");
    assert_eq!(id("adam: {}", "tuned"), Err(word));
    let long = format!("{place}: warm-up of 2000 steps is not below the run's 150 steps; allowed: 0 to 149");
    let within = "recipe:4:48: schedule.linear.decay_from: 100 lies within the warm-up of 2000 steps; allowed: 0 or from 2000 on";
    assert_eq!(id("adam: {}", "untuned"), Err(within.into()));
    let steps = yaml("adam: {}", "untuned").replace("decay_from: 100, ", "decay_from: 0,   ");
    assert_eq!(parse_recipe("recipe", &steps, &Registry::builtin()).map(|_| ()).map_err(|e| e.to_string()), Err(long));
}

fn suite(yaml: &str) -> Result<Suite, String> {
    let yaml = yaml.replace("{width: 32", "{layers: 1, width: 32");
    parse("suites/small.yaml", yaml.as_bytes(), &Registry::builtin()).map_err(|e| e.to_string())
}

#[test]
fn stands_in_an_arm_and_not_in_a_grid() {
    let arm = SUITE.replace("warmup_steps: 10", "warmup_steps: untuned").replace("{adam: {}}", "{adam: {beta2: 0.9}}");
    let suite_of = suite(&arm).unwrap_or_else(|e| panic!("{e}"));
    let quick = &suite_of.experiment("training").unwrap().setups[&Tier::Quick];
    let warm = quick.arms.iter().find(|a| a.name == "warm").unwrap();
    assert!(warm.points.iter().all(|p| p.recipe.schedule.params.int("warmup_steps") == 20));
    let grid = arm.replace(
        "grid: {schedule.peak_lr: [1e-3",
        "grid: {schedule.warmup_steps: [0, untuned], schedule.peak_lr: [1e-3",
    );
    let line = suite(&grid).expect_err("refused");
    assert!(line.contains("`untuned` is no value of a grid; allowed: numbers here, the word in an arm"), "{line}");
}

/// A taken β2 replaces one number of a resolved recipe: the warm-up that followed from another would stay.
#[test]
fn does_not_follow_a_taken_decay() {
    let searched = |schedule: &str| {
        assert!(SECOND.contains("optimizer: {sgd: {}}"));
        let second = second("schedule: {linear: {peak_lr: 1e-2}}", schedule)
            .replace("optimizer: {sgd: {}}", "optimizer: {adam: {}}")
            .replace("take: {schedule.peak_lr", "take: {optimizer.beta2");
        suite(
            &second
                .replace(
                    "grid: {schedule.peak_lr: [1e-3, 1, 3e-3]}",
                    "grid: {schedule.peak_lr: [1e-3, 1, 3e-3], optimizer.beta2: [0.9, 0.5]}",
                )
                .replace("axes: {schedule.peak_lr: 1}", "axes: {schedule.peak_lr: 1, optimizer.beta2: 0.9}"),
        )
    };
    searched("schedule: {linear: {peak_lr: 1e-2, warmup_steps: 5}}").unwrap_or_else(|e| panic!("{e}"));
    let line = searched("schedule: {linear: {peak_lr: 1e-2, warmup_steps: untuned}}").expect_err("refused");
    assert!(line.contains("take.optimizer.beta2: changes the untuned warm-up of the schedule"), "{line}");
}
