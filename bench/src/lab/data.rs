//! Files that tasks read: opened with distrust, hashed, and checked against what a suite states.

use preheat_suites::registry::{Invalid, Params, Scalar, Spec, build};
use preheat_suites::tasks::{Corpus, TASKS, Task};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;

/// The largest file that is read: all of it lies in memory while its runs train.
pub const MAX_BYTES: u64 = 8 << 30;

/// Reads a file whole. What is reserved is the file's own size, and that is looked at first.
///
/// # Errors
/// One line under the key `path`: not there, not a plain file, not readable, larger than [`MAX_BYTES`].
pub fn read(path: &str) -> Result<Vec<u8>, Invalid> {
    let wrong = |what: String| Invalid::new("path", format!("{path}: {what}"));
    let io = |e: std::io::Error| wrong(e.to_string());
    // Before it is opened: to open a pipe waits for its writer.
    let found = std::fs::metadata(path).map_err(io)?;
    if !found.is_file() {
        return Err(wrong(if found.is_dir() { "is a directory" } else { "is not a plain file" }.into()));
    }
    if found.len() > MAX_BYTES {
        return Err(wrong(format!("has {} bytes; allowed: at most {MAX_BYTES}, e.g. one shard", found.len())));
    }
    let mut bytes = Vec::new();
    let size = usize::try_from(found.len()).map_err(|_| wrong("is larger than the memory".into()))?;
    bytes.try_reserve_exact(size).map_err(|_| wrong(format!("there is no memory for its {size} bytes")))?;
    let file = File::open(path).map_err(io)?;
    // A file that grows meanwhile is read no further; its hash tells.
    file.take(found.len()).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// sha256 of `bytes` in hexadecimal, as upstreams publish it.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// What a run's numbers depend on besides code and recipe: the hash of its data file.
pub fn data_hash(task: &Spec) -> String {
    given(&task.params, "sha256").unwrap_or_else(|| "generated".into())
}

/// The file that a task reads, where it reads one.
pub fn path(task: &Spec) -> Option<String> {
    given(&task.params, "path")
}

/// A text parameter that is there and not empty.
fn given(params: &Params, name: &str) -> Option<String> {
    match params.0.get(name) {
        Some(Scalar::Text(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

/// Opens a task with a validation set of `sequences` sequences.
///
/// # Errors
/// A file that is missing, has another hash or does not hold what the task needs.
pub fn open(task: &Spec, sequences: usize) -> Result<Box<dyn Task>, Invalid> {
    let files = Files { sha256: given(&task.params, "sha256") };
    build("task", TASKS, task)?.open(&files, sequences)
}

/// Files below the current folder, by the path that the suite names; the hash must be as stated.
struct Files {
    sha256: Option<String>,
}

impl Corpus for Files {
    fn read(&self, path: &str) -> Result<Vec<u8>, Invalid> {
        let bytes = read(path)?;
        let found = sha256(&bytes);
        match &self.sha256 {
            Some(stated) if !stated.eq_ignore_ascii_case(&found) => {
                Err(Invalid::new("sha256", format!("{path} has {found}, the suite states {stated}")))
            }
            _ => Ok(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::fs;

    #[test]
    fn a_file_must_have_the_stated_hash() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        fs::write(&path, "abc").unwrap();
        let path = path.to_str().unwrap();
        // The hash of "abc" in FIPS 180-2, appendix B.1.
        let stated = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Files { sha256: Some(stated.into()) }.read(path).unwrap(), b"abc");
        assert_eq!(Files { sha256: None }.read(path).unwrap(), b"abc");
        let wrong = Files { sha256: Some("00".into()) }.read(path).unwrap_err();
        assert!(wrong.message.contains(stated) && wrong.message.contains("00"), "{wrong}");
        assert_eq!(Files { sha256: None }.read("no/such/file").unwrap_err().key, "path");
    }

    #[test]
    fn what_is_no_plain_file_or_too_large_is_never_read() {
        let dir = tempfile::tempdir().unwrap();
        let large = dir.path().join("large.bin");
        // A hole: it takes no room on the disk.
        fs::File::create(&large).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let why = read(large.to_str().unwrap()).unwrap_err().to_string();
        assert!(why.ends_with("has 8589934593 bytes; allowed: at most 8589934592, e.g. one shard"), "{why}");
        let folder = dir.path().to_str().unwrap();
        assert_eq!(read(folder).unwrap_err().to_string(), format!("path: {folder}: is a directory"));
        #[cfg(unix)]
        assert_eq!(read("/dev/zero").unwrap_err().to_string(), "path: /dev/zero: is not a plain file");
    }

    #[test]
    fn the_data_hash_is_the_files() {
        let params = |text: &str| Params(BTreeMap::from([("sha256".to_string(), Scalar::Text(text.into()))]));
        assert_eq!(data_hash(&Spec { name: "text".into(), params: params("ab") }), "ab");
        assert_eq!(data_hash(&Spec { name: "text".into(), params: params("") }), "generated");
        assert_eq!(data_hash(&Spec { name: "markov".into(), params: Params::default() }), "generated");
    }
}
