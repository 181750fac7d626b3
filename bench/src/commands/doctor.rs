//! `preheat doctor`.

use super::bench::out;
use crate::cli::place;
use crate::doctor::{Finding, Places, Readiness, State, examine, readiness};
use crate::exit::{Exit, Failure};
use crate::table::{Style, draw};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::io::IsTerminal;
use std::path::PathBuf;

/// `preheat doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// How the result is printed.
    #[arg(long, value_enum, default_value = "table")]
    pub format: DoctorFormat,
    /// Where records and checkpoints are kept.
    #[arg(long, value_name = "DIR", default_value_os_t = place("target/preheat"))]
    pub store: PathBuf,
    /// Where accepted results are kept.
    #[arg(long, value_name = "DIR", default_value_os_t = place("golden"))]
    pub golden: PathBuf,
    /// Look at the suites of this folder instead of the built-in ones.
    #[arg(long = "suites", value_name = "DIR")]
    pub suites_dir: Option<PathBuf>,
}

/// How the findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DoctorFormat {
    /// Tables for people.
    Table,
    /// All of it.
    Json,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    exit: u8,
    findings: &'a [Finding],
    commands: &'a [Readiness],
}

/// Says what this machine has and which command lacks what; exit 5 where `bench` cannot run.
///
/// # Errors
/// Findings that cannot be written as JSON.
pub fn run(args: &DoctorArgs) -> Result<Exit, Failure> {
    let places = Places { store: &args.store, golden: &args.golden, suites_dir: args.suites_dir.as_deref() };
    let findings = examine(&places);
    let commands = readiness(&findings);
    let bench = commands.iter().all(|c| c.command != "bench" || c.ready);
    let exit = if bench { Exit::Golden } else { Exit::Failed };
    match args.format {
        DoctorFormat::Json => {
            let document = Document { schema: 1, exit: exit.code(), findings: &findings, commands: &commands };
            out(&(serde_json::to_string_pretty(&document).map_err(Failure::failed)? + "\n"));
        }
        DoctorFormat::Table => out(&tables(&findings, &commands)),
    }
    Ok(exit)
}

fn tables(findings: &[Finding], commands: &[Readiness]) -> String {
    let style = if std::io::stdout().is_terminal() { Style::Unicode } else { Style::Plain };
    let mut found = vec![["part", "what", "", "found"].map(String::from).to_vec()];
    for Finding { part, what, state, found: text } in findings {
        let state = match state {
            State::Ok => "ok",
            State::Info => "",
            State::Absent => "absent",
            State::Bad => "BAD",
        };
        found.push(vec![(*part).into(), what.clone(), state.into(), text.clone()]);
    }
    let mut ready = vec![["command", "", "what is missing"].map(String::from).to_vec()];
    for Readiness { command, ready: can, missing } in commands {
        ready.push(vec![(*command).into(), if *can { "ready" } else { "lacks" }.into(), missing.join("; ")]);
    }
    format!("{}\n\n{}\n", draw(found, style), draw(ready, style))
}
