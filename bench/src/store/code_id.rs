//! The code id: which sources computed a record's numbers. Shared by the build script, which puts the id
//! into the binary, and by the tests, which edit a copy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Folders whose sources decide a run's numbers, and the lock file.
pub const INPUTS: [&str; 6] =
    ["Cargo.lock", "kernels/Cargo.toml", "kernels/cuda", "kernels/src", "suites/Cargo.toml", "suites/src"];

/// blake3 over names and bytes of every input below the workspace `root`, in hexadecimal. Suites are not
/// part of it: a run's own id covers what they say.
///
/// # Errors
/// A file that cannot be read.
pub fn code_id(root: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for input in INPUTS {
        collect(&root.join(input), &mut files)?;
    }
    files.sort();
    let mut hasher = blake3::Hasher::new();
    for file in files {
        if file.extension().is_some_and(|e| e == "yaml") {
            continue;
        }
        let name = file.strip_prefix(root).expect("collected below the root").to_string_lossy().replace('\\', "/");
        let bytes = fs::read(&file)?;
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
    }
    Ok(hasher.finalize().to_hex()[..32].to_string())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}
