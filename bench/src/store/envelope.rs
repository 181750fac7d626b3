//! A file that proves itself: one header line with kind, version, length and blake3 of the body, then the
//! body. Written under a temporary name, synced, then renamed, so a reader sees all of it or none.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Version of the files' layout. Older files are set aside and computed again.
pub const VERSION: u32 = 1;

/// Why a file is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// No header of ours.
    #[error("not a file of this store")]
    Foreign,
    /// Another layout.
    #[error("layout version {0}, this program writes {VERSION}")]
    Version(String),
    /// Shorter or longer than its header says.
    #[error("{found} bytes where the header says {expected}: truncated")]
    Length {
        /// Bytes there should be.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The bytes are not those that were written.
    #[error("checksum mismatch: corrupted")]
    Checksum,
}

/// Header and body of `body`.
pub fn seal(kind: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("preheat {kind} {VERSION} {} {}\n", body.len(), blake3::hash(body).to_hex()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The body of a sealed file.
///
/// # Errors
/// What is wrong with the file.
pub fn unseal<'a>(kind: &str, bytes: &'a [u8]) -> Result<&'a [u8], Bad> {
    let end = bytes.iter().take(200).position(|b| *b == b'\n').ok_or(Bad::Foreign)?;
    let header = std::str::from_utf8(&bytes[..end]).map_err(|_| Bad::Foreign)?;
    let words: Vec<&str> = header.split(' ').collect();
    let ["preheat", found, version, length, hash] = words[..] else { return Err(Bad::Foreign) };
    if found != kind {
        return Err(Bad::Foreign);
    }
    if version != VERSION.to_string() {
        return Err(Bad::Version(version.to_string()));
    }
    let expected: usize = length.parse().map_err(|_| Bad::Foreign)?;
    let body = &bytes[end + 1..];
    if body.len() != expected {
        return Err(Bad::Length { expected, found: body.len() });
    }
    if blake3::hash(body).to_hex().as_str() != hash {
        return Err(Bad::Checksum);
    }
    Ok(body)
}

/// Writes `bytes` to `path` so that no reader and no crash ever sees a part of it.
///
/// # Errors
/// The file system's; nothing is left behind then.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_by(path, &format!("tmp-{}", std::process::id()), bytes)
}

/// As [`write_atomic`], where a lock leaves one writer: the temporary name is always the same, so what a
/// killed writer left is taken up by the next.
///
/// # Errors
/// The file system's.
pub fn write_alone(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_by(path, "tmp", bytes)
}

fn write_by(path: &Path, suffix: &str, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{suffix}"));
    let temporary = PathBuf::from(temporary);
    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
        return written;
    }
    // The rename itself must survive a crash. Not every file system can sync a folder: a best effort.
    if let Some(Ok(folder)) = path.parent().map(File::open) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Renames a bad file to `<name>.bad-N` with the first free N and returns the new path. `None` when
/// another process was quicker.
pub fn set_aside(path: &Path) -> io::Result<Option<PathBuf>> {
    for n in 1_u32.. {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".bad-{n}"));
        let target = PathBuf::from(name);
        if target.exists() {
            continue;
        }
        return match fs::rename(path, &target) {
            Ok(()) => Ok(Some(target)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        };
    }
    unreachable!("four thousand million bad files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_truncation_and_every_flipped_bit_is_seen() {
        let sealed = seal("record", b"{\"loss\": 3.5}\n");
        assert_eq!(unseal("record", &sealed), Ok(&b"{\"loss\": 3.5}\n"[..]));
        assert_eq!(unseal("checkpoint", &sealed), Err(Bad::Foreign));
        for length in 0..sealed.len() {
            assert!(unseal("record", &sealed[..length]).is_err(), "{length} bytes");
        }
        for bit in 0..sealed.len() * 8 {
            let mut bytes = sealed.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal("record", &bytes).is_err(), "bit {bit}");
        }
        let longer = [&sealed[..], b" "].concat();
        assert!(matches!(unseal("record", &longer), Err(Bad::Length { .. })));
    }

    #[test]
    fn an_older_layout_is_named() {
        let sealed = String::from_utf8(seal("record", b"x")).unwrap().replace("record 1", "record 0");
        assert_eq!(unseal("record", sealed.as_bytes()), Err(Bad::Version("0".into())));
    }

    #[test]
    fn bad_files_are_kept_side_by_side() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.record");
        for n in 1..=3 {
            fs::write(&path, "x").unwrap();
            let moved = set_aside(&path).unwrap().unwrap();
            assert_eq!(moved.file_name().unwrap().to_str(), Some(format!("a.record.bad-{n}").as_str()));
        }
        assert_eq!(set_aside(&path).unwrap(), None);
    }
}
