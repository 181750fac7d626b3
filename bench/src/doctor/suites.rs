//! What was accepted, and the data files that suites name.

use super::{Finding, State, store};
use crate::golden::Golden;
use crate::lab::data::data_hash;
use crate::lab::trainer::Trainers;
use crate::lab::{Options, load};
use crate::results::stem;
use clap::ValueEnum;
use preheat_kernels::cpu::{Cpu, Simd};
use preheat_suites::claims::Tier;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Where to look.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The store's folder.
    pub store: &'a Path,
    /// The folder of accepted results.
    pub golden: &'a Path,
    /// Suites of this folder instead of the built-in ones.
    pub suites_dir: Option<&'a Path>,
}

/// What was accepted, by suite and tier.
pub(super) fn golden(places: &Places<'_>) -> Vec<Finding> {
    let accepted = match Golden::new(places.golden).all() {
        Ok(all) if all.is_empty() => (State::Absent, format!("nothing in {}", places.golden.display())),
        Ok(all) => {
            let stems: Vec<String> = all.iter().map(|result| stem(&result.name, result.tier)).collect();
            (State::Ok, stems.join(", "))
        }
        Err(why) => (State::Bad, why),
    };
    let place = std::path::absolute(places.golden).unwrap_or_else(|_| places.golden.to_path_buf());
    vec![Finding::new("golden", "accepted", accepted.0, accepted.1), store::writable("golden", &place)]
}

/// Definitions, and each data file that one of their runs reads.
pub(super) fn data(places: &Places<'_>) -> Vec<Finding> {
    // Opening a task checks its file; no number is computed on this device.
    let trainers = Trainers::new(Cpu::new(Simd::Scalar));
    let mut files: BTreeMap<String, Result<(), String>> = BTreeMap::new();
    let mut names: Vec<String> = Vec::new();
    for tier in crate::cli::TierArg::value_variants() {
        let plans = match load::plans(&options(places, (*tier).into())) {
            Ok(plans) => plans,
            // A tier that no suite has is no fault; a definition that does not hold is.
            Err(failure) if failure.exit == crate::exit::Exit::Nothing => continue,
            Err(failure) => return vec![Finding::new("data", "suites", State::Bad, failure.message)],
        };
        for suite in &plans {
            if !names.contains(&suite.name) {
                names.push(suite.name.clone());
            }
            let drafts = (0..suite.plan.stages()).filter_map(|stage| suite.plan.draft(stage).ok());
            for planned in drafts.flatten() {
                let task = &planned.run.recipe.task;
                if data_hash(task) != "generated" {
                    let opened = || trainers.task(&planned.run).map(drop).map_err(|e| e.to_string());
                    files.entry(task.to_string()).or_insert_with(opened);
                }
            }
        }
    }
    let missing: Vec<String> = files.values().filter_map(|opened| opened.clone().err()).collect();
    let stated = match (files.len(), missing.is_empty()) {
        (0, _) => (State::Ok, "no suite names one".to_string()),
        (n, true) => (State::Ok, format!("all {n} are there as stated")),
        (_, false) => (State::Absent, missing.join("; ")),
    };
    vec![Finding::new("data", "suites", State::Ok, names.join(", ")), Finding::new("data", "files", stated.0, stated.1)]
}

fn options(places: &Places<'_>, tier: Tier) -> Options {
    Options {
        suites: Vec::new(),
        suites_dir: places.suites_dir.map(Path::to_path_buf),
        tier,
        jobs: None,
        store: places.store.to_path_buf(),
        checkpoint_every: Duration::ZERO,
        filter: Vec::new(),
        seeds: None,
        task: None,
    }
}
