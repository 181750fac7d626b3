//! Programs beside this one: what builds it, and what some chores need.

use super::{Finding, State};
use std::process::{Command, Stdio};

/// Cargo and its friends.
pub(super) fn toolchain() -> Vec<Finding> {
    let mut all = vec![Finding::new("toolchain", "built with", State::Info, env!("PREHEAT_RUSTC"))];
    for (what, program) in [("cargo", "cargo"), ("rustc", "rustc"), ("rustfmt", "rustfmt"), ("clippy", "cargo-clippy")]
    {
        all.push(asked("toolchain", what, &[program], &["--version"]));
    }
    all
}

/// What single commands need.
pub(super) fn optional() -> Vec<Finding> {
    let python = std::env::var(PYTHON_VARIABLE).ok().filter(|python| !python.is_empty());
    let python = python.unwrap_or_else(|| "python3".into());
    let mut all = vec![asked("tools", "python", &[&python], &["--version"])];
    for package in ["torch", "safetensors", "numpy"] {
        // Asked for its version, which is quick; importing torch is not.
        let question = format!("import importlib.metadata as m; print(m.version('{package}'))");
        let mut found = asked("tools", package, &[&python], &["-c", &question]);
        if found.state == State::Absent {
            found.found = format!("not a package of {python}; {PYTHON_VARIABLE} may name another");
        }
        all.push(found);
    }
    let of_the_gate = [
        ("cargo-deny", &["cargo-deny"][..]),
        ("zizmor", &["zizmor", "target/ci/venv/bin/zizmor"]),
        ("linker for arm64", &["aarch64-linux-gnu-gcc"]),
        ("qemu for arm64", &["qemu-aarch64-static", "qemu-aarch64"]),
    ];
    for (what, programs) in of_the_gate {
        let mut found = asked("tools", what, programs, &["--version"]);
        if found.state == State::Absent {
            found.found = "not found; `cargo xtask ci` installs it".into();
        }
        all.push(found);
    }
    all
}

/// The environment variable that names the Python of the replay.
const PYTHON_VARIABLE: &str = "PREHEAT_PYTHON";

/// The first line that the first of `programs` that is there answers with.
fn asked(part: &'static str, what: &str, programs: &[&str], words: &[&str]) -> Finding {
    let answers = programs.iter().filter_map(|program| {
        let said = Command::new(program).args(words).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&said.stdout).lines().next().unwrap_or_default().trim().to_string();
        said.status.success().then_some(text)
    });
    match answers.into_iter().next() {
        Some(answer) => Finding::new(part, what, State::Ok, answer),
        None => Finding::new(part, what, State::Absent, "not found"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_program_that_is_there_answers() {
        let found = asked("tools", "x", &["no-such-program-of-preheat", "cargo"], &["--version"]);
        assert!(found.state == State::Ok && found.found.starts_with("cargo "), "{found:?}");
        assert_eq!(asked("tools", "x", &["no-such-program-of-preheat"], &[]).state, State::Absent);
        assert_eq!(asked("tools", "x", &["cargo"], &["no-such-word-of-cargo"]).state, State::Absent);
    }
}
