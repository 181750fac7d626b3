//! `preheat export`.

use crate::cli::{TierArg, place};
use crate::exit::{Exit, Failure};
use crate::export::{self, Candidate, Candidates, Folder, Wanted};
use crate::lab::trainer::{Trainers, key};
use crate::lab::{Options, device, load};
use crate::results::tier_name;
use crate::say::tell;
use crate::store::Store;
use crate::store::key::Conditions;
use clap::{Args, ValueEnum};
use preheat_suites::run::{Run, Start};
use std::path::PathBuf;
use std::time::Duration;

/// Steps that are exported where none are asked for: as far as two programs in f32 can be expected to agree.
const STEPS: u64 = 100;

/// `preheat export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// The beginning of a run's id, or SUITE/EXPERIMENT/ARM and then axis=value words as tables show them.
    #[arg(value_name = "RUN", required = true)]
    pub run: Vec<String>,
    /// The run with this seed.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The tier whose runs are looked through.
    #[arg(long, value_enum, default_value = "quick")]
    pub tier: TierArg,
    /// Where the files go; target/export/ and the run's id where it is not given.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Steps to export, at most the run's; 100 where the run has more.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: Option<u32>,
    /// Train on a file of your own instead of the suites' tasks, as `bench --task` does, e.g. `text=book.txt`.
    #[arg(long, value_name = "NAME=FILE[,KEY=VALUE…]")]
    pub task: Option<String>,
    /// Where records and checkpoints are kept.
    #[arg(long, value_name = "DIR", default_value_os_t = place("target/preheat"))]
    pub store: PathBuf,
    /// Read suites from the YAML files of this folder instead of the built-in ones.
    #[arg(long = "suites", value_name = "DIR")]
    pub suites_dir: Option<PathBuf>,
}

/// Writes a run's parameters, batches, recipe, and what this program computes from them.
///
/// # Errors
/// No such run, several, or one that cannot be replayed (2); a missing checkpoint, a disk that is full (5).
pub fn run(args: &ExportArgs) -> Result<Exit, Failure> {
    let cpu = device::cpu()?;
    let conditions = device::conditions(&cpu);
    let store = Store::peek(&args.store);
    let wanted = Wanted::new(&args.run, args.seed)?;
    let candidates = candidates(args, &wanted, args.tier, &store, &conditions)?;
    let chosen = match candidates.choose(&wanted) {
        Err(unknown) if !candidates.knows(&wanted) => {
            return Err(elsewhere(args, &wanted, &store, &conditions, unknown));
        }
        chosen => chosen?,
    };
    let run = &chosen.run;
    let steps = steps(run, args.steps)?;
    let from = checkpoint(run, &candidates, &store, &conditions)?;
    let trainers = Trainers::new(cpu);
    let task = trainers.task(run).map_err(|e| Failure::usage(format!("task.{e}")))?;
    let trainer = trainers.trainer(run, from.as_deref()).map_err(Failure::failed)?;
    if trainer.parameters().is_empty() {
        return Err(Failure::usage(format!(
            "model {} is measured and not trained, so there is nothing to replay",
            run.recipe.model.name
        )));
    }
    let id = run.id();
    let out = args.out.clone().unwrap_or_else(|| place("target/export").join(&id.0));
    let folder = Folder::open(&out)?;
    let cells = cells(chosen);
    export::write(&folder, &cells, run, &*task, trainer, steps).map_err(Failure::failed)?;
    crate::say::out(&format!("{}\n", out.display()));
    tell!("{}: {steps} steps of run {id}", cells.first().map_or("", String::as_str));
    Ok(Exit::Golden)
}

fn candidates(
    args: &ExportArgs,
    wanted: &Wanted,
    tier: TierArg,
    store: &Store,
    conditions: &Conditions,
) -> Result<Candidates, Failure> {
    let options = Options {
        suites: wanted.suite().map(String::from).into_iter().collect(),
        suites_dir: args.suites_dir.clone(),
        tier: tier.into(),
        jobs: None,
        store: args.store.clone(),
        checkpoint_every: Duration::ZERO,
        filter: Vec::new(),
        seeds: None,
        task: args.task.clone(),
    };
    Ok(Candidates::of(&load::plans(&options)?, store, conditions))
}

/// `unknown`, with the other tiers that know the run.
fn elsewhere(args: &ExportArgs, wanted: &Wanted, store: &Store, conditions: &Conditions, unknown: Failure) -> Failure {
    let mut found = Vec::new();
    for tier in TierArg::value_variants().iter().filter(|tier| **tier != args.tier) {
        if candidates(args, wanted, *tier, store, conditions).is_ok_and(|c| c.knows(wanted)) {
            found.push(format!("--tier {}", tier_name((*tier).into())));
        }
    }
    if found.is_empty() {
        unknown
    } else {
        Failure::usage(format!("{}; it is in {}", unknown.message, found.join(", ")))
    }
}

fn cells(chosen: &Candidate) -> Vec<String> {
    chosen.cells.iter().map(|(suite, cell)| export::label(suite, cell)).collect()
}

fn steps(run: &Run, asked: Option<u32>) -> Result<u64, Failure> {
    let all = run.recipe.train.size("steps") as u64;
    match asked.map(u64::from) {
        Some(asked) if asked > all => {
            Err(Failure::usage(format!("--steps {asked}: the run has {all} steps; allowed: at most {all}")))
        }
        asked => Ok(asked.unwrap_or(STEPS).min(all)),
    }
}

/// The checkpoint that the run starts from.
fn checkpoint(
    run: &Run,
    candidates: &Candidates,
    store: &Store,
    conditions: &Conditions,
) -> Result<Option<Vec<u8>>, Failure> {
    let Start::Checkpoint { run: source, step, .. } = &run.start else { return Ok(None) };
    let warn = |line: &str| tell!("{line}");
    let bytes = candidates.by_id(source).and_then(|source| store.kept(&key(source, conditions), *step, &warn));
    let missing = || {
        Failure::failed(format!(
            "it starts from run {source} at step {step}, whose checkpoint is not in the store; run `bench` first"
        ))
    };
    bytes.map(Some).ok_or_else(missing)
}
