//! The list of metrics by name is what the trainer measures, no more and no less.

use preheat_kernels::cpu::{Cpu, Simd};
use preheat_suites::claims::Tier;
use preheat_suites::definition::{self, Registry};
use preheat_suites::models::MODELS;
use preheat_suites::plan::{Plan, PlanOptions};
use preheat_suites::record::{Measured, Outcome};
use preheat_suites::registry::{Invalid, Scalar, build};
use preheat_suites::run::{Run, Start};
use preheat_suites::tasks::{Corpus, TASKS};
use preheat_suites::train::metrics::Named;
use preheat_suites::train::{Trainer, metrics};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

struct NoFiles;

impl Corpus for NoFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, Invalid> {
        Err(Invalid::new("path", format!("{path}: the test has no files")))
    }
}

fn measure(run: &Run) -> Measured {
    let builder = build("task", TASKS, &run.recipe.task).unwrap();
    let task = Arc::from(builder.open(&NoFiles, run.recipe.train.size("eval_sequences")).unwrap());
    let mut trainer = Trainer::new(run, task, Cpu::new(Simd::detect())).unwrap();
    while !trainer.is_done() {
        trainer.advance();
    }
    trainer.finish()
}

fn named(run: &Run) -> Named {
    Named {
        sets: build("task", TASKS, &run.recipe.task).unwrap().set_names(),
        measures: build("model", MODELS, &run.recipe.model).unwrap().measures(),
    }
}

/// The first run of each experiment of every smoke tier, probed.
fn runs() -> Vec<Run> {
    let mut runs = Vec::new();
    for (name, text) in preheat_suites::builtin() {
        let suite = definition::parse(name, text.as_bytes(), &Registry::builtin()).unwrap();
        let plan = Plan::new(&suite, Tier::Smoke, &PlanOptions::default()).unwrap();
        let mut seen = BTreeSet::new();
        for planned in plan.resolve_stage(0, &BTreeMap::new()).unwrap() {
            if seen.insert(planned.cells[0].experiment.clone()) {
                let mut run = planned.run;
                if build("model", MODELS, &run.recipe.model).unwrap().has_signal() {
                    run.recipe.train.0.insert("probe".into(), Scalar::Text("signal".into()));
                }
                runs.push(run);
            }
        }
    }
    runs
}

#[test]
fn names_are_what_runs_measure() {
    let (mut listed, mut measured) = (BTreeSet::new(), BTreeSet::new());
    for run in runs() {
        let named = named(&run);
        let names = metrics::names(&run.recipe.train, named);
        let measured_here = measure(&run);
        if run.recipe.train.int("steps") > 0 {
            let curves: BTreeSet<String> = metrics::curves(&run.recipe.train, named).into_iter().collect();
            assert_eq!(measured_here.curves.keys().cloned().collect::<BTreeSet<_>>(), curves);
        }
        for (name, value) in measured_here.metrics {
            assert!(names.contains(&metrics::pattern(&name)), "{name} of {}", run.canonical());
            assert!(!metrics::is_flag(&name) || value == 0.0 || value == 1.0, "{name} is {value}");
            measured.insert(metrics::pattern(&name));
        }
        listed.extend(names);
    }
    assert_eq!(listed, measured);
    assert!(["stalled", "diverged"].iter().all(|x| metrics::is_flag(x)) && !metrics::is_flag("val_loss"));
}

/// RAdam's package does not step before step 6; without ε that step divides 0 by 0 where a token has no gradient.
#[test]
fn a_run_that_its_last_step_breaks_has_diverged() {
    let text = "{model: {transformer: {layers: 1, width: 8, heads: 2}}, task: {language: {vocab: 64, seq: 8}}, optimizer: {radam: {variant: package, eps: 0}}, schedule: {constant: {peak_lr: 1e-3}}, train: {steps: 6, batch: 2, eval_every: 1, eval_sequences: 4, probe: signal}}";
    let recipe = definition::parse_recipe("test", text, &Registry::builtin()).unwrap_or_else(|e| panic!("{e}"));
    let measured = measure(&Run { recipe, seed: 1, data_seed: 1, start: Start::Fresh });
    let finite: Vec<bool> = measured.curves["val_loss"].iter().map(|p| p.value.is_some()).collect();
    assert_eq!(finite, [true, true, true, true, true, false]);
    assert!(measured.curves["train_loss"].iter().all(|p| p.value.is_some()));
    assert_eq!((&measured.outcome, measured.metrics["diverged"]), (&Outcome::Diverged { step: 6 }, 1.0));
    assert!(measured.metrics["val_loss"] >= measured.metrics["unigram_entropy"]);
    assert!(measured.metrics.values().all(|x| x.is_finite()), "{:?}", measured.metrics);
}

#[test]
fn an_updates_norm_is_that_of_the_step() {
    let text = "{model: {transformer: {layers: 1, width: 8, heads: 2}}, task: {language: {vocab: 16, seq: 8}}, optimizer: {sgd: {}}, schedule: {constant: {peak_lr: 0.125}}, train: {steps: 3, batch: 2, eval_every: 1, eval_sequences: 4}}";
    let recipe = definition::parse_recipe("test", text, &Registry::builtin()).unwrap_or_else(|e| panic!("{e}"));
    let measured = measure(&Run { recipe, seed: 1, data_seed: 1, start: Start::Fresh });
    for (update, grad) in measured.curves["update_norm"].iter().zip(&measured.curves["grad_norm"]) {
        let ratio = update.value.unwrap() / grad.value.unwrap();
        assert!((ratio / 0.125 - 1.0).abs() < 1e-3, "step {}: {ratio}", update.step);
    }
}

#[test]
fn counted_gradients_have_names_too() {
    let trained = runs().into_iter().find(|run| run.recipe.train.int("steps") > 0);
    let mut run = trained.expect("a suite that trains");
    run.recipe.train.0.insert("probe".into(), Scalar::Text("gradients".into()));
    let measured = measure(&run);
    let patterns = |names: Vec<String>| names.iter().map(|n| metrics::pattern(n)).collect::<BTreeSet<_>>();
    let curves = patterns(measured.curves.keys().cloned().collect());
    let named = named(&run);
    assert_eq!(curves, metrics::curves(&run.recipe.train, named).into_iter().collect());
    let names = metrics::names(&run.recipe.train, named);
    assert!(measured.metrics.keys().all(|name| names.contains(&metrics::pattern(name))));
    let steps = run.recipe.train.int("steps");
    for t in 1..=steps.min(10) {
        let shares = (1..=32).map(|bin| measured.curves[&format!("gradient_bin.{bin}")][t as usize - 1].value.unwrap());
        let (all, small) = (shares.clone().sum::<f64>(), shares.skip(13).sum::<f64>());
        assert!((all - 1.0).abs() < 1e-12, "{all}");
        assert!((measured.metrics[&format!("small_gradients.{t}")] - small).abs() < 1e-12);
    }
}

#[test]
fn losses_by_tokens_and_sizes_have_names_too() {
    let is_counted = |run: &Run| run.recipe.model.name == "transformer" && run.recipe.train.int("steps") > 1;
    let mut run = runs().into_iter().find(is_counted).expect("a suite that trains transformers");
    run.recipe.train.0.insert("probe".into(), Scalar::Text("isoflop".into()));
    run.recipe.train.0.insert("eval_every".into(), Scalar::Int(0));
    let measured = measure(&run);
    let named = named(&run);
    let names = metrics::names(&run.recipe.train, named);
    assert!(measured.metrics.keys().all(|name| names.contains(&metrics::pattern(name))));
    let (steps, batch) = (run.recipe.train.int("steps") as u64, run.recipe.train.int("batch") as u64);
    let seq = run.recipe.task.params.int("seq") as u64;
    let losses: BTreeMap<u64, f64> =
        measured.metrics.iter().filter_map(|(name, loss)| Some((metrics::tokens_of(name)?, *loss))).collect();
    let curve: BTreeMap<u64, f64> =
        measured.curves["val_loss"].iter().map(|p| (p.step * batch * seq, p.value.unwrap())).collect();
    assert_eq!(losses, curve, "every evaluation is one of them");
    assert_eq!(losses.last_key_value().unwrap(), (&(steps * batch * seq), &measured.metrics["val_loss"]));
    assert_eq!(
        metrics::first_point(&run.recipe.train, named, "val_loss", false),
        Some(measured.curves["val_loss"][0].step)
    );
    let (all, body) = (measured.metrics["size.standard"], measured.metrics["size.kaplan"]);
    let params = &run.recipe.model.params;
    let (width, vocab) = (params.int("width") as f64, run.recipe.task.params.int("vocab") as f64);
    assert_eq!(all - body, width * vocab, "the head");
    assert_eq!(body, 12.0 * width * width * params.int("layers") as f64);
}
