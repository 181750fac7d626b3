//! Runs that start from another's checkpoint: what they take, and that the bits go on.

use preheat_kernels::cpu::{Cpu, Simd};
use preheat_suites::definition::{Registry, parse_recipe};
use preheat_suites::record::Measured;
use preheat_suites::registry::{Invalid, build};
use preheat_suites::run::{Recipe, Run, Start};
use preheat_suites::tasks::{Corpus, NamedSet, TASKS, Task, Validation};
use preheat_suites::train::Trainer;
use std::sync::Arc;

struct NoFiles;

impl Corpus for NoFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, Invalid> {
        Err(Invalid::new("path", format!("{path}: the test has no files")))
    }
}

/// A task whose batches begin later.
struct Later(Arc<dyn Task>, u64);

impl Task for Later {
    fn vocab(&self) -> usize {
        self.0.vocab()
    }
    fn seq(&self) -> usize {
        self.0.seq()
    }
    fn batch(&self, data_seed: u64, step: u64, inputs: &mut [u32], targets: &mut [u32]) {
        self.0.batch(data_seed, step + self.1, inputs, targets);
    }
    fn validation(&self) -> &Validation {
        self.0.validation()
    }
    fn named_sets(&self) -> &[NamedSet] {
        self.0.named_sets()
    }
}

const STEPS: i64 = 9;
const CHANGE: i64 = 4;

fn recipe(optimizer: &str, steps: i64) -> Recipe {
    let text = format!(
        "{{model: {{transformer: {{layers: 1, width: 8, heads: 2}}}}, task: {{language-pair: {{vocab: 16, seq: 8, shift: 0.5, train_on: downstream}}}}, optimizer: {optimizer}, schedule: {{constant: {{peak_lr: 1e-2}}}}, train: {{steps: {steps}, batch: 2, eval_every: 2, eval_sequences: 4, clip: 1.0}}}}"
    );
    parse_recipe("test", &text, &Registry::builtin()).unwrap_or_else(|e| panic!("{e}"))
}

fn trainer(recipe: Recipe, start: Start, later: i64) -> Trainer {
    let builder = build("task", TASKS, &recipe.task).unwrap();
    let task: Arc<dyn Task> = Arc::from(builder.open(&NoFiles, 4).unwrap());
    let run = Run { recipe, seed: 3, data_seed: 3, start };
    Trainer::new(&run, Arc::new(Later(task, later as u64)), Cpu::new(Simd::detect())).unwrap()
}

fn whole(optimizer: &str) -> (Measured, Vec<u8>, Run) {
    let mut whole = trainer(recipe(optimizer, STEPS), Start::Fresh, 0);
    let mut checkpoint = Vec::new();
    while !whole.is_done() {
        whole.advance();
        if whole.step() == CHANGE as u64 {
            checkpoint = whole.checkpoint();
        }
    }
    let run = Run { recipe: recipe(optimizer, STEPS), seed: 3, data_seed: 3, start: Start::Fresh };
    (whole.finish(), checkpoint, run)
}

fn onward(optimizer: &str, from: &(Measured, Vec<u8>, Run), kept: bool) -> Trainer {
    let start = Start::Checkpoint { run: from.2.id(), step: CHANGE as u64, optimizer_state: kept };
    let mut next = trainer(recipe(optimizer, STEPS - CHANGE), start, CHANGE);
    next.start_from(&from.1, kept).unwrap();
    next
}

fn finish(mut trainer: Trainer) -> Measured {
    while !trainer.is_done() {
        trainer.advance();
    }
    trainer.finish()
}

fn values(measured: &Measured, curve: &str) -> Vec<(u64, f64)> {
    measured.curves[curve].iter().map(|p| (p.step, p.value.unwrap())).collect()
}

#[test]
fn with_the_optimizers_state_the_same_bits_go_on() {
    for optimizer in ["{adamw: {}}", "{sgd: {momentum: 0.9}}"] {
        let first = whole(optimizer);
        let kept = finish(onward(optimizer, &first, true));
        for curve in ["train_loss", "grad_norm"] {
            let later: Vec<f64> = values(&first.0, curve).into_iter().skip(CHANGE as usize).map(|p| p.1).collect();
            let found: Vec<f64> = values(&kept, curve).into_iter().map(|p| p.1).collect();
            assert_eq!(found, later, "{optimizer} {curve}");
        }
        assert_eq!(kept.metrics, first.0.metrics, "{optimizer}");
        // Without it the first loss is the same, and what follows the first update is not.
        let reset = values(&finish(onward(optimizer, &first, false)), "train_loss");
        let kept = values(&kept, "train_loss");
        assert_eq!(reset[0], kept[0], "{optimizer}");
        assert!(reset[1..].iter().zip(&kept[1..]).all(|(a, b)| a != b), "{optimizer}");
    }
}

#[test]
fn the_start_stands_in_the_curves_at_step_0() {
    let first = whole("{adamw: {}}");
    let next = finish(onward("{adamw: {}}", &first, false));
    for curve in ["val_loss", "upstream_val_loss", "downstream_val_loss"] {
        let before = values(&first.0, curve).into_iter().find(|(step, _)| *step == CHANGE as u64).unwrap();
        let found = values(&next, curve);
        assert_eq!(found[0], (0, before.1), "{curve}");
        assert_eq!(found.iter().map(|p| p.0).collect::<Vec<_>>(), [0, 2, 4, 5], "{curve}");
        assert_eq!(values(&first.0, curve)[0].0, 2, "a fresh run has none");
    }
    // The set that is trained on is the task's own; the other is not.
    assert_eq!(next.curves["downstream_val_loss"], next.curves["val_loss"]);
    assert!(next.curves["upstream_val_loss"].iter().zip(&next.curves["val_loss"]).all(|(a, b)| a.value != b.value));
    assert_eq!(next.metrics["downstream_val_loss"], next.metrics["val_loss"]);
    assert_eq!(next.metrics["upstream_val_loss"], next.curves["upstream_val_loss"][3].value.unwrap());
    assert_eq!(next.curves["param_norm"][0].step, 2);
}

#[test]
fn a_run_that_goes_on_can_be_stopped_and_started_from_itself() {
    let first = whole("{adamw: {}}");
    let expected = finish(onward("{adamw: {}}", &first, true));
    let mut stopped = onward("{adamw: {}}", &first, true);
    stopped.advance();
    stopped.advance();
    let bytes = stopped.checkpoint();
    // As a lab goes on: without the run's start again.
    let start = Start::Checkpoint { run: first.2.id(), step: CHANGE as u64, optimizer_state: true };
    let mut resumed = trainer(recipe("{adamw: {}}", STEPS - CHANGE), start, CHANGE);
    resumed.restore(&bytes).unwrap();
    assert_eq!(resumed.optimizer_steps(), CHANGE as u64);
    assert_eq!(finish(resumed), expected);
    // The optimizer's steps add up over two starts.
    let run = Start::Checkpoint { run: first.2.id(), step: 2, optimizer_state: true };
    let mut third = trainer(recipe("{adamw: {}}", 3), run, CHANGE + 2);
    third.start_from(&bytes, true).unwrap();
    assert_eq!(third.optimizer_steps(), CHANGE as u64 + 2);
    let ends: Vec<f64> = values(&expected, "train_loss").into_iter().skip(2).map(|p| p.1).collect();
    assert_eq!(values(&finish(third), "train_loss").into_iter().map(|p| p.1).collect::<Vec<_>>(), ends);
}

#[test]
fn states_are_seen_by_parameter_and_do_not_fit_another_optimizer() {
    let first = whole("{adamw: {}}");
    let next = onward("{adamw: {}}", &first, true);
    let states = next.optimizer_states();
    assert_eq!((states.len(), states[0].len()), (2, next.parameters().len()));
    for (state, param) in states[1].iter().zip(next.parameters()) {
        assert_eq!((state.name, state.shape), (param.name, param.shape));
        // A second moment.
        assert!(state.values.iter().all(|v| *v >= 0.0) && state.values.iter().any(|v| *v > 0.0), "{}", state.name);
    }
    let fresh = onward("{adamw: {}}", &first, false);
    assert!(fresh.optimizer_states().iter().flatten().all(|s| s.values.iter().all(|v| *v == 0.0)));
    assert_eq!(fresh.optimizer_steps(), 0);
    // A count that could overflow is refused. The head grows by 15 digits; its length stands before it.
    let mut bytes = first.1[..8].to_vec();
    let len = u64::from_le_bytes(first.1[8..16].try_into().unwrap());
    bytes.extend((len + 15).to_le_bytes());
    let at = first.1.windows(17).position(|w| w == b"\"optimizer_steps\"").expect("the count") + 18;
    assert_eq!(first.1[at], b'0');
    bytes.extend(&first.1[16..at]);
    bytes.extend(b"9007199254740993");
    bytes.extend(&first.1[at + 1..]);
    let refused = onward("{adamw: {}}", &first, true).start_from(&bytes, true).unwrap_err();
    assert!(refused.contains("more steps"), "{refused}");
    let start = Start::Checkpoint { run: first.2.id(), step: CHANGE as u64, optimizer_state: true };
    let mut other = trainer(recipe("{sgd: {momentum: 0.9}}", 3), start, 0);
    assert!(other.start_from(&first.1, true).is_err());
    let ids: Vec<_> = [true, false]
        .map(|optimizer_state| Start::Checkpoint { run: first.2.id(), step: 4, optimizer_state })
        .map(|start| Run { start, ..first.2.clone() }.id())
        .into();
    assert_ne!(ids[0], ids[1]);
}
