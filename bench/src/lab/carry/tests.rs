//! Stages with a quick trainer.

use super::*;
use crate::lab::workers::Workers;
use crate::store::Store;
use crate::store::key::tests::conditions;
use crate::testing::{Fake, Lines, run, still, suite_of};
use preheat_suites::claims::Kind;
use preheat_suites::registry::Scalar;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Two stages: three seeds of one model, then one run whose steps are the best of the first stage.
struct TwoStages(&'static str);

fn planned(run: Run, arm: &str) -> Planned {
    let (experiment, arm, seed) = ("e".into(), arm.into(), run.seed);
    let cell = Cell { experiment, arm, axes: BTreeMap::new(), seed, selection: false };
    Planned { run, cells: vec![cell], keep_steps: vec![] }
}

impl Staged for TwoStages {
    fn stages(&self) -> usize {
        2
    }
    fn stage(&self, index: usize, measured: &BTreeMap<RunId, Measured>) -> Result<Vec<Planned>, String> {
        let first: Vec<Run> = (1..=3).map(|seed| run(self.0, 4, seed)).collect();
        if index == 0 {
            return Ok(first.into_iter().map(|run| planned(run, "first")).collect());
        }
        let sums = first.iter().map(|run| Some(measured.get(&run.id())?.metrics["sum"]));
        let sums: Option<Vec<f64>> = sums.collect();
        let best = sums.ok_or("the sweep is not complete")?.into_iter().fold(f64::INFINITY, f64::min);
        Ok(vec![planned(run(&format!("best {best}"), 2, 9), "second")])
    }
    fn ready(&self, index: usize, measured: &BTreeMap<RunId, Measured>) -> Result<Ready, String> {
        let all = self.stage(index, measured).map(|runs| Ready { runs, waiting: vec![] });
        Ok(all.unwrap_or_else(|_| Ready { runs: vec![], waiting: self.cells(index) }))
    }
    fn cells(&self, index: usize) -> Vec<Cell> {
        // Backwards, to see that the tables' order is this one and not that of the runs.
        let cell = |seed| planned(run(self.0, 4, seed), "first").cells.remove(0);
        if index == 0 { vec![cell(3), cell(2), cell(1)] } else { planned(run("", 2, 9), "second").cells }
    }
    fn draft(&self, index: usize) -> Result<Vec<Planned>, String> {
        self.stage(index, &BTreeMap::new())
    }
}

fn check(models: &[&'static str], expect: impl FnOnce(Outcome, usize)) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let fake = Fake::default();
    let (stop, lines) = (AtomicBool::new(false), Lines::default());
    let workers = Workers {
        store: &store,
        work: &fake,
        jobs: 2,
        checkpoint_every: Duration::from_secs(5),
        clock: &still,
        stop: &stop,
        progress: &lines,
        environment: &BTreeMap::new,
        curves: &BTreeSet::new(),
    };
    let suites: Vec<Suite> = models.iter().map(|model| suite_of(model, TwoStages(model))).collect();
    let outcome = carry_out(&suites, &conditions(), &workers, &fake, true);
    expect(outcome, fake.steps.load(Ordering::SeqCst));
}

#[test]
fn a_later_stage_takes_what_an_earlier_one_measured() {
    check(&["a"], |outcome, steps| {
        assert_eq!(steps, 3 * 4 + 2);
        let arms: Vec<_> = outcome.observed[0].iter().map(|(_, seen)| seen.arm.as_str()).collect();
        assert_eq!(arms, ["first", "first", "first", "second"]);
        let seeds: Vec<_> = outcome.observed[0].iter().map(|(_, seen)| seen.seed).collect();
        assert_eq!(seeds, [3, 2, 1, 9]);
        assert_eq!(outcome.failures, [Vec::<String>::new()]);
    });
}

#[test]
fn equal_runs_of_two_suites_are_trained_once() {
    check(&["a", "a"], |outcome, steps| {
        assert_eq!(steps, 3 * 4 + 2);
        assert_eq!(outcome.trained, 4);
        assert_eq!(outcome.observed[0], outcome.observed[1]);
        assert_eq!(outcome.observed[0].len(), 4);
    });
}

#[test]
fn a_failed_sweep_stops_its_own_suite_and_no_other() {
    check(&["panic@1", "a"], |outcome, _| {
        assert_eq!(outcome.observed[1].len(), 4);
        assert!(outcome.observed[0].is_empty());
        assert_eq!(outcome.failures[0].len(), 4, "{:?}", outcome.failures);
        assert!(outcome.failures[0][3].ends_with("stage 2: the sweep is not complete"), "{:?}", outcome.failures);
        assert_eq!(outcome.failures[1], Vec::<String>::new());
    });
}

#[test]
fn a_run_that_two_experiments_share_stands_in_each_at_its_place_of_the_grid() {
    let cell = |experiment: &str, width: i64| Cell {
        experiment: experiment.into(),
        arm: "post".into(),
        axes: BTreeMap::from([("model.width".to_string(), Scalar::Int(width))]),
        seed: 1,
        selection: false,
    };
    // `depth` has the run of width 128 first, so the plan of runs has it before the others of `width`.
    let shared = Planned { cells: vec![cell("depth", 128), cell("width", 128)], ..planned(run("a", 1, 1), "post") };
    let narrow = Planned { cells: vec![cell("width", 32)], ..planned(run("b", 1, 1), "post") };
    let runs = [shared, narrow];
    let written = [cell("depth", 128), cell("width", 32), cell("width", 128)];
    let nothing = Measured {
        outcome: preheat_suites::record::Outcome::Finished,
        curves: BTreeMap::new(),
        metrics: BTreeMap::new(),
        digest: String::new(),
    };
    let measured = runs.iter().map(|p| (p.run.id(), nothing.clone())).collect();
    let filled = runs.map(|p| Filled { suite: 0, id: p.run.id(), cells: p.cells, parameters: None, steps: 1 });
    let seen: Vec<(String, String)> = observe(filled.iter(), &written, &measured)
        .into_iter()
        .map(|(_, x)| (x.experiment, x.axes["model.width"].to_string()))
        .collect();
    let expected = [("depth", "128"), ("width", "32"), ("width", "128")];
    assert_eq!(seen, expected.map(|(experiment, width)| (experiment.to_string(), width.to_string())));
}

#[test]
fn the_curves_that_claims_read_are_those_of_their_kinds() {
    let options = |suite: &str| crate::lab::Options {
        suites: vec![suite.into()],
        suites_dir: None,
        tier: Tier::Quick,
        jobs: None,
        store: "nowhere".into(),
        checkpoint_every: Duration::ZERO,
        filter: vec![],
        seeds: None,
        task: None,
    };
    let suites = crate::lab::load::plans(&options("layernorm")).unwrap();
    assert!(suites[0].claims.iter().any(|claim| matches!(claim.kind, Kind::StepsRatio { .. })));
    assert_eq!(curves_read(&suites), BTreeSet::from(["val_loss".to_string()]));
    assert_eq!(curves_read(&[suite_of("a", TwoStages("a"))]), BTreeSet::new());
    // What is read off a curve needs it, for a claim as for a column.
    let mut suites = crate::lab::load::plans(&options("rewarm")).unwrap();
    let losses = ["downstream_val_loss", "upstream_val_loss", "val_loss"].map(String::from);
    assert_eq!(curves_read(&suites), losses.iter().cloned().collect());
    suites[0].claims.clear();
    assert_eq!(curves_read(&suites), losses[..2].iter().cloned().collect());
}
