//! A training step allocates nothing, evaluation included: counted by a counting allocator.

use preheat_kernels::cpu::{Cpu, Simd};
use preheat_suites::claims::Tier;
use preheat_suites::definition::{self, Registry};
use preheat_suites::plan::{Plan, PlanOptions};
use preheat_suites::registry::{Invalid, build};
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

#[test]
fn a_step_allocates_nothing() {
    let registry = Registry::builtin();
    for (name, text) in preheat_suites::builtin() {
        let suite = definition::parse(name, text.as_bytes(), &registry).unwrap();
        let plan = Plan::new(&suite, Tier::Smoke, &PlanOptions::default()).unwrap();
        let mut steps = 0;
        for planned in plan.resolve_stage(0, &BTreeMap::new()).unwrap() {
            let recipe = &planned.run.recipe;
            let builder = build("task", TASKS, &recipe.task).unwrap();
            let task = Arc::from(builder.open(&NoFiles, recipe.train.size("eval_sequences")).unwrap());
            let mut trainer = Trainer::new(&planned.run, task, Cpu::new(Simd::detect())).unwrap();
            // The first step sizes the thread's packing buffer and the optimizer's scalars.
            trainer.advance();
            let before = COUNT.with(Cell::get);
            while !trainer.is_done() {
                trainer.advance();
                steps += 1;
            }
            assert_eq!(COUNT.with(Cell::get) - before, 0, "{}", planned.run.canonical());
        }
        assert!(steps > 0, "{name} trains in its smoke tier");
    }
}
