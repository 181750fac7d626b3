//! Interrupted, killed, crowded, damaged and unwritable.

use crate::support::{Lab, Said, preheat, said, tiny, wait};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

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
fn an_interrupted_bench_is_75_and_the_line_that_it_prints_goes_on() {
    for signal in ["-INT", "-TERM"] {
        let lab = Lab::with(&tiny(250));
        let stopped = disturbed(&lab, signal);
        stopped.exits(75).says(&["go on with: preheat bench --tier smoke --suites suites --store store"]);
        assert_eq!(stopped.json()["interrupted"], true);
        let line = stopped.stderr.lines().find_map(|line| Some(line.split_once("go on with: ")?.1)).expect("a line");
        // A shell reads it back; `preheat` is the build under test.
        let folder = preheat().parent().expect("a folder");
        let mut shell = lab.command_of(Path::new("sh"), &["-c", line]);
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}:{path}", folder.display()));
        let done = said(shell);
        done.exits(3).says(&["goes on from step"]);
        assert_eq!(done.stdout, undisturbed(250));
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
    older(&records[5], "record");
    let done = lab.bench(&["--format", "json"]);
    done.says(&["truncated"]).says(&["corrupted"]).says(&["not a file of this store"]).says(&["another run"]);
    done.says(&["layout version 0", "trained again"]);
    assert_eq!(done.trained(), 5);
    assert_eq!(done.stdout, clean.stdout);
    assert_eq!(lab.files("store/records", ".bad-1").len(), 5);
    assert_eq!(lab.bench(&[]).trained(), 0);
}

/// The same file as an older program would have sealed it.
fn older(path: &Path, kind: &str) {
    let bytes = fs::read(path).expect("a sealed file");
    let (head, body) = bytes.split_at(bytes.iter().position(|b| *b == b'\n').expect("a header"));
    let head = String::from_utf8(head.to_vec()).expect("UTF-8");
    let edited = head.replacen(&format!("{kind} 1 "), &format!("{kind} 0 "), 1);
    assert_ne!(head, edited);
    fs::write(path, [edited.as_bytes(), body].concat()).expect("writable");
}

#[cfg(unix)]
#[test]
fn damaged_checkpoints_are_set_aside_and_trained_again() {
    // Two stopped benches, so that there is another run's checkpoint too.
    let lab = Lab::with(&tiny(STEPS));
    disturbed(&lab, "-INT").exits(75);
    let mine = lab.files("store/checkpoints", ".checkpoint").remove(0);
    let other = Lab::with(&tiny(STEPS).replace("first: 1,", "first: 11,"));
    disturbed(&other, "-INT").exits(75);
    let foreign = other.files("store/checkpoints", ".checkpoint").remove(0);
    let bytes = fs::read(&mine).expect("a checkpoint");
    let expected = undisturbed(STEPS);
    let damages: [(&str, &dyn Fn()); 4] = [
        ("truncated", &|| fs::write(&mine, &bytes[..bytes.len() / 2]).expect("writable")),
        ("corrupted", &|| {
            let mut flipped = bytes.clone();
            flipped[bytes.len() / 2] ^= 1;
            fs::write(&mine, flipped).expect("writable");
        }),
        ("a checkpoint of another run", &|| {
            fs::copy(&foreign, &mine).expect("writable");
        }),
        ("layout version 0", &|| {
            fs::write(&mine, &bytes).expect("writable");
            older(&mine, "checkpoint");
        }),
    ];
    for (number, (word, damage)) in damages.iter().enumerate() {
        let _ = fs::remove_dir_all(lab.path("store/records"));
        damage();
        let done = lab.bench(&["--format", "json"]);
        done.exits(3).says(&[word, "trained again"]);
        assert!(!done.stderr.contains("goes on from step"), "{word}: {done:#?}");
        assert_eq!(done.stdout, expected, "{word}");
        assert_eq!(lab.files("store/checkpoints", &format!(".bad-{}", number + 1)).len(), 1, "{word}");
    }
}

#[test]
fn a_lock_of_a_dead_process_is_no_obstacle_and_goes() {
    let lab = Lab::new();
    lab.bench(&[]).exits(3);
    let record = lab.files("store/records", ".record").remove(0);
    let name = record.file_stem().and_then(|name| name.to_str()).expect("a name").to_string();
    // One of a run that is finished, and one of a run that is not.
    let finished = lab.files("store/records", ".record").remove(1);
    fs::remove_file(&record).expect("removable");
    for left in [&name, finished.file_stem().and_then(|name| name.to_str()).expect("a name")] {
        lab.write(&format!("store/locks/{left}.lock"), "4194304\n");
    }
    assert_eq!(lab.bench(&[]).exits(3).trained(), 1);
    let left: Vec<_> = lab.files("store/locks", "").into_iter().filter(|p| !p.ends_with("throughput.lock")).collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
}

#[test]
fn times_of_files_decide_nothing() {
    let lab = Lab::new();
    let clean = lab.bench(&["--format", "json"]);
    let (epoch, century) = (SystemTime::UNIX_EPOCH, Duration::from_secs(100 * 365 * 86_400));
    let mut times = [epoch, epoch + century, epoch - century, SystemTime::now() + century].into_iter().cycle();
    let mut set = |folder: &str| {
        for path in lab.files(folder, "") {
            let file = fs::File::options().write(true).open(&path).expect("a file");
            // A file system may not hold a time before its epoch; then that one keeps its own.
            let _ = file.set_modified(times.next().expect("endless"));
        }
    };
    set("store/records");
    let again = lab.bench(&["--format", "json"]);
    assert_eq!((again.trained(), &again.stdout), (0, &clean.stdout));
    fs::remove_file(lab.files("store/records", ".record").remove(0)).expect("removable");
    set("store/records");
    let again = lab.bench(&["--format", "json"]);
    assert_eq!((again.trained(), &again.stdout), (1, &clean.stdout));
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
