//! Parts with a quick trainer.

use super::*;
use crate::lab::carry::Staged;
use crate::lab::trainer::key;
use crate::store::Store;
use crate::store::key::tests::conditions;
use crate::testing::{Fake, Lines, run, still, suite_of};
use preheat_suites::plan::Cell;
use preheat_suites::record::Record;
use preheat_suites::run::{Run, Start};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// One run, and one that starts from its third step.
struct Chain;

impl Chain {
    fn source() -> Run {
        run("source", 8, 1)
    }

    fn child() -> Run {
        Run {
            start: Start::Checkpoint { run: Self::source().id(), step: 3, optimizer_state: false },
            ..run("child", 4, 1)
        }
    }
}

impl Staged for Chain {
    fn stages(&self) -> usize {
        2
    }
    fn stage(&self, index: usize, _: &BTreeMap<RunId, Measured>) -> Result<Vec<Planned>, String> {
        let (run, keep_steps) = if index == 0 { (Self::source(), vec![3]) } else { (Self::child(), vec![]) };
        Ok(vec![Planned { run, cells: self.cells(index), keep_steps }])
    }
    fn ready(&self, index: usize, measured: &BTreeMap<RunId, Measured>) -> Result<Ready, String> {
        Ok(Ready { runs: self.stage(index, measured)?, waiting: vec![] })
    }
    fn cells(&self, index: usize) -> Vec<Cell> {
        let arm = ["source", "child"][index].into();
        vec![Cell { experiment: "e".into(), arm, axes: BTreeMap::new(), seed: 1, selection: false }]
    }
    fn draft(&self, index: usize) -> Result<Vec<Planned>, String> {
        self.stage(index, &BTreeMap::new())
    }
}

/// What the shard does on `store`, and its steps.
fn carry(store: &Store, index: usize) -> (Part, usize) {
    let (fake, stop, lines) = (Fake::default(), AtomicBool::new(false), Lines::default());
    let workers = Workers {
        store,
        work: &fake,
        jobs: 1,
        checkpoint_every: Duration::from_secs(5),
        clock: &still,
        stop: &stop,
        progress: &lines,
        environment: &BTreeMap::new,
        curves: &BTreeSet::new(),
    };
    let suites = [suite_of("s", Chain)];
    let shard = Shard { index, of: 2 };
    let deal = Deal::new(&suites, shard.of, &|run| run.recipe.train.int("steps") as f64).unwrap();
    let part = carry_out(&suites, (shard, &deal), &conditions(), &workers, &fake);
    (part, fake.steps.into_inner())
}

fn fresh() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn counts(part: &Part) -> [usize; 5] {
    [part.runs, part.trained, part.reused, part.waiting, part.failures.len()]
}

#[test]
fn a_run_waits_for_the_checkpoint_of_anothers_run() {
    let (_dir, store) = fresh();
    // The source is the longer: it goes to the first shard, and the child to the other, which has less.
    assert_eq!(counts(&carry(&store, 2).0), [1, 0, 0, 1, 0]);
    let (source, steps) = carry(&store, 1);
    assert_eq!((counts(&source), steps), ([1, 1, 0, 0, 0], 8));
    let (child, steps) = carry(&store, 2);
    assert_eq!((counts(&child), steps), ([1, 1, 0, 0, 0], 4));
    assert_eq!(counts(&carry(&store, 2).0), [1, 0, 1, 0, 0]);
}

#[test]
fn a_record_without_its_checkpoint_is_waited_for_and_made_again_by_its_own_shard() {
    let (dir, store) = fresh();
    carry(&store, 1);
    std::fs::remove_dir_all(dir.path().join("kept")).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(counts(&carry(&store, 2).0), [1, 0, 0, 1, 0]);
    assert_eq!(counts(&carry(&store, 1).0), [1, 1, 0, 0, 0]);
    assert_eq!(counts(&carry(&store, 2).0), [1, 1, 0, 0, 0]);
}

#[test]
fn a_checkpoint_that_never_comes_is_a_failure_and_no_waiting() {
    let (_dir, store) = fresh();
    let (metrics, digest) = (BTreeMap::new(), "d".to_string());
    let outcome = Outcome::Diverged { step: 2 };
    let measured = Measured { outcome, curves: BTreeMap::new(), metrics, digest };
    let record = Record { run: Chain::source(), measured, environment: BTreeMap::new() };
    store.keep(&key(&record.run, &conditions()), &record).unwrap();
    let (part, _) = carry(&store, 2);
    assert_eq!(counts(&part), [1, 0, 0, 0, 1]);
    assert!(part.failures[0].contains("no checkpoint of run"), "{:?}", part.failures);
}
