//! The store: records of finished runs, checkpoints of runs in progress, and locks between processes.
//!
//! ```text
//! target/preheat/records/<key>.record            sealed JSON
//! target/preheat/checkpoints/<key>.checkpoint    sealed bytes
//! target/preheat/kept/<key>-<step>.checkpoint    from which other runs start
//! target/preheat/locks/<key>.lock
//! target/preheat/throughput-<class>.json
//! ```
//!
//! A file that does not prove itself is renamed to `*.bad-N` with one warning and its run trained again.

pub mod code_id;
pub mod envelope;
pub mod error;
pub mod key;
pub mod lock;
pub mod merge;
pub mod throughput;

use envelope::{seal, set_aside, unseal, write_alone};
use error::StoreError;
use key::Key;
use lock::RunLock;
use preheat_suites::record::{Measured, Record};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use throughput::Throughput;

/// Takes one warning line.
pub type Warn<'a> = &'a (dyn Fn(&str) + Sync);

const RECORD: &str = "record";
const CHECKPOINT: &str = "checkpoint";

/// Folder and extension of what a finished run needs no more.
const LEFTOVERS: [(&str, &str); 3] =
    [("checkpoints", CHECKPOINT), ("checkpoints", "checkpoint.tmp"), ("records", "record.tmp")];

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

/// Two trainings of one run under the same conditions do not have the same bits.
const NOT_DETERMINED: &str = "training is not determined";

/// Whether two trainings measured the same. As text: NaN is not equal to itself.
fn same(a: &Measured, b: &Measured) -> bool {
    let text = |measured| serde_json::to_string(measured).ok();
    a.digest == b.digest && text(a) == text(b)
}

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
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        for folder in ["records", "checkpoints", "kept", "locks"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(|e| StoreError::io(&path, &e))?;
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

    /// Keeps a finished record and drops the run's checkpoint. An equal record may be there already; in fast math any.
    ///
    /// # Errors
    /// One line; where another record is there, both digests.
    pub fn keep(&self, key: &Key, record: &Record) -> Result<(), StoreError> {
        let path = self.path("records", key, RECORD);
        if let Some(was) = self.record(key, &|_| ())
            && !same(&was.measured, &record.measured)
        {
            if !key.conditions.is_exact() {
                // The first stays.
                self.drop_checkpoint(key);
                return Ok(());
            }
            let (was, is) = (&was.measured.digest, &record.measured.digest);
            return Err(StoreError::one(&path, format!("{NOT_DETERMINED}: digest {was} is kept, {is} came now")));
        }
        let body = record_body(key, record).map_err(|e| StoreError::one(&path, e))?;
        write_alone(&path, &seal(RECORD, &body)).map_err(|e| StoreError::io(&path, &e))?;
        self.drop_checkpoint(key);
        Ok(())
    }

    /// Removes what a bench that was killed right after it wrote the record of `key` left behind.
    pub fn tidy(&self, key: &Key) {
        let left = LEFTOVERS.iter().chain(&[("locks", "lock")]);
        let mut left = left.map(|(folder, extension)| self.path(folder, key, extension));
        // Another bench that holds the lock tidies itself.
        if left.any(|path| path.exists())
            && let Ok(Some(lock)) = self.lock(key)
        {
            self.drop_checkpoint(key);
            lock.remove();
        }
    }

    /// The checkpoint of a run in progress.
    pub fn checkpoint(&self, key: &Key, warn: Warn<'_>) -> Option<Vec<u8>> {
        self.owned(&self.path("checkpoints", key, CHECKPOINT), &key.name(), warn)
    }

    /// Replaces the checkpoint of a run in progress.
    ///
    /// # Errors
    /// One line.
    pub fn keep_checkpoint(&self, key: &Key, bytes: &[u8]) -> Result<(), StoreError> {
        write_owned(&self.path("checkpoints", key, CHECKPOINT), &key.name(), bytes)
    }

    /// The checkpoint of a run at `step` from which other runs start.
    pub fn kept(&self, key: &Key, step: u64, warn: Warn<'_>) -> Option<Vec<u8>> {
        self.owned(&self.kept_path(key, step), &kept_name(key, step), warn)
    }

    /// Whether there is such a checkpoint, good or not.
    pub fn has_kept(&self, key: &Key, step: u64) -> bool {
        self.kept_path(key, step).exists()
    }

    /// Keeps a checkpoint from which other runs start.
    ///
    /// # Errors
    /// One line.
    pub fn keep_for_others(&self, key: &Key, step: u64, bytes: &[u8]) -> Result<(), StoreError> {
        write_owned(&self.kept_path(key, step), &kept_name(key, step), bytes)
    }

    fn kept_path(&self, key: &Key, step: u64) -> PathBuf {
        self.root.join("kept").join(format!("{}.{CHECKPOINT}", kept_name(key, step)))
    }

    /// Renames a checkpoint that the trainer does not take.
    pub fn reject_checkpoint(&self, key: &Key, why: &str, warn: Warn<'_>) {
        aside(&self.path("checkpoints", key, CHECKPOINT), why, warn);
    }

    /// Forgets the checkpoint of a finished run.
    pub fn drop_checkpoint(&self, key: &Key) {
        for (folder, extension) in LEFTOVERS {
            let _ = fs::remove_file(self.path(folder, key, extension));
        }
    }

    /// The right to train `key`, or `None` while another bench trains it.
    ///
    /// # Errors
    /// One line.
    pub fn lock(&self, key: &Key) -> Result<Option<RunLock>, StoreError> {
        let path = self.path("locks", key, "lock");
        RunLock::take(&path).map_err(|e| StoreError::io(&path, &e))
    }

    /// What this machine did lately on `class` (device and SIMD path).
    pub fn throughput(&self, class: &str) -> Option<Throughput> {
        Throughput::load(&self.throughput_path(class))
    }

    /// Keeps what this machine did. Where another bench does so now, its measurement is as good.
    pub fn keep_throughput(&self, class: &str, measured: Throughput) {
        // This lock's file stays: there is no record by which a late holder of a removed file would know.
        if let Ok(Some(_lock)) = RunLock::take(&self.root.join("locks/throughput.lock")) {
            measured.save(&self.throughput_path(class));
        }
    }

    fn throughput_path(&self, class: &str) -> PathBuf {
        self.root.join(format!("throughput-{class}.json"))
    }

    fn path(&self, folder: &str, key: &Key, extension: &str) -> PathBuf {
        self.file(folder, &key.name(), extension)
    }

    fn file(&self, folder: &str, name: &str, extension: &str) -> PathBuf {
        self.root.join(folder).join(format!("{name}.{extension}"))
    }

    fn owned(&self, path: &Path, owner: &str, warn: Warn<'_>) -> Option<Vec<u8>> {
        let body = self.body(CHECKPOINT, path, warn)?;
        let own = owned_by(&body, owner);
        if own.is_none() {
            aside(path, ANOTHER_CHECKPOINT, warn);
        }
        own.map(<[u8]>::to_vec)
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

/// The name of a checkpoint from which other runs start.
fn kept_name(key: &Key, step: u64) -> String {
    format!("{}-{step}", key.name())
}

const ANOTHER_CHECKPOINT: &str = "a checkpoint of another run";

/// The trainer's own bytes in a checkpoint's body, where it is `owner`'s.
fn owned_by<'b>(body: &'b [u8], owner: &str) -> Option<&'b [u8]> {
    body.strip_prefix(owner.as_bytes()).and_then(|rest| rest.strip_prefix(b"\n"))
}

/// A checkpoint says first whose it is: its own bytes are the trainer's.
fn write_owned(path: &Path, owner: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let body = [owner.as_bytes(), b"\n", bytes].concat();
    write_alone(path, &seal(CHECKPOINT, &body)).map_err(|e| StoreError::io(path, &e))
}

fn aside(path: &Path, why: &str, warn: Warn<'_>) {
    aside_and(path, why, "the run is trained again", warn);
}

/// Renames a bad file and says so, and what follows from it.
fn aside_and(path: &Path, why: &str, follows: &str, warn: Warn<'_>) {
    match set_aside(path) {
        Ok(Some(target)) => warn(&format!(
            "{}: {why}; kept as {}, {follows}",
            path.display(),
            target.file_name().unwrap_or_default().display()
        )),
        Ok(None) => {}
        Err(e) => warn(&format!("{}: {why}, and it cannot be renamed: {e}", path.display())),
    }
}

#[cfg(test)]
mod tests;
