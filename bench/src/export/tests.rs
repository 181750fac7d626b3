//! A small suite of two stages in a folder of its own.

use super::*;
use crate::exit::{Exit, Failure};
use crate::lab::trainer::{Trainers, key};
use crate::lab::{Options, load};
use crate::store::Store;
use crate::store::key::tests::conditions;
use preheat_kernels::cpu::{Cpu, Simd};
use preheat_suites::claims::Tier;
use preheat_suites::record::{Measured, Record};
use safetensors::SafeTensors;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;

const SUITE: &str = "\
suite: pair
title: A pair
paper: {key: nobody2026, authors: Nobody, year: 2026}
experiments:
  - id: training
    about: two rates
    recipe:
      model: {transformer: {layers: 1, width: 6, heads: 3}}
      task: {language: {vocab: 13, seq: 7}}
      optimizer: {sgd: {}}
      schedule: {linear: {peak_lr: 0.1, warmup_steps: 2}}
      train: {steps: 5, batch: 3, eval_sequences: 6}
    arms:
      pre: {}
      post: {model: {transformer: {norm: post-ln}}}
    grid: {schedule.peak_lr: [0.1, 0.3]}
    seeds: {first: 1, count: 2}
    tiers: {smoke: {}}
  - id: best
    about: the better rate again, from the other's checkpoint
    recipe:
      model: {transformer: {layers: 1, width: 6, heads: 3}}
      task: {language: {vocab: 13, seq: 7}}
      optimizer: {adam: {}}
      schedule: {constant: {peak_lr: 0.1}}
      train: {steps: 4, batch: 3, eval_sequences: 6}
    arms: {again: {}}
    take: {schedule.peak_lr: {best_of: {experiment: training, arm: pre, metric: val_loss}}}
    seeds: {first: 1, count: 1}
    tiers: {smoke: {}}
";

struct Lab {
    dir: tempfile::TempDir,
    store: Store,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("pair.yaml"), SUITE).unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn candidates(&self) -> Candidates {
        let options = Options {
            suites: Vec::new(),
            suites_dir: Some(self.dir.path().to_path_buf()),
            tier: Tier::Smoke,
            jobs: None,
            store: self.path("store"),
            checkpoint_every: Duration::ZERO,
            filter: Vec::new(),
            seeds: None,
            task: None,
        };
        Candidates::of(&load::plans(&options).unwrap(), &self.store, &conditions())
    }
}

fn wanted(words: &[&str]) -> Wanted {
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    Wanted::new(&words, None).unwrap()
}

#[track_caller]
fn refused(candidates: &Candidates, words: &[&str], exit: Exit, says: &[&str]) {
    let Err(Failure { exit: found, message }) = candidates.choose(&wanted(words)) else { panic!("{words:?}") };
    assert_eq!(found, exit, "{message}");
    assert!(says.iter().all(|word| message.contains(word)) && !message.contains('\n'), "{message}");
}

#[test]
fn a_run_has_many_names_and_each_names_one() {
    let all = Lab::new().candidates();
    assert_eq!((all.known.len(), all.waiting.len()), (8, 1));
    let run = all.choose(&wanted(&["pair/training/post", "peak_lr=3e-1", "seed=2"])).unwrap();
    let id = run.run.id().0;
    for words in [
        &[id.as_str()][..],
        &[&id[..12]],
        &[&id[..12], "seed=2"],
        &["training/post", "schedule.peak_lr=0.3", "seed=2"],
        &["post", "peak_lr=0.3", "seed=2"],
    ] {
        assert_eq!(all.choose(&wanted(words)).unwrap().run.id().0, id, "{words:?}");
    }
    let (suite, cell) = &run.cells[0];
    let words = label(suite, cell);
    assert_eq!(words, "pair/training/post schedule.peak_lr=0.3 seed=2");
    assert_eq!(all.choose(&wanted(&words.split(' ').collect::<Vec<_>>())).unwrap().run.id().0, id);
    let by_flag = Wanted::new(&["post".into(), "peak_lr=0.3".into()], Some(2)).unwrap();
    assert_eq!(all.choose(&by_flag).unwrap().run.id().0, id);

    refused(&all, &["post"], Exit::Usage, &["4 runs", "--seed", "pair/training/post schedule.peak_lr=0.1 seed=1"]);
    refused(&all, &["training/pots", "seed=1"], Exit::Usage, &["near it: pair/training/post"]);
    // A part of a name is no name.
    refused(&all, &["ost", "peak_lr=0.3", "seed=2"], Exit::Usage, &["near it"]);
    refused(&all, &["post", "seed=9"], Exit::Usage, &["no run post seed=9"]);
    refused(&all, &["0123abc"], Exit::Usage, &["no run 0123abc", "seed="]);
    refused(&all, &[&id[..12], "seed=1"], Exit::Usage, &["no run"]);
    refused(&all, &["best/again"], Exit::Failed, &["not in the store", "run `bench pair` first"]);
    assert_eq!(Wanted::new(&["post".into(), "odd".into()], None).unwrap_err().exit, Exit::Usage);
    assert!(Wanted::new(&[], None).is_err() && Wanted::new(&["post".into(), "=1".into()], None).is_err());
}

#[test]
fn a_later_stage_is_known_by_the_records_of_the_earlier_one() {
    let lab = Lab::new();
    for candidate in lab.candidates().known {
        let lr = candidate.run.recipe.schedule.params.real("peak_lr");
        let metrics = [("val_loss".to_string(), 1.0 - lr)].into();
        let measured = Measured { outcome: Outcome::Finished, curves: BTreeMap::new(), metrics, digest: String::new() };
        let record = Record { run: candidate.run.clone(), measured, environment: BTreeMap::new() };
        lab.store.keep(&key(&candidate.run, &conditions()), &record).unwrap();
    }
    let all = lab.candidates();
    let again = all.choose(&wanted(&["again"])).unwrap();
    assert_eq!(again.run.recipe.schedule.params.real("peak_lr"), 0.3);
    assert_eq!(all.by_id(&again.run.id()), Some(&again.run));
}

fn json(folder: &Path, name: &str) -> Value {
    serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap()
}

/// Every tensor: name, shape, bytes.
fn tensors(folder: &Path, name: &str) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    let bytes = fs::read(folder.join(name)).unwrap();
    let all = SafeTensors::deserialize(&bytes).unwrap();
    all.iter().map(|(name, view)| (name.to_string(), (view.shape().to_vec(), view.data().to_vec()))).collect()
}

fn reals(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.chunks_exact(4).map(|x| f32::from_le_bytes([x[0], x[1], x[2], x[3]]))
}

#[test]
fn files_hold_what_the_run_starts_with_and_what_it_computes() {
    let lab = Lab::new();
    let trainers = Trainers::new(Cpu::new(Simd::detect()));
    let run = lab.candidates().choose(&wanted(&["post", "peak_lr=0.3", "seed=2"])).unwrap().run.clone();
    let task = trainers.task(&run).unwrap();
    let out = lab.path("out");
    let folder = Folder::open(&out).unwrap();
    let cells = ["here".to_string()];
    write(&folder, &cells, &run, &*task, trainers.trainer(&run, None).unwrap(), 1).unwrap();

    let fresh = trainers.trainer(&run, None).unwrap();
    let (params, last) = (tensors(&out, "params.safetensors"), tensors(&out, "final.safetensors"));
    let gradients = tensors(&out, "gradients.safetensors");
    assert_eq!(params.len(), fresh.parameters().len());
    let lr = json(&out, "recipe.json")["host"][0]["lr"].as_f64().unwrap();
    assert_eq!(lr.to_bits(), (0.3_f64 * 0.5).to_bits());
    for Named { name, shape, values } in fresh.parameters() {
        let (found, bytes) = &params[name];
        assert_eq!(found, shape, "{name}");
        assert!(reals(bytes).map(f32::to_bits).eq(values.iter().map(|x| x.to_bits())), "{name}");
        // Without momentum and clipping the step is this alone.
        let stepped = values.iter().zip(reals(&gradients[name].1)).map(|(p, g)| (-lr as f32).mul_add(g, *p));
        assert!(reals(&last[name].1).eq(stepped), "{name}");
    }
    assert!(reals(&gradients["tok_emb"].1).any(|g| g != 0.0));

    let tokens = tensors(&out, "tokens.safetensors");
    let (mut inputs, mut targets) = (vec![0; 21], vec![0; 21]);
    task.batch(run.data_seed, 0, &mut inputs, &mut targets);
    let flat = |tokens: &[u32]| tokens.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(tokens["inputs"], (vec![1, 3, 7], flat(&inputs)));
    assert_eq!(tokens["targets"], (vec![1, 3, 7], flat(&targets)));
    assert_eq!(tokens["eval.inputs"], (vec![6, 7], flat(&task.validation().inputs)));
    assert_eq!(tokens["eval.targets"], (vec![6, 7], flat(&task.validation().targets)));

    let expected = json(&out, "expected.json");
    assert_eq!(
        (&expected["outcome"], &expected["digest"], &expected["steps"]),
        (&Value::Null, &Value::Null, &1.into())
    );
    assert_eq!(expected["run"], run.id().0.as_str());

    // The whole run into the same folder: it ends as the lab's own training does.
    write(&Folder::open(&out).unwrap(), &cells, &run, &*task, trainers.trainer(&run, None).unwrap(), 5).unwrap();
    let mut whole = trainers.trainer(&run, None).unwrap();
    while whole.advance() == Progress::Running {}
    let measured = whole.finish();
    let expected = json(&out, "expected.json");
    assert_eq!((&expected["outcome"], &expected["digest"]), (&"finished".into(), &measured.digest.as_str().into()));
    assert_eq!(expected["eval_loss"].as_f64(), measured.curves["val_loss"][0].value);
    for curve in ["train_loss", "grad_norm"] {
        let found: Vec<Option<f64>> = expected[curve].as_array().unwrap().iter().map(Value::as_f64).collect();
        assert_eq!(found, values(&measured.curves[curve]), "{curve}");
    }
    let rates: Vec<Option<f64>> =
        json(&out, "recipe.json")["host"].as_array().unwrap().iter().map(|x| x["lr"].as_f64()).collect();
    assert_eq!(rates, values(&measured.curves["lr"]));
}

#[test]
fn a_run_without_steps_has_the_gradient_of_its_first_validation_batch() {
    let lab = Lab::new();
    let trainers = Trainers::new(Cpu::new(Simd::detect()));
    let mut run = lab.candidates().known[0].run.clone();
    run.recipe.train.0.insert("steps".into(), preheat_suites::registry::Scalar::Int(0));
    let task = trainers.task(&run).unwrap();
    let out = lab.path("out");
    let trainer = trainers.trainer(&run, None).unwrap();
    write(&Folder::open(&out).unwrap(), &[], &run, &*task, trainer, 0).unwrap();
    assert_eq!(tensors(&out, "tokens.safetensors")["inputs"], (vec![0, 3, 7], Vec::new()));
    assert_eq!(tensors(&out, "params.safetensors"), tensors(&out, "final.safetensors"));
    assert!(tensors(&out, "gradients.safetensors").values().any(|(_, bytes)| reals(bytes).any(|g| g != 0.0)));
    let expected = json(&out, "expected.json");
    let measured = trainers.trainer(&run, None).unwrap().finish();
    assert_eq!(expected["digest"], measured.digest.as_str());
    assert_eq!(expected["eval_loss"].as_f64(), Some(measured.metrics["init.val_loss"]));
}

/// A run with this optimizer, after three steps.
fn three_steps(lab: &Lab, trainers: &Trainers, optimizer: &str) -> (Run, Trainer) {
    let mut run = lab.candidates().known[0].run.clone();
    run.recipe.optimizer = preheat_suites::definition::parse_recipe(
        "test",
        &format!("{{model: {{layer-norm: {{width: 3}}}}, task: {{language: {{}}}}, optimizer: {{{optimizer}: {{}}}}, schedule: {{constant: {{peak_lr: 1}}}}, train: {{steps: 1, batch: 1, eval_sequences: 1}}}}"),
        &preheat_suites::definition::Registry::builtin(),
    )
    .unwrap()
    .optimizer;
    let mut trainer = trainers.trainer(&run, None).unwrap();
    for _ in 0..3 {
        trainer.advance();
    }
    (run, trainer)
}

#[test]
fn a_run_that_keeps_an_optimizers_state_has_it_in_a_file_and_counts_on() {
    let lab = Lab::new();
    let trainers = Trainers::new(Cpu::new(Simd::detect()));
    let (first, trainer) = three_steps(&lab, &trainers, "adam");
    let checkpoint = trainer.checkpoint();
    let names = ["expected.json", "final.safetensors", "gradients.safetensors", "optimizer.safetensors"];
    for (optimizer_state, before) in [(true, 3), (false, 0)] {
        let start = preheat_suites::run::Start::Checkpoint { run: first.id(), step: 3, optimizer_state };
        let run = Run { start, ..first.clone() };
        let out = lab.path(&format!("kept-{optimizer_state}"));
        let next = trainers.trainer(&run, Some(&checkpoint)).unwrap();
        write(&Folder::open(&out).unwrap(), &[], &run, &*trainers.task(&run).unwrap(), next, 2).unwrap();
        let recipe = json(&out, "recipe.json");
        assert_eq!(recipe["optimizer_steps"], before);
        // 1 − β2^t.
        let correction = (1.0 - power(0.999, before + 1)).sqrt();
        let found = recipe["host"][0]["scalars"]["root_correction2"].as_f64().unwrap();
        assert!((found - correction).abs() < 1e-12, "{found} {correction}");
        assert_eq!(names.map(|name| out.join(name).exists()), [true, true, true, optimizer_state]);
        if optimizer_state {
            let states = tensors(&out, "optimizer.safetensors");
            assert_eq!(states.len(), 2 * trainer.parameters().len());
            for (number, state) in trainer.optimizer_states().iter().enumerate() {
                for Named { name, shape, values } in state {
                    let (found, bytes) = &states[&format!("{number}.{name}")];
                    assert!(found == shape && reals(bytes).eq(values.iter().copied()), "{number}.{name}");
                }
            }
        }
    }
}

#[test]
fn the_state_of_an_optimizer_of_stages_has_its_moments() {
    let lab = Lab::new();
    let trainers = Trainers::new(Cpu::new(Simd::detect()));
    let (first, trainer) = three_steps(&lab, &trainers, "novograd");
    let start = preheat_suites::run::Start::Checkpoint { run: first.id(), step: 3, optimizer_state: true };
    let run = Run { start, ..first.clone() };
    let next = trainers.trainer(&run, Some(&trainer.checkpoint())).unwrap();
    let out = lab.path("kept");
    write(&Folder::open(&out).unwrap(), &[], &run, &*trainers.task(&run).unwrap(), next, 2).unwrap();
    let states = tensors(&out, "optimizer.safetensors");
    let moments = trainer.optimizer_moments();
    assert_eq!((states.len(), moments.len()), (moments.len(), 2 * trainer.parameters().len()));
    for Named { name, shape, values } in moments {
        let (found, bytes) = &states[name];
        assert!(found == shape && reals(bytes).eq(values.iter().copied()), "{name}");
        assert!(values.iter().any(|x| *x != 0.0), "{name}");
    }
}

/// A small whole power, by products.
fn power(x: f64, n: i32) -> f64 {
    (0..n).fold(1.0, |product, _| product * x)
}

#[test]
fn a_folder_of_other_things_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("a/b");
    Folder::open(&place).unwrap();
    Folder::open(&place).unwrap();
    fs::write(place.join("recipe.json"), "{\"cake\": 1}").unwrap();
    assert_eq!(Folder::open(&place).unwrap_err().exit, Exit::Usage);
    fs::write(place.join("recipe.json"), "{\"preheat_export\": 1}").unwrap();
    Folder::open(&place).unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for taken in [file.clone(), file.join("below")] {
        assert_eq!(Folder::open(&taken).unwrap_err().exit, Exit::Failed, "{}", taken.display());
    }
}
