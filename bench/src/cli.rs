//! The command line: what can be said, and the process's exit code.

use crate::commands;
use crate::exit::{Exit, Failure};
use crate::lab::{MathArg, Options};
use crate::say::{self, tell};
use clap::{Args, Parser, Subcommand, ValueEnum};
use preheat_suites::claims::Tier;
use std::path::PathBuf;
use std::process::ExitCode;

/// Reproducible benchmarks of training dynamics.
#[derive(Debug, Parser)]
#[command(name = "preheat", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train what is missing, judge the claims, compare with golden and print a table per suite.
    Bench(BenchArgs),
    /// Show what differs from golden and accept it.
    Accept(AcceptArgs),
    /// Write golden's tables into README.md and RESULTS.md.
    Report(ReportArgs),
    /// Measure speed.
    Perf(commands::perf::PerfArgs),
    /// Write a run's parameters, batches and recipe, to replay it elsewhere.
    Export(commands::export::ExportArgs),
    /// Fit compute-optimal power laws to a table of isoFLOP points.
    Fit(commands::fit::FitArgs),
    /// Say what this machine has, and which command lacks what.
    Doctor(commands::doctor::DoctorArgs),
    /// Pin data files, and check those that suites name.
    Data(commands::data::DataArgs),
    /// Copy the records and kept checkpoints of stores into one; train nothing.
    Merge(commands::merge::MergeArgs),
}

/// Which suites, and where things lie.
#[derive(Clone, Debug, Args)]
pub struct SuiteArgs {
    /// Suites by name; all of them where none is named.
    #[arg(value_name = "SUITE")]
    pub suites: Vec<String>,
    /// How much is run.
    #[arg(long, value_enum, default_value = "quick")]
    pub tier: TierArg,
    /// Runs trained at the same time, one thread each; the machine's cores where it is not given. On cuda: cohorts, which share
    /// the GPU's memory; one where it is not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Where records and checkpoints are kept.
    #[arg(long, value_name = "DIR", default_value_os_t = place("target/preheat"))]
    pub store: PathBuf,
    /// Read suites from the YAML files of this folder instead of the built-in ones.
    #[arg(long = "suites", value_name = "DIR")]
    pub suites_dir: Option<PathBuf>,
    /// Where accepted results are kept.
    #[arg(long, value_name = "DIR", default_value_os_t = place("golden"))]
    pub golden: PathBuf,
    /// Wall time between the checkpoints of a run, in seconds; 5 on a cpu, 60 on cuda, whose cohorts have much to write. It
    /// never changes a number.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub checkpoint_every: Option<f64>,
}

/// `preheat bench`.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// Suites and places.
    #[command(flatten)]
    pub suite: SuiteArgs,
    /// Where numbers are computed.
    #[arg(long, value_enum, default_value = "cpu")]
    pub device: DeviceArg,
    /// exact: the same bits everywhere, the default on a cpu. fast: cuBLAS, the default on cuda; compared with golden as
    /// far as rounding goes.
    #[arg(long, value_enum)]
    pub math: Option<MathArg>,
    /// Runs of one shape trained together; 1 on a cpu and as many as fit, up to 64, on cuda where it is not given. It
    /// never changes a number of exact math.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub cohort: Option<u16>,
    /// Only cells that match: a part of `experiment/arm`, or `key=value` of a grid axis; all that are given must match.
    #[arg(long, value_name = "EXPR")]
    pub filter: Vec<String>,
    /// Only the first N claim seeds of each cell.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub seeds: Option<u32>,
    /// Train on a file of your own instead of the suites' tasks, pinned to its hash as it is now: `text=book.txt`,
    /// `tokens=train.bin,vocab=50257`. The parameters are those of the task in a suite.
    #[arg(long, value_name = "NAME=FILE[,KEY=VALUE…]")]
    pub task: Option<String>,
    /// Show stages, runs, cells, FLOPs and the expected time; train nothing.
    #[arg(long, conflicts_with = "verify")]
    pub list: bool,
    /// Build every run and train one step of each; keep nothing.
    #[arg(long)]
    pub verify: bool,
    /// Train the I-th of N parts of the plan and judge nothing. Each run belongs to one part, whatever the store holds.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<String>,
    /// Train nothing: judge what the store holds; 3 where a run is missing.
    #[arg(long, conflicts_with_all = ["list", "verify", "shard"])]
    pub no_train: bool,
    /// How the result is printed.
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// `preheat accept`.
#[derive(Clone, Debug, Args)]
pub struct AcceptArgs {
    /// Suites and places.
    #[command(flatten)]
    pub suite: SuiteArgs,
    /// Why, for the changelog.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `preheat report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// Write nothing; exit with 1 where a page is stale.
    #[arg(long, conflicts_with = "out")]
    pub check: bool,
    /// Write Markdown, CSV and JSON of every suite into this folder instead.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where accepted results are kept.
    #[arg(long, value_name = "DIR", default_value_os_t = place("golden"))]
    pub golden: PathBuf,
    /// The folder of README.md and RESULTS.md.
    #[arg(long, value_name = "DIR", default_value_os_t = place("."))]
    pub pages: PathBuf,
}

/// A tier's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TierArg {
    /// Seconds: part of the tests.
    Smoke,
    /// The claims' own arms: at most ten minutes for all suites.
    Quick,
    /// Wide grids, more seeds.
    Full,
    /// The papers' own shapes on real data.
    Paper,
}

impl From<TierArg> for Tier {
    fn from(tier: TierArg) -> Self {
        match tier {
            TierArg::Smoke => Self::Smoke,
            TierArg::Quick => Self::Quick,
            TierArg::Full => Self::Full,
            TierArg::Paper => Self::Paper,
        }
    }
}

/// A device's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeviceArg {
    /// This machine's processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

impl DeviceArg {
    /// The word itself.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables for people.
    Table,
    /// The result model.
    Json,
    /// One row a metric of a cell and one a claim.
    Csv,
    /// Tables for a page.
    Markdown,
    /// JUnit XML: a case a claim, and one for the bits.
    Junit,
}

/// A folder of the workspace: relative, or below what the door names when it is used from another folder.
pub(crate) fn place(folder: &str) -> PathBuf {
    std::env::var_os("PREHEAT_ROOT").map_or(PathBuf::from(folder), |root| PathBuf::from(root).join(folder))
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if (0.0..=86_400.0).contains(&x) => Ok(x),
        _ => Err("seconds from 0 to 86400".into()),
    }
}

impl SuiteArgs {
    /// What the lab needs of these words, for runs on `device`.
    pub fn options(&self, device: DeviceArg) -> Options {
        let usual = match device {
            DeviceArg::Cpu => 5.0,
            DeviceArg::Cuda => 60.0,
        };
        Options {
            suites: self.suites.clone(),
            suites_dir: self.suites_dir.clone(),
            tier: self.tier.into(),
            jobs: self.jobs.map(usize::from),
            store: self.store.clone(),
            checkpoint_every: std::time::Duration::from_secs_f64(self.checkpoint_every.unwrap_or(usual)),
            filter: Vec::new(),
            seeds: None,
            task: None,
        }
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    quiet_workers();
    let exit = match Cli::try_parse() {
        Ok(cli) => run(cli),
        Err(e) => {
            // Help and version are answers, on stdout with code 0; the rest is clap's own message.
            let _ = e.print();
            if e.use_stderr() { Exit::Usage } else { Exit::Golden }
        }
    };
    let exit = match say::lost() {
        Some(why) => {
            tell!("{why}");
            exit.worst(Exit::Failed)
        }
        None => exit,
    };
    ExitCode::from(exit.code())
}

fn run(cli: Cli) -> Exit {
    let done = match cli.command {
        Command::Bench(args) => commands::bench::run(&args),
        Command::Accept(args) => commands::accept::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Perf(args) => commands::perf::run(&args),
        Command::Export(args) => commands::export::run(&args),
        Command::Fit(args) => commands::fit::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Data(args) => commands::data::run(&args),
        Command::Merge(args) => commands::merge::run(&args),
    };
    done.unwrap_or_else(|Failure { exit, message }| {
        tell!("{message}");
        exit
    })
}

/// A panic in a worker is told as one line beside its run; the default hook would tell it twice.
fn quiet_workers() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let worker = std::thread::current().name() == Some(crate::lab::workers::THREAD);
        if !worker || std::env::var_os("RUST_BACKTRACE").is_some() {
            default(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_words_are_refused() {
        let bad: &[&[&str]] = &[
            &["bench", "--tier", "huge"],
            &["bench", "--jobs", "0"],
            &["bench", "--seeds", "0"],
            &["bench", "--device", "tpu"],
            &["bench", "--list", "--verify"],
            &["bench", "--no-train", "--shard", "1/2"],
            &["merge"],
            &["bench", "--checkpoint-every", "-1"],
            &["bench", "--checkpoint-every", "NaN"],
            &["report", "--check", "--out", "x"],
            &["nothing"],
            &[],
        ];
        for words in bad {
            let words = [&["preheat"], *words].concat();
            assert!(Cli::try_parse_from(&words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_design() {
        let cli = Cli::try_parse_from(["preheat", "bench"]).unwrap();
        let Command::Bench(args) = cli.command else { panic!("bench") };
        assert_eq!(args.suite.tier, TierArg::Quick);
        assert_eq!(args.suite.store, PathBuf::from("target/preheat"));
        assert_eq!((args.device, args.math, args.format), (DeviceArg::Cpu, None, Format::Table));
        let every = |device| args.suite.options(device).checkpoint_every.as_secs();
        assert_eq!([every(DeviceArg::Cpu), every(DeviceArg::Cuda)], [5, 60]);
        let cli = Cli::try_parse_from(["preheat", "bench", "--device", "cuda", "--checkpoint-every", "7"]).unwrap();
        let Command::Bench(args) = cli.command else { panic!("bench") };
        assert_eq!(args.suite.options(args.device).checkpoint_every.as_secs(), 7);
    }
}
