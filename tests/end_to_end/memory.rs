//! Memory hardly grows with the number of runs.

use crate::support::{Lab, tiny, wait};
use std::fs;
use std::thread;
use std::time::Duration;

/// What one more run may cost, in KiB: its plan, its metrics, its row in the result. Its curves, which are most of its
/// record, would be three times as much.
const KIB_A_RUN: f64 = 24.0;

/// The peak memory of a bench of `seeds` seeds, in KiB, and its runs.
fn peak(seeds: u32) -> (f64, f64) {
    let suite = tiny(400).replace("count: 2", &format!("count: {seeds}")).replace("first: 101", "first: 1001");
    let lab = Lab::with(&suite);
    let mut child = lab.bench_command("store", &["--jobs", "1"]).spawn().expect("preheat starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0;
    while child.try_wait().expect("a child").is_none() {
        // The mark only rises, so the last reading is within milliseconds of the end. A process that is gone has none.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        peak = mark.unwrap_or(peak);
        thread::sleep(Duration::from_millis(2));
    }
    wait(child).exits(3);
    assert!(peak > 0.0, "no mark in {status}");
    (peak, lab.files("store/records", ".record").len() as f64)
}

#[test]
fn a_bench_of_many_runs_needs_hardly_more_memory_than_one_of_few() {
    let (few, many) = (peak(4), peak(124));
    assert_eq!((few.1, many.1), (10.0, 250.0));
    let each = (many.0 - few.0) / (many.1 - few.1);
    assert!(each < KIB_A_RUN, "{each:.1} KiB a run: {} KiB with {} runs, {} KiB with {}", few.0, few.1, many.0, many.1);
}
