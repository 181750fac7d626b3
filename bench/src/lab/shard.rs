//! Shards: which part of a plan one of several benches trains. A pure function of the definitions and the words:
//! no store, no record and no order of suites moves a run from one shard to another.

use super::carry::Suite;
use preheat_suites::plan::{Cell, Planned};
use preheat_suites::run::{Run, RunId};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// One of `of` parts, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which one, 1 to `of`.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

/// More shards than any plan has runs to give.
const MAX_SHARDS: usize = 10_000;

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<usize>().ok();
        let parsed = text.split_once('/').and_then(|(index, of)| number(index).zip(number(of)));
        match parsed {
            Some((index, of)) if (1..=of).contains(&index) && of <= MAX_SHARDS => Ok(Self { index, of }),
            _ => Err(format!("--shard {text}: allowed: I/N with I from 1 to N and N to {MAX_SHARDS}, e.g. 1/3")),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// Suite and cell: experiment, arm, point of the grid, seed, selection.
type Place = (String, String, u64, bool);

/// Which shard trains what.
#[derive(Debug)]
pub struct Deal {
    /// Of every cell of the plan: its shard, and the drafted run that fills it.
    places: BTreeMap<Place, (usize, RunId)>,
    /// Drafted runs of each shard.
    runs: Vec<usize>,
}

/// A run as drafted.
#[derive(Default)]
struct Drafted {
    flops: f64,
    places: Vec<Place>,
}

impl Deal {
    /// Deals the drafted runs of all stages to `of` shards; `flops` is what a run costs. In a stage the longest run
    /// comes first and goes to the shard with the least work in this stage; equal runs are dealt once.
    ///
    /// A run of a later stage is known only when earlier ones are measured, and its cells are known before: so cells
    /// are dealt, and a run is its first cell's.
    ///
    /// # Errors
    /// One line where a stage cannot be drafted.
    pub fn new(suites: &[Suite], of: usize, flops: &dyn Fn(&Run) -> f64) -> Result<Self, String> {
        let mut deal = Self { places: BTreeMap::new(), runs: vec![0; of] };
        let mut dealt: BTreeMap<RunId, usize> = BTreeMap::new();
        let mut total = vec![0.0; of];
        for stage in 0..suites.iter().map(|suite| suite.plan.stages()).max().unwrap_or(0) {
            let drafted = draft(suites, stage, flops)?;
            let mut longest: Vec<(&RunId, &Drafted)> = drafted.iter().collect();
            longest.sort_by(|(a, x), (b, y)| y.flops.total_cmp(&x.flops).then(a.cmp(b)));
            let mut load = vec![0.0; of];
            for (id, run) in longest {
                let shard = *dealt.entry(id.clone()).or_insert_with(|| {
                    let least = (0..of).min_by(|a, b| {
                        f64::total_cmp(&load[*a], &load[*b]).then(f64::total_cmp(&total[*a], &total[*b]))
                    });
                    let shard = least.unwrap_or(0);
                    load[shard] += run.flops;
                    total[shard] += run.flops;
                    deal.runs[shard] += 1;
                    shard
                });
                deal.places.extend(run.places.iter().map(|place| (place.clone(), (shard, id.clone()))));
            }
        }
        Ok(deal)
    }

    /// Whether `shard` trains the run that fills this cell.
    pub fn gives(&self, shard: Shard, suite: &str, cell: &Cell) -> bool {
        self.places.get(&place(suite, cell)).is_some_and(|(owner, _)| owner + 1 == shard.index)
    }

    /// The drafted run that fills this cell.
    pub fn drafted(&self, suite: &str, cell: &Cell) -> Option<&RunId> {
        self.places.get(&place(suite, cell)).map(|(_, id)| id)
    }

    /// Drafted runs of `shard`.
    pub fn runs(&self, shard: Shard) -> usize {
        self.runs[shard.index - 1]
    }
}

fn draft(suites: &[Suite], stage: usize, flops: &dyn Fn(&Run) -> f64) -> Result<BTreeMap<RunId, Drafted>, String> {
    let mut runs: BTreeMap<RunId, Drafted> = BTreeMap::new();
    for suite in suites.iter().filter(|suite| stage < suite.plan.stages()) {
        for Planned { run, cells, .. } in suite.plan.draft(stage)? {
            let drafted = runs.entry(run.id()).or_default();
            drafted.flops = flops(&run);
            drafted.places.extend(cells.iter().map(|cell| place(&suite.name, cell)));
        }
    }
    Ok(runs)
}

fn place(suite: &str, cell: &Cell) -> Place {
    (suite.into(), crate::results::place(&cell.experiment, &cell.arm, &cell.axes), cell.seed, cell.selection)
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
