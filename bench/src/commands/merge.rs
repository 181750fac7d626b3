//! `preheat merge`: the records of several stores in one.

use crate::CODE_ID;
use crate::exit::{Exit, Failure};
use crate::say::tell;
use crate::store::Store;
use crate::store::key::Conditions;
use crate::store::merge::{Merged, is_store, merge};
use clap::Args;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `preheat merge`.
#[derive(Clone, Debug, Args)]
pub struct MergeArgs {
    /// The stores whose records and kept checkpoints are copied.
    #[arg(value_name = "STORE", required = true)]
    pub stores: Vec<PathBuf>,
    /// The store that takes them; what it holds is never overwritten.
    #[arg(long, value_name = "STORE", default_value_os_t = crate::cli::place("target/preheat"))]
    pub into: PathBuf,
}

/// Merges. Nothing is trained.
///
/// # Errors
/// A folder that is no store (2), a store that cannot be read or written (5).
pub fn run(args: &MergeArgs) -> Result<Exit, Failure> {
    if let Some(folder) = args.stores.iter().find(|folder| !is_store(folder)) {
        let shown = folder.display();
        return Err(Failure::usage(format!("merge: {shown} is no store; allowed: a folder with records/ or kept/")));
    }
    let into = Store::open(&args.into).map_err(Failure::failed)?;
    let mut merged = Merged::default();
    for folder in &args.stores {
        let warn = |line: &str| tell!("{line}");
        merge(&Store::peek(folder), &into, &mut merged, &warn).map_err(Failure::failed)?;
    }
    let Merged { copied: [records, kept], equal: [equal, equal_kept], bad, conflicts, conditions } = &merged;
    for line in conflicts {
        tell!("{line}");
    }
    if let Some(line) = kinds(conditions) {
        tell!("{line}");
    }
    crate::say::out(&format!(
        "merged {records} records and {kept} checkpoints into {}; {} were there already, {bad} damaged, {} differ\n",
        args.into.display(),
        equal + equal_kept,
        conflicts.len()
    ));
    Ok(if conflicts.is_empty() { Exit::Golden } else { Exit::Regression })
}

/// What a reader should know where not all records answer for the same: a bench takes one kind only.
fn kinds(conditions: &BTreeMap<Conditions, usize>) -> Option<String> {
    let other = conditions.keys().any(|c| c.code != CODE_ID);
    if conditions.len() < 2 && !other {
        return None;
    }
    let kind = |(c, runs): (&Conditions, &usize)| {
        let build = if c.code == CODE_ID { "this build" } else { "another build" };
        format!("{runs} of {} {} {}, {build}", c.device, c.math, c.simd)
    };
    let kinds = conditions.iter().map(kind).collect::<Vec<_>>().join("; ");
    Some(format!("a bench takes records of its own build, device and SIMD path only; here are {kinds}"))
}
