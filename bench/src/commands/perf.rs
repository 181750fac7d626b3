//! `preheat perf`: speed.

use super::bench::out;
use crate::cli::DeviceArg;
use crate::exit::{Exit, Failure};
use crate::lab::{MathArg, device};
use crate::perf::shape::StepShape;
use crate::perf::step::{Budget, StepReport, measure};
use crate::table::{Style, count, draw};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use std::io::IsTerminal;

/// `preheat perf`.
#[derive(Clone, Debug, Args)]
pub struct PerfArgs {
    /// What is measured.
    #[command(subcommand)]
    pub what: What,
}

/// What is measured.
#[derive(Clone, Debug, Subcommand)]
pub enum What {
    /// Time the training step of one shape against the peak of the core.
    Step(StepArgs),
}

/// `preheat perf step`.
#[derive(Clone, Debug, Args)]
pub struct StepArgs {
    /// The shape.
    #[command(flatten)]
    pub shape: StepShape,
    /// Time so many steps.
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub steps: Option<u64>,
    /// Time steps for so long, in seconds.
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    pub seconds: f64,
    /// How the result is printed.
    #[arg(long, value_enum, default_value = "table")]
    pub format: PerfFormat,
}

/// How a measurement is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PerfFormat {
    /// A table for people.
    Table,
    /// All of it.
    Json,
    /// A table for a page.
    Markdown,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if (0.0..=3600.0).contains(&x) => Ok(x),
        _ => Err("seconds from 0 to 3600".into()),
    }
}

/// Measures and prints.
///
/// # Errors
/// A shape that does not hold, a SIMD path that this machine lacks.
pub fn run(args: &PerfArgs) -> Result<Exit, Failure> {
    match &args.what {
        What::Step(args) => step(args),
    }
}

fn step(args: &StepArgs) -> Result<Exit, Failure> {
    let cpu = device::choose(DeviceArg::Cpu, MathArg::Exact)?;
    let budget = args.steps.map_or(Budget::Seconds(args.seconds), Budget::Steps);
    let report = measure(&args.shape, cpu, budget)?;
    print(args.format, &report, || step_rows(&report))?;
    if report.waited > 0.05 {
        let waited = 100.0 * report.waited;
        eprintln!("preheat: the thread waited for a core {waited:.0} % of the time; trust the times on a core only");
    }
    Ok(Exit::Golden)
}

fn print(format: PerfFormat, report: &impl Serialize, rows: impl FnOnce() -> Vec<Vec<String>>) -> Result<(), Failure> {
    let style = match format {
        PerfFormat::Json => {
            let text = serde_json::to_string_pretty(report).map_err(Failure::failed)?;
            out(&(text + "\n"));
            return Ok(());
        }
        PerfFormat::Markdown => Style::Markdown,
        PerfFormat::Table if std::io::stdout().is_terminal() => Style::Unicode,
        PerfFormat::Table => Style::Plain,
    };
    out(&(draw(rows(), style) + "\n"));
    Ok(())
}

fn step_rows(report: &StepReport) -> Vec<Vec<String>> {
    let r = report;
    let machine = |key: &str| r.machine.get(key).cloned().unwrap_or_default();
    let rows = [
        ("shape", r.shape.to_string()),
        ("parameters", count(r.parameters as f64)),
        ("GFLOP a step", format!("{:.3}", r.flop / 1e9)),
        ("steps timed", r.steps.to_string()),
        ("ms a step", format!("{:.3}", r.median_ms)),
        ("tokens/s", format!("{:.0}", r.tokens_per_s)),
        ("GFLOP/s", format!("{:.1}", r.gflops)),
        ("peak GFLOP/s", format!("{:.1}", r.peak_gflops)),
        ("share of peak", percent(r.share)),
        ("on a core: ms a step", format!("{:.3}", r.cpu_ms)),
        ("on a core: share of peak", percent(r.cpu_share)),
        ("of it making batches, ms", format!("{:.3}", r.batch_ms)),
        ("waited for a core", percent(r.waited)),
        ("SIMD", r.simd.to_string()),
        ("CPU", format!("{}, {}", machine("cpu"), machine("os"))),
        ("build", format!("{}, {}", machine("commit"), machine("rustc"))),
    ];
    let header = vec!["what".to_string(), "value".to_string()];
    [header].into_iter().chain(rows.map(|(what, value)| vec![what.to_string(), value])).collect()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
