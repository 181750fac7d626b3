//! `cargo xtask perf --against REV`: builds the lab of another revision, in a worktree of its own below `target/`, so
//! that the lab can compare itself with it.

use crate::Refused;
use crate::door::{executable, root};
use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The revision after `--against`, where `words` are those of `perf`.
pub(crate) fn revision(words: &[OsString]) -> Option<String> {
    let (first, rest) = words.split_first()?;
    if first != "perf" {
        return None;
    }
    let at = rest.iter().position(|word| word == "--against");
    let joined = || rest.iter().find_map(|word| word.to_str()?.strip_prefix("--against="));
    let found = at.and_then(|at| rest.get(at + 1)).and_then(|word| word.to_str()).or_else(joined);
    found.map(String::from)
}

/// Builds `revision` and returns its executable.
pub(crate) fn build(revision: &str) -> Result<PathBuf> {
    let commit = commit(revision)?;
    let place = root().join("target").join("perf");
    fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
    // Two comparisons at once share the worktree; each keeps a copy of what it built.
    let lock = File::create(place.join("lock"))?;
    lock.lock()?;
    let tree = place.join("base");
    check_out(&tree, &commit)?;
    eprintln!("xtask: building {revision} ({})", &commit[..commit.len().min(12)]);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--release", "--package", "preheat-bench", "--bin", "preheat", "--locked"]);
    cargo.args(["--message-format", "json-render-diagnostics", "--target-dir"]).arg(place.join("target"));
    let built = cargo.current_dir(&tree).stderr(Stdio::piped()).output()?;
    let messages = String::from_utf8_lossy(&built.stdout);
    let Some(fresh) = executable(&messages).filter(|_| built.status.success()) else {
        let said = String::from_utf8_lossy(&built.stderr);
        let why = said.lines().find(|line| line.starts_with("error")).unwrap_or("no executable").to_string();
        bail!(Refused { code: 3, message: format!("--against {revision}: it does not build here: {why}") });
    };
    let kept = place.join(format!("preheat-{commit}"));
    // A comparison that runs from the copy keeps its file: a rename replaces the name only.
    let fresh_copy = place.join("preheat-new");
    fs::copy(&fresh, &fresh_copy).with_context(|| fresh.display().to_string())?;
    fs::rename(&fresh_copy, &kept)?;
    Ok(kept)
}

/// The commit that `revision` names.
fn commit(revision: &str) -> Result<String> {
    let name = format!("{revision}^{{commit}}");
    match git(root(), &["rev-parse", "--verify", "--quiet", "--end-of-options", &name]) {
        Ok(commit) => Ok(commit.trim().to_string()),
        Err(_) => {
            let message = format!("--against {revision:?}: no such revision here; allowed: what `git rev-parse` finds");
            bail!(Refused { code: 2, message })
        }
    }
}

/// Puts `commit` into the worktree `tree`, which is made where it is missing. Unchanged files keep their times, so
/// the next build does little.
fn check_out(tree: &Path, commit: &str) -> Result<()> {
    if tree.join(".git").exists() && git(tree, &["checkout", "--quiet", "--detach", "--force", commit]).is_ok() {
        return Ok(());
    }
    if tree.exists() {
        fs::remove_dir_all(tree).with_context(|| tree.display().to_string())?;
    }
    // Forced, because the repository may still know a worktree of a cleaned `target/`.
    let path = tree.as_os_str();
    let words = ["worktree", "add", "--quiet", "--force", "--detach"].map(OsStr::new);
    git(root(), &[&words[..], &[path, OsStr::new(commit)]].concat()).map(drop)
}

/// Git's answer in `folder`.
fn git<S: AsRef<OsStr>>(folder: &Path, words: &[S]) -> Result<String> {
    let done = Command::new("git").args(words).current_dir(folder).stdin(Stdio::null()).output().context("git")?;
    if !done.status.success() {
        bail!("git: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revision_is_the_word_after_against() {
        let check = |words: &[&str], expected: Option<&str>| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert_eq!(revision(&words).as_deref(), expected, "{words:?}");
        };
        check(&["perf", "--against", "main"], Some("main"));
        check(&["perf", "--format", "json", "--against=v1"], Some("v1"));
        check(&["perf", "--against"], None);
        check(&["perf"], None);
        check(&["bench", "--against", "main"], None);
        check(&[], None);
    }

    #[test]
    fn what_git_does_not_find_is_a_wrong_command() {
        for bad in ["no-such-revision", "", "--help", "HEAD:Cargo.toml"] {
            let error = commit(bad).unwrap_err();
            let refused = error.downcast_ref::<Refused>().expect("a refusal");
            assert_eq!((refused.code, refused.message.lines().count()), (2, 1), "{bad:?}: {}", refused.message);
        }
    }
}
