//! Clocks that jump by hours, back and forward, at every reading.

use crate::support::{Lab, said, tiny, wait};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

/// Takes the place of the system's clocks in a process: every reading is hours away from the one before. The numbers are
/// Linux's own of `clock_gettime`.
const JUMPING: &str = r#"
use std::sync::atomic::{AtomicUsize, Ordering};
unsafe extern "C" { fn syscall(number: i64, ...) -> i64; }
const NUMBER: i64 = if cfg!(target_arch = "x86_64") { 228 } else { 113 };
const HOURS: [i64; 4] = [27, 22, 31, 19];
static READINGS: AtomicUsize = AtomicUsize::new(0);
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: i32, out: *mut [i64; 2]) -> i32 {
    let done = unsafe { syscall(NUMBER, clock, out) } as i32;
    let wall_or_monotonic = matches!(clock, 0 | 1);
    if done == 0 && wall_or_monotonic {
        unsafe { (*out)[0] += 3600 * HOURS[READINGS.fetch_add(1, Ordering::Relaxed) % 4] };
    }
    done
}
"#;

/// The library that does so, built in the lab's folder.
fn jumping(lab: &Lab) -> PathBuf {
    lab.write("jumping.rs", JUMPING);
    let library = lab.path("libjumping.so");
    let rustc = Path::new(env!("CARGO")).with_file_name("rustc");
    let mut build = Command::new(if rustc.exists() { rustc } else { "rustc".into() });
    build.args(["--edition", "2024", "--crate-type", "cdylib", "-C", "panic=abort", "-o"]);
    let built = build.arg(&library).arg(lab.path("jumping.rs")).output().expect("rustc runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    library
}

/// All records with the time of their writing.
fn records(lab: &Lab) -> Vec<(PathBuf, std::time::SystemTime)> {
    let time = |path: PathBuf| {
        let written = fs::metadata(&path).and_then(|meta| meta.modified()).expect("a time");
        (path, written)
    };
    lab.files("store/records", ".record").into_iter().map(time).collect()
}

#[test]
fn a_bench_under_clocks_that_jump_loses_nothing_and_trains_nothing_twice() {
    let steps = 300;
    let lab = Lab::with(&tiny(steps));
    let library = jumping(&lab);
    let bench = || {
        let words = ["--checkpoint-every", "3600", "--jobs", "1", "--format", "json"];
        let mut command = lab.bench_command("store", &words);
        command.env("LD_PRELOAD", &library);
        command
    };
    let mut killed = bench().spawn().expect("preheat starts");
    // An hour does not pass here, so a checkpoint shows that the clocks jump.
    while records(&lab).len() < 2 || lab.files("store/checkpoints", ".checkpoint").is_empty() {
        assert!(killed.try_wait().expect("a child").is_none(), "the bench ended without a checkpoint");
        thread::sleep(Duration::from_millis(1));
    }
    killed.kill().expect("it runs");
    wait(killed);
    let before = records(&lab);
    let done = said(bench());
    done.exits(3).says(&["goes on from step"]);
    assert_eq!(done.trained() as usize, 6 - before.len());
    assert_eq!(done.stdout, Lab::with(&tiny(steps)).bench(&["--format", "json"]).stdout);
    let after = records(&lab);
    assert!(before.iter().all(|record| after.contains(record)), "no record is written twice");
    assert_eq!((said(bench()).trained(), records(&lab)), (0, after));
}
