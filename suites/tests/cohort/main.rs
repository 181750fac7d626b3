//! Runs trained together have the bits that each has alone.

#[cfg(unix)]
mod emulated;

use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::device::Device;
use preheat_suites::claims::Tier;
use preheat_suites::definition::{self, Registry};
use preheat_suites::plan::{Plan, PlanOptions};
use preheat_suites::record::{Measured, Outcome};
use preheat_suites::registry::{Invalid, Scalar, build};
use preheat_suites::run::Run;
use preheat_suites::tasks::{Corpus, TASKS, Task};
use preheat_suites::train::{Cohort, Trainer, shape};
use std::collections::BTreeMap;
use std::sync::Arc;

struct NoFiles;

impl Corpus for NoFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, Invalid> {
        Err(Invalid::new("path", format!("{path}: the test has no files")))
    }
}

fn task(run: &Run) -> Arc<dyn Task> {
    let builder = build("task", TASKS, &run.recipe.task).unwrap();
    Arc::from(builder.open(&NoFiles, run.recipe.train.size("eval_sequences")).unwrap())
}

fn cpu() -> Cpu {
    Cpu::new(Simd::detect())
}

fn alone(run: &Run) -> Measured {
    let mut trainer = Trainer::new(run, task(run), cpu()).unwrap();
    while !trainer.is_done() {
        trainer.advance();
    }
    trainer.finish()
}

fn cohort(runs: &[Run], device: Arc<dyn Device>) -> Cohort {
    let runs: Vec<_> = runs.iter().map(|run| (run, task(run))).collect();
    Cohort::new(&runs, device).unwrap()
}

fn carried_out(mut cohort: Cohort) -> Vec<Measured> {
    while (0..cohort.len()).any(|r| !cohort.is_done(r)) {
        cohort.advance().unwrap();
    }
    cohort.finish().unwrap()
}

/// Bits, not values: NaN is a value here.
#[track_caller]
fn assert_same(ours: &Measured, expected: &Measured, what: &str) {
    let text = |m: &Measured| serde_json::to_string_pretty(m).unwrap();
    assert_eq!(text(ours), text(expected), "{what}");
}

/// The smoke tier's runs by shape.
fn shapes() -> Vec<Vec<Run>> {
    let mut shapes: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    for (name, text) in preheat_suites::builtin() {
        let suite = definition::parse(name, text.as_bytes(), &Registry::builtin()).unwrap();
        let plan = Plan::new(&suite, Tier::Smoke, &PlanOptions::default()).unwrap();
        for planned in plan.resolve_stage(0, &BTreeMap::new()).unwrap() {
            shapes.entry(shape(&planned.run, &*task(&planned.run)).unwrap()).or_default().push(planned.run);
        }
    }
    shapes.into_values().collect()
}

/// The largest group of runs that train.
fn trained() -> Vec<Run> {
    let trains = |runs: &Vec<Run>| runs[0].recipe.train.int("steps") > 2;
    shapes().into_iter().filter(trains).max_by_key(Vec::len).expect("the smoke tier trains")
}

#[test]
fn the_smoke_tier_in_cohorts_has_its_bits() {
    let shapes = shapes();
    assert!(shapes.iter().any(|runs| runs.len() > 2), "there is something to put together");
    for runs in shapes {
        let together = carried_out(cohort(&runs, Arc::new(cpu())));
        assert_eq!(together.len(), runs.len());
        for (run, measured) in runs.iter().zip(&together) {
            assert_same(measured, &alone(run), &run.canonical());
        }
    }
}

/// Seeds, rates, schedules and coefficients of one shape, one of which diverges.
fn mixed() -> Vec<Run> {
    let mut runs = trained();
    runs.truncate(2);
    let base = runs[0].clone();
    let with = |seed: u64, rate: f64| {
        let mut run = base.clone();
        run.seed = seed;
        run.data_seed = seed + 1;
        run.recipe.schedule.params.0.insert("peak_lr".into(), Scalar::Real(rate));
        run
    };
    runs.extend([with(71, 1e-3), with(72, 1e30), with(73, 4e-3)]);
    let mut beta = with(74, 1e-3);
    for (key, value) in &mut beta.recipe.optimizer.params.0 {
        if key == "beta1" {
            *value = Scalar::Real(0.5);
        }
    }
    beta.recipe.train.0.insert("probe".into(), base.recipe.train.0["probe"].clone());
    runs.push(beta);
    runs
}

#[test]
fn rates_seeds_and_a_diverged_run_do_not_touch_each_other() {
    let runs = mixed();
    let together = carried_out(cohort(&runs, Arc::new(cpu())));
    let diverged = together.iter().filter(|m| matches!(m.outcome, Outcome::Diverged { .. })).count();
    assert_eq!(diverged, 1, "one rate is absurd");
    for (run, measured) in runs.iter().zip(&together) {
        assert_same(measured, &alone(run), &run.canonical());
    }
}

#[test]
fn runs_at_different_steps_go_on_together() {
    let runs = mixed();
    let mut first = cohort(&runs[..3], Arc::new(cpu()));
    let mut kept = vec![first.checkpoint(0).unwrap()];
    for r in 1..3 {
        first.advance().unwrap();
        kept.push(first.checkpoint(r).unwrap());
    }
    // Another cohort, in another order, with one run more.
    let order = [2, 4, 0, 1];
    let runs: Vec<Run> = order.iter().map(|i| runs[*i].clone()).collect();
    let mut second = cohort(&runs, Arc::new(cpu()));
    for (r, i) in order.iter().enumerate() {
        if let Some(bytes) = kept.get(*i) {
            second.restore(r, bytes).unwrap();
        }
    }
    assert_eq!([0, 1, 2, 3].map(|r| second.step(r)), [2, 0, 0, 1]);
    for (run, measured) in runs.iter().zip(carried_out(second)) {
        assert_same(&measured, &alone(run), &run.canonical());
    }
}

#[test]
fn a_run_of_another_shape_is_refused() {
    let runs = trained();
    let mut other = runs[0].clone();
    other.recipe.train.0.insert("clip".into(), Scalar::Real(0.25));
    assert_ne!(shape(&runs[0], &*task(&runs[0])), shape(&other, &*task(&other)));
    let both = [runs[0].clone(), other];
    let refused = std::panic::catch_unwind(|| cohort(&both, Arc::new(cpu())));
    assert!(refused.is_err(), "a cohort of two shapes");
}
