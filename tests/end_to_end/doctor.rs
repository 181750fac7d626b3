//! `preheat doctor`: what it finds, and whether `bench` can run.

use crate::support::{Lab, Said, said};
use serde_json::Value;

fn doctor(lab: &Lab, words: &[&str]) -> Said {
    let own = ["doctor", "--suites", "suites", "--store", "store", "--golden", "golden"];
    said(lab.command(&[&own, words].concat()))
}

/// The finding of `part` called `what`.
fn finding<'r>(report: &'r Value, part: &str, what: &str) -> &'r Value {
    let all = report["findings"].as_array().expect("findings");
    all.iter().find(|f| f["part"] == part && f["what"] == what).unwrap_or_else(|| panic!("{part} {what}: {report:#}"))
}

/// Whether `command` is ready.
fn ready(report: &Value, command: &str) -> bool {
    let all = report["commands"].as_array().expect("commands");
    let found = all.iter().find(|c| c["command"] == command).unwrap_or_else(|| panic!("{command}: {report:#}"));
    assert_eq!(found["ready"], found["missing"].as_array().expect("a list").is_empty());
    found["ready"].as_bool().expect("true or false")
}

#[test]
fn a_machine_that_can_bench_is_0() {
    let lab = Lab::new();
    let table = doctor(&lab, &[]);
    assert!(table.exits(0).stdout.contains("what is missing"), "{table:#?}");
    assert!(!lab.path("store").exists(), "looking makes nothing");
    lab.bench(&["--seeds", "1"]).exits(0);
    std::fs::write(lab.path("store/records/x.record.bad-1"), "").expect("a writable file");
    let done = doctor(&lab, &["--format", "json"]);
    let report = done.exits(0).json();
    assert_eq!(report["exit"], 0);
    assert!(ready(&report, "bench") && ready(&report, "export") && !ready(&report, "bench --device cuda"));
    assert!(!ready(&report, "report"), "nothing was accepted here");
    assert_eq!(finding(&report, "store", "records")["found"], "4");
    assert_eq!(finding(&report, "store", "files set aside")["found"], "1");
    assert_eq!(finding(&report, "data", "suites")["found"], "tiny");
    let scalar = finding(&report, "simd", "scalar");
    assert!(scalar["found"].as_str().is_some_and(|x| x.ends_with("GFLOP/s a core")), "{scalar}");
}

#[test]
fn what_keeps_bench_from_running_is_5() {
    let lab = Lab::new();
    lab.write("cake", "");
    let taken = said(lab.command(&["doctor", "--suites", "suites", "--store", "cake/store", "--format", "json"]));
    let report = taken.exits(5).json();
    assert_eq!((&report["exit"], &finding(&report, "store", "writable")["state"]), (&5.into(), &"bad".into()));
    assert!(!ready(&report, "bench") && ready(&report, "export"));

    let mut command = lab.command(&["doctor", "--suites", "suites", "--store", "store", "--format", "json"]);
    command.env("PREHEAT_SIMD", "mmx");
    let unknown = said(command);
    assert_eq!(finding(&unknown.exits(5).json(), "simd", "chosen")["state"], "bad");

    lab.write("suites/tiny.yaml", "suite: tiny\n");
    let report = doctor(&lab, &["--format", "json"]);
    assert_eq!(finding(&report.exits(5).json(), "data", "suites")["state"], "bad");
}

#[test]
fn a_data_file_that_is_not_there_is_named() {
    let suite = crate::support::tiny(4);
    let text = format!("text: {{path: no/book.txt, sha256: \"{}\", seq: 8}}", "0f".repeat(32));
    let lab = Lab::with(&suite.replace("language: {vocab: 16, seq: 8}", &text));
    let report = doctor(&lab, &["--format", "json"]);
    let report = report.exits(0).json();
    let files = finding(&report, "data", "files");
    assert!(files["found"].as_str().is_some_and(|x| x.contains("no/book.txt")), "{files}");
    assert!(!ready(&report, "suites on data files") && ready(&report, "bench"));
}
