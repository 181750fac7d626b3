//! The store: where it is, whether it can be written, what it holds.

use super::{Finding, State};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Findings on the store at `root`, which need not be there yet.
pub(super) fn store(root: &Path) -> Vec<Finding> {
    let fact = |what: &str, found: String| Finding::new("store", what, State::Info, found);
    let place = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
    let mut all = vec![fact("place", place.display().to_string()), writable("store", &place)];
    all.push(fact("free space", free(&place).unwrap_or_else(|| "unknown".into())));
    for (what, folder, end) in [
        ("records", "records", ".record"),
        ("checkpoints of stopped runs", "checkpoints", ".checkpoint"),
        ("checkpoints that others start from", "kept", ".checkpoint"),
    ] {
        all.push(fact(what, count(&place.join(folder), |name| name.ends_with(end)).to_string()));
    }
    let aside = ["records", "checkpoints", "kept"].map(|folder| count(&place.join(folder), |n| n.contains(".bad-")));
    all.push(fact("files set aside", aside.iter().sum::<usize>().to_string()));
    all
}

/// Files of `folder` whose names fit.
fn count(folder: &Path, fits: impl Fn(&str) -> bool) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.flatten().filter(|entry| fits(&entry.file_name().to_string_lossy())).count()
}

/// Whether files can be made in `place`, or in the nearest folder above it where it is not there yet.
pub(super) fn writable(part: &'static str, place: &Path) -> Finding {
    let (state, found) = match try_to_write(place) {
        Ok(folder) if folder == place => (State::Ok, "yes".to_string()),
        Ok(folder) => (State::Ok, format!("yes, it will be made in {}", folder.display())),
        Err(e) => (State::Bad, format!("{}: {e}", place.display())),
    };
    Finding::new(part, "writable", state, found)
}

fn try_to_write(place: &Path) -> io::Result<PathBuf> {
    let folder = nearest(place);
    if !folder.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is no folder", folder.display())));
    }
    let probe = folder.join(format!(".preheat-doctor-{}", std::process::id()));
    fs::File::create_new(&probe)?;
    fs::remove_file(&probe)?;
    Ok(folder.to_path_buf())
}

/// `place`, or the nearest thing above it that exists.
fn nearest(place: &Path) -> &Path {
    place.ancestors().find(|above| above.exists()).unwrap_or(place)
}

#[cfg(unix)]
fn free(place: &Path) -> Option<String> {
    let system = rustix::fs::statvfs(nearest(place)).ok()?;
    Some(size(system.f_bavail as f64 * system.f_frsize as f64))
}

#[cfg(not(unix))]
fn free(_: &Path) -> Option<String> {
    None
}

/// Bytes for people.
pub(super) fn size(bytes: f64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fitting = units.into_iter().find(|(_, power)| bytes >= (1_u64 << power) as f64);
    fitting.map_or(format!("{bytes} B"), |(unit, power)| format!("{:.1} {unit}", bytes / (1_u64 << power) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_by_kind_and_a_probe_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        let of = |what: &str| store(&root).into_iter().find(|f| f.what == what).unwrap();
        assert!(of("writable").found.contains("it will be made in"));
        assert_eq!((of("records").found.as_str(), root.exists()), ("0", false));
        for file in ["records/a.record", "records/b.record", "records/b.record.bad-1", "kept/c-3.checkpoint.bad-2"] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        assert_eq!((of("records").found.as_str(), of("files set aside").found.as_str()), ("2", "2"));
        assert_eq!(of("writable").found, "yes");
        assert_eq!(fs::read_dir(&root).unwrap().count(), 2);
    }

    #[test]
    fn a_place_below_a_file_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for place in [file.clone(), file.join("store"), file.join("a/b")] {
            assert_eq!(writable("store", &place).state, State::Bad, "{}", place.display());
        }
    }

    #[test]
    fn sizes_are_read_by_people() {
        let cases = [(0.0, "0 B"), (1023.0, "1023 B"), (1024.0, "1.0 KiB"), (1.5 * 1024.0 * 1024.0, "1.5 MiB")];
        for (bytes, expected) in cases {
            assert_eq!(size(bytes), expected);
        }
        assert_eq!(size(64.0 * 1024.0 * 1024.0 * 1024.0), "64.0 GiB");
    }
}
