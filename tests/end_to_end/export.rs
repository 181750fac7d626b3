//! `preheat export`: which run is meant, and what lies in the folder.

use crate::support::{Lab, Said, said, tiny};
use serde_json::Value;

/// A suite whose second experiment starts from a checkpoint of the first.
fn two_stages() -> String {
    let second = "  - id: second
    about: goes on with SGD
    recipe:
      model: {transformer: {layers: 1, width: 8, heads: 2}}
      task: {language: {vocab: 16, seq: 8}}
      optimizer: {sgd: {}}
      schedule: {constant: {peak_lr: 0.1}}
      train: {batch: 2, steps: 3, eval_sequences: 4}
    arms: {on: {}}
    start: {from: {experiment: training, arm: pre, step: 2}}
    seeds: {first: 1, count: 1}
    tiers: {smoke: {}}
claims:
";
    tiny(4).replace("claims:\n", second)
}

fn export(lab: &Lab, words: &[&str]) -> Said {
    let own = ["export", "--tier", "smoke", "--suites", "suites", "--store", "store"];
    said(lab.command(&[&own, words].concat()))
}

fn json(lab: &Lab, file: &str) -> Value {
    serde_json::from_str(&lab.read(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

#[test]
fn a_whole_run_ends_with_the_digest_of_its_record() {
    let lab = Lab::new();
    let bench = lab.bench(&["--format", "json"]).json();
    for run in bench["suites"][0]["runs"].as_array().expect("runs") {
        let id = run["id"].as_str().expect("an id");
        let done = export(&lab, &[&id[..10], "--out", "out"]);
        assert_eq!(done.exits(0).stdout, "out\n");
        let expected = json(&lab, "out/expected.json");
        assert_eq!((&expected["digest"], &expected["run"]), (&run["digest"], &run["id"]));
        let recipe = json(&lab, "out/recipe.json");
        assert_eq!(recipe["cells"][0].as_str().map(|cell| cell.split('/').next()), Some(Some("tiny")));
        assert_eq!(recipe["host"].as_array().map(Vec::len), Some(4));
    }
    // Nothing but the files that are described is left, and the default place is named by the run.
    let mut names: Vec<_> = lab.files("out", "").iter().map(|f| f.file_name().unwrap().to_owned()).collect();
    names.sort();
    let described = ["expected.json", "final", "gradients", "params", "recipe.json", "tokens"];
    assert!(names.iter().zip(described).all(|(found, name)| found.to_string_lossy().starts_with(name)), "{names:?}");
    assert_eq!(names.len(), described.len());
    let named = export(&lab, &["tiny/training/pre", "--seed", "2", "--steps", "1"]);
    let id = json(&lab, &format!("{}/recipe.json", named.exits(0).stdout.trim_end()))["run"].clone();
    assert_eq!(named.stdout, format!("target/export/{}\n", id.as_str().expect("an id")));
}

#[test]
fn a_wrong_run_is_2_and_says_what_is_near() {
    let lab = Lab::new();
    export(&lab, &["tiny/training/pots", "--seed", "1"]).exits(2).says(&["near it", "tiny/training/post"]);
    export(&lab, &["pre"]).exits(2).says(&["3 runs", "seed=101"]);
    export(&lab, &["0123456789"]).exits(2).says(&["no run 0123456789"]);
    export(&lab, &["nosuch/training/pre"]).exits(2).says(&["allowed: tiny"]);
    export(&lab, &["pre", "--seed", "1", "--steps", "5"]).exits(2).says(&["at most 4"]);
    export(&lab, &["pre", "--seed", "1", "--steps", "0"]).exits(2);
    export(&lab, &[]).exits(2);
    lab.write("cake", "");
    export(&lab, &["pre", "--seed", "1", "--out", "suites"]).exits(2).says(&["suites", "no export"]);
    export(&lab, &["pre", "--seed", "1", "--out", "cake"]).exits(5).says(&["cake"]);
    assert!(!lab.path("store").exists() && !lab.path("target").exists(), "nothing is written for a wrong command");
}

#[test]
fn another_tier_that_has_the_run_is_named() {
    let lab =
        Lab::with(&tiny(4).replace("tiers: {smoke: {}}", "tiers: {full: {}, smoke: {seeds: {first: 1, count: 1}}}"));
    export(&lab, &["pre", "--seed", "2"]).exits(2).says(&["it is in --tier full"]);
}

#[test]
fn a_run_from_a_checkpoint_starts_with_that_ones_parameters() {
    let lab = Lab::with(&two_stages());
    export(&lab, &["second/on"]).exits(5).says(&["step 2", "not in the store", "run `bench`"]);
    lab.bench(&[]).exits(3);
    export(&lab, &["second/on", "--out", "second"]).exits(0);
    // The source after two steps, here written from a fresh start.
    export(&lab, &["training/pre", "--seed", "1", "--steps", "2", "--out", "first"]).exits(0);
    let bytes = |file: &str| std::fs::read(lab.path(file)).expect("a file");
    let body = |file: &str| {
        let bytes = bytes(file);
        let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
        bytes[8 + usize::try_from(header).expect("a length")..].to_vec()
    };
    assert_eq!(body("second/params.safetensors"), body("first/final.safetensors"));
    assert_ne!(body("second/params.safetensors"), body("first/params.safetensors"));
}
