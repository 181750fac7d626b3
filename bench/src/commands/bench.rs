//! `preheat bench`.

use super::{junit, list, shard};
use crate::cli::{BenchArgs, Format};
use crate::exit::{Exit, Failure};
use crate::golden::fast::{self, Compared, Side};
use crate::golden::{Difference, Golden, compare};
use crate::lab::carry::Missing;
use crate::lab::part::Part;
use crate::lab::session::{Done, Session, resume_line};
use crate::lab::shard::Shard;
use crate::lab::workers::Halt;
use crate::lab::{MathArg, Options, device, load};
use crate::results::{SCHEMA, SuiteResult};
use crate::say::{out, tell};
use crate::table::{self, Style};
use preheat_suites::run::RunId;
use preheat_suites::train::Early;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::IsTerminal;

/// What `--format json` prints: all of it on stdout, whatever the exit code, unless that is 2.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    device: &'static str,
    math: &'static str,
    exit: u8,
    interrupted: bool,
    error: Option<&'a str>,
    /// Where only a part was trained: what became of it. Nothing is judged then.
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<&'a Part>,
    suites: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(flatten)]
    result: &'a SuiteResult,
    golden: &'a Status,
    failures: &'a [String],
}

/// How a suite stands to golden.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Status {
    /// Equal in every bit.
    Equal,
    /// In fast math: as golden, as far as rounding goes.
    Close,
    /// Red.
    Moved(Vec<Difference>),
    /// Nothing was accepted for this suite and tier, or it cannot be read.
    NoGolden(String),
    /// Not a whole suite as it is.
    NotCompared(String),
    /// Nothing was trained, and the store does not hold all.
    Missing(String),
    /// In fast math: the comparison came to no answer.
    Undecided(String),
}

/// Trains what is missing, judges, compares, prints.
///
/// # Errors
/// A wrong command or definition, an unusable device or store.
pub fn run(args: &BenchArgs) -> Result<Exit, Failure> {
    let done = carry_out(args);
    if let (Err(failure), Format::Json, false) = (&done, args.format, args.list || args.verify)
        && failure.exit != Exit::Usage
    {
        json(args, failure.exit, false, Some(&failure.message), None, Vec::new());
    }
    done
}

fn carry_out(args: &BenchArgs) -> Result<Exit, Failure> {
    let shard = args.shard.as_deref().map(str::parse::<Shard>).transpose().map_err(Failure::usage)?;
    if args.format == Format::Junit && (shard.is_some() || args.list || args.verify) {
        return Err(Failure::usage("--format junit: nothing is judged here; allowed: a bench of whole suites"));
    }
    if args.verify && args.format != Format::Table {
        return Err(Failure::usage("--format: --verify prints no table; allowed: without --format"));
    }
    let math = args.math.unwrap_or(MathArg::of(args.device));
    let device = device::choose(args.device, math, &args.suite.store)?;
    let options = Options {
        filter: args.filter.clone(),
        seeds: args.seeds,
        task: args.task.clone(),
        ..args.suite.options(args.device)
    };
    let session = Session::new(options, device, args.cohort.map(usize::from));
    let suites = load::suites(&session)?;
    if args.list {
        return list::list(&session, &suites, shard, args.format);
    }
    if args.verify {
        return list::verify(&session, &suites, shard);
    }
    if let Some(shard) = shard {
        return shard::train(&session, &suites, shard, args);
    }
    let done = session.carry(&suites, !args.no_train)?;
    let golden = Golden::new(&args.suite.golden);
    let early = (!session.is_exact()).then(|| session.beginnings(&done)).transpose()?;
    let whole = !done.interrupted && done.halt.is_none();
    let statuses: Vec<Status> = done
        .results
        .iter()
        .zip(done.failures.iter().zip(&done.missing))
        .map(|(result, (failures, missing))| match lack(missing) {
            Some(why) => Status::Missing(why),
            None => status(&golden, (result, early.as_ref()), failures, whole, session.options().partial()),
        })
        .collect();
    let exit = exit(&done, &statuses);
    print(args, exit, &done, &statuses);
    Ok(exit)
}

/// What a suite lacks where nothing is trained.
fn lack(Missing { runs, waiting }: &Missing) -> Option<String> {
    let wait =
        if *waiting > 0 { format!(", and {waiting} cells of later stages wait for runs") } else { String::new() };
    (runs + waiting > 0).then(|| format!("{runs} runs are not in the store{wait}"))
}

/// How a result stands to golden. `early` says how runs of fast math begin, and is not there in exact math.
fn status(
    golden: &Golden,
    (here, early): (&SuiteResult, Option<&BTreeMap<RunId, Early>>),
    failures: &[String],
    whole: bool,
    partial: Option<&str>,
) -> Status {
    if !whole || !failures.is_empty() {
        return Status::NotCompared("not all of its runs are there".into());
    }
    if let Some(why) = partial {
        return Status::NotCompared(format!("{why}; golden holds whole suites"));
    }
    match golden.load(&here.stem()) {
        Ok(Some(was)) => match early {
            Some(early) => close(golden, &was, here, early),
            None => {
                let differences = compare(&was, here);
                if differences.is_empty() { Status::Equal } else { Status::Moved(differences) }
            }
        },
        Ok(None) => Status::NoGolden(format!("no golden for {}; `preheat accept` makes one", here.stem())),
        Err(why) => Status::NoGolden(why),
    }
}

/// How a result of fast math stands to golden.
fn close(golden: &Golden, was: &SuiteResult, here: &SuiteResult, early: &BTreeMap<RunId, Early>) -> Status {
    let begun = match golden.beginnings(&here.stem()) {
        Ok(Some(begun)) => begun,
        Ok(None) => {
            return Status::NoGolden(format!(
                "no beginnings of {} in golden; `preheat accept` writes them",
                here.stem()
            ));
        }
        Err(why) => return Status::NoGolden(why),
    };
    let side = |result, early| Side { result, early };
    match fast::compare(side(was, &begun), side(here, early)) {
        Compared { differences, .. } if !differences.is_empty() => Status::Moved(differences),
        Compared { undecided: Some(why), .. } => Status::Undecided(why),
        Compared { .. } => Status::Close,
    }
}

fn exit(done: &Done, statuses: &[Status]) -> Exit {
    let of = |status: &Status| match status {
        Status::Equal | Status::Close | Status::NotCompared(_) => Exit::Golden,
        Status::Moved(_) => Exit::Regression,
        Status::NoGolden(_) | Status::Missing(_) | Status::Undecided(_) => Exit::Incomparable,
    };
    let mut exit = statuses.iter().map(of).fold(Exit::Golden, Exit::worst);
    if done.halt.is_some() || done.failures.iter().any(|f| !f.is_empty()) {
        exit = exit.worst(Exit::Failed);
    }
    if done.interrupted { exit.worst(Exit::Interrupted) } else { exit }
}

fn print(args: &BenchArgs, exit: Exit, done: &Done, statuses: &[Status]) {
    let (format, halt) = (args.format, done.halt.as_ref().map(Halt::to_string));
    let whole: Vec<(&SuiteResult, &Status)> = done.results.iter().zip(statuses).collect();
    match format {
        Format::Json => {
            let entries = whole.iter().zip(&done.failures);
            let entries = entries.map(|((result, golden), failures)| Entry { result, golden, failures });
            json(args, exit, done.interrupted, halt.as_deref(), None, entries.collect());
        }
        Format::Junit => out(&junit::report(&whole, &done.failures, halt.as_deref())),
        Format::Csv => out(&table::csv::suites(&done.results)),
        Format::Table | Format::Markdown => {
            let terminal = std::io::stdout().is_terminal();
            let style = match format {
                Format::Markdown => Style::Markdown,
                _ if terminal => Style::Unicode,
                _ => Style::Plain,
            };
            let tables: Vec<String> = done.results.iter().map(|result| table::suite(result, style)).collect();
            out(&tables.join("\n"));
        }
    }
    for (result, status) in whole {
        let stem = result.stem();
        match status {
            Status::Equal => tell!("{stem}: as golden"),
            Status::Close => tell!("{stem}: as golden, within what fast math allows"),
            Status::Moved(differences) => {
                for difference in differences {
                    tell!("{stem}: {difference}");
                }
            }
            Status::NoGolden(why) => tell!("{stem}: {why}"),
            Status::NotCompared(why) | Status::Missing(why) | Status::Undecided(why) => {
                tell!("{stem}: not compared with golden: {why}")
            }
        }
    }
    for line in done.failures.iter().flatten() {
        tell!("failed: {line}");
    }
    if let Some(halt) = &done.halt {
        tell!("{}: {}", halt.told(), resume_line());
    }
    if done.interrupted {
        tell!("interrupted; go on with: {}", resume_line());
    }
}

/// What became of a shard, as JSON.
pub(super) fn shard_json(args: &BenchArgs, exit: Exit, part: &Part) {
    json(args, exit, part.interrupted, part.halt.as_ref().map(Halt::to_string).as_deref(), Some(part), Vec::new());
}

fn json(
    args: &BenchArgs,
    exit: Exit,
    interrupted: bool,
    error: Option<&str>,
    shard: Option<&Part>,
    suites: Vec<Entry<'_>>,
) {
    let exit = exit.code();
    let (device, math) = (args.device.name(), args.math.unwrap_or(MathArg::of(args.device)).name());
    let document = Document { schema: SCHEMA, device, math, exit, interrupted, error, shard, suites };
    match serde_json::to_string_pretty(&document) {
        Ok(text) => out(&(text + "\n")),
        Err(e) => tell!("{e}"),
    }
}
