//! Accepting, and what a red golden says.

use crate::support::{Lab, said};
use serde_json::Value;

const JSON: &str = "golden/exact/tiny.smoke.json";

/// A lab whose golden was accepted.
fn accepted() -> Lab {
    let lab = Lab::new();
    lab.bench(&[]).exits(3).says(&["no golden for tiny.smoke"]);
    lab.accept().exits(0);
    lab
}

/// The lab's answer after `edit` of what was accepted.
fn after(edit: impl FnOnce(&mut Value)) -> (Lab, crate::support::Said) {
    let lab = accepted();
    let mut golden: Value = serde_json::from_str(&lab.read(JSON)).expect("golden is JSON");
    edit(&mut golden);
    lab.write(JSON, &golden.to_string());
    let done = lab.bench(&["--format", "json"]);
    (lab, done)
}

#[test]
fn what_was_accepted_is_green_and_stays_in_every_form() {
    let lab = accepted();
    let done = lab.bench(&[]);
    done.exits(0).says(&["as golden"]);
    let snapshot = lab.read("golden/exact/tiny.smoke.snap");
    let published = snapshot.splitn(3, "---\n").nth(2).expect("insta's header");
    assert_eq!(published, done.stdout, "the published table is what the bench prints to a pipe");
    let begun: Value = serde_json::from_str(&lab.read("golden/fast/tiny.smoke.json")).expect("beginnings are JSON");
    let runs = begun["runs"].as_object().expect("runs");
    assert!(runs.len() == 6 && runs.values().all(|run| run["train_loss"].as_array().is_some_and(|x| x.len() == 4)));
    let changes = lab.read("CHANGELOG.md");
    assert!(
        changes.contains("[numerics] tiny.smoke: first golden, 6 runs") && changes.contains("(a test)"),
        "{changes}"
    );
    let again = lab.accept();
    assert!(again.exits(0).stdout.contains("nothing to accept"), "{again:?}");
    assert_eq!(lab.read("CHANGELOG.md"), changes);
    lab.bench(&["--golden", "elsewhere"]).exits(3);
    let mut below = lab.command(&["bench", "--tier", "smoke", "--suites", ".", "--store", "../store"]);
    below.current_dir(lab.path("suites")).env("PREHEAT_ROOT", lab.path("."));
    said(below).exits(0);
}

#[test]
fn moved_bits_are_numerics_and_name_the_run() {
    let (lab, done) = after(|golden| golden["runs"][1]["digest"] = "moved".into());
    done.exits(1).says(&["tiny.smoke: numerics", "1 of 6 runs", "training/post seed 2"]);
    assert_eq!(done.json()["suites"][0]["golden"]["moved"][0]["kind"], "numerics");
    let taken = lab.accept();
    assert!(taken.exits(0).stdout.contains("1 of 6 runs moved"), "{taken:?}");
    lab.bench(&[]).exits(0);
    assert!(lab.read("CHANGELOG.md").contains("[numerics] tiny.smoke: 1 of 6 runs moved"));
}

#[test]
fn a_flipped_verdict_is_science_and_says_was_and_is() {
    let (lab, done) = after(|golden| golden["claims"][0]["verdict"] = "reproduced".into());
    done.exits(1).says(&["tiny.smoke: science", "post-needs-more (T1) was reproduced and is inconclusive"]);
    assert_eq!(done.json()["suites"][0]["golden"]["moved"][0]["kind"], "science");
    let junit = lab.bench(&["--format", "junit"]);
    assert!(junit.exits(1).stdout.contains(r#"<failure message="science: claim post-needs-more"#), "{junit:?}");
    lab.accept().exits(0);
    let junit = lab.bench(&["--format", "junit"]);
    assert!(
        !junit.exits(0).stdout.contains("<failure") && junit.stdout.contains("<testcase name=\"bits\""),
        "{junit:?}"
    );
    assert!(lab.read("CHANGELOG.md").contains("[claim] tiny.smoke: post-needs-more (T1): reproduced → inconclusive"));
}

#[test]
fn a_run_that_golden_has_alone_is_a_definition() {
    let (_lab, done) = after(|golden| {
        let runs = golden["runs"].as_array_mut().expect("runs");
        let mut other = runs[0].clone();
        other["id"] = "gone".into();
        runs.push(other);
    });
    done.exits(1).says(&["definition: runs that only golden has: 1"]);
}

#[test]
fn a_moved_mean_over_equal_runs_is_derived() {
    let (_lab, done) = after(|golden| golden["cells"][0]["metrics"]["val_loss"]["mean"] = 1.5.into());
    done.exits(1).says(&["derived", "training/post"]);
}

#[test]
fn a_golden_that_cannot_be_read_is_never_green() {
    let lab = accepted();
    lab.write(JSON, "{");
    lab.bench(&[]).exits(3).says(&["tiny.smoke.json"]);
}

#[test]
fn pages_are_stale_until_they_are_written() {
    let lab = accepted();
    for (page, marker) in [("README.md", "summary"), ("RESULTS.md", "results")] {
        lab.write(page, &format!("# T\n<!-- preheat:{marker} -->\n<!-- /preheat:{marker} -->\n"));
    }
    said(lab.command(&["report", "--check"])).exits(1).says(&["stale"]);
    said(lab.command(&["report"])).exits(0);
    said(lab.command(&["report", "--check"])).exits(0);
    assert!(lab.read("RESULTS.md").contains("### tiny (smoke)"));
    said(lab.command(&["report", "--out", "site"])).exits(0);
    assert!(lab.read("site/tiny.smoke.csv").starts_with("suite,tier,"));
}

#[test]
fn nothing_is_accepted_without_its_line() {
    let lab = accepted();
    let (golden, changes) = (lab.read(JSON), lab.read("CHANGELOG.md"));
    let moved = golden.replacen("\"digest\": \"", "\"digest\": \"0", 1);
    lab.write(JSON, &moved);
    std::fs::remove_file(lab.path("CHANGELOG.md")).expect("a file");
    std::fs::create_dir(lab.path("CHANGELOG.md")).expect("a folder");
    lab.accept().exits(5).says(&["CHANGELOG.md"]);
    assert_eq!(lab.read(JSON), moved, "still to be accepted");
    std::fs::remove_dir(lab.path("CHANGELOG.md")).expect("a folder");
    lab.write("CHANGELOG.md", &changes);
    lab.accept().exits(0);
    assert_eq!(lab.read(JSON), golden);
    assert!(lab.read("CHANGELOG.md").len() > changes.len());
    let words = ["accept", "--tier", "smoke", "--suites", "suites", "--store", "store", "--reason", "a\n## b"];
    said(lab.command(&words)).exits(2).says(&["--reason: has several lines"]);
}
