//! Two stores and what stands in them.

use super::*;
use crate::store::key::Key;
use crate::store::key::tests::conditions;
use crate::testing::run;
use preheat_suites::record::{Measured, Outcome};
use std::sync::Mutex;

struct Two {
    dir: tempfile::TempDir,
    from: Store,
    into: Store,
}

impl Two {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [from, into] = ["from", "into"].map(|name| Store::open(&dir.path().join(name)).unwrap());
        Self { dir, from, into }
    }

    /// What merging says and does.
    fn merge(&self) -> (Merged, Vec<String>) {
        let (mut merged, lines) = (Merged::default(), Mutex::new(Vec::new()));
        merge(&self.from, &self.into, &mut merged, &|line| lines.lock().unwrap().push(line.to_string())).unwrap();
        (merged, lines.into_inner().unwrap())
    }

    fn files(&self, store: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        for folder in ["records", "kept", "locks", "checkpoints"] {
            for entry in fs::read_dir(self.dir.path().join(store).join(folder)).unwrap() {
                let path = entry.unwrap().path();
                found.insert(Path::new(folder).join(path.file_name().unwrap()), fs::read(&path).unwrap());
            }
        }
        found
    }
}

fn key(seed: u64) -> Key {
    Key { run: run("a", 10, seed).id(), conditions: conditions(), data: "generated".into() }
}

fn record(seed: u64, digest: &str, host: &str) -> Record {
    let metrics = BTreeMap::from([("loss".to_string(), f64::NAN)]);
    let measured = Measured { outcome: Outcome::Finished, curves: BTreeMap::new(), metrics, digest: digest.into() };
    Record { run: run("a", 10, seed), measured, environment: BTreeMap::from([("host".to_string(), host.to_string())]) }
}

#[test]
fn records_and_kept_checkpoints_are_copied_once_and_nothing_else_is() {
    let two = Two::new();
    for seed in 1..=3 {
        two.from.keep(&key(seed), &record(seed, "d", "there")).unwrap();
    }
    two.from.keep_for_others(&key(1), 4, b"four").unwrap();
    two.from.keep_for_others(&key(9), 5, b"of a run in progress").unwrap();
    two.from.keep_checkpoint(&key(9), b"in progress").unwrap();
    two.into.keep(&key(3), &record(3, "d", "here")).unwrap();
    let ours = two.files("into");

    let (merged, lines) = two.merge();
    assert_eq!((merged.copied, merged.equal, merged.bad), ([2, 2], [1, 0], 0));
    assert_eq!((merged.conflicts.len(), lines.len(), merged.conditions[&conditions()]), (0, 0, 3));
    let after = two.files("into");
    let record_3 = Path::new("records").join(format!("{}.record", key(3).name()));
    assert_eq!(after[&record_3], ours[&record_3], "an equal record of another machine changes nothing");
    assert_eq!(two.into.record(&key(1), &|_| ()).unwrap().measured.digest, "d");
    assert_eq!(two.into.kept(&key(1), 4, &|_| ()).as_deref(), Some(&b"four"[..]));
    assert_eq!(two.into.checkpoint(&key(9), &|_| ()), None);

    let (again, _) = two.merge();
    assert_eq!((again.copied, again.equal), ([0, 0], [3, 2]));
    assert_eq!(two.files("into"), after);
}

#[test]
fn other_numbers_under_one_key_are_told_with_both_digests_and_nothing_is_overwritten() {
    let two = Two::new();
    two.from.keep(&key(1), &record(1, "theirs", "x")).unwrap();
    two.from.keep_for_others(&key(1), 4, b"four").unwrap();
    two.from.keep(&key(2), &record(2, "good", "x")).unwrap();
    two.into.keep(&key(1), &record(1, "ours", "x")).unwrap();
    two.into.keep_for_others(&key(1), 4, b"vier").unwrap();
    let ours = two.files("into");
    let (merged, _) = two.merge();
    assert_eq!((merged.copied, merged.conflicts.len()), ([1, 0], 2));
    assert!(merged.conflicts.iter().any(|line| line.contains("theirs") && line.contains("ours")), "{merged:?}");
    let after = two.files("into");
    assert!(ours.iter().all(|(path, bytes)| after[path] == *bytes));
    assert_eq!(two.into.record(&key(2), &|_| ()).unwrap().measured.digest, "good");
}

#[test]
fn fast_math_merges_whatever_is_there() {
    let two = Two::new();
    let mut fast = key(1);
    fast.conditions.math = "fast-tf32 cublas-13.0.2".into();
    two.from.keep(&fast, &record(1, "theirs", "x")).unwrap();
    two.from.keep_for_others(&fast, 4, b"four").unwrap();
    two.into.keep(&fast, &record(1, "ours", "x")).unwrap();
    two.into.keep_for_others(&fast, 4, b"vier").unwrap();
    let (merged, _) = two.merge();
    assert_eq!(merged.conflicts, Vec::<String>::new());
    assert_eq!(two.into.record(&fast, &|_| ()).unwrap().measured.digest, "ours");
}

#[test]
fn what_does_not_prove_itself_is_set_aside_on_either_side() {
    let two = Two::new();
    for seed in 1..=3 {
        two.from.keep(&key(seed), &record(seed, "d", "x")).unwrap();
    }
    two.from.keep_for_others(&key(1), 4, b"four").unwrap();
    let path = |store: &Store, seed| store.file("records", &key(seed).name(), RECORD);
    fs::write(path(&two.from, 1), "cut").unwrap();
    fs::rename(path(&two.from, 2), path(&two.from, 7)).unwrap();
    fs::write(path(&two.into, 3), "cut").unwrap();
    fs::write(two.from.file("kept", &format!("{}-5", key(1).name()), CHECKPOINT), "cut").unwrap();
    let (merged, lines) = two.merge();
    assert_eq!((merged.copied, merged.bad, merged.conflicts.len()), ([1, 1], 4, 0), "{lines:?}");
    for words in ["not merged", "another run", "takes its place"] {
        assert!(lines.iter().any(|line| line.contains(words)), "{words}: {lines:?}");
    }
    assert!(path(&two.from, 1).with_extension("record.bad-1").exists());
    assert!(path(&two.into, 3).with_extension("record.bad-1").exists());
    assert_eq!(two.into.record(&key(3), &|_| ()).unwrap().measured.digest, "d");
}

#[test]
fn a_run_in_training_is_waited_for_and_then_compared() {
    let two = Two::new();
    two.from.keep(&key(1), &record(1, "d", "x")).unwrap();
    two.from.keep(&key(2), &record(2, "d", "x")).unwrap();
    let lock = two.into.lock(&key(1)).unwrap().expect("free");
    let (merged, lines) = std::thread::scope(|scope| {
        let merging = scope.spawn(|| two.merge());
        // The other run does not wait.
        while two.into.record(&key(2), &|_| ()).is_none() {
            thread::yield_now();
        }
        assert!(!merging.is_finished() && two.into.record(&key(1), &|_| ()).is_none());
        two.into.keep(&key(1), &record(1, "d", "trained here")).unwrap();
        lock.remove();
        merging.join().unwrap()
    });
    assert_eq!((merged.copied, merged.equal, lines.len()), ([1, 0], [1, 0], 1), "{lines:?}");
    assert!(!two.files("into").keys().any(|path| path.starts_with("locks")));
}

#[test]
fn a_store_merged_into_itself_stays_as_it_is() {
    let two = Two::new();
    two.into.keep(&key(1), &record(1, "d", "x")).unwrap();
    two.into.keep_for_others(&key(1), 4, b"four").unwrap();
    let before = two.files("into");
    let itself = Two { from: two.into.clone(), ..two };
    let (merged, lines) = itself.merge();
    assert_eq!((merged.copied, merged.equal, lines.len()), ([0, 0], [1, 1], 0));
    assert_eq!(itself.files("into"), before);
}
