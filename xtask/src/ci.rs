//! `cargo xtask ci`: the gate, as the hosted workflow runs it. The steps stand in `.ci/run` alone.

use crate::door::root;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// Runs the steps named, or all of them.
pub(crate) fn run(steps: &[OsString]) -> Result<ExitCode> {
    let status = Command::new("bash").arg(".ci/run").args(steps).current_dir(root()).status();
    let code = status.context("bash .ci/run")?.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(5)))
}
