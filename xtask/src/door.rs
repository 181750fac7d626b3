//! Builds the lab and becomes it.

use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use xshell::{Shell, cmd};

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// Builds `preheat` and runs it with `words`.
pub(crate) fn run(words: &[OsString]) -> Result<ExitCode> {
    let base = crate::against::revision(words).map(|revision| crate::against::build(&revision)).transpose()?;
    let preheat = build(features(words))?;
    let mut command = Command::new(&preheat);
    // The line to resume names the command that the user knows.
    command.args(words).env("PREHEAT_DOOR", "cargo xtask");
    if let Some(base) = base {
        command.arg("--base").arg(base);
    }
    // From a folder below, golden and the store are still the workspace's; paths in words stay the user's.
    if std::env::current_dir().ok().as_deref() != Some(root()) {
        command.env("PREHEAT_ROOT", root());
    }
    become_it(&mut command).with_context(|| preheat.display().to_string())
}

/// What the words need beside the installed binary's features.
fn features(words: &[OsString]) -> &'static str {
    if words.starts_with(&["perf".into(), "gemm".into()]) { "peers" } else { "" }
}

/// The path of `preheat`, built in release mode: quiet unless it takes long or fails.
pub(crate) fn build(features: &str) -> Result<PathBuf> {
    let shell = Shell::new()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = root().join("Cargo.toml");
    let fresh = cmd!(shell, "{cargo} build --quiet --release --package preheat-bench --bin preheat")
        .args(["--message-format", "json-render-diagnostics", "--manifest-path"])
        .arg(&manifest)
        .args(["--features", features])
        .quiet()
        .ignore_status()
        .output()?;
    // Cargo renders warnings and errors on stderr; what it says is shown only where the build failed.
    ensure!(fresh.status.success(), "{}the lab does not build", String::from_utf8_lossy(&fresh.stderr));
    let messages = String::from_utf8(fresh.stdout).context("cargo's messages")?;
    executable(&messages).context("cargo did not say where `preheat` is")
}

/// The executable in cargo's messages, one JSON object a line. It follows `CARGO_TARGET_DIR` and every
/// other setting, which a guessed path would not.
pub(crate) fn executable(messages: &str) -> Option<PathBuf> {
    let mut found = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let named = message["target"]["name"] == "preheat" && message["target"]["kind"][0] == "bin";
        message["executable"].as_str().filter(|_| named).map(PathBuf::from)
    });
    found.next()
}

/// The process is replaced, so that signals, streams and the exit code are the lab's own.
#[cfg(unix)]
fn become_it(command: &mut Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec().into())
}

/// Where a process cannot be replaced, its exit code is passed on; the console sends signals to both.
#[cfg(not(unix))]
fn become_it(command: &mut Command) -> Result<ExitCode> {
    let code = command.status()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(5)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_comparison_with_peers_is_built_with_them() {
        let check = |words: &[&str], expected| {
            assert_eq!(features(&words.iter().map(OsString::from).collect::<Vec<_>>()), expected, "{words:?}");
        };
        check(&["perf", "gemm", "--format", "json"], "peers");
        check(&["perf", "step"], "");
        check(&["bench", "perf", "gemm"], "");
        check(&[], "");
    }

    #[test]
    fn the_executable_is_read_from_cargos_messages() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"name":"clap","kind":["lib"]},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"preheat","kind":["lib"]},"executable":"/wrong"}
{"reason":"compiler-artifact","target":{"name":"preheat","kind":["bin"]},"executable":"/else where/release/preheat"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/else where/release/preheat")));
        assert_eq!(executable(""), None);
    }
}
