//! Where CUDA's libraries may lie, beyond what the system's loader knows.

use crate::cli::place;
use std::path::{Path, PathBuf};

/// The environment variable that names folders of CUDA's libraries, divided as in `PATH`; they come first.
pub const VARIABLE: &str = "PREHEAT_CUDA";

/// Folders in the order in which they are searched; most are not there.
pub fn folders() -> Vec<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let mut all: Vec<PathBuf> = named(VARIABLE).map_or(Vec::new(), |list| std::env::split_paths(&list).collect());
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(named).map(PathBuf::from);
    let installed = children(Path::new("/usr/local"))
        .into_iter()
        .filter(|folder| folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("cuda")));
    for toolkit in toolkits.chain(installed) {
        all.extend(["lib64", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"].map(|lib| toolkit.join(lib)));
    }
    for environment in ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(named) {
        for python in children(&Path::new(&environment).join("lib")) {
            all.extend(children(&python.join("site-packages/nvidia")).into_iter().map(|package| package.join("lib")));
        }
    }
    all.push(place("target/ci/nvrtc/nvidia/cu13/lib"));
    all.push(PathBuf::from("/usr/local/nvidia/lib64"));
    all
}

/// What lies in a folder, sorted, the newest version first; nothing where there is no such folder.
fn children(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut all: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    all.sort_by(|a, b| b.cmp(a));
    all
}
