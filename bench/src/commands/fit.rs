//! `preheat fit`: compute-optimal exponents from anyone's table of isoFLOP points.

use crate::cli::Format;
use crate::exit::{Exit, Failure};
use crate::fit::outcome::{Asked, Outcome, outcome};
use crate::fit::sweep::{self, Sweep};
use crate::fit::table::{Table, Words, parse};
use crate::fit::{draw, own, show};
use crate::say::{out, tell};
use crate::store::envelope::write_atomic;
use crate::table::Style;
use clap::{Args, ValueEnum};
use preheat_suites::fits::accounting::Convention;
use preheat_suites::fits::isoflop::Procedure;
use preheat_suites::fits::noise::Noise;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Draws of a parametric fit, each of which is a descent: at most this many.
const PARAMETRIC_DRAWS: u32 = 400;
/// A larger table is not a table of trained models.
const MOST_BYTES: u64 = 256 << 20;

/// `preheat fit`.
#[derive(Clone, Debug, Args)]
pub struct FitArgs {
    /// A CSV with the columns budget_flops, params, tokens, loss; other text columns make groups, one fit each. Or a store of
    /// records, or a golden result, whose runs have the probe isoflop. Or a sweep, a CSV with the columns params, batch,
    /// peak_lr, loss (and beta2), for the laws of rate, batch and beta2.
    #[arg(value_name = "TABLE.csv|STORE|GOLDEN.json")]
    pub table: PathBuf,
    /// How the table counts FLOPs, where it has no column `counting`: standard (6N with the head), kaplan (without the
    /// head), attention (with attention), chinchilla-exact.
    #[arg(long, value_name = "COUNT", value_parser = Convention::ALL.map(Convention::name).to_vec())]
    pub counting: Option<String>,
    /// Make groups of this column too, although it holds numbers.
    #[arg(long, value_name = "COLUMN")]
    pub group: Vec<String>,
    /// The losses' noise in nats: one σ, or LOW:HIGH, a ramp over losses from 3 to 7, or LOW:HIGH:FROM:TO. Without it,
    /// σ is that of the paper whose arms the table holds, or is estimated from the curves.
    #[arg(long, value_name = "S|LOW:HIGH[:FROM:TO]", value_parser = noise)]
    pub noise: Option<Noise>,
    /// How optima are found. Without it: the authors' where --noise is given or the table holds arms of their paper,
    /// else the default one.
    #[arg(long, value_enum)]
    pub procedure: Option<ProcedureArg>,
    /// Bootstrap draws.
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub bootstraps: u32,
    /// Seed of the draws.
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,
    /// Predict N* and D* at these budgets, FLOPs.
    #[arg(long, value_name = "FLOPS", value_delimiter = ',', value_parser = positive)]
    pub predict: Vec<f64>,
    /// Fit L = E + A/N^α + B/D^β too.
    #[arg(long)]
    pub parametric: bool,
    /// Draw the curves, their optima and the laws into this file.
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Name each budget that is left out, where otherwise a line is a group's. `--format json` always has them all.
    #[arg(long)]
    pub verbose: bool,
    /// How the result is printed.
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// A procedure's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProcedureArg {
    /// That of Porian et al. 2024: Akima's interpolation, medians of draws.
    Authors,
    /// Ours: a local cubic, noise from the curves, an interval that knows the scatter.
    Default,
}

fn noise(text: &str) -> Result<Noise, String> {
    const ALLOWED: &str = "allowed: S, LOW:HIGH or LOW:HIGH:FROM:TO, positive numbers with FROM below TO";
    let parsed: Result<Vec<f64>, _> = text.split(':').map(str::parse::<f64>).collect();
    let numbers = parsed.map_err(|_| ALLOWED)?;
    if numbers.iter().any(|x| !x.is_finite() || *x <= 0.0) {
        return Err(ALLOWED.into());
    }
    let [from, to] = Noise::THRESHOLDS;
    match numbers[..] {
        [sigma] => Ok(Noise::constant(sigma)),
        [low, high] => Ok(Noise { low, high, from, to }),
        [low, high, from, to] if from < to => Ok(Noise { low, high, from, to }),
        _ => Err(ALLOWED.into()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() && x > 0.0 => Ok(x),
        _ => Err("a positive number of FLOPs, such as 5.88e23".into()),
    }
}

/// Reads, fits and tells.
///
/// # Errors
/// A table that is not one, or of which no group has a law (2); a drawing that cannot be written (5).
pub fn run(args: &FitArgs) -> Result<Exit, Failure> {
    if args.format == Format::Junit {
        return Err(Failure::usage("--format junit: a fit has no cases; allowed: table, json, csv, markdown"));
    }
    if let Some(svg) = args.svg.as_deref().filter(|svg| same_file(svg, &args.table)) {
        return Err(Failure::usage(format!("--svg {}: is the table itself; allowed: another file", svg.display())));
    }
    let file = args.table.display().to_string();
    let words = Words { counting: args.counting.as_deref().and_then(Convention::of), group: args.group.clone() };
    let table = match source(args, &file, &words)? {
        Source::Points(table) => table,
        Source::Sweep(found) => return tell_sweep(&found, args),
    };
    let asked = Asked {
        procedure: args.procedure.map(|word| match word {
            ProcedureArg::Authors => Procedure::Authors,
            ProcedureArg::Default => Procedure::Local,
        }),
        noise: args.noise,
        bootstraps: args.bootstraps,
        seed: args.seed,
        predict: args.predict.clone(),
        parametric: args.parametric.then_some(args.bootstraps.min(PARAMETRIC_DRAWS)),
    };
    let found = outcome(&file, &table, &asked);
    warn(&found, args.verbose);
    if let Some(why) = no_law(&found) {
        return Err(Failure::usage(format!("{file}: no group has a law: {why}")));
    }
    if let Some(path) = &args.svg {
        let drawn = draw::svg(&found);
        write_atomic(path, drawn.as_bytes()).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
        tell!("wrote {}", path.display());
    }
    print(&found, args.format)?;
    Ok(Exit::Golden)
}

/// What the word on the command line is.
enum Source {
    Points(Table),
    Sweep(Sweep),
}

fn source(args: &FitArgs, file: &str, words: &Words) -> Result<Source, Failure> {
    if args.table.is_dir() {
        return own::store(&args.table, words).map(Source::Points).map_err(Failure::usage);
    }
    let bytes = read(&args.table)?;
    let read = if args.table.extension().is_some_and(|e| e == "json") {
        own::golden(file, &bytes, words).map(Source::Points)
    } else if sweep::is_sweep(&bytes) {
        sweep::parse(file, &bytes).map(Source::Sweep)
    } else {
        parse(file, &bytes, words).map(Source::Points)
    };
    read.map_err(Failure::usage)
}

fn same_file(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    real(a).is_some_and(|a| Some(a) == real(b))
}

/// The word of `args` that speaks of isoFLOP points, where one does.
fn of_points(args: &FitArgs) -> Option<&'static str> {
    let words = [
        ("--counting", args.counting.is_some()),
        ("--group", !args.group.is_empty()),
        ("--noise", args.noise.is_some()),
        ("--procedure", args.procedure.is_some()),
        ("--predict", !args.predict.is_empty()),
        ("--parametric", args.parametric),
        ("--svg", args.svg.is_some()),
    ];
    words.into_iter().find_map(|(word, said)| said.then_some(word))
}

fn tell_sweep(found: &Sweep, args: &FitArgs) -> Result<Exit, Failure> {
    if let Some(word) = of_points(args) {
        let file = &found.file;
        return Err(Failure::usage(format!("{word}: {file} is a sweep; allowed: with a table of isoFLOP points")));
    }
    for warning in &found.warnings {
        tell!("{warning}");
    }
    if let Some(row) = found.laws.iter().find(|_| found.laws.iter().all(|row| row.law.is_none())) {
        let why = row.why.clone().unwrap_or_default();
        return Err(Failure::usage(format!("{}: no law of {}: {why}", found.file, row.what)));
    }
    let style = match args.format {
        Format::Json => {
            out(&(serde_json::to_string_pretty(found).map_err(Failure::failed)? + "\n"));
            return Ok(Exit::Golden);
        }
        Format::Csv => {
            out(&sweep::csv(found));
            return Ok(Exit::Golden);
        }
        Format::Markdown => Style::Markdown,
        Format::Table if std::io::stdout().is_terminal() => Style::Unicode,
        Format::Table | Format::Junit => Style::Plain,
    };
    out(&sweep::text(found, style));
    Ok(Exit::Golden)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let wrong = |why: &dyn std::fmt::Display| Failure::usage(format!("{}: {why}", path.display()));
    let about = std::fs::metadata(path).map_err(|e| wrong(&e))?;
    if about.len() > MOST_BYTES {
        return Err(wrong(&format!("has {} bytes; allowed: at most {MOST_BYTES}", about.len())));
    }
    std::fs::read(path).map_err(|e| wrong(&e))
}

fn warn(found: &Outcome, verbose: bool) {
    let lines = if verbose { &found.warnings } else { &found.brief };
    for line in lines {
        tell!("{line}");
    }
    if lines.len() < found.warnings.len() {
        tell!("--verbose names each budget that is left out");
    }
}

/// Why there is nothing to tell, where no group has a law of any kind.
fn no_law(found: &Outcome) -> Option<String> {
    let none = found.fits.iter().all(|fit| fit.exponent.is_none() && fit.parametric.is_none());
    none.then(|| found.fits.iter().find_map(|fit| fit.why.clone()).unwrap_or_else(|| "no row has a loss".into()))
}

fn print(found: &Outcome, format: Format) -> Result<(), Failure> {
    let style = match format {
        Format::Json => {
            out(&(serde_json::to_string_pretty(found).map_err(Failure::failed)? + "\n"));
            return Ok(());
        }
        Format::Csv => {
            out(&show::csv(found));
            return Ok(());
        }
        Format::Markdown => Style::Markdown,
        Format::Table if std::io::stdout().is_terminal() => Style::Unicode,
        Format::Table | Format::Junit => Style::Plain,
    };
    out(&show::text(found, style));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_one_number_two_or_four() {
        assert_eq!(noise("0.002"), Ok(Noise::constant(0.002)));
        assert_eq!(noise("0.002:0.05"), Ok(Noise { low: 0.002, high: 0.05, from: 3.0, to: 7.0 }));
        assert_eq!(noise("0.01:0.1:3:6"), Ok(Noise { low: 0.01, high: 0.1, from: 3.0, to: 6.0 }));
        for bad in ["", "x", "0", "-1", "NaN", "inf", "1:2:3", "1:2:7:3", "1:2:3:3", "1:2:3:4:5", "1:"] {
            assert!(noise(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn budgets_to_predict_are_positive() {
        assert_eq!(positive("5.88e23"), Ok(5.88e23));
        for bad in ["0", "-1", "NaN", "inf", "many"] {
            assert!(positive(bad).is_err(), "{bad}");
        }
    }
}
