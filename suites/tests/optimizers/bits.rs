//! The bits of every optimizer: reference and fast paths, whole runs and resumed ones.

use crate::rig::{Rig, Shape};
use crate::support::{all, numbers, optimizer};
use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::ops::Ops;
use preheat_kernels::real::canonical_bits;
use preheat_kernels::reference::Reference;
use preheat_suites::definition::{Registry, parse_recipe};
use preheat_suites::registry::{Invalid, Spec, build};
use preheat_suites::run::{Run, Start};
use preheat_suites::tasks::{Corpus, TASKS};
use preheat_suites::train::Trainer;
use std::sync::Arc;

/// Awkward ones: tails, one row, one column, one element, more than a block of sums.
const SHAPES: [Shape<'_>; 8] = [
    ("table", &[7, 3]),
    ("hidden.wide", &[5, 33]),
    ("hidden.tall", &[31, 6]),
    ("hidden.column", &[17, 1]),
    ("hidden.row", &[1, 16]),
    ("bias", &[129]),
    ("one", &[1]),
    ("long", &[4099]),
];

/// Parameters and moments after a few steps.
fn run<K: Ops<f32>>(spec: &Spec, clip: Option<f64>, special: Option<f32>, ops: K) -> Vec<u32> {
    let n = SHAPES.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    let mut rig = Rig::new(optimizer(spec), &SHAPES, clip, ops, &numbers(1, n));
    for step in 1..=7 {
        let mut grads = numbers(1 + step, n);
        if let Some(x) = special.filter(|_| step == 4) {
            grads.iter_mut().step_by(61).for_each(|g| *g = x);
        }
        // A tensor without a gradient, and one far smaller than the others.
        grads[21 + 165..21 + 165 + 186].fill(0.0);
        grads[..21].iter_mut().for_each(|g| *g *= 1e-12);
        rig.step(step, 0.02 * step as f64, &grads);
    }
    rig.values().into_iter().chain(rig.kept()).map(canonical_bits).collect()
}

#[test]
fn every_instruction_set_has_the_references_bits() {
    for spec in all() {
        for (clip, special) in [
            (None, None),
            (Some(3.0), None),
            (None, Some(f32::NAN)),
            (Some(3.0), Some(f32::INFINITY)),
            (None, Some(1e30)),
        ] {
            let expected = run(&spec, clip, special, Reference);
            for simd in Simd::available() {
                assert!(
                    run(&spec, clip, special, Cpu::new(simd)) == expected,
                    "{spec} on {simd}, {clip:?}, {special:?}"
                );
            }
        }
    }
}

#[test]
fn every_optimizer_moves_every_parameter() {
    let n = SHAPES.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    for spec in all() {
        if spec.params.0.get("freeze_steps").is_some_and(|x| x.to_string() == "2000") {
            continue;
        }
        let initial = numbers(1, n);
        let mut rig = Rig::new(optimizer(&spec), &SHAPES, None, Cpu::new(Simd::detect()), &initial);
        (1..=7).for_each(|step| rig.step(step, 0.1, &numbers(1 + step, n)));
        let moved = rig.values().iter().zip(&initial).filter(|(a, b)| a != b).count();
        assert!(moved * 100 >= n * 99, "{spec} moves {moved} of {n}");
    }
}

struct NoFiles;

impl Corpus for NoFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, Invalid> {
        Err(Invalid::new("path", format!("{path}: the test has no files")))
    }
}

fn trainer(spec: &Spec) -> Trainer {
    let yaml = "\
model: {transformer: {layers: 1, width: 12, heads: 3}}
task: {language: {vocab: 17, seq: 7}}
optimizer: {adam: {}}
schedule: {linear: {peak_lr: 3e-3, warmup_steps: 2}}
train: {batch: 3, steps: 8, eval_sequences: 6, eval_every: 2, clip: 1.0}
";
    let mut recipe = parse_recipe("", yaml, &Registry::builtin()).unwrap_or_else(|e| panic!("{e}"));
    recipe.optimizer = spec.clone();
    let builder = build("task", TASKS, &recipe.task).unwrap_or_else(|e| panic!("{e}"));
    let task = Arc::from(builder.open(&NoFiles, 6).unwrap_or_else(|e| panic!("{e}")));
    let run = Run { recipe, seed: 1, data_seed: 1, start: Start::Fresh };
    Trainer::new(&run, task, Cpu::new(Simd::detect())).unwrap_or_else(|e| panic!("{e}"))
}

fn advance(trainer: &mut Trainer, steps: usize) {
    for _ in 0..steps {
        trainer.advance();
    }
}

fn finished(mut trainer: Trainer) -> String {
    while !trainer.is_done() {
        trainer.advance();
    }
    trainer.finish().digest
}

#[test]
fn a_resumed_run_has_the_same_bits() {
    for spec in all() {
        let mut stopped = trainer(&spec);
        advance(&mut stopped, 5);
        let checkpoint = stopped.checkpoint();
        let mut resumed = trainer(&spec);
        resumed.restore(&checkpoint).unwrap_or_else(|e| panic!("{spec}: {e}"));
        assert_eq!(finished(resumed), finished(trainer(&spec)), "{spec}");
    }
}

/// A run may start from another optimizer's checkpoint: its parameters are taken, its moments are not.
#[test]
fn parameters_are_taken_from_any_optimizers_checkpoint() {
    let specs = all();
    let (lamb, sgd) = (specs.iter().find(|s| s.name == "lamb"), specs.iter().find(|s| s.name == "sgd"));
    let (lamb, sgd) = (lamb.expect("registered"), sgd.expect("registered"));
    for (from, to) in [(lamb, sgd), (sgd, lamb), (lamb, lamb)] {
        let mut source = trainer(from);
        advance(&mut source, 5);
        let mut target = trainer(to);
        target.start_from(&source.checkpoint(), false).unwrap_or_else(|e| panic!("{from} to {to}: {e}"));
        let values = |t: &Trainer| t.parameters().iter().flat_map(|p| p.values.to_vec()).collect::<Vec<f32>>();
        assert!(values(&target) == values(&source), "{from} to {to}");
        let all_states = target.start_from(&source.checkpoint(), true);
        assert_eq!(all_states.is_ok(), from == to, "{from} to {to}");
    }
}
