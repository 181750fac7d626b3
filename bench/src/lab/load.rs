//! From words to suites: reads definitions, plans them, and opens their data before anything is trained.

use super::Options;
use super::carry::{Staged, Suite};
use super::session::Session;
use super::task_word::task;
use crate::exit::{Exit, Failure};
use crate::say::tell;
use preheat_suites::definition::{self, Registry};
use preheat_suites::plan::{Cell, Filter, Plan, PlanError, PlanOptions, Planned, Ready};
use preheat_suites::record::{Measured, Outcome};
use preheat_suites::run::RunId;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A definition before it is read: its name, what errors call the file, its bytes.
struct Source {
    name: String,
    file: String,
    bytes: Vec<u8>,
}

/// The suites that the session's words select, planned, each with its data at hand.
///
/// # Errors
/// A wrong definition, an unknown name, missing data (2); nothing selected (4).
pub fn suites(session: &Session) -> Result<Vec<Suite>, Failure> {
    let (loaded, left_out) = select(session.options())?;
    for why in left_out {
        tell!("left out: {why}");
    }
    for suite in &loaded {
        open_data(session, suite)?;
    }
    Ok(loaded)
}

/// The suites that the words select, planned; no data is opened, and nothing is said of suites that are left out.
///
/// # Errors
/// A wrong definition, an unknown name (2); nothing selected (4).
pub fn plans(options: &Options) -> Result<Vec<Suite>, Failure> {
    select(options).map(|(loaded, _)| loaded)
}

/// The suites that the words select, and why others are left out.
fn select(options: &Options) -> Result<(Vec<Suite>, Vec<String>), Failure> {
    let registry = Registry::builtin();
    let plan_options = plan_options(options, &registry)?;
    let mut loaded = Vec::new();
    let mut left_out = Vec::new();
    for (file, suite) in definitions(&options.suites, options.suites_dir.as_deref())? {
        match Plan::new(&suite, options.tier, &plan_options) {
            Ok(plan) if plan.stages() == 0 => left_out.push(format!("{}: the filter leaves nothing", suite.name)),
            Ok(plan) => loaded.push(planned(suite, plan)),
            Err(why @ PlanError::Tier { .. }) => left_out.push(why.to_string()),
            Err(why) => return Err(Failure::usage(format!("{file}: {why}"))),
        }
    }
    if loaded.is_empty() {
        let why = if left_out.is_empty() { "there are no suites".to_string() } else { left_out.join("; ") };
        return Err(Failure { exit: Exit::Nothing, message: format!("nothing selected: {why}") });
    }
    Ok((loaded, left_out))
}

/// The named suites, or all, each with what errors call its file.
///
/// # Errors
/// A folder that cannot be read, a wrong definition, an unknown name (2).
pub fn definitions(names: &[String], folder: Option<&Path>) -> Result<Vec<(String, definition::Suite)>, Failure> {
    let registry = Registry::builtin();
    let read = |source: Source| {
        let suite = definition::parse(&source.file, &source.bytes, &registry).map_err(Failure::usage)?;
        Ok((source.file, suite))
    };
    selected(sources(folder)?, names)?.into_iter().map(read).collect()
}

fn planned(suite: definition::Suite, plan: Plan) -> Suite {
    let metrics = suite.experiments.iter().flat_map(|e| e.takes.iter().map(|take| take.metric.clone())).collect();
    // An experiment that this tier does not run has no table here.
    let here: Vec<_> = suite.experiments.into_iter().filter(|e| e.setups.contains_key(&plan.tier)).collect();
    let draw = here.iter().filter_map(|e| Some((e.id.clone(), e.draw.clone()?))).collect();
    let here = here.into_iter().filter(|e| !e.show.is_empty());
    Suite {
        name: suite.name,
        title: suite.title,
        tier: plan.tier,
        show: here.map(|e| (e.id, e.show)).collect(),
        draw,
        claims: suite.claims,
        rankings: suite.rankings,
        fits: suite.fits,
        plan: Box::new(Draftable { plan, metrics }),
    }
}

/// A plan, and the metrics by which its later stages choose.
struct Draftable {
    plan: Plan,
    metrics: Vec<String>,
}

impl Staged for Draftable {
    fn stages(&self) -> usize {
        self.plan.stages()
    }
    fn stage(&self, index: usize, measured: &BTreeMap<RunId, Measured>) -> Result<Vec<Planned>, String> {
        self.plan.resolve_stage(index, measured).map_err(|e| e.to_string())
    }
    fn ready(&self, index: usize, measured: &BTreeMap<RunId, Measured>) -> Result<Ready, String> {
        self.plan.ready_stage(index, measured).map_err(|e| e.to_string())
    }
    fn cells(&self, index: usize) -> Vec<Cell> {
        self.plan.cells(index).cloned().collect()
    }
    fn draft(&self, index: usize) -> Result<Vec<Planned>, String> {
        // Among equals the first candidate wins, so equal metrics draft every stage.
        let equal = Measured {
            outcome: Outcome::Finished,
            curves: BTreeMap::new(),
            metrics: self.metrics.iter().map(|metric| (metric.clone(), 0.0)).collect(),
            digest: String::new(),
        };
        let mut drafted = BTreeMap::new();
        for earlier in 0..index {
            let runs = self.stage(earlier, &drafted)?;
            drafted.extend(runs.into_iter().map(|planned| (planned.run.id(), equal.clone())));
        }
        self.stage(index, &drafted)
    }
}

/// A missing file or another hash is told before the first run, not by a worker.
fn open_data(session: &Session, suite: &Suite) -> Result<(), Failure> {
    for stage in 0..suite.plan.stages() {
        for planned in suite.plan.draft(stage).map_err(Failure::usage)? {
            let opened = session.trainers().task(&planned.run);
            opened.map_err(|e| Failure::usage(format!("{}: task.{e}", suite.name)))?;
        }
    }
    Ok(())
}

fn sources(folder: Option<&Path>) -> Result<Vec<Source>, Failure> {
    let Some(folder) = folder else {
        let source = |(name, text): &(&str, &str)| Source {
            name: (*name).into(),
            file: format!("suites/{name}.yaml"),
            bytes: text.as_bytes().to_vec(),
        };
        return Ok(preheat_suites::builtin().iter().map(source).collect());
    };
    let wrong = |path: &Path, e: std::io::Error| Failure::usage(format!("{}: {e}", path.display()));
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| wrong(folder, e))? {
        let path = entry.map_err(|e| wrong(folder, e))?.path();
        if path.extension().is_some_and(|e| e == "yaml") {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let bytes = fs::read(path).map_err(|e| wrong(path, e))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Source { name, file: path.display().to_string(), bytes })
    };
    paths.iter().map(read).collect()
}

/// The named sources in the order of the words, or all.
fn selected(sources: Vec<Source>, names: &[String]) -> Result<Vec<Source>, Failure> {
    if names.is_empty() {
        return Ok(sources);
    }
    let known: Vec<String> = sources.iter().map(|s| s.name.clone()).collect();
    let mut rest: Vec<Option<Source>> = sources.into_iter().map(Some).collect();
    let mut chosen = Vec::new();
    for name in names {
        let at = known
            .iter()
            .position(|k| k == name)
            .ok_or_else(|| Failure::usage(format!("no suite {name}; allowed: {}", known.join(", "))))?;
        // A name said twice is one suite.
        chosen.extend(rest[at].take());
    }
    Ok(chosen)
}

fn plan_options(options: &Options, registry: &Registry) -> Result<PlanOptions, Failure> {
    let filter = (!options.filter.is_empty()).then(|| options.filter.join(","));
    let filter = filter.map(|text| text.parse::<Filter>()).transpose();
    Ok(PlanOptions {
        filter: filter.map_err(|e| Failure::usage(format!("--filter: {e}")))?,
        seeds: options.seeds.map(u64::from),
        task_override: options.task.as_deref().map(|word| task(word, registry)).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Result<Vec<String>, Failure> {
        let source = |name: &str| Source { name: name.into(), file: String::new(), bytes: Vec::new() };
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let chosen = selected(["a", "b", "c"].map(source).into(), &names)?;
        Ok(chosen.into_iter().map(|s| s.name).collect())
    }

    #[test]
    fn suites_come_in_the_order_of_the_words_and_once() {
        assert_eq!(named(&[]).unwrap(), ["a", "b", "c"]);
        assert_eq!(named(&["c", "a", "c"]).unwrap(), ["c", "a"]);
        let typo = named(&["d"]).unwrap_err();
        assert_eq!((typo.exit, typo.message.as_str()), (Exit::Usage, "no suite d; allowed: a, b, c"));
    }
}
