//! `preheat doctor`.

use crate::cli::{DeviceArg, place};
use crate::doctor::{Finding, Places, Readiness, State, cuda, examine, readiness};
use crate::exit::{Exit, Failure};
use crate::lab::MathArg;
use crate::lab::device::{self, Chosen};
use crate::say::out;
use crate::table::{Style, draw};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::io::IsTerminal;
use std::path::PathBuf;

/// `preheat doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Ask this device alone, and compare what it computes: its kernels, each op, golden's digests.
    #[arg(long, value_enum)]
    pub device: Option<DeviceArg>,
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
    if let Some(device) = args.device {
        return asked(args, device);
    }
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

/// What one device computes: 1 where a bit differs, 5 where the device is not there.
fn asked(args: &DoctorArgs, device: DeviceArg) -> Result<Exit, Failure> {
    let Chosen::Cuda(gpu) = device::choose(device, MathArg::Exact, &args.store)? else {
        return Err(Failure::usage(
            "doctor --device cpu: the tests compare it, `cargo test --workspace`; allowed: cuda",
        ));
    };
    let findings = cuda::examine(&gpu, &args.golden);
    let exit = if findings.iter().any(|f| f.state == State::Bad) { Exit::Regression } else { Exit::Golden };
    match args.format {
        DoctorFormat::Json => {
            let document = Document { schema: 1, exit: exit.code(), findings: &findings, commands: &[] };
            out(&(serde_json::to_string_pretty(&document).map_err(Failure::failed)? + "\n"));
        }
        DoctorFormat::Table => out(&(draw(found(&findings), style()) + "\n")),
    }
    Ok(exit)
}

fn style() -> Style {
    if std::io::stdout().is_terminal() { Style::Unicode } else { Style::Plain }
}

/// A row a finding.
fn found(findings: &[Finding]) -> Vec<Vec<String>> {
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
    found
}

fn tables(findings: &[Finding], commands: &[Readiness]) -> String {
    let mut ready = vec![["command", "", "what is missing"].map(String::from).to_vec()];
    for Readiness { command, ready: can, missing } in commands {
        ready.push(vec![(*command).into(), if *can { "ready" } else { "lacks" }.into(), missing.join("; ")]);
    }
    format!("{}\n\n{}\n", draw(found(findings), style()), draw(ready, style()))
}
