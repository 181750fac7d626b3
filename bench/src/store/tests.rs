//! The store as a whole.

use super::code_id::{INPUTS, code_id};
use super::key::tests::conditions;
use super::*;
use crate::testing::run;
use preheat_suites::record::{Measured, Outcome};
use std::collections::BTreeMap;
use std::sync::Mutex;

fn fixture() -> (tempfile::TempDir, Store, Key, Record) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let run = run("a", 10, 1);
    let key = Key { run: run.id(), conditions: conditions(), data: "generated".into() };
    let metrics = BTreeMap::from([("loss".to_string(), 0.1 + 0.2), ("bad".to_string(), f64::NEG_INFINITY)]);
    let measured = Measured { outcome: Outcome::Finished, curves: BTreeMap::new(), metrics, digest: "d".into() };
    (dir, store, key, Record { run, measured, environment: BTreeMap::new() })
}

/// What the store gives for the key, and its warnings.
fn read(store: &Store, key: &Key) -> (Option<Record>, Vec<String>) {
    let lines = Mutex::new(Vec::new());
    let found = store.record(key, &|line| lines.lock().unwrap().push(line.to_string()));
    (found, lines.into_inner().unwrap())
}

#[test]
fn a_record_comes_back_equal_and_its_checkpoint_is_gone() {
    let (_dir, store, key, record) = fixture();
    assert_eq!(read(&store, &key), (None, vec![]));
    store.keep_checkpoint(&key, b"half way").unwrap();
    assert_eq!(store.checkpoint(&key, &|_| ()).as_deref(), Some(&b"half way"[..]));
    store.keep(&key, &record).unwrap();
    assert_eq!(read(&store, &key), (Some(record), vec![]));
    assert_eq!(store.checkpoint(&key, &|_| ()), None);
}

#[test]
fn a_run_trained_again_with_other_bits_is_no_new_record() {
    let (_dir, store, key, record) = fixture();
    store.keep(&key, &record).unwrap();
    store.keep(&key, &record).unwrap();
    let elsewhere = Record { environment: BTreeMap::from([("cpu".into(), "another".into())]), ..record.clone() };
    store.keep(&key, &elsewhere).unwrap();
    let mut other = record.clone();
    other.measured.digest = "e".into();
    let why = store.keep(&key, &other).unwrap_err().to_string();
    assert!(why.contains("training is not determined: digest d is kept, e came now"), "{why}");
    assert_eq!(read(&store, &key).0.unwrap().measured.digest, "d");
    // In fast math the bits may depend on the cohort: the first stays.
    let mut fast = key.clone();
    fast.conditions.math = "fast-tf32 cublas-13.0.2".into();
    store.keep(&fast, &record).unwrap();
    store.keep(&fast, &other).unwrap();
    assert_eq!(read(&store, &fast).0.unwrap().measured.digest, "d");
}

#[test]
fn a_damaged_record_is_set_aside_with_one_line() {
    type Damage = fn(&Path, &[u8]);
    let damages: [(&str, Damage); 5] = [
        ("truncated", |path, bytes| fs::write(path, &bytes[..bytes.len() / 2]).unwrap()),
        ("corrupted", |path, bytes| {
            let mut flipped = bytes.to_vec();
            let middle = bytes.len() / 2;
            flipped[middle] ^= 4;
            fs::write(path, flipped).unwrap();
        }),
        ("not a file of this store", |path, _| fs::write(path, "something else\n").unwrap()),
        ("not a file of this store", |path, _| fs::write(path, "").unwrap()),
        ("layout version 0", |path, bytes| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            fs::write(path, text.replacen("record 1", "record 0", 1)).unwrap();
        }),
    ];
    for (word, damage) in damages {
        let (_dir, store, key, record) = fixture();
        store.keep(&key, &record).unwrap();
        let path = store.path("records", &key, RECORD);
        damage(&path, &fs::read(&path).unwrap());
        let (found, lines) = read(&store, &key);
        assert_eq!(found, None, "{word}");
        assert_eq!(lines.len(), 1, "{word}: {lines:?}");
        assert!(lines[0].contains(word), "{lines:?}");
        assert!(path.with_extension("record.bad-1").exists(), "{word}");
        assert!(!path.exists());
        store.keep(&key, &record).unwrap();
        assert_eq!(read(&store, &key).0, Some(record));
    }
}

#[test]
fn a_record_under_another_runs_name_is_foreign() {
    let (_dir, store, key, record) = fixture();
    store.keep(&key, &record).unwrap();
    let other = Key { data: "0123".into(), ..key.clone() };
    fs::rename(store.path("records", &key, RECORD), store.path("records", &other, RECORD)).unwrap();
    let (found, lines) = read(&store, &other);
    assert_eq!(found, None);
    assert!(lines[0].contains("another run"), "{lines:?}");
}

#[test]
fn the_code_id_follows_the_sources_and_not_the_suites() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path();
    for input in INPUTS {
        copy_tree(&root.join(input), &copy.join(input));
    }
    let before = code_id(copy).unwrap();
    assert_eq!(before, code_id(root).unwrap(), "the id does not depend on the place");
    assert_eq!(before, crate::CODE_ID, "the binary was built from these sources");

    fs::write(copy.join("suites/src/new.yaml"), "name: x\n").unwrap();
    assert_eq!(before, code_id(copy).unwrap());

    let edited = copy.join("kernels/src/lib.rs");
    let text = fs::read_to_string(&edited).unwrap();
    let constant = format!("NUMERICS: u32 = {};", preheat_kernels::NUMERICS);
    assert!(text.contains(&constant));
    fs::write(&edited, text.replace(&constant, "NUMERICS: u32 = 12345;")).unwrap();
    assert_ne!(before, code_id(copy).unwrap());
    fs::write(&edited, text).unwrap();
    assert_eq!(before, code_id(copy).unwrap());
    fs::rename(copy.join("suites/src/lib.rs"), copy.join("suites/src/bil.rs")).unwrap();
    assert_ne!(before, code_id(copy).unwrap(), "a moved file is another source");
}

fn copy_tree(from: &Path, to: &Path) {
    if from.is_dir() {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy_tree(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}

#[test]
fn throughput_is_kept_only_when_it_means_something() {
    let (_dir, store, ..) = fixture();
    store.keep_throughput("cpu-scalar", Throughput { flops: 1e9, seconds: 0.5 });
    assert_eq!(store.throughput("cpu-scalar"), None);
    let measured = Throughput { flops: 1e10, seconds: 4.0 };
    store.keep_throughput("cpu-scalar", measured);
    assert_eq!(store.throughput("cpu-scalar"), Some(measured));
    assert_eq!(measured.rate(), 2.5e9);
    fs::write(store.throughput_path("cpu-scalar"), "{").unwrap();
    assert_eq!(store.throughput("cpu-scalar"), None);
}
