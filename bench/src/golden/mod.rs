//! Golden: what was accepted. `exact/<suite>.<tier>.json` holds the result with every seed's value;
//! `exact/<suite>.<tier>.snap` is the published table rendered from it. Both are compared exactly. `fast/` holds how the
//! same runs begin, for devices that do not share bits.

mod changelog;
mod compare;
mod early;
pub mod fast;

pub use changelog::{add, lines};
pub use compare::{Difference, compare};

use crate::results::{SCHEMA, SuiteResult};
use crate::store::envelope::write_atomic;
use crate::table::{self, Style};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of accepted results.
#[derive(Clone, Debug)]
pub struct Golden {
    root: PathBuf,
}

impl Golden {
    /// Golden below `root`, usually `golden`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// What was accepted for `stem` (`suite.tier`), or `None`.
    ///
    /// # Errors
    /// One line where the file cannot be read.
    pub fn load(&self, stem: &str) -> Result<Option<SuiteResult>, String> {
        let path = self.path(stem, "json");
        match fs::read(&path) {
            Ok(bytes) => parse(&bytes).map(Some).map_err(|e| format!("{}: {e}", path.display())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("{}: {e}", path.display())),
        }
    }

    /// Everything that was accepted, by file name.
    ///
    /// # Errors
    /// One line where a file cannot be read.
    pub fn all(&self) -> Result<Vec<SuiteResult>, String> {
        let folder = self.root.join("exact");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(format!("{}: {e}", folder.display())),
        };
        let mut stems = Vec::new();
        for entry in entries {
            let name = entry.map_err(|e| format!("{}: {e}", folder.display()))?.file_name();
            stems.extend(name.to_string_lossy().strip_suffix(".json").map(str::to_string));
        }
        stems.sort();
        stems.iter().filter_map(|stem| self.load(stem).transpose()).collect()
    }

    /// Writes the result and its published table.
    ///
    /// # Errors
    /// One line.
    pub fn accept(&self, result: &SuiteResult) -> Result<(), String> {
        let folder = self.root.join("exact");
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let mut json = serde_json::to_string_pretty(result).map_err(|e| e.to_string())?;
        json.push('\n');
        let stem = result.stem();
        for (extension, text) in [("json", json), ("snap", snapshot(result))] {
            let path = self.path(&stem, extension);
            write_atomic(&path, text.as_bytes()).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        Ok(())
    }

    /// The file of changes, beside the folder.
    pub fn changelog(&self) -> PathBuf {
        self.root.join("..").join("CHANGELOG.md")
    }

    fn path(&self, stem: &str, extension: &str) -> PathBuf {
        self.root.join("exact").join(format!("{stem}.{extension}"))
    }
}

fn parse(bytes: &[u8]) -> Result<SuiteResult, String> {
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    match value.get("schema").and_then(serde_json::Value::as_u64) {
        Some(schema) if schema == u64::from(SCHEMA) => serde_json::from_slice(bytes).map_err(|e| e.to_string()),
        found => Err(format!("schema {found:?}, this program reads {SCHEMA}; accept it again")),
    }
}

/// The published table in insta's file format, so that a test asserts it with insta.
pub fn snapshot(result: &SuiteResult) -> String {
    format!("---\nsource: golden\ndescription: {}\n---\n{}", result.stem(), table::suite(result, Style::Plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{observed, result};

    #[test]
    fn what_is_accepted_comes_back_equal_and_insta_reads_the_table() {
        let dir = tempfile::tempdir().unwrap();
        let golden = Golden::new(&dir.path().join("golden"));
        let result = result(&observed());
        assert_eq!(golden.load("demo.quick"), Ok(None));
        assert_eq!(golden.all(), Ok(vec![]));
        golden.accept(&result).unwrap();
        assert_eq!(golden.load("demo.quick"), Ok(Some(result.clone())));
        assert_eq!(golden.all(), Ok(vec![result.clone()]));

        let snap = insta::Snapshot::from_file(&golden.path("demo.quick", "snap")).unwrap();
        let insta::internals::SnapshotContents::Text(text) = snap.contents() else { panic!("text") };
        assert_eq!(text.to_string().trim(), table::suite(&result, Style::Plain).trim());
    }

    #[test]
    fn another_schema_is_an_error_that_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let golden = Golden::new(dir.path());
        golden.accept(&result(&observed())).unwrap();
        let path = golden.path("demo.quick", "json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen("\"schema\": 1", "\"schema\": 99", 1)).unwrap();
        let why = golden.load("demo.quick").unwrap_err();
        assert!(why.contains("99"), "{why}");
        fs::write(&path, "{").unwrap();
        assert!(golden.load("demo.quick").is_err());
    }
}
