//! Copying what one store holds into another: sealed records, and the checkpoints from which other runs start.
//! Benches may work on both. Each run's files are compared and written under that run's lock, each under a temporary
//! name and renamed; where this is killed, the next merge goes on.

use super::envelope::{unseal, write_alone};
use super::error::StoreError;
use super::key::Conditions;
use super::lock::RunLock;
use super::{ANOTHER, ANOTHER_CHECKPOINT, CHECKPOINT, NOT_DETERMINED, RECORD, Store, Warn, aside_and, same};
use super::{owned_by, parse_record};
use preheat_suites::record::Record;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How often a run that a bench trains is looked at again.
const POLL: Duration = Duration::from_millis(50);

/// What a merge did.
#[derive(Debug, Default, PartialEq)]
pub struct Merged {
    /// Records and checkpoints that were copied.
    pub copied: [usize; 2],
    /// Those that were there already, equal.
    pub equal: [usize; 2],
    /// Files that do not prove themselves.
    pub bad: usize,
    /// Equal keys with other numbers, one line each.
    pub conflicts: Vec<String>,
    /// Good records of the source, by what they answer for.
    pub conditions: BTreeMap<Conditions, usize>,
}

/// The files of one run.
#[derive(Debug, Default)]
struct Files {
    record: bool,
    steps: Vec<u64>,
}

/// Whether `root` looks like a store.
pub fn is_store(root: &Path) -> bool {
    ["records", "kept"].iter().any(|folder| root.join(folder).is_dir())
}

/// Copies what `from` holds into `into` and adds to `merged`. Nothing that is there is overwritten, and a run that a
/// bench trains in `into` is waited for.
///
/// # Errors
/// One line where `from` cannot be listed or `into` cannot be written.
pub fn merge(from: &Store, into: &Store, merged: &mut Merged, warn: Warn<'_>) -> Result<(), StoreError> {
    let mut open: Vec<(String, Files)> = runs(from)?.into_iter().collect();
    let mut said = false;
    loop {
        let mut busy = Vec::new();
        for (name, files) in open {
            let path = into.file("locks", &name, "lock");
            match RunLock::take(&path).map_err(|e| StoreError::io(&path, &e))? {
                Some(lock) => one_run(&Sides { from, into, warn }, (&name, &files), lock, merged)?,
                None => busy.push((name, files)),
            }
        }
        if busy.is_empty() {
            return Ok(());
        }
        if !said {
            warn(&format!("{} runs are in training in {}: waiting for them", busy.len(), into.root.display()));
            said = true;
        }
        thread::sleep(POLL);
        open = busy;
    }
}

/// The runs of which `store` holds a record or checkpoints for others, by name.
fn runs(store: &Store) -> Result<BTreeMap<String, Files>, StoreError> {
    let mut runs: BTreeMap<String, Files> = BTreeMap::new();
    for name in names(&store.root.join("records"), RECORD)? {
        runs.entry(name).or_default().record = true;
    }
    for name in names(&store.root.join("kept"), CHECKPOINT)? {
        if let Some((name, step)) = name.rsplit_once('-')
            && let Ok(step) = step.parse()
        {
            runs.entry(name.into()).or_default().steps.push(step);
        }
    }
    Ok(runs)
}

/// The files' names in `folder` without `.extension`.
fn names(folder: &Path, extension: &str) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(StoreError::io(folder, &e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| StoreError::io(folder, &e))?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(extension)?.strip_suffix('.'));
        found.extend(stem.filter(|stem| !stem.contains('.')).map(String::from));
    }
    Ok(found)
}

struct Sides<'a> {
    from: &'a Store,
    into: &'a Store,
    warn: Warn<'a>,
}

/// Checkpoints first: a record promises them.
fn one_run(
    sides: &Sides<'_>,
    (name, files): (&str, &Files),
    lock: RunLock,
    merged: &mut Merged,
) -> Result<(), StoreError> {
    let record_of = |bytes: Vec<u8>| record(&bytes, name).ok();
    let theirs = fs::read(sides.from.file("records", name, RECORD)).ok().and_then(record_of);
    let exact = theirs.is_none_or(|(conditions, _)| conditions.is_exact());
    for step in &files.steps {
        let owner = format!("{name}-{step}");
        let good = |bytes: &[u8]| checkpoint(bytes, &owner).map(|()| bytes.to_vec());
        let paths = [sides.from, sides.into].map(|store| store.file("kept", &owner, CHECKPOINT));
        let differ = |a: &Vec<u8>, b: &Vec<u8>| {
            let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex()[..32].to_string();
            (exact && a != b).then(|| [hash(a), hash(b)])
        };
        one_file(sides, &paths, 1, good, differ, merged)?;
    }
    if files.record {
        let good = |bytes: &[u8]| record(bytes, name);
        let paths = [sides.from, sides.into].map(|store| store.file("records", name, RECORD));
        let differ = |(_, a): &(Conditions, Record), (_, b): &(Conditions, Record)| {
            (exact && !same(&a.measured, &b.measured)).then(|| [a, b].map(|record| record.measured.digest.clone()))
        };
        if let Some((conditions, _)) = one_file(sides, &paths, 0, good, differ, merged)? {
            *merged.conditions.entry(conditions).or_default() += 1;
        }
    }
    if sides.into.file("records", name, RECORD).exists() {
        lock.remove();
    }
    Ok(())
}

/// Copies one file, or compares it with what is there. `kind` is its place in the counts. The answer is what the source
/// holds, where it is good.
fn one_file<T>(
    Sides { warn, .. }: &Sides<'_>,
    [from, into]: &[PathBuf; 2],
    kind: usize,
    good: impl Fn(&[u8]) -> Result<T, String>,
    differ: impl Fn(&T, &T) -> Option<[String; 2]>,
    merged: &mut Merged,
) -> Result<Option<T>, StoreError> {
    let bytes = match fs::read(from) {
        Ok(bytes) => bytes,
        // A bench has set it aside meanwhile.
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => {
            warn(&format!("{}: {e}; not merged", from.display()));
            merged.bad += 1;
            return Ok(None);
        }
    };
    let theirs = match good(&bytes) {
        Ok(theirs) => theirs,
        Err(why) => {
            aside_and(from, &why, "not merged", *warn);
            merged.bad += 1;
            return Ok(None);
        }
    };
    match there(into, &good) {
        Ok(Some(ours)) => match differ(&theirs, &ours) {
            None => merged.equal[kind] += 1,
            Some([theirs, ours]) => {
                let [from, into] = [from, into].map(|path| path.display());
                merged.conflicts.push(format!("{NOT_DETERMINED}: {from} has digest {theirs}, {into} has {ours}"));
            }
        },
        Ok(None) => {
            write_alone(into, &bytes).map_err(|e| StoreError::io(into, &e))?;
            merged.copied[kind] += 1;
        }
        Err(Bad::Damaged(why)) => {
            aside_and(into, &why, "the merged one takes its place", *warn);
            write_alone(into, &bytes).map_err(|e| StoreError::io(into, &e))?;
            merged.copied[kind] += 1;
            merged.bad += 1;
        }
        Err(Bad::Unreadable(e)) => return Err(StoreError::io(into, &e)),
    }
    Ok(Some(theirs))
}

enum Bad {
    Damaged(String),
    Unreadable(io::Error),
}

fn there<T>(path: &Path, good: impl Fn(&[u8]) -> Result<T, String>) -> Result<Option<T>, Bad> {
    match fs::read(path) {
        Ok(bytes) => good(&bytes).map(Some).map_err(Bad::Damaged),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Bad::Unreadable(e)),
    }
}

/// A record's file that proves itself and stands under its own name.
fn record(bytes: &[u8], name: &str) -> Result<(Conditions, Record), String> {
    let body = unseal(RECORD, bytes).map_err(|bad| bad.to_string())?;
    let (key, record) = parse_record(body)?;
    if key.name() == name { Ok((key.conditions, record)) } else { Err(ANOTHER.into()) }
}

/// The same of a checkpoint.
fn checkpoint(bytes: &[u8], owner: &str) -> Result<(), String> {
    let body = unseal(CHECKPOINT, bytes).map_err(|bad| bad.to_string())?;
    owned_by(body, owner).map(|_| ()).ok_or_else(|| ANOTHER_CHECKPOINT.into())
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
