//! The gate's arm64 step skips and fails by the rule of `preheat::skip`, which it has to state again.

use super::files;
use preheat::skipped;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs that the step asks before it looks for what it needs.
const ASKED_FIRST: [&str; 3] = ["dirname", "id", "uname"];

/// A program's path.
fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("a PATH");
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no {program} on the PATH"))
}

/// The step where nothing can be had: whether it passes, and what it says.
fn step(folder: &Path, require: &str) -> (bool, String) {
    let mut step = Command::new(find("bash"));
    step.arg(files::root().join(".ci/arm64.sh")).env("PATH", folder).env(preheat::REQUIRE_VARIABLE, require);
    let done = step.output().expect("bash starts");
    (done.status.success(), String::from_utf8_lossy(&done.stderr).trim_end().to_string())
}

#[test]
fn where_tools_are_missing_the_step_skips_and_fails_as_tests_do() {
    let folder = tempfile::tempdir().expect("a folder");
    for program in ASKED_FIRST {
        symlink(find(program), folder.path().join(program)).expect("a link");
    }
    for require in ["", "all", "all,-torch", "arm64", "g++, arm64", "all,-arm64", "-arm64, all", "arm6", "-arm64,arm64"]
    {
        let (passes, said) = step(folder.path(), require);
        assert_eq!(passes, skipped(require, "arm64", "arm64").is_ok(), "{require}: {said}");
        assert_eq!(said.lines().count(), 1, "{require}: {said}");
        assert!(said.contains("arm64: aarch64-linux-gnu-gcc is missing here"), "{require}: {said}");
        assert_eq!(said.starts_with("skipped: "), passes, "{require}: {said}");
    }
}
