//! The crates stand in one line. A crate may depend on those to its left, never on one to its right.

use serde_json::Value;
use std::process::Command;

/// The line. The root package stands at its end: it holds tests that go through the door.
const LINE: [&str; 5] = ["preheat-kernels", "preheat-suites", "preheat-bench", "xtask", "preheat"];

/// Every dependency of a workspace crate that points to the right, in words. `metadata` is what
/// `cargo metadata --no-deps` prints; dependencies of all kinds and targets stand in it.
fn violations(metadata: &Value) -> Vec<String> {
    let place = |name: &str| LINE.iter().position(|x| *x == name);
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        let Some(here) = place(name) else {
            wrong.push(format!("{name} has no place in the line {}", LINE.join(" → ")));
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let other = dependency["name"].as_str().expect("a name");
            if place(other).is_some_and(|there| there >= here) {
                let kind = dependency["kind"].as_str().unwrap_or("normal");
                wrong.push(format!("{name} must not depend on {other} ({kind} dependency)"));
            }
        }
    }
    wrong
}

#[test]
fn no_crate_depends_on_one_to_its_right() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(super::files::root())
        .output()
        .expect("cargo runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let metadata: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let members = metadata["packages"].as_array().expect("packages").len();
    assert_eq!(members, LINE.len(), "the line names every crate of the workspace and no other");
    assert_eq!(violations(&metadata), Vec::<String>::new());
}

fn package(name: &str, dependencies: Value) -> Value {
    serde_json::json!({ "name": name, "dependencies": dependencies })
}

#[test]
fn a_dependency_to_the_right_is_found_whatever_its_kind() {
    for (kind, word) in [(Value::Null, "normal"), ("dev".into(), "dev"), ("build".into(), "build")] {
        let edge = serde_json::json!([{ "name": "preheat-bench", "kind": kind }]);
        let found = violations(&serde_json::json!({ "packages": [package("preheat-suites", edge)] }));
        assert_eq!(found, [format!("preheat-suites must not depend on preheat-bench ({word} dependency)")]);
    }
}

#[test]
fn a_dependency_to_the_left_or_outside_is_fine() {
    let edges = serde_json::json!([{ "name": "preheat-kernels", "kind": null }, { "name": "libm", "kind": "dev" }]);
    let metadata = serde_json::json!({ "packages": [package("preheat-suites", edges)] });
    assert_eq!(violations(&metadata), Vec::<String>::new());
}

#[test]
fn a_crate_without_a_place_is_found() {
    let metadata = serde_json::json!({ "packages": [package("preheat-extra", serde_json::json!([]))] });
    assert_eq!(violations(&metadata).len(), 1);
}
