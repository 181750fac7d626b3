//! A training step allocates nothing, evaluation included: counted by a counting allocator.

use preheat_kernels::cpu::{Cpu, Simd};
use preheat_suites::claims::Tier;
use preheat_suites::definition::{self, Registry};
use preheat_suites::optimizers::OPTIMIZERS;
use preheat_suites::plan::{Plan, PlanOptions};
use preheat_suites::registry::{Invalid, build};
use preheat_suites::run::{Run, Start};
use preheat_suites::tasks::{Corpus, TASKS};
use preheat_suites::train::Trainer;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: forwards to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|c| c.set(c.get() + 1));
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct NoFiles;

impl Corpus for NoFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, Invalid> {
        Err(Invalid::new("path", format!("{path}: the test has no files")))
    }
}

/// Trains a run to its end; the steps after the first, which must allocate nothing.
fn steps_without_allocation(run: &Run) -> usize {
    let builder = build("task", TASKS, &run.recipe.task).unwrap();
    let task = Arc::from(builder.open(&NoFiles, run.recipe.train.size("eval_sequences")).unwrap());
    let mut trainer = Trainer::new(run, task, Cpu::new(Simd::detect())).unwrap();
    // The first step sizes the thread's packing buffer and the optimizer's scalars.
    trainer.advance();
    let (before, mut steps) = (COUNT.with(Cell::get), 0);
    while !trainer.is_done() {
        trainer.advance();
        steps += 1;
    }
    assert_eq!(COUNT.with(Cell::get) - before, 0, "{}", run.canonical());
    steps
}

#[test]
fn a_step_of_every_optimizer_allocates_nothing() {
    for entry in OPTIMIZERS {
        let yaml = format!(
            "model: {{transformer: {{layers: 2, width: 12, heads: 3}}}}\n\
             task: {{language: {{vocab: 17, seq: 7}}}}\n\
             optimizer: {{{}: {{weight_decay: 0.1}}}}\n\
             schedule: {{constant: {{peak_lr: 1e-3}}}}\n\
             train: {{batch: 3, steps: 6, eval_sequences: 6, eval_every: 2, clip: 0.1}}\n",
            entry.name
        );
        let recipe = definition::parse_recipe("", &yaml, &Registry::builtin()).unwrap();
        let run = Run { recipe, seed: 1, data_seed: 1, start: Start::Fresh };
        assert_eq!(steps_without_allocation(&run), 5, "{}", entry.name);
    }
}

#[test]
fn a_step_allocates_nothing() {
    let registry = Registry::builtin();
    for (name, text) in preheat_suites::builtin() {
        let suite = definition::parse(name, text.as_bytes(), &registry).unwrap();
        let plan = Plan::new(&suite, Tier::Smoke, &PlanOptions::default()).unwrap();
        let mut steps = 0;
        for planned in plan.resolve_stage(0, &BTreeMap::new()).unwrap() {
            steps += steps_without_allocation(&planned.run);
        }
        assert!(steps > 0, "{name} trains in its smoke tier");
    }
}
