//! Interrupted, killed, crowded, damaged and unwritable.

use crate::support::{Lab, Said, said, tiny, wait};
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// What an undisturbed bench of the suite with `steps` steps prints.
fn undisturbed(steps: u32) -> String {
    Lab::with(&tiny(steps)).bench(&["--format", "json"]).exits(3).stdout.clone()
}

/// Starts a bench that checkpoints after every step, and sends `signal` once there is a checkpoint.
fn disturbed(lab: &Lab, signal: &str) -> Said {
    let words = ["--checkpoint-every", "0", "--jobs", "1", "--format", "json"];
    let mut child = lab.bench_command("store", &words).spawn().expect("preheat starts");
    while lab.files("store/checkpoints", ".checkpoint").is_empty() {
        assert!(child.try_wait().expect("a child").is_none(), "the bench ended before its first checkpoint");
        thread::sleep(Duration::from_millis(2));
    }
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    wait(child)
}

/// Long enough that a signal always finds the first of six runs in progress.
const STEPS: u32 = 400;

#[cfg(unix)]
#[test]
fn a_killed_bench_goes_on_with_the_same_bits() {
    let lab = Lab::with(&tiny(STEPS));
    assert_eq!(disturbed(&lab, "-KILL").code, None);
    assert_eq!(lab.files("store/records", ".record").len(), 0, "killed within its first run");
    let done = lab.bench(&["--format", "json"]);
    done.exits(3).says(&["goes on from step"]);
    assert_eq!(done.stdout, undisturbed(STEPS));
    assert_eq!(lab.files("store/checkpoints", "").len(), 0, "finished runs leave no checkpoint");
}

#[cfg(unix)]
#[test]
fn an_interrupted_bench_is_75_and_says_how_to_go_on() {
    for signal in ["-INT", "-TERM"] {
        let lab = Lab::with(&tiny(STEPS));
        let stopped = disturbed(&lab, signal);
        stopped.exits(75).says(&["go on with: preheat bench --tier smoke --suites suites --store store"]);
        assert_eq!(stopped.json()["interrupted"], true);
        let done = lab.bench(&["--format", "json"]);
        done.exits(3).says(&["goes on from step"]);
        assert_eq!(done.stdout, undisturbed(STEPS));
    }
}

#[test]
fn two_benches_on_one_store_train_each_run_once() {
    let lab = Lab::with(&tiny(60));
    let words = ["--format", "json", "--jobs", "2"];
    let children: Vec<_> =
        (0..2).map(|_| lab.bench_command("store", &words).spawn().expect("preheat starts")).collect();
    let done: Vec<Said> = children.into_iter().map(wait).collect();
    assert_eq!(done[0].trained() + done[1].trained(), 6, "{done:#?}");
    assert_eq!(done[0].stdout, done[1].stdout);
    assert_eq!(done[0].stdout, undisturbed(60));
}

#[test]
fn damaged_records_are_set_aside_and_trained_again() {
    let lab = Lab::new();
    let clean = lab.bench(&["--format", "json"]);
    let records = lab.files("store/records", ".record");
    assert_eq!(records.len(), 6);
    let bytes = fs::read(&records[0]).expect("a record");
    fs::write(&records[0], &bytes[..bytes.len() / 2]).expect("writable");
    let mut flipped = fs::read(&records[1]).expect("a record");
    let last = flipped.len() - 20;
    flipped[last] ^= 1;
    fs::write(&records[1], flipped).expect("writable");
    fs::write(&records[2], "another program's file\n").expect("writable");
    fs::copy(&records[4], &records[3]).expect("writable");
    let done = lab.bench(&["--format", "json"]);
    done.says(&["truncated"]).says(&["corrupted"]).says(&["not a file of this store"]).says(&["another run"]);
    assert_eq!(done.trained(), 4);
    assert_eq!(done.stdout, clean.stdout);
    assert_eq!(lab.files("store/records", ".bad-1").len(), 4);
    assert_eq!(lab.bench(&[]).trained(), 0);
}

#[test]
fn a_store_that_cannot_be_written_is_5() {
    let lab = Lab::new();
    lab.write("file", "");
    let done = said(lab.bench_command("file/store", &["--format", "json"]));
    done.exits(5).says(&["file/store"]);
    assert_eq!(done.json()["exit"], 5);
}

#[test]
fn one_record_that_cannot_be_written_fails_one_run_and_keeps_the_others() {
    let lab = Lab::new();
    lab.bench(&[]).exits(3);
    let record = lab.files("store/records", ".record").remove(0);
    fs::remove_file(&record).expect("removable");
    // A folder that is not empty stands where the record belongs: the rename fails, as root too.
    fs::create_dir_all(record.join("in the way")).expect("a folder");
    let done = lab.bench(&["--format", "json"]);
    done.exits(5).says(&["failed: tiny/training/"]).says(&["not compared"]);
    assert_eq!(done.json()["suites"][0]["runs"].as_array().map(Vec::len), Some(5));
    fs::remove_dir_all(&record).expect("removable");
    assert_eq!(lab.bench(&[]).exits(3).trained(), 1);
}
