//! What programs read from `preheat bench`: the shape of `--format json`, and the cost that `--list` states.

use crate::support::{Lab, said};
use serde_json::{Map, Value};
use std::fs;
use std::path::Path;

/// What the smoke tier of a suite may cost.
const SMOKE_GFLOP: f64 = 1.0;

/// What `bench --tier smoke` on the built-in suites prints with more words.
fn smoke(words: &[&str]) -> Value {
    let lab = Lab::new();
    let own = ["bench", "--tier", "smoke", "--store", "store", "--golden", "none", "--format", "json"];
    let done = said(lab.command(&[&own, words].concat()));
    done.exits(if words.is_empty() { 3 } else { 0 });
    done.json()
}

/// Each suite of the workspace: its name and its definition's text.
fn definitions() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites");
    let files = fs::read_dir(folder).expect("the suites").map(|entry| entry.expect("a readable folder").path());
    let yaml = files.filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    let mut found: Vec<_> = yaml
        .map(|path| {
            let name = path.file_stem().and_then(|s| s.to_str()).expect("a name").to_string();
            (name, fs::read_to_string(&path).expect("UTF-8"))
        })
        .collect();
    found.sort();
    found
}

/// The `(id, paper_claim)` of every claim that a definition's text states, in its order.
fn claims_of(text: &str) -> Vec<(String, String)> {
    let value = |line: &str, key: &str| line.trim().strip_prefix(key).map(str::to_string);
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines.windows(2).map(|pair| (value(pair[0], "- id: "), value(pair[1], "paper_claim: ")));
    pairs.filter_map(|(id, paper_claim)| id.zip(paper_claim)).collect()
}

fn object<'v>(value: &'v Value, keys: &[&str]) -> &'v Map<String, Value> {
    let map = value.as_object().unwrap_or_else(|| panic!("a map: {value}"));
    for key in keys {
        assert!(map.contains_key(*key), "{key} is missing in {value}");
    }
    map
}

/// A number, or null where values were not finite.
fn number(value: &Value) -> Option<f64> {
    assert!(value.is_number() || value.is_null(), "{value}");
    value.as_f64()
}

fn check_cell(cell: &Value) {
    object(cell, &["experiment", "arm", "axes", "metrics"]);
    assert!(object(&cell["axes"], &[]).keys().all(|axis| axis.contains('.')), "axes are dotted paths: {cell}");
    for (name, metric) in object(&cell["metrics"], &[]) {
        object(metric, &["mean", "sd", "n", "values"]);
        let values: Vec<Option<f64>> = metric["values"].as_array().expect("values").iter().map(number).collect();
        assert_eq!(metric["n"], values.len(), "{name}");
        let finite: Option<Vec<f64>> = values.into_iter().collect();
        let mean = finite.map(|values| values.iter().sum::<f64>() / values.len() as f64);
        assert_eq!(number(&metric["mean"]), mean, "{name}: the mean is of the values");
        assert!(number(&metric["sd"]).is_none_or(|sd| sd >= 0.0), "{name}");
    }
}

fn check_claim(claim: &Value) {
    object(claim, &["id", "paper_claim", "verdict", "effect", "interval", "n"]);
    assert!(["reproduced", "refuted", "inconclusive"].contains(&claim["verdict"].as_str().expect("text")), "{claim}");
    assert!(claim["n"].is_u64(), "{claim}");
    let effect = number(&claim["effect"]);
    // One value has an effect and no interval.
    let has_interval = effect.is_some() && claim["n"] != 1;
    assert_eq!(!claim["interval"].is_null(), has_interval, "{claim}");
    assert!(has_interval || claim["verdict"] == "inconclusive", "{claim}");
    if let Some(interval) = claim["interval"].as_array() {
        assert_eq!(interval.iter().filter_map(number).count(), 2, "{claim}");
    }
    assert!(effect.is_some() || claim["verdict"] == "inconclusive", "{claim}");
}

#[test]
fn json_holds_suites_cells_and_every_claim_of_the_definitions() {
    let document = smoke(&[]);
    let suites = document["suites"].as_array().expect("suites");
    let definitions = definitions();
    assert_eq!(suites.len(), definitions.len());
    for (suite, (name, text)) in suites.iter().zip(&definitions) {
        object(suite, &["name", "tier", "digest", "cells", "claims"]);
        assert_eq!((&suite["name"], &suite["tier"]), (&name.as_str().into(), &"smoke".into()));
        let digest = suite["digest"].as_str().expect("text");
        assert!(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{digest}");
        let cells = suite["cells"].as_array().expect("cells");
        assert!(!cells.is_empty());
        cells.iter().for_each(check_cell);
        let claims = suite["claims"].as_array().expect("claims");
        claims.iter().for_each(check_claim);
        let text_of = |claim: &Value, key: &str| claim[key].as_str().expect("text").to_string();
        let judged: Vec<_> = claims.iter().map(|c| (text_of(c, "id"), text_of(c, "paper_claim"))).collect();
        let stated = claims_of(text);
        assert!(!stated.is_empty() && stated.len() == text.matches("paper_claim:").count(), "{name}: all are read");
        assert_eq!(judged, stated, "{name}");
    }
    let layernorm = suites.iter().find(|suite| suite["name"] == "layernorm").expect("the layernorm suite");
    let papers: Vec<&Value> =
        layernorm["claims"].as_array().expect("claims").iter().map(|c| &c["paper_claim"]).collect();
    for claim in 1..=13 {
        assert!(papers.contains(&&Value::from(format!("X{claim}"))), "X{claim} is judged");
    }
}

#[test]
fn the_smoke_tier_of_every_suite_is_small() {
    let rows = smoke(&["--list"]);
    let rows = rows.as_array().expect("stages");
    for (name, _) in definitions() {
        let own = rows.iter().filter(|row| row["suite"] == name.as_str());
        let flops: f64 = own.map(|row| row["flops"].as_f64().expect("a number")).sum();
        assert!(flops > 0.0 && flops <= SMOKE_GFLOP * 1e9, "{name}: {flops:e} FLOPs");
    }
}
