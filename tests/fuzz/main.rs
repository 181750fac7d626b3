//! The corpus that fuzzing found goes through the same functions in every test run, without a fuzzer.

mod targets;

use std::fs;
use std::path::{Path, PathBuf};
use targets::{TARGETS, Target, run, seeds, trainer};

/// What the corpus may hold at most: it is a test's data, not a fuzzer's memory.
const MAX_FILES: usize = 200;
const MAX_BYTES: usize = 300_000;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

/// The corpus of one target, sorted by name.
fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = corpus().join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(&path).expect("a readable file"))).collect()
}

/// Runs every input; a panic names its file.
fn replay(target: &str, run: Target) {
    let inputs = inputs(target);
    assert!(!inputs.is_empty(), "{target} has a corpus");
    for (path, bytes) in inputs {
        let done = std::panic::catch_unwind(|| run(&bytes));
        assert!(done.is_ok(), "{} breaks its reader", path.display());
    }
}

#[test]
fn every_input_of_the_corpus_is_read_or_refused() {
    for (target, run) in TARGETS {
        replay(target, *run);
        seeds(target).iter().for_each(|seed| run(seed));
    }
}

/// With `UPDATE_SEEDS=1` the seeds are written into the corpus, for a fuzzer to start from.
#[test]
fn the_seeds_are_accepted() {
    let seeded = |target: &str| seeds(target).remove(0);
    trainer().restore(&seeded("checkpoint")).expect("a checkpoint");
    trainer().start_from(&seeded("checkpoint"), true).expect("a start");
    let (key, record) = preheat_bench::store::parse_record(&seeded("record")).expect("a record");
    assert_eq!((key.run, record.run), (run().id(), run()));
    if std::env::var_os("UPDATE_SEEDS").is_some() {
        for (target, _) in TARGETS {
            for (i, seed) in seeds(target).iter().enumerate() {
                fs::write(corpus().join(target).join(format!("seed-{i}")), seed).expect("a writable corpus");
            }
        }
    }
}

#[test]
fn the_corpus_is_small_and_has_no_folder_without_a_target() {
    let mut folders: Vec<String> = fs::read_dir(corpus())
        .expect("a corpus")
        .map(|entry| entry.expect("a readable folder").file_name().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    assert_eq!(folders, TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    let all: Vec<_> = folders.iter().flat_map(|target| inputs(target)).collect();
    let bytes: usize = all.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(all.len() < MAX_FILES && bytes < MAX_BYTES, "{} files, {bytes} bytes", all.len());
}
