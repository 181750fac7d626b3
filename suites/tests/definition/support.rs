//! Small tables and a small suite, so that these tests stand still while the real tables grow.

use preheat_kernels::graph::{ShapeError, Update};
use preheat_suites::definition::{Registry, Suite, parse};
use preheat_suites::models::{Built, Model, Shape};
use preheat_suites::optimizers::Optimizer;
use preheat_suites::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};
use preheat_suites::schedules::Schedule;
use preheat_suites::tasks::{Corpus, Task, TaskBuilder};

const fn def(name: &'static str, kind: ParamKind, default: Preset) -> ParamDef {
    ParamDef { name, doc: "a parameter", kind, default }
}

const SIZE: ParamKind = ParamKind::Int { min: 1, max: 1024 };
const RATE: ParamKind = ParamKind::Real { min: 0.0, max: 10.0 };

struct Stack {
    layers: u64,
}

impl Model for Stack {
    fn parameters(&self, vocab: usize, seq: usize) -> u64 {
        self.layers * (vocab * seq) as u64
    }
    fn step_flops(&self, batch: usize, vocab: usize, seq: usize) -> f64 {
        (self.layers as usize * batch * vocab * seq) as f64
    }
    fn build(&self, _: &Shape) -> Result<Built, ShapeError> {
        unreachable!("nothing is trained here")
    }
}

static MODELS: &[Entry<Box<dyn Model>>] = &[
    Entry {
        name: "transformer",
        doc: "a stack with heads",
        params: &[
            def("layers", SIZE, Preset::Int(2)),
            def("width", SIZE, Preset::Required),
            def("heads", SIZE, Preset::Int(1)),
            def("norm", ParamKind::Choice(&["pre-ln", "post-ln"]), Preset::Text("pre-ln")),
            def("tied", ParamKind::Flag, Preset::Flag(false)),
        ],
        build: |p: &Params| match (p.int("width"), p.int("heads")) {
            (w, h) if w % h != 0 => {
                let wrong = format!("{w} is not divisible by heads {h}; allowed: multiples of {h}");
                Err(Invalid::new("width", wrong))
            }
            _ => Ok(Box::new(Stack { layers: p.int("layers") as u64 })),
        },
    },
    Entry {
        name: "mlp",
        doc: "a stack without",
        params: &[def("layers", SIZE, Preset::Int(1))],
        build: |p: &Params| Ok(Box::new(Stack { layers: p.int("layers") as u64 })),
    },
];

struct Words;

impl TaskBuilder for Words {
    fn open(&self, _: &dyn Corpus, _: usize) -> Result<Box<dyn Task>, Invalid> {
        unreachable!("nothing is trained here")
    }
}

static TASKS: &[Entry<Box<dyn TaskBuilder>>] = &[Entry {
    name: "language",
    doc: "words",
    params: &[def("vocab", SIZE, Preset::Int(64)), def("path", ParamKind::Text, Preset::Text("none"))],
    build: |_| Ok(Box::new(Words)),
}];

struct Plain;

impl Optimizer for Plain {
    fn update(&self) -> Update {
        unreachable!("nothing is trained here")
    }
    fn write_scalars(&self, _: u64, _: f64, _: &mut Vec<f64>) {
        unreachable!("nothing is trained here")
    }
}

const fn optimizer(name: &'static str, params: &'static [ParamDef]) -> Entry<Box<dyn Optimizer>> {
    Entry { name, doc: "an optimizer", params, build: |_| Ok(Box::new(Plain)) }
}

static OPTIMIZERS: &[Entry<Box<dyn Optimizer>>] = &[
    optimizer("sgd", &[]),
    optimizer("radam", &[def("beta2", ParamKind::Real { min: 0.0, max: 1.0 }, Preset::Real(0.999))]),
    optimizer("adam", &[def("beta2", ParamKind::Real { min: 0.0, max: 1.0 }, Preset::Real(0.999))]),
];

struct Linear {
    warmup_steps: u64,
}

impl Schedule for Linear {
    fn lr(&self, _: u64, _: u64) -> f64 {
        unreachable!("nothing is trained here")
    }
    fn warmup_steps(&self) -> u64 {
        self.warmup_steps
    }
}

static SCHEDULES: &[Entry<Box<dyn Schedule>>] = &[Entry {
    name: "linear",
    doc: "a warm-up",
    params: &[
        def("peak_lr", RATE, Preset::Required),
        def("warmup_steps", ParamKind::Int { min: 0, max: 1_000_000 }, Preset::Int(0)),
    ],
    build: |p: &Params| Ok(Box::new(Linear { warmup_steps: p.int("warmup_steps") as u64 })),
}];

/// The tables of these tests.
pub(crate) fn registry() -> Registry {
    let train = preheat_suites::train::PARAMS;
    Registry { models: MODELS, tasks: TASKS, optimizers: OPTIMIZERS, schedules: SCHEDULES, train }
}

/// A suite that holds. Tests replace one piece of it.
pub(crate) const SUITE: &str = r#"suite: small
title: A small suite
paper: {key: nobody2020, authors: Nobody, year: 2020}
experiments:
  - id: training
    about: two arms
    recipe:
      model: {transformer: {width: 32, heads: 4}}
      task: {language: {}}
      optimizer: {adam: {}}
      schedule: {linear: {peak_lr: 3e-3}}
      train: {batch: 8, steps: 100, eval_sequences: 16}
    arms:
      plain: {}
      warm: {schedule: {linear: {warmup_steps: 10}}}
    grid: {schedule.peak_lr: [1e-3, 1, 3e-3]}
    seeds: {first: 1, count: 2}
    selection_seeds: {first: 101, count: 2}
    tiers:
      smoke: {train: {steps: 4}, arms: [plain], grid: {schedule.peak_lr: [3e-3]}}
      quick: {}
claims:
  - id: warm-is-better
    paper_claim: Z1
    sentence: With warm-up the loss is smaller.
    place: Section 1
    paper_number: "-0.1"
    tiers: [quick]
    kind:
      difference:
        metric: val_loss
        of: {experiment: training, arm: warm}
        minus: {experiment: training, arm: plain, axes: {schedule.peak_lr: 1}}
        at: each-best
    expect: {below: 0.0}
"#;

/// [`SUITE`] with `from` replaced by `to`; `from` must stand in it once.
pub(crate) fn with(from: &str, to: &str) -> String {
    assert_eq!(SUITE.matches(from).count(), 1, "{from:?} must stand in the suite once");
    SUITE.replace(from, to)
}

/// The suite in `yaml`, which must hold.
pub(crate) fn suite(yaml: &str) -> Suite {
    parse("suites/small.yaml", yaml.as_bytes(), &registry()).unwrap_or_else(|e| panic!("{e}"))
}

/// Asserts that `yaml` is answered with exactly this line.
#[track_caller]
pub(crate) fn check(yaml: impl AsRef<[u8]>, line: &str) {
    match parse("suites/small.yaml", yaml.as_ref(), &registry()) {
        Ok(_) => panic!("accepted, expected: {line}"),
        Err(e) => assert_eq!(e.to_string(), line),
    }
}
