//! Workers with a quick trainer and planted faults.

use super::*;
use crate::store::key::tests::conditions;
use crate::testing::{Fake, Lines, run, still};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

fn job(name: &str, steps: i64, seed: u64) -> Job {
    let run = run(name, steps, seed);
    let key = Key { run: run.id(), conditions: conditions(), data: "generated".into() };
    let label = format!("{name} seed {seed}");
    Job { label, key, run, step_flops: 1.0, keep_steps: vec![], start: None }
}

/// Carries out `jobs` with `fake` on a store, with a checkpoint before every step.
fn carry(store: &Store, fake: &Fake, jobs: Vec<Job>, threads: usize, stop: &AtomicBool) -> (Carried, Vec<String>) {
    carry_by(store, fake, jobs, threads, stop, (&still, Duration::ZERO))
}

/// The same by another clock and another time between checkpoints.
fn carry_by(
    store: &Store,
    fake: &Fake,
    jobs: Vec<Job>,
    threads: usize,
    stop: &AtomicBool,
    (clock, checkpoint_every): (&(dyn Fn() -> Duration + Sync), Duration),
) -> (Carried, Vec<String>) {
    let lines = Lines::default();
    let workers = Workers {
        store,
        work: fake,
        jobs: threads,
        checkpoint_every,
        clock,
        stop,
        progress: &lines,
        environment: &BTreeMap::new,
        curves: &BTreeSet::new(),
    };
    let carried = workers.carry_out(jobs);
    (carried, lines.0.into_inner().unwrap())
}

static GO: AtomicBool = AtomicBool::new(false);

fn digests(carried: &Carried) -> BTreeMap<RunId, String> {
    carried.measured.iter().map(|(id, m)| (id.clone(), m.digest.clone())).collect()
}

fn fresh() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

#[test]
fn results_do_not_depend_on_threads_or_order_and_are_reused() {
    let jobs = || (1..=7).map(|seed| job("a", 11, seed)).collect::<Vec<_>>();
    let (_a, one) = fresh();
    let (alone, _) = carry(&one, &Fake::default(), jobs(), 1, &GO);
    let (_b, many) = fresh();
    let (crowd, _) = carry(&many, &Fake::default(), jobs().into_iter().rev().collect(), 5, &GO);
    assert_eq!(digests(&alone), digests(&crowd));
    assert_eq!((alone.trained, crowd.trained), (7, 7));

    let fake = Fake::default();
    let (again, _) = carry(&one, &fake, jobs(), 2, &GO);
    assert_eq!((again.trained, fake.steps.into_inner()), (0, 0));
    assert_eq!(digests(&again), digests(&alone));
}

#[test]
fn a_panic_or_a_refusal_fails_one_run_and_keeps_the_others() {
    let (_dir, store) = fresh();
    let jobs = vec![job("a", 5, 1), job("panic@2", 5, 2), job("refuse", 5, 3), job("b", 5, 4)];
    let (carried, lines) = carry(&store, &Fake::default(), jobs, 2, &GO);
    assert_eq!((carried.trained, carried.failures.len(), carried.interrupted), (2, 2, false));
    let mut lines = lines;
    lines.sort();
    assert_eq!(
        lines,
        ["panic@2 seed 2: panicked: planted at step 2", "refuse seed 3: model.heads: 3 does not divide the width 8"]
    );
}

#[test]
fn cohorts_have_the_results_of_runs_alone() {
    let jobs = || (1..=7).map(|seed| job("a", 5 + i64::from(seed as u32 % 3), seed)).collect::<Vec<_>>();
    let (_a, one) = fresh();
    let (alone, _) = carry(&one, &Fake::default(), jobs(), 1, &GO);
    let (_b, store) = fresh();
    let fake = Fake { cohort: 3, ..Fake::default() };
    let (together, lines) = carry(&store, &fake, jobs(), 2, &GO);
    assert_eq!((digests(&together), together.trained, lines), (digests(&alone), 7, vec![]));
    assert_eq!(fake.steps.into_inner(), 5 * 2 + 6 * 3 + 7 * 2);
}

#[test]
fn a_cohort_with_a_bad_run_loses_that_run_alone() {
    let (_a, clean) = fresh();
    let good = || (1..=6).map(|seed| job("a", 5, seed)).collect::<Vec<_>>();
    let (alone, _) = carry(&clean, &Fake::default(), good(), 1, &GO);
    let (_dir, store) = fresh();
    let mut jobs = good();
    jobs.insert(2, job("panic@2", 5, 7));
    jobs.insert(5, job("refuse", 5, 8));
    let (carried, mut lines) = carry(&store, &Fake { cohort: 8, ..Fake::default() }, jobs, 1, &GO);
    assert_eq!((digests(&carried), carried.trained, carried.failures.len()), (digests(&alone), 6, 2));
    lines.sort();
    let (halved, lines): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.contains(" runs together, "));
    assert!(halved.iter().any(|line| line.starts_with("8 runs together, a seed 1 first: ")), "{halved:?}");
    assert!(halved.len() > 3 && halved.iter().all(|line| line.ends_with("; each half is tried alone")), "{halved:?}");
    assert_eq!(
        lines,
        ["panic@2 seed 7: panicked: planted at step 2", "refuse seed 8: model.heads: 3 does not divide the width 8"]
    );
}

#[test]
fn a_lost_device_ends_training_at_once_and_nothing_is_lost() {
    let jobs = || {
        let long = (1..=3).map(|seed| job("b", 20, seed));
        long.chain((1..=6).map(|seed| job("a", 5, seed))).collect::<Vec<_>>()
    };
    let (_a, clean) = fresh();
    let (whole, _) = carry(&clean, &Fake::default(), jobs(), 1, &GO);
    for (threads, cohort) in [(1, 1), (1, 3), (2, 3)] {
        let (dir, store) = fresh();
        // Some are finished before.
        carry(&store, &Fake::default(), jobs().split_off(6), 1, &GO);
        let fake = Fake { cohort, lost_at: Some(7), ..Fake::default() };
        let (lost, lines) = carry(&store, &fake, jobs(), threads, &GO);
        assert_eq!((lost.failures.len(), lost.interrupted, lines), (0, false, vec![]), "{threads} {cohort}");
        assert!(lost.measured.len() >= 3, "finished runs are kept");
        let halt = lost.halt.expect("it is told");
        let more = if cohort == 1 { "" } else { " and 2 more" };
        let told = |of: &str| halt == Halt::Device(format!("{of} seed 1{more}: the GPU is lost: planted"));
        // Of two threads either may be the first to say so.
        assert!(told("b") || threads > 1 && told("a"), "{halt}");
        assert!(halt.told().ends_with("finished runs are kept; go on with"), "{}", halt.told());
        assert!(fake.steps.into_inner() <= 7 * cohort + 5 * 3, "no further run was begun");
        // A process that meets a lost device sets no checkpoint aside.
        let gone = Fake { cohort, lost: AtomicBool::new(true), ..Fake::default() };
        let (again, lines) = carry(&store, &gone, jobs(), threads, &GO);
        assert_eq!((again.trained, lines, again.halt.is_some()), (0, vec![], true));
        let (rest, lines) = carry(&store, &Fake { cohort, ..Fake::default() }, jobs(), 1, &GO);
        assert_eq!((digests(&rest), lines), (digests(&whole), vec![]));
        let aside = |folder: &str| std::fs::read_dir(dir.path().join(folder)).unwrap().count();
        assert_eq!(aside("checkpoints"), 0, "each was gone on from, and is done");
    }
}

#[test]
fn a_device_that_fails_while_it_restores_leaves_the_checkpoint_be() {
    let (_a, clean) = fresh();
    let (whole, _) = carry(&clean, &Fake::default(), vec![job("a", 20, 1)], 1, &GO);
    let (_b, store) = fresh();
    store.keep_checkpoint(&job("a", 20, 1).key, &state(&job("a", 20, 1), 12)).unwrap();
    let full = Fake { restores_nothing: true, ..Fake::default() };
    let (failed, lines) = carry(&store, &full, vec![job("a", 20, 1)], 1, &GO);
    assert_eq!((failed.failures.len(), lines), (1, vec!["a seed 1: out of device memory".to_string()]));
    let fake = Fake::default();
    let (rest, _) = carry(&store, &fake, vec![job("a", 20, 1)], 1, &GO);
    assert_eq!((digests(&rest), fake.steps.into_inner()), (digests(&whole), 8), "only the rest is trained");
}

#[test]
fn a_stopped_cohort_goes_on_run_by_run_and_the_other_way_round() {
    let jobs = || (1..=3).map(|seed| job("a", 20, seed)).collect::<Vec<_>>();
    let (_a, clean) = fresh();
    let (whole, _) = carry(&clean, &Fake::default(), jobs(), 1, &GO);
    for (first, then) in [(3, 1), (1, 3), (3, 2)] {
        let (_b, store) = fresh();
        let stop = Arc::new(AtomicBool::new(false));
        let raise = Arc::clone(&stop);
        let before_step: Box<dyn Fn(u64) + Send + Sync> =
            Box::new(move |step| raise.store(step == 7, Ordering::SeqCst));
        let fake = Fake { before_step: Some(before_step), cohort: first, ..Fake::default() };
        let (half, _) = carry(&store, &fake, jobs(), 1, &stop);
        assert!(half.interrupted && half.measured.is_empty());
        assert_eq!(fake.steps.into_inner(), 8 * first);
        let fake = Fake { cohort: then, ..Fake::default() };
        let (rest, lines) = carry(&store, &fake, jobs(), 1, &GO);
        assert_eq!((digests(&rest), fake.steps.into_inner()), (digests(&whole), 60 - 8 * first), "{first} {then}");
        assert_eq!(lines, Vec::<String>::new());
    }
}

#[test]
fn a_damaged_checkpoint_costs_only_its_own_run_of_a_cohort() {
    let jobs = || (1..=3).map(|seed| job("a", 20, seed)).collect::<Vec<_>>();
    let (_a, clean) = fresh();
    let (whole, _) = carry(&clean, &Fake::default(), jobs(), 1, &GO);
    let (_b, store) = fresh();
    for (i, job) in jobs().iter().enumerate() {
        // Run 2's is sealed and yet no checkpoint.
        let bytes = if i == 1 { b"short".to_vec() } else { state(job, 10) };
        store.keep_checkpoint(&job.key, &bytes).unwrap();
    }
    let fake = Fake { cohort: 3, ..Fake::default() };
    let (carried, lines) = carry(&store, &fake, jobs(), 1, &GO);
    assert_eq!((digests(&carried), fake.steps.into_inner()), (digests(&whole), 10 + 20 + 10));
    assert!(lines.len() == 1 && lines[0].contains("short"), "{lines:?}");
}

/// A quick run's checkpoint after `steps` steps.
fn state(job: &Job, steps: u64) -> Vec<u8> {
    let step = |sum: u64, step: u64| sum.wrapping_mul(6364136223846793005).wrapping_add(step);
    let sum = (1..=steps).fold(job.run.seed, step);
    [steps.to_le_bytes(), sum.to_le_bytes()].concat()
}

#[test]
fn a_stopped_run_goes_on_from_its_checkpoint_with_the_same_bits() {
    let (_a, clean) = fresh();
    let (whole, _) = carry(&clean, &Fake::default(), vec![job("a", 20, 1)], 1, &GO);

    let (_b, store) = fresh();
    let stop = Arc::new(AtomicBool::new(false));
    let raise = Arc::clone(&stop);
    let fake =
        Fake { before_step: Some(Box::new(move |step| raise.store(step == 7, Ordering::SeqCst))), ..Fake::default() };
    let (half, _) = carry(&store, &fake, vec![job("a", 20, 1)], 1, &stop);
    assert!(half.interrupted && half.measured.is_empty());
    assert_eq!(fake.steps.into_inner(), 8, "the step is finished, then the run stops");

    let fake = Fake::default();
    let (rest, lines) = carry(&store, &fake, vec![job("a", 20, 1)], 1, &GO);
    assert_eq!(fake.steps.into_inner(), 12, "only the rest is trained");
    assert_eq!(digests(&rest), digests(&whole));
    assert_eq!(lines, Vec::<String>::new());
}

#[test]
fn a_crash_costs_only_the_steps_since_the_last_checkpoint() {
    let (_a, clean) = fresh();
    let (whole, _) = carry(&clean, &Fake::default(), vec![job("panic@9", 9, 1)], 1, &GO);
    let (_b, store) = fresh();
    // The fault is of this process, not of the run: the next process gets past it.
    let fake = Fake { before_step: Some(Box::new(|step| assert!(step != 6, "crash"))), ..Fake::default() };
    let (crashed, _) = carry(&store, &fake, vec![job("panic@9", 9, 1)], 1, &GO);
    assert_eq!(crashed.failures.len(), 1);
    let fake = Fake::default();
    let (rest, _) = carry(&store, &fake, vec![job("panic@9", 9, 1)], 1, &GO);
    assert_eq!(fake.steps.into_inner(), 3);
    assert_eq!(digests(&rest), digests(&whole));
}

#[test]
fn a_checkpoint_that_the_trainer_refuses_is_set_aside() {
    let (dir, store) = fresh();
    let job_a = job("a", 5, 1);
    store.keep_checkpoint(&job_a.key, b"bad").unwrap();
    let (carried, lines) = carry(&store, &Fake::default(), vec![job_a.clone()], 1, &GO);
    assert_eq!(carried.trained, 1);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(dir.path().join(format!("checkpoints/{}.checkpoint.bad-1", job_a.key.name())).exists());
}

#[test]
fn two_benches_on_one_store_train_each_run_once() {
    let (_dir, store) = fresh();
    let steps = Arc::new(AtomicUsize::new(0));
    let one = |threads: usize| {
        let counter = Arc::clone(&steps);
        let slow = move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(1));
        };
        let fake = Fake { before_step: Some(Box::new(slow)), ..Fake::default() };
        let jobs = (1..=6).map(|seed| job("a", 20, seed)).collect();
        carry(&store, &fake, jobs, threads, &GO).0
    };
    let (a, b) = thread::scope(|scope| {
        let a = scope.spawn(|| one(2));
        let b = scope.spawn(|| one(3));
        (a.join().unwrap(), b.join().unwrap())
    });
    assert_eq!(steps.load(Ordering::SeqCst), 120);
    assert_eq!(a.trained + b.trained, 6);
    assert_eq!((digests(&a).len(), digests(&b).len()), (6, 6));
    assert_eq!(digests(&a), digests(&b));
}

#[test]
fn a_run_that_another_bench_trains_is_waited_for_unless_stopped() {
    let (_dir, store) = fresh();
    let held = job("a", 5, 1);
    let lock = store.lock(&held.key).unwrap().expect("free");
    let stop = AtomicBool::new(false);
    let carried = thread::scope(|scope| {
        let waiting = scope.spawn(|| carry(&store, &Fake::default(), vec![held.clone()], 1, &stop).0);
        thread::sleep(POLL);
        stop.store(true, Ordering::SeqCst);
        waiting.join().unwrap()
    });
    assert!(carried.interrupted && carried.measured.is_empty());
    drop(lock);
}

#[test]
fn a_run_starts_from_anothers_kept_checkpoint_and_a_lost_one_is_made_again() {
    let (dir, store) = fresh();
    let source = Job { keep_steps: vec![3], ..job("a", 8, 1) };
    let child = Job { start: Some((source.key.clone(), 3)), ..job("b", 4, 1) };
    let (early, lines) = carry(&store, &Fake::default(), vec![child.clone()], 1, &GO);
    assert!(early.measured.is_empty() && lines[0].contains("no checkpoint of run"), "{lines:?}");

    let (first, _) = carry(&store, &Fake::default(), vec![source.clone()], 1, &GO);
    let (second, _) = carry(&store, &Fake::default(), vec![child.clone()], 1, &GO);
    assert_eq!((first.trained, second.trained), (1, 1));
    // Three steps of `a` and four of `b` are another sum than four of `b` alone.
    let (_other, elsewhere) = fresh();
    let (alone, _) = carry(&elsewhere, &Fake::default(), vec![job("b", 4, 1)], 1, &GO);
    assert_ne!(digests(&second), digests(&alone));

    std::fs::remove_dir_all(dir.path().join("kept")).unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (again, _) = carry(&store, &Fake::default(), vec![source], 1, &GO);
    assert_eq!((again.trained, digests(&again)), (1, digests(&first)));
}

#[test]
fn a_clock_that_jumps_changes_no_number_and_only_hastens_checkpoints() {
    let (_a, clean) = fresh();
    let (whole, _) = carry(&clean, &Fake::default(), vec![job("a", 20, 1)], 1, &GO);
    const YEAR: u64 = 365 * 86_400;
    // Forward by a year, back by two, still; each reading is the next of these.
    let jumps: [(&str, &[u64], u64); 3] =
        [("forward", &[YEAR, 2 * YEAR, 3 * YEAR], 6), ("back", &[2 * YEAR, YEAR, 0], 6), ("still", &[YEAR], 0)];
    for (name, readings, resumed_from) in jumps {
        let (_b, store) = fresh();
        let reading = AtomicUsize::new(0);
        let clock = || {
            let at = reading.fetch_add(1, Ordering::SeqCst);
            Duration::from_secs(readings[at % readings.len()])
        };
        let crash = Fake { before_step: Some(Box::new(|step| assert!(step != 6, "crash"))), ..Fake::default() };
        let by = (&clock as &(dyn Fn() -> Duration + Sync), Duration::from_secs(3600));
        let (crashed, _) = carry_by(&store, &crash, vec![job("a", 20, 1)], 1, &GO, by);
        assert_eq!(crashed.failures.len(), 1, "{name}");
        assert!(crashed.throughput.seconds >= 0.0, "{name}");
        let fake = Fake::default();
        let (rest, _) = carry_by(&store, &fake, vec![job("a", 20, 1)], 1, &GO, by);
        assert_eq!(fake.steps.into_inner() as u64, 20 - resumed_from, "{name}");
        assert_eq!(digests(&rest), digests(&whole), "{name}");
    }
}

#[test]
fn a_finished_run_tidies_what_a_kill_left() {
    let (dir, store) = fresh();
    let job = job("a", 5, 1);
    carry(&store, &Fake::default(), vec![job.clone()], 1, &GO);
    let name = job.key.name();
    let left = ["checkpoints/K.checkpoint", "checkpoints/K.checkpoint.tmp", "records/K.record.tmp", "locks/K.lock"];
    let left = left.map(|path| dir.path().join(path.replace('K', &name)));
    let leave = || left.iter().for_each(|path| std::fs::write(path, "left").unwrap());
    leave();
    // Who holds the lock may still need them.
    let held = store.lock(&job.key).unwrap().expect("free");
    carry(&store, &Fake::default(), vec![job.clone()], 1, &GO);
    assert!(left.iter().all(|path| path.exists()));
    drop(held);
    let (carried, lines) = carry(&store, &Fake::default(), vec![job], 1, &GO);
    assert_eq!((carried.trained, carried.measured.len(), lines), (0, 1, vec![]));
    assert_eq!(left.iter().filter(|path| path.exists()).count(), 0);
}

#[test]
fn a_foreign_checkpoint_is_set_aside_and_its_run_is_trained_again() {
    let (_a, clean) = fresh();
    let (whole, _) = carry(&clean, &Fake::default(), vec![job("a", 8, 1), job("a", 8, 2)], 1, &GO);
    let (dir, store) = fresh();
    let (mine, other) = (job("a", 8, 1), job("a", 8, 2));
    // A checkpoint of another run and a kept one of another step stand under this run's names.
    store.keep_checkpoint(&other.key, &[3_u64.to_le_bytes(), 71_u64.to_le_bytes()].concat()).unwrap();
    let file = |folder: &str, name: String| dir.path().join(folder).join(format!("{name}.checkpoint"));
    let ours = |key: &Key| file("checkpoints", key.name());
    std::fs::rename(ours(&other.key), ours(&mine.key)).unwrap();
    let (carried, lines) = carry(&store, &Fake::default(), vec![mine.clone(), other], 1, &GO);
    assert_eq!(digests(&carried), digests(&whole));
    assert!(lines.len() == 1 && lines[0].contains("a checkpoint of another run"), "{lines:?}");

    let kept = |step: u64| file("kept", format!("{}-{step}", mine.key.name()));
    store.keep_for_others(&mine.key, 4, b"four").unwrap();
    std::fs::rename(kept(4), kept(5)).unwrap();
    let lines = Lines::default();
    assert_eq!(store.kept(&mine.key, 5, &|line| lines.warn(line)), None);
    assert_eq!(lines.0.into_inner().unwrap().len(), 1);
}
