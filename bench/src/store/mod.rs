//! The store: records of finished runs, checkpoints of runs in progress, and locks between processes.
//!
//! ```text
//! target/preheat/records/<key>.record            sealed JSON
//! target/preheat/checkpoints/<key>.checkpoint    sealed bytes
//! target/preheat/kept/<key>-<step>.checkpoint    from which other runs start
//! target/preheat/locks/<key>.lock
//! target/preheat/throughput.json
//! ```
//!
//! A file that does not prove itself is renamed to `*.bad-N` with one warning and its run trained again.

pub mod code_id;
pub mod envelope;
pub mod key;
pub mod lock;
pub mod throughput;

use envelope::{seal, set_aside, unseal, write_alone};
use key::Key;
use lock::RunLock;
use preheat_suites::record::Record;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use throughput::Throughput;

/// Takes one warning line.
pub type Warn<'a> = &'a (dyn Fn(&str) + Sync);

const RECORD: &str = "record";
const CHECKPOINT: &str = "checkpoint";

/// A folder of records.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// A record file's body: the key again, so that a renamed file is not taken for another run's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    key: Key,
    record: Record,
}

const ANOTHER: &str = "a record of another run";

/// The key and the record in the body of a record's file.
///
/// # Errors
/// One line: not a record's body, or its key is another run's.
pub fn parse_record(body: &[u8]) -> Result<(Key, Record), String> {
    let Kept { key, record } = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    if record.run.id() == key.run { Ok((key, record)) } else { Err(ANOTHER.into()) }
}

/// The body of a record's file, which [`parse_record`] reads.
///
/// # Errors
/// One line.
pub fn record_body(key: &Key, record: &Record) -> Result<Vec<u8>, String> {
    #[derive(Serialize)]
    struct Borrowed<'a> {
        key: &'a Key,
        record: &'a Record,
    }
    let mut body = serde_json::to_vec_pretty(&Borrowed { key, record }).map_err(|e| e.to_string())?;
    body.push(b'\n');
    Ok(body)
}

impl Store {
    /// Opens the store at `root` and creates what is missing.
    ///
    /// # Errors
    /// One line where the folder cannot be written.
    pub fn open(root: &Path) -> Result<Self, String> {
        for folder in ["records", "checkpoints", "kept", "locks"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(|e| format!("store {}: {e}", path.display()))?;
        }
        Ok(Self { root: root.to_path_buf() })
    }

    /// The store at `root` for reading only; nothing is created.
    pub fn peek(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// The finished record of `key`, if there is one that proves itself.
    pub fn record(&self, key: &Key, warn: Warn<'_>) -> Option<Record> {
        let path = self.path("records", key, RECORD);
        let body = self.body(RECORD, &path, warn)?;
        match parse_record(&body) {
            Ok((found, record)) if found == *key => Some(record),
            Ok(_) => {
                aside(&path, ANOTHER, warn);
                None
            }
            Err(why) => {
                aside(&path, &why, warn);
                None
            }
        }
    }

    /// Keeps a finished record and drops the run's checkpoint.
    ///
    /// # Errors
    /// One line.
    pub fn keep(&self, key: &Key, record: &Record) -> Result<(), String> {
        let path = self.path("records", key, RECORD);
        let body = record_body(key, record).map_err(|e| format!("{}: {e}", path.display()))?;
        write_alone(&path, &seal(RECORD, &body)).map_err(|e| format!("{}: {e}", path.display()))?;
        self.drop_checkpoint(key);
        Ok(())
    }

    /// The checkpoint of a run in progress.
    pub fn checkpoint(&self, key: &Key, warn: Warn<'_>) -> Option<Vec<u8>> {
        self.body(CHECKPOINT, &self.path("checkpoints", key, CHECKPOINT), warn)
    }

    /// Replaces the checkpoint of a run in progress.
    ///
    /// # Errors
    /// One line.
    pub fn keep_checkpoint(&self, key: &Key, bytes: &[u8]) -> Result<(), String> {
        let path = self.path("checkpoints", key, CHECKPOINT);
        write_alone(&path, &seal(CHECKPOINT, bytes)).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// The checkpoint of a run at `step` from which other runs start.
    pub fn kept(&self, key: &Key, step: u64, warn: Warn<'_>) -> Option<Vec<u8>> {
        self.body(CHECKPOINT, &self.kept_path(key, step), warn)
    }

    /// Keeps a checkpoint from which other runs start.
    ///
    /// # Errors
    /// One line.
    pub fn keep_for_others(&self, key: &Key, step: u64, bytes: &[u8]) -> Result<(), String> {
        let path = self.kept_path(key, step);
        write_alone(&path, &seal(CHECKPOINT, bytes)).map_err(|e| format!("{}: {e}", path.display()))
    }

    fn kept_path(&self, key: &Key, step: u64) -> PathBuf {
        self.root.join("kept").join(format!("{}-{step}.{CHECKPOINT}", key.name()))
    }

    /// Renames a checkpoint that the trainer does not take.
    pub fn reject_checkpoint(&self, key: &Key, why: &str, warn: Warn<'_>) {
        aside(&self.path("checkpoints", key, CHECKPOINT), why, warn);
    }

    /// Forgets the checkpoint of a finished run.
    pub fn drop_checkpoint(&self, key: &Key) {
        for extension in [CHECKPOINT, "checkpoint.tmp"] {
            let _ = fs::remove_file(self.path("checkpoints", key, extension));
        }
    }

    /// The right to train `key`, or `None` while another bench trains it.
    ///
    /// # Errors
    /// One line.
    pub fn lock(&self, key: &Key) -> Result<Option<RunLock>, String> {
        let path = self.path("locks", key, "lock");
        RunLock::take(&path).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// What this machine did lately on `class` (device and SIMD path).
    pub fn throughput(&self, class: &str) -> Option<Throughput> {
        Throughput::load(&self.throughput_path(class))
    }

    /// Keeps what this machine did.
    pub fn keep_throughput(&self, class: &str, measured: Throughput) {
        measured.save(&self.throughput_path(class));
    }

    fn throughput_path(&self, class: &str) -> PathBuf {
        self.root.join(format!("throughput-{class}.json"))
    }

    fn path(&self, folder: &str, key: &Key, extension: &str) -> PathBuf {
        self.root.join(folder).join(format!("{}.{extension}", key.name()))
    }

    fn body(&self, kind: &str, path: &Path, warn: Warn<'_>) -> Option<Vec<u8>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
            Err(e) => {
                warn(&format!("{}: {e}; the run is trained again", path.display()));
                return None;
            }
        };
        match unseal(kind, &bytes) {
            Ok(body) => Some(body.to_vec()),
            Err(bad) => {
                aside(path, &bad.to_string(), warn);
                None
            }
        }
    }
}

fn aside(path: &Path, why: &str, warn: Warn<'_>) {
    match set_aside(path) {
        Ok(Some(target)) => warn(&format!(
            "{}: {why}; kept as {}, the run is trained again",
            path.display(),
            target.file_name().unwrap_or_default().display()
        )),
        Ok(None) => {}
        Err(e) => warn(&format!("{}: {why}, and it cannot be renamed: {e}", path.display())),
    }
}

#[cfg(test)]
mod tests;
