//! `fast/<suite>.<tier>.json`: how each accepted run begins. Fast math is compared with it.

use super::Golden;
use crate::results::{SuiteResult, tier_name};
use crate::store::envelope::write_atomic;
use preheat_suites::run::RunId;
use preheat_suites::train::Early;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io;

/// Version of the file's form.
const SCHEMA: u32 = 1;

/// The file.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: u32,
    numerics: u32,
    name: String,
    tier: String,
    runs: BTreeMap<RunId, Early>,
}

impl Golden {
    /// How the accepted runs of `stem` (`suite.tier`) begin, or `None`.
    ///
    /// # Errors
    /// One line where the file cannot be read.
    pub fn beginnings(&self, stem: &str) -> Result<Option<BTreeMap<RunId, Early>>, String> {
        let path = self.fast(stem);
        let told = |e: String| format!("{}: {e}", path.display());
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(told(e.to_string())),
        };
        let document: Document = serde_json::from_slice(&bytes).map_err(|e| told(e.to_string()))?;
        if document.schema != SCHEMA {
            let found = document.schema;
            return Err(told(format!("schema {found}, this program reads {SCHEMA}; accept it again")));
        }
        Ok(Some(document.runs))
    }

    /// Writes how the runs of `result` begin, of those in `early`. A run a line, so that changes can be read.
    ///
    /// # Errors
    /// One line.
    pub fn accept_beginnings(&self, result: &SuiteResult, early: &BTreeMap<RunId, Early>) -> Result<(), String> {
        let path = self.fast(&result.stem());
        let told = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let runs: BTreeMap<&RunId, &Early> =
            result.runs.iter().filter_map(|run| Some((&run.id, early.get(&run.id)?))).collect();
        let mut text = format!(
            "{{\n\"schema\": {SCHEMA}, \"numerics\": {}, \"name\": \"{}\", \"tier\": \"{}\",\n\"runs\": {{",
            result.numerics,
            result.name,
            tier_name(result.tier)
        );
        for (i, (id, early)) in runs.into_iter().enumerate() {
            let line = serde_json::to_string(early).map_err(|e| told(&e))?;
            write!(text, "{}\n\"{id}\": {line}", if i == 0 { "" } else { "," }).map_err(|e| told(&e))?;
        }
        text.push_str("\n}}\n");
        fs::create_dir_all(self.root.join("fast")).map_err(|e| told(&e))?;
        write_atomic(&path, text.as_bytes()).map_err(|e| told(&e))
    }

    fn fast(&self, stem: &str) -> std::path::PathBuf {
        self.root.join("fast").join(format!("{stem}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{observed, result};

    #[test]
    fn beginnings_come_back_equal_and_another_schema_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let golden = Golden::new(dir.path());
        let result = result(&observed());
        assert_eq!(golden.beginnings("demo.quick"), Ok(None));
        let begins = |i: usize| Early {
            scalars: format!("{i:016x}"),
            lr: vec![Some(0.1 * i as f64), Some(1e-300)],
            train_loss: vec![Some(2.0_f64.sqrt()), None],
            ..Early::default()
        };
        let mut early: BTreeMap<RunId, Early> =
            result.runs.iter().enumerate().map(|(i, run)| (run.id.clone(), begins(i))).collect();
        early.insert(RunId("of another suite".into()), Early::default());
        golden.accept_beginnings(&result, &early).unwrap();
        early.remove(&RunId("of another suite".into()));
        assert_eq!(golden.beginnings("demo.quick"), Ok(Some(early)));
        let path = dir.path().join("fast/demo.quick.json");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 4 + result.runs.len());
        fs::write(&path, text.replacen("\"schema\": 1", "\"schema\": 9", 1)).unwrap();
        assert!(golden.beginnings("demo.quick").unwrap_err().contains("schema 9, this program reads 1"));
        fs::write(&path, "{").unwrap();
        assert!(golden.beginnings("demo.quick").is_err());
    }
}
