//! What no source file may hold.

use super::files;
use std::path::Path;

/// A file that is longer holds more than one idea.
const MAX_LINES: usize = 700;

/// (text, what to do instead). Written in two halves, so that this file passes its own test.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("#[ign", "ore"), "a test that needs a tool skips with a word, or fails under PREHEAT_REQUIRE=all"),
    (concat!("to", "do!("), "write it or leave it out"),
    (concat!("unimpl", "emented!("), "write it or leave it out"),
    (concat!("db", "g!("), "a leftover"),
    (concat!("#[al", "low("), "#[expect(…, reason = …)] says why and notices when it is no longer needed"),
    (concat!("#![al", "low("), "#[expect(…, reason = …)] says why and notices when it is no longer needed"),
];

/// Everything wrong with one Rust source, in words.
fn faults(path: &Path, source: &str) -> Vec<String> {
    let at = |line: usize, what: &str| format!("{}:{line}: {what}", path.display());
    let mut found = Vec::new();
    let lines = source.lines().count();
    if lines > MAX_LINES {
        found.push(at(lines, &format!("{lines} lines; at most {MAX_LINES}")));
    }
    if !source.starts_with("//!") {
        found.push(at(1, "the first line says in a //! comment what the file is for"));
    }
    for (number, line) in source.lines().enumerate() {
        for (text, instead) in FORBIDDEN.iter().filter(|(text, _)| line.contains(text)) {
            found.push(at(number + 1, &format!("{text}: {instead}")));
        }
    }
    found
}

#[test]
fn every_rust_file_is_tidy() {
    let sources = files::with_extension("", &["rs"]);
    assert!(sources.iter().any(|p| p.ends_with("tests/house/tidy.rs")), "the walk finds this file");
    let found: Vec<_> = sources.iter().flat_map(|path| faults(path, &files::read(path))).collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn scripts_and_kernels_are_short_too() {
    for path in files::with_extension("", &["py", "sh", "cu", "cuh", "hpp"]) {
        let lines = files::read(&path).lines().count();
        assert!(lines <= MAX_LINES, "{}: {lines} lines; at most {MAX_LINES}", path.display());
    }
}

#[test]
fn each_fault_is_found() {
    let check = |source: &str, expect: usize| {
        let found = faults(Path::new("x.rs"), source);
        assert_eq!(found.len(), expect, "{source:?}: {found:?}");
    };
    check("//! A file.\n", 0);
    check("", 1);
    check("fn main() {}\n", 1);
    check(&format!("//! Long.\n{}", "\n".repeat(MAX_LINES - 1)), 0);
    check(&format!("//! Long.\n{}", "\n".repeat(MAX_LINES)), 1);
    for (text, _) in FORBIDDEN {
        check(&format!("//! A file.\n{text}\n"), 1);
    }
}
