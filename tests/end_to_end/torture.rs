//! Benches killed at random moments: a short run of what `cargo xtask torture` does at length.

use crate::support::{preheat, xtask};
use std::process::Command;

#[cfg(unix)]
#[test]
fn killed_benches_lose_nothing() {
    let mut torture = Command::new(xtask());
    torture.args(["torture", "--kills", "20", "--seed", "7", "--preheat"]).arg(preheat());
    let done = torture.output().expect("xtask starts");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let last = said.lines().last().expect("a last line");
    assert!(last.starts_with("torture: 20 kills (") && last.contains(" 0 breaches"), "{said}");
}

#[test]
fn wrong_words_of_torture_are_2() {
    for words in [&["--kills", "many"][..], &["--kills"], &["--sword", "1"]] {
        let done = Command::new(xtask()).arg("torture").args(words).output().expect("xtask starts");
        assert_eq!(done.status.code(), Some(2), "{words:?}");
        assert!(done.stdout.is_empty() && !done.stderr.is_empty());
    }
}
