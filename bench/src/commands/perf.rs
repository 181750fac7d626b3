//! `preheat perf`: speed.

use crate::cli::{DeviceArg, place};
use crate::exit::{Exit, Failure};
use crate::lab::{MathArg, device};
use crate::perf::against::{self, AgainstReport, AgainstRow};
use crate::perf::cohort::{self, CohortReport, ProductReport};
use crate::perf::gemm::{self, GemmReport, GemmRow};
use crate::perf::jobs::{self, JobsReport};
use crate::perf::ops::{self, OpRow, OpsReport};
use crate::perf::ratio::Verdict;
use crate::perf::shape::StepShape;
use crate::perf::step::{Budget, StepReport, measure};
use crate::say::{out, tell};
use crate::table::{Style, count, draw};
use clap::{Args, Subcommand, ValueEnum};
use preheat_suites::stats::median::median;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// `preheat perf`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct PerfArgs {
    /// What is measured, where it is not the table of shapes.
    #[command(subcommand)]
    pub what: Option<What>,
    /// The table of shapes, or its comparison.
    #[command(flatten)]
    pub table: TableArgs,
}

/// `preheat perf` alone.
#[derive(Clone, Debug, Args)]
pub struct TableArgs {
    /// Compare with this revision, which the door builds: exit 1 where a shape is slower, 3 where that stays open.
    #[arg(long, value_name = "REV")]
    pub against: Option<String>,
    /// The executable built from REV, which the door gives.
    #[arg(long, value_name = "EXECUTABLE", requires = "against", hide = true)]
    pub base: Option<PathBuf>,
    /// Turns of each shape and build, at least 8: fewer give no interval.
    #[arg(long, value_name = "N", default_value = "25", value_parser = clap::value_parser!(u16).range(8..=10_000))]
    pub rounds: u16,
    /// How much slower is a regression, as a share of the time.
    #[arg(long, value_name = "SHARE", default_value = "0.03", value_parser = share)]
    pub margin: f64,
    /// How the result is printed.
    #[arg(long, value_enum, default_value = "table")]
    pub format: PerfFormat,
}

/// What is measured.
#[derive(Clone, Debug, Subcommand)]
pub enum What {
    /// Time the training step of one shape against the peak of the core.
    Step(StepArgs),
    /// Time matrix products against the peak of the core, and against the `gemm` crate where it was built in.
    Gemm(GemmArgs),
    /// Time the training step of a cohort of one shape, on a cpu or on cuda.
    Cohort(CohortArgs),
    /// Time one square matrix product, on a cpu or on cuda.
    Product(ProductArgs),
}

/// `preheat perf cohort`.
#[derive(Clone, Debug, Args)]
pub struct CohortArgs {
    /// The shape.
    #[command(flatten)]
    pub shape: StepShape,
    /// Runs together.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..))]
    pub cohort: u16,
    /// Where and how long.
    #[command(flatten)]
    pub on: OnArgs,
}

/// `preheat perf product`.
#[derive(Clone, Debug, Args)]
pub struct ProductArgs {
    /// Rows, columns and terms.
    #[arg(long, value_name = "N", default_value = "4096", value_parser = clap::value_parser!(u16).range(1..=16384))]
    pub size: u16,
    /// Where and how long.
    #[command(flatten)]
    pub on: OnArgs,
}

/// Where and how long something is timed.
#[derive(Clone, Debug, Args)]
pub struct OnArgs {
    /// Where numbers are computed.
    #[arg(long, value_enum, default_value = "cpu")]
    pub device: DeviceArg,
    /// exact: the project's kernels. fast, f32, tf32, bf16: cuBLAS.
    #[arg(long, value_enum, default_value = "exact")]
    pub math: MathArg,
    /// For so long, in seconds.
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    pub seconds: f64,
    /// How the result is printed.
    #[arg(long, value_enum, default_value = "table")]
    pub format: PerfFormat,
}

/// `preheat perf gemm`.
#[derive(Clone, Debug, Args)]
pub struct GemmArgs {
    /// Turns of each product.
    #[arg(long, value_name = "N", default_value = "40", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub rounds: u16,
    /// How the result is printed.
    #[arg(long, value_enum, default_value = "table")]
    pub format: PerfFormat,
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
    /// Trainers at once, a thread each; above 1 their throughput is measured in turns with one alone.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: u16,
    /// Show where the time goes: each kind of op, its share of the step and of the peak.
    #[arg(long, conflicts_with = "jobs")]
    pub ops: bool,
    /// How the result is printed.
    #[arg(long, value_enum, default_value = "table")]
    pub format: PerfFormat,
}

/// A thread that waits longer than this share of the time is on a crowded machine, which is said.
const CROWDED: f64 = 0.05;

/// How long `perf` alone times each shape, seconds.
const TABLE_SECONDS: f64 = 1.5;

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

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if (0.0..=1.0).contains(&x) => Ok(x),
        _ => Err("a share from 0 to 1".into()),
    }
}

/// Measures and prints.
///
/// # Errors
/// A shape that does not hold, a SIMD path that this machine lacks.
pub fn run(args: &PerfArgs) -> Result<Exit, Failure> {
    match (&args.what, &args.table.against, &args.table.base) {
        (Some(What::Step(args)), ..) => step(args),
        (Some(What::Gemm(args)), ..) => gemm(args),
        (Some(What::Cohort(args)), ..) => cohort(args),
        (Some(What::Product(args)), ..) => product(args),
        (None, None, _) => table(&args.table),
        (None, Some(name), Some(base)) => against(&args.table, name, base),
        (None, Some(name), None) => Err(Failure::usage(format!(
            "perf --against {name}: only the door builds other revisions; say `cargo xtask perf --against {name}`"
        ))),
    }
}

/// Every shape for a moment.
fn table(args: &TableArgs) -> Result<Exit, Failure> {
    let cpu = device::cpu()?;
    let measured = against::shapes().into_iter().map(|(name, shape)| {
        let report = measure(&shape, cpu, Budget::Seconds(TABLE_SECONDS))?;
        Ok(Named { name, report })
    });
    let reports = measured.collect::<Result<Vec<_>, Failure>>()?;
    print(args.format, &reports, || table_rows(&reports))?;
    warn_of(reports.iter().map(|named| named.report.waited).fold(0.0, f64::max));
    Ok(Exit::Golden)
}

/// A shape of the table.
#[derive(Serialize)]
struct Named {
    name: &'static str,
    #[serde(flatten)]
    report: StepReport,
}

fn table_rows(reports: &[Named]) -> Vec<Vec<String>> {
    let header =
        ["name", "shape", "GFLOP", "ms", "on a core: ms", "tokens/s", "GFLOP/s", "peak", "share", "on a core: share"];
    let row = |Named { name, report: r }: &Named| {
        let numbers = [r.flop / 1e9, r.median_ms, r.cpu_ms].map(|x| format!("{x:.2}"));
        let rates = [r.tokens_per_s, r.gflops, r.peak_gflops].map(|x| format!("{x:.0}"));
        let shares = [r.share, r.cpu_share].map(percent);
        [name.to_string(), r.shape.to_string()].into_iter().chain(numbers).chain(rates).chain(shares).collect()
    };
    std::iter::once(header.map(String::from).to_vec()).chain(reports.iter().map(row)).collect()
}

fn against(args: &TableArgs, name: &str, base: &Path) -> Result<Exit, Failure> {
    let report = against::compare(name, base, args.rounds.into(), args.margin).inspect_err(|failure| {
        // JSON goes to stdout on every code but 2.
        if args.format == PerfFormat::Json {
            let _ = print(args.format, &AgainstReport::failed(name, args.margin, failure), Vec::new);
        }
    })?;
    print(args.format, &report, || against_rows(&report))?;
    let exit = against::exit(&report.rows);
    let allowed = percent(args.margin);
    match exit {
        Exit::Regression => tell!("slower than {name} by more than {allowed}"),
        Exit::Incomparable => {
            tell!("too noisy to tell whether {name} is faster by {allowed}: give more --rounds or a quieter machine")
        }
        _ => tell!("not slower than {name} by {allowed}"),
    }
    Ok(exit)
}

fn against_rows(report: &AgainstReport) -> Vec<Vec<String>> {
    let header = ["name", "shape", "base, ms", "head, ms", "head over base", "interval", "verdict"];
    let row = |r: &AgainstRow| {
        let [low, high] = r.ratio.interval;
        vec![
            r.name.to_string(),
            r.shape.to_string(),
            format!("{:.3}", median(r.base_ms.iter().copied())),
            format!("{:.3}", median(r.head_ms.iter().copied())),
            format!("{:.4}", r.ratio.ratio),
            format!("{low:.4} to {high:.4}"),
            verdict(r.ratio.verdict).to_string(),
        ]
    };
    std::iter::once(header.map(String::from).to_vec()).chain(report.rows.iter().map(row)).collect()
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Slower => "slower",
        Verdict::Faster => "faster",
        Verdict::Same => "same",
        Verdict::NotSlower => "not slower",
        Verdict::Undecided => "undecided",
    }
}

fn step(args: &StepArgs) -> Result<Exit, Failure> {
    let cpu = device::cpu()?;
    let budget = args.steps.map_or(Budget::Seconds(args.seconds), Budget::Steps);
    let waited = if args.ops {
        let report = ops::measure(&args.shape, cpu, budget)?;
        print(args.format, &report, || ops_rows(&report))?;
        report.waited
    } else if args.jobs > 1 {
        let report = jobs::measure(&args.shape, cpu, budget, args.jobs.into())?;
        print(args.format, &report, || jobs_rows(&report))?;
        report.waited
    } else {
        let report = measure(&args.shape, cpu, budget)?;
        print(args.format, &report, || step_rows(&report))?;
        report.waited
    };
    warn_of(waited);
    Ok(Exit::Golden)
}

/// Says that the machine was crowded, where it was.
fn warn_of(waited: f64) {
    if waited > CROWDED {
        let share = percent(waited);
        tell!("the threads waited for a core {share} of the time; trust the figures on a core only");
    }
}

fn cohort(args: &CohortArgs) -> Result<Exit, Failure> {
    let OnArgs { device, math, seconds, format } = args.on;
    let chosen = device::choose(device, math, &place("target/preheat"))?;
    let report = cohort::measure(&args.shape, &chosen, args.cohort.into(), Budget::Seconds(seconds))?;
    print(format, &report, || {
        let CohortReport { device, cohort, median_ms, tokens_per_s, gflops, .. } = &report;
        let header = ["shape", "device", "math", "runs", "ms a step", "tokens/s", "GFLOP/s"].map(String::from).to_vec();
        let numbers =
            [cohort.to_string(), format!("{median_ms:.3}"), format!("{tokens_per_s:.0}"), format!("{gflops:.1}")];
        let row = [report.shape.to_string(), (*device).into(), math.name().into()].into_iter().chain(numbers).collect();
        vec![header, row]
    })?;
    Ok(Exit::Golden)
}

fn product(args: &ProductArgs) -> Result<Exit, Failure> {
    let OnArgs { device, math, seconds, format } = args.on;
    let chosen = device::choose(device, math, &place("target/preheat"))?;
    let report = cohort::product(&chosen, args.size.into(), Budget::Seconds(seconds))?;
    print(format, &report, || {
        let ProductReport { device, size, median_ms, gflops, .. } = &report;
        let header = ["M = N = K", "device", "math", "ms", "GFLOP/s"].map(String::from).to_vec();
        let numbers = [format!("{median_ms:.3}"), format!("{gflops:.1}")];
        let row = [size.to_string(), (*device).into(), math.name().into()].into_iter().chain(numbers).collect();
        vec![header, row]
    })?;
    Ok(Exit::Golden)
}

fn gemm(args: &GemmArgs) -> Result<Exit, Failure> {
    let cpu = device::cpu()?;
    let report = gemm::measure(cpu, args.rounds.into())?;
    print(args.format, &report, || gemm_rows(&report))?;
    if args.format != PerfFormat::Json {
        let value = |name: &str, x: f64| if name.ends_with("share") { percent(x) } else { format!("{x:.3}") };
        let lines = report.summary.iter().map(|(name, x)| format!("{name}: geometric mean {}\n", value(name, *x)));
        out(&format!("\n{}", lines.collect::<String>()));
    }
    Ok(Exit::Golden)
}

fn gemm_rows(report: &GemmReport) -> Vec<Vec<String>> {
    let header = ["product", "M", "N", "K", "GFLOP/s", "share of peak", "gemm GFLOP/s", "ours over gemm"];
    let row = |r: &GemmRow| {
        let peer = |x: Option<f64>, digits: usize| x.map_or("–".to_string(), |x| format!("{x:.digits$}"));
        let [m, n, k] = [r.m, r.n, r.k].map(|x| x.to_string());
        let (ours, theirs) = (format!("{:.1}", r.gflops), peer(r.peer_gflops, 1));
        vec![r.layout.to_string(), m, n, k, ours, percent(r.share), theirs, peer(r.ratio, 3)]
    };
    std::iter::once(header.map(String::from).to_vec()).chain(report.rows.iter().map(row)).collect()
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

fn jobs_rows(r: &JobsReport) -> Vec<Vec<String>> {
    let rows = vec![
        ("shape", r.shape.to_string()),
        ("jobs", r.jobs.to_string()),
        ("rounds", r.rounds.to_string()),
        ("tokens/s, one alone", format!("{:.0}", r.alone_tokens_per_s)),
        ("tokens/s, all together", format!("{:.0}", r.together_tokens_per_s)),
        ("together over alone", format!("{:.3}", r.ratio)),
        ("on a core: together over alone", format!("{:.3}", r.cpu_ratio)),
        ("peak: together over alone", format!("{:.3}", r.peak_ratio)),
        ("waited for a core", percent(r.waited)),
    ];
    two_columns(rows, r.simd, &r.machine)
}

fn ops_rows(r: &OpsReport) -> Vec<Vec<String>> {
    let header = ["op", "calls", "on a core: ms", "share of step", "GFLOP/s", "share of peak"];
    let row = |op: &OpRow| {
        let (gflops, share) =
            (op.gflops.map_or("–".into(), |x| format!("{x:.1}")), op.share.map_or("–".into(), percent));
        let (calls, ms) = (op.calls.to_string(), format!("{:.3}", op.cpu_ms));
        vec![op.op.to_string(), calls, ms, percent(op.of_step), gflops, share]
    };
    let step = vec!["step".into(), "1".into(), format!("{:.3}", r.cpu_ms), percent(1.0), "–".into(), "–".into()];
    let rows = r.rows.iter().map(row).chain([step]);
    std::iter::once(header.map(String::from).to_vec()).chain(rows).collect()
}

fn step_rows(r: &StepReport) -> Vec<Vec<String>> {
    let rows = vec![
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
    ];
    two_columns(rows, r.simd, &r.machine)
}

/// What was measured, then where.
fn two_columns(rows: Vec<(&str, String)>, simd: &str, machine: &BTreeMap<String, String>) -> Vec<Vec<String>> {
    let known = |key: &str| machine.get(key).cloned().unwrap_or_default();
    let place = [
        ("SIMD", simd.to_string()),
        ("CPU", format!("{}, {}", known("cpu"), known("os"))),
        ("build", format!("{}, {}", known("commit"), known("rustc"))),
    ];
    let header = vec!["what".to_string(), "value".to_string()];
    let rows = rows.into_iter().chain(place).map(|(what, value)| vec![what.to_string(), value]);
    std::iter::once(header).chain(rows).collect()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
