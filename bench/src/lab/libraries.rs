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
    let environments = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(named).map(PathBuf::from);
    all.extend(environments.flat_map(|environment| packages(&environment)));
    // The environment of a Python that is called without being activated.
    let programs: Vec<PathBuf> = named("PATH").map_or(Vec::new(), |list| std::env::split_paths(&list).collect());
    let pythons = programs.iter().filter(|folder| folder.join("python3").exists());
    all.extend(pythons.filter_map(|folder| folder.parent()).flat_map(packages));
    // Where a system's own pip puts them, for all or for this user, beside no Python.
    let home = named("HOME").map(|home| PathBuf::from(home).join(".local"));
    all.extend([Some(PathBuf::from("/usr/local")), home].into_iter().flatten().flat_map(|place| packages(&place)));
    all.push(place("target/ci/nvrtc/nvidia/cu13/lib"));
    all.push(PathBuf::from("/usr/local/nvidia/lib64"));
    all
}

/// CUDA's libraries among the packages of a Python's environment.
fn packages(environment: &Path) -> Vec<PathBuf> {
    let places = children(&environment.join("lib")).into_iter();
    let sites =
        places.flat_map(|python| ["site-packages", "dist-packages"].map(|site| python.join(site).join("nvidia")));
    sites.flat_map(|nvidia| children(&nvidia)).map(|package| package.join("lib")).collect()
}

/// What lies in a folder, sorted, the newest version first; nothing where there is no such folder.
fn children(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut all: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    all.sort_by(|a, b| b.cmp(a));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_among_a_python_s_packages_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let nvidia = |python: &str, site: &str| dir.path().join("lib").join(python).join(site).join("nvidia");
        std::fs::create_dir_all(nvidia("python3.12", "site-packages").join("cu13/lib")).unwrap();
        std::fs::create_dir_all(nvidia("python3", "dist-packages").join("cublas/lib")).unwrap();
        let expected = [
            nvidia("python3.12", "site-packages").join("cu13/lib"),
            nvidia("python3", "dist-packages").join("cublas/lib"),
        ];
        assert_eq!(packages(dir.path()), expected);
        assert_eq!(packages(&dir.path().join("absent")), Vec::<PathBuf>::new());
    }
}
