//! The bits of the smoke tier: one result for every instruction set, number of workers and build profile, alone and
//! within a larger plan, and as golden holds it.

use crate::support::{Lab, Said, preheat, preheat_of, said};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

const SUITE: &str = "layernorm";

/// Every instruction set that kernels are written for on this architecture, with the reference definitions.
const INSTRUCTION_SETS: &[&str] = match () {
    () if cfg!(target_arch = "x86_64") => &["avx512", "avx2", "scalar"],
    () if cfg!(target_arch = "aarch64") => &["neon", "scalar"],
    () => &["scalar"],
};

/// The smoke tier of [`SUITE`] by `executable`, trained from nothing.
fn trained(executable: &Path, simd: &str, words: &[&str]) -> Said {
    let lab = Lab::new();
    let own = ["bench", SUITE, "--tier", "smoke", "--store", "store", "--golden", "none", "--format", "json"];
    let mut command = lab.command_of(executable, &[&own, words].concat());
    command.env("PREHEAT_SIMD", simd);
    said(command)
}

/// The suite's result in what was said, which must be a whole bench without golden.
fn result(said: &Said) -> Value {
    said.exits(3);
    said.json()["suites"][0].take()
}

/// The result that all others must equal: the tests' own build, this machine's fastest instructions, two workers.
fn first() -> &'static Value {
    static FIRST: OnceLock<Value> = OnceLock::new();
    FIRST.get_or_init(|| result(&trained(preheat(), "", &["--jobs", "2"])))
}

/// Each run's digest by its id.
fn digests(result: &Value) -> BTreeMap<&str, &str> {
    let runs = result["runs"].as_array().expect("runs");
    runs.iter().map(|run| (run["id"].as_str().expect("an id"), run["digest"].as_str().expect("a digest"))).collect()
}

/// Two results agree in the suite's digest, in every run's, and in everything else that is said about the suite.
fn assert_same(what: &str, ours: &Value, expected: &Value) {
    assert_eq!(digests(ours), digests(expected), "{what}: runs");
    assert_eq!(ours["digest"], expected["digest"], "{what}: the suite");
    for (key, value) in expected.as_object().expect("a map") {
        assert_eq!(&ours[key], value, "{what}: {key}");
    }
}

#[test]
fn every_instruction_set_has_the_same_bits() {
    for simd in INSTRUCTION_SETS {
        let said = trained(preheat(), simd, &["--jobs", "2"]);
        if said.code == Some(2) && said.stderr.contains("this machine lacks it") {
            preheat::skip("every_instruction_set_has_the_same_bits", simd);
            continue;
        }
        assert_same(simd, &result(&said), first());
    }
}

#[test]
fn any_number_of_workers_has_the_same_bits() {
    for jobs in ["1", "2", "5"] {
        assert_same(&format!("--jobs {jobs}"), &result(&trained(preheat(), "", &["--jobs", jobs])), first());
    }
}

#[test]
fn debug_and_release_builds_have_the_same_bits() {
    assert_ne!(preheat_of(false), preheat_of(true));
    for release in [false, true] {
        let said = trained(preheat_of(release), "", &["--jobs", "2"]);
        assert_same(if release { "release" } else { "debug" }, &result(&said), first());
    }
}

#[test]
fn a_run_alone_has_the_bits_that_it_has_within_the_plan() {
    let whole = digests(first());
    let runs = first()["runs"].as_array().expect("runs");
    let text = |run: &Value, key: &str| run[key].as_str().expect("text").to_string();
    let mut experiments = Vec::new();
    for run in runs {
        let experiment = text(run, "experiment");
        if experiments.contains(&experiment) {
            continue;
        }
        let mut filter = format!("experiment={experiment},arm={},seed={}", text(run, "arm"), run["seed"]);
        for (axis, value) in run["axes"].as_object().expect("axes") {
            filter += &format!(",{axis}={value}");
        }
        let alone = trained(preheat(), "", &["--filter", &filter]);
        alone.exits(0).says(&["not compared"]);
        assert_eq!(alone.trained(), 1, "{filter}");
        let alone = alone.json()["suites"][0].take();
        let id = text(run, "id");
        assert_eq!(digests(&alone), BTreeMap::from([(id.as_str(), whole[id.as_str()])]), "{filter}");
        experiments.push(experiment);
    }
    assert!(experiments.len() > 3, "one run of every experiment: {experiments:?}");
}

#[test]
fn the_bits_are_those_of_golden() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/exact/{SUITE}.smoke.json"));
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let golden: Value = serde_json::from_str(&golden).expect("golden is JSON");
    assert_same("golden", first(), &golden);
}
