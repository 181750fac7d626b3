//! `preheat bench --list` and `--verify`: the same plan as the bench, nothing kept.

use crate::cli::Format;
use crate::exit::{Exit, Failure};
use crate::lab::carry::Suite;
use crate::lab::progress::seconds;
use crate::lab::session::Session;
use crate::lab::shard::{Deal, Shard};
use crate::lab::work::{Trouble, Work};
use crate::lab::workers::work;
use crate::results::tier_name;
use crate::say::{out, tell};
use crate::store::Store;
use crate::store::throughput::ASSUMED_GFLOPS;
use crate::table::{Style, draw, flops};
use preheat_suites::claims::Tier;
use preheat_suites::plan::Planned;
use preheat_suites::run::{Run, RunId};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One stage of one suite.
#[derive(Debug, Serialize)]
struct Row {
    suite: String,
    tier: &'static str,
    stage: usize,
    experiments: Vec<String>,
    runs: usize,
    cells: usize,
    /// Of the matrix products of its runs: steps, evaluations and probes.
    flops: f64,
    seconds: f64,
}

/// The part of a plan that is shown: a shard's, or all.
struct Shown(Option<(Shard, Deal)>);

impl Shown {
    fn new(session: &Session, suites: &[Suite], shard: Option<Shard>) -> Result<Self, Failure> {
        let flops = |run: &Run| session.run_flops(run);
        let part = shard.map(|shard| Ok((shard, Deal::new(suites, shard.of, &flops)?))).transpose();
        part.map(Self).map_err(|why: String| Failure::usage(why))
    }

    fn holds(&self, suite: &str, planned: &Planned) -> bool {
        let Some((shard, deal)) = &self.0 else { return true };
        planned.cells.first().is_some_and(|cell| deal.gives(*shard, suite, cell))
    }
}

/// Shows stages, runs, cells, FLOPs and the expected time.
///
/// # Errors
/// A run that cannot be built.
pub(super) fn list(session: &Session, suites: &[Suite], shard: Option<Shard>, format: Format) -> Result<Exit, Failure> {
    let shown = Shown::new(session, suites, shard)?;
    let measured = Store::peek(&session.options().store).throughput(&session.class());
    let core = measured.map_or(ASSUMED_GFLOPS * 1e9, |t| t.rate());
    let rate = core * session.jobs() as f64;
    let mut rows = Vec::new();
    // Equal runs of two suites or stages are trained once; they count where they stand first.
    let mut seen = BTreeSet::new();
    for suite in suites {
        for stage in 0..suite.plan.stages() {
            rows.push(row(session, suite, stage, &shown, rate, &mut seen)?);
        }
    }
    match format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&rows).map_err(Failure::failed)?;
            out(&(text + "\n"));
        }
        Format::Csv => out(&csv(&rows)),
        _ => out(&table(&rows, format)),
    }
    let source = match measured {
        Some(_) => "measured in this store",
        None => "assumed, nothing was measured yet",
    };
    let total: f64 = rows.iter().map(|r| r.seconds).sum();
    tell!("about {} on {} threads at {:.2} GFLOP/s each ({source})", seconds(total), session.jobs(), core / 1e9);
    for suite in suites.iter().filter(|suite| suite.tier == Tier::Paper) {
        let flops: f64 = rows.iter().filter(|row| row.suite == suite.name).map(|row| row.flops).sum();
        tell!("{}: {}", suite.name, gpu_hours(flops));
    }
    Ok(Exit::Golden)
}

/// FLOPs a second of one GPU that the paper tier's cost is told at: a rate to scale from, not one that was measured.
const GPU_FLOPS: f64 = 2e14;

fn gpu_hours(flops: f64) -> String {
    format!(
        "{flops:.2e} FLOPs, {:.0} GPU-hours at {:.0} TFLOP/s a GPU (assumed)",
        flops / GPU_FLOPS / 3600.0,
        GPU_FLOPS / 1e12
    )
}

fn row(
    session: &Session,
    suite: &Suite,
    stage: usize,
    shown: &Shown,
    rate: f64,
    seen: &mut BTreeSet<RunId>,
) -> Result<Row, Failure> {
    let (mut total, mut expected) = (0.0, 0.0);
    let mut experiments: Vec<String> = Vec::new();
    let mut cells = BTreeMap::new();
    let mut runs = 0;
    for planned in suite.plan.draft(stage).map_err(Failure::usage)? {
        if !shown.holds(&suite.name, &planned) {
            continue;
        }
        for cell in &planned.cells {
            if !experiments.contains(&cell.experiment) {
                experiments.push(cell.experiment.clone());
            }
            cells.insert(crate::results::place(&cell.experiment, &cell.arm, &cell.axes), ());
        }
        if seen.insert(planned.run.id()) {
            let step = session.trainers().step_flops(&planned.run).map_err(Failure::usage)?;
            total += session.trainers().run_flops(&planned.run).map_err(Failure::usage)?;
            expected += work(&planned.run, step);
            runs += 1;
        }
    }
    Ok(Row {
        suite: suite.name.clone(),
        tier: tier_name(suite.tier),
        stage: stage + 1,
        experiments,
        runs,
        cells: cells.len(),
        flops: total,
        seconds: expected / rate,
    })
}

/// A row a stage; numbers are the shortest decimals that read back as the same bits.
fn csv(rows: &[Row]) -> String {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let mut push = |row: [String; 8]| writer.write_record(row).expect("memory takes every row");
    push(["suite", "tier", "stage", "experiments", "runs", "cells", "flops", "seconds"].map(String::from));
    for Row { suite, tier, stage, experiments, runs, cells, flops, seconds } in rows {
        let [stage, runs, cells] = [stage, runs, cells].map(ToString::to_string);
        let [flops, seconds] = [flops, seconds].map(|x| format!("{x:?}"));
        push([suite.clone(), (*tier).into(), stage, experiments.join(" "), runs, cells, flops, seconds]);
    }
    String::from_utf8(writer.into_inner().expect("memory takes every row")).expect("text")
}

fn table(rows: &[Row], format: Format) -> String {
    let header = ["suite", "tier", "stage", "experiments", "runs", "cells", "FLOPs", "time"];
    let mut lines = vec![header.map(String::from).to_vec()];
    let line = |suite: &str, tier: &str, stage: &str, what: &str, runs: usize, cells: usize, work: f64, time: f64| {
        vec![
            suite.to_string(),
            tier.to_string(),
            stage.to_string(),
            what.to_string(),
            runs.to_string(),
            cells.to_string(),
            flops(work),
            seconds(time),
        ]
    };
    for r in rows {
        let stage = r.stage.to_string();
        lines.push(line(&r.suite, r.tier, &stage, &r.experiments.join(", "), r.runs, r.cells, r.flops, r.seconds));
    }
    let sum = |f: fn(&Row) -> f64| rows.iter().map(f).sum();
    let (runs, cells) = (rows.iter().map(|r| r.runs).sum(), rows.iter().map(|r| r.cells).sum());
    lines.push(line("all", "", "", "", runs, cells, sum(|r| r.flops), sum(|r| r.seconds)));
    let style = match format {
        Format::Markdown => Style::Markdown,
        _ if std::io::stdout().is_terminal() => Style::Unicode,
        _ => Style::Plain,
    };
    draw(lines, style) + "\n"
}

/// Builds every run and trains one step of each.
///
/// # Errors
/// A run that cannot be built.
pub(super) fn verify(session: &Session, suites: &[Suite], shard: Option<Shard>) -> Result<Exit, Failure> {
    let shown = Shown::new(session, suites, shard)?;
    let mut seen = BTreeSet::new();
    let mut exit = Exit::Golden;
    for suite in suites {
        let stages = (0..suite.plan.stages()).map(|stage| suite.plan.draft(stage));
        let planned: Vec<Vec<Planned>> = stages.collect::<Result<_, _>>().map_err(Failure::usage)?;
        for planned in planned.into_iter().flatten() {
            if !shown.holds(&suite.name, &planned) || !seen.insert(planned.run.id()) {
                continue;
            }
            let one = || session.trainers().start(&[(&planned.run, None)])?.advance();
            let panicked = |_| Err(Trouble::Own("panicked".into()));
            let done = catch_unwind(AssertUnwindSafe(one)).unwrap_or_else(panicked);
            if let Err(why) = done {
                let cell = planned.cells.first();
                let place = cell.map(|c| crate::results::place(&c.experiment, &c.arm, &c.axes)).unwrap_or_default();
                let line = format!("{}/{place}: {why}", suite.name);
                if let Trouble::Lost(_) = why {
                    return Err(Failure::failed(line));
                }
                tell!("{line}");
                exit = exit.worst(Exit::Usage);
            }
        }
    }
    tell!("{} runs built, one step each, nothing kept", seen.len());
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpu_hours_follow_from_the_rate_that_is_said() {
        assert_eq!(gpu_hours(7.2e20), "7.20e20 FLOPs, 1000 GPU-hours at 200 TFLOP/s a GPU (assumed)");
    }
}
