//! The JSON schema: agrees with what is accepted, and stands committed beside the suites.

use crate::support::{SUITE, registry, with};
use preheat_suites::definition::{Registry, parse, schema};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn json(yaml: &str) -> Value {
    serde_yaml::from_str(yaml).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn the_small_suite_is_valid_and_mistakes_are_not() {
    let validator = jsonschema::draft202012::new(&schema(&registry())).unwrap();
    assert!(validator.is_valid(&json(SUITE)));
    let shows = with("    tiers:\n", "    show: {val_loss: loss, stalled: }\n    tiers:\n");
    assert!(validator.is_valid(&json(&shows)));
    let wrong = [
        ("width: 32", "width: 0"),
        ("width: 32", "widht: 32"),
        ("width: 32", "width: 1.5"),
        ("heads: 4", "norm: post"),
        ("optimizer: {adam: {}}", "optimizer: {adamm: {}}"),
        ("optimizer: {adam: {}}", "optimizer: {adam: {}, sgd: {}}"),
        ("title: A small suite", "titel: A small suite"),
        ("    about: two arms\n", ""),
        ("    grid: {schedule.peak_lr", "    grid: {schedule.peak"),
        ("      quick: {}", "      quik: {}"),
        ("at: each-best", "at: best"),
        ("train: {batch: 8", "train: {bach: 8"),
        ("    tiers:\n", "    show: {val_loss: 1}\n    tiers:\n"),
        ("    tiers:\n", "    show: {val_loss: \" \"}\n    tiers:\n"),
        ("    tiers:\n", "    show: {}\n    tiers:\n"),
    ];
    for (from, to) in wrong {
        assert!(!validator.is_valid(&json(&with(from, to))), "{to} must not fit the schema");
    }
}

#[test]
fn every_suite_fits_the_schema() {
    let validator = jsonschema::draft202012::new(&schema(&Registry::builtin())).unwrap();
    for (name, text) in preheat_suites::builtin() {
        let errors: Vec<String> =
            validator.iter_errors(&json(text)).map(|e| format!("{name}: {e} at {}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

#[test]
fn every_suite_holds() {
    assert!(!preheat_suites::builtin().is_empty());
    for (name, text) in preheat_suites::builtin() {
        let suite = parse(&format!("suites/{name}.yaml"), text.as_bytes(), &Registry::builtin());
        assert_eq!(suite.unwrap_or_else(|e| panic!("{e}")).name, *name);
    }
}

/// `UPDATE_SCHEMA=1 cargo test -p preheat-suites --test definition` writes it anew.
#[test]
fn the_committed_schema_is_this_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.json");
    let text = format!("{:#}\n", schema(&Registry::builtin()));
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap_or_default() == text, "suites/schema.json is old: UPDATE_SCHEMA=1");
}
