//! What a store may never do while benches on it are killed: lose or rewrite a record, or pile up leftovers.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A sealed record as it was first seen. A run that is trained again writes a new file and renames it into place,
/// so it shows here even where its bits are the same.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    file: u64,
    written: SystemTime,
    bytes: Vec<u8>,
}

/// What one store has shown so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    records: BTreeMap<PathBuf, Seen>,
}

impl Ledger {
    /// How many records were there at the last look.
    pub(super) fn records(&self) -> usize {
        self.records.len()
    }

    /// Looks at the store while no bench works on it. The answer holds what is wrong, one line each.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub(super) fn look(&mut self, store: &Path) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        let mut now = BTreeMap::new();
        for path in files(store)? {
            let name = path.strip_prefix(store).unwrap_or(&path).display().to_string();
            if name.contains(".bad-") {
                wrong.push(format!("{name}: a file was damaged"));
            } else if !known(&name) {
                wrong.push(format!("{name}: a file that nothing will take up again"));
            } else if name.ends_with(".record") {
                now.insert(path.clone(), seen(&path)?);
            }
        }
        for (path, was) in &self.records {
            match now.get(path) {
                None => wrong.push(format!("{}: the record is lost", path.display())),
                Some(is) if is != was => wrong.push(format!("{}: the run was trained again", path.display())),
                Some(_) => {}
            }
        }
        self.records = now;
        Ok(wrong)
    }
}

/// How many finished records the store holds, also while a bench works on it.
///
/// # Errors
/// A store that cannot be read.
pub(super) fn records(store: &Path) -> Result<usize> {
    Ok(files(&store.join("records"))?.iter().filter(|path| path.extension().is_some_and(|e| e == "record")).count())
}

/// What is left in a store after a bench that came to its end and should be gone: everything but records, kept
/// checkpoints and the measured speed.
///
/// # Errors
/// A store that cannot be read.
pub(super) fn leftovers(store: &Path) -> Result<Vec<String>> {
    let names = files(store)?.into_iter().map(|path| path.strip_prefix(store).unwrap_or(&path).display().to_string());
    let stays = |name: &String| {
        let kind = [("records/", ".record"), ("kept/", ".checkpoint"), ("throughput-", ".json")];
        kind.iter().any(|(folder, end)| name.starts_with(folder) && name.ends_with(end))
            || name == "locks/throughput.lock"
    };
    Ok(names.filter(|name| !stays(name)).map(|name| format!("{name}: left over after a whole bench")).collect())
}

/// Whether a killed bench may leave a file of this name. Its name is the same each time, so the next bench takes it
/// up and none pile up.
fn known(name: &str) -> bool {
    let name = name.strip_suffix(".tmp").unwrap_or(name);
    let kinds = [
        ("records/", ".record"),
        ("checkpoints/", ".checkpoint"),
        ("kept/", ".checkpoint"),
        ("locks/", ".lock"),
        ("throughput-", ".json"),
    ];
    kinds.iter().any(|(folder, end)| {
        let middle = name.strip_prefix(folder).and_then(|rest| rest.strip_suffix(end));
        middle.is_some_and(|middle| !middle.is_empty() && !middle.contains(['.', '/']))
    })
}

fn seen(path: &Path) -> Result<Seen> {
    let meta = fs::metadata(path).with_context(|| path.display().to_string())?;
    #[cfg(unix)]
    let file = std::os::unix::fs::MetadataExt::ino(&meta);
    #[cfg(not(unix))]
    let file = 0;
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(Seen { file, written: meta.modified()?, bytes })
}

/// All files below `folder`, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    // A bench that was killed early enough has not made its store yet.
    let Ok(entries) = fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        dir
    }

    /// The lines at the second look, after `edit`.
    fn after(edit: impl FnOnce(&Path)) -> Vec<String> {
        let dir = store(&["records/a.record", "records/b.record", "checkpoints/c.checkpoint.tmp", "locks/c.lock"]);
        let mut ledger = Ledger::default();
        assert_eq!(ledger.look(dir.path()).unwrap(), Vec::<String>::new());
        assert_eq!(ledger.records(), 2);
        edit(dir.path());
        ledger.look(dir.path()).unwrap()
    }

    #[track_caller]
    fn says(lines: &[String], words: &str) {
        assert!(lines.len() == 1 && lines[0].contains(words), "{lines:?}");
    }

    #[test]
    fn every_loss_is_seen() {
        assert_eq!(after(|_| ()), Vec::<String>::new());
        assert_eq!(after(|s| fs::write(s.join("records/c.record"), "c").unwrap()), Vec::<String>::new());
        says(&after(|s| fs::remove_file(s.join("records/a.record")).unwrap()), "lost");
        says(&after(|s| fs::write(s.join("records/a.record"), "other").unwrap()), "trained again");
        says(&after(|s| fs::write(s.join("records/a.record.bad-1"), "").unwrap()), "damaged");
        says(&after(|s| fs::write(s.join("throughput-x.json.tmp-71"), "").unwrap()), "nothing will take up");
    }

    #[cfg(unix)]
    #[test]
    fn a_run_trained_again_is_seen_where_its_bits_are_the_same() {
        let again = |s: &Path| {
            fs::write(s.join("new"), "records/a.record").unwrap();
            fs::rename(s.join("new"), s.join("records/a.record")).unwrap();
        };
        says(&after(again), "trained again");
    }

    #[test]
    fn only_results_stay_after_a_whole_bench() {
        let whole = store(&["records/a.record", "kept/a-3.checkpoint", "throughput-cpu.json"]);
        assert_eq!(leftovers(whole.path()).unwrap(), Vec::<String>::new());
        let left = ["records/a.record.tmp", "locks/a.lock", "checkpoints/a.checkpoint", "kept/a-3.checkpoint.tmp"];
        assert_eq!(leftovers(store(&left).path()).unwrap().len(), left.len());
    }
}
