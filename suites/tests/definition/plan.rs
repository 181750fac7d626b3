//! Plans: order, merging, stages, filters.

use crate::links::{SECOND, second};
use crate::support::{SUITE, registry, suite, with};
use preheat_suites::claims::Tier;
use preheat_suites::definition::{Registry, Suite, parse, parse_task};
use preheat_suites::plan::{Plan, PlanError, PlanOptions, Planned};
use preheat_suites::record::{Measured, Outcome};
use preheat_suites::run::{RunId, Start};
use std::collections::BTreeMap;

fn plan(suite: &Suite, options: &PlanOptions) -> Plan {
    Plan::new(suite, Tier::Quick, options).unwrap()
}

fn filtered(filter: &str) -> PlanOptions {
    PlanOptions { filter: Some(filter.parse().unwrap()), ..PlanOptions::default() }
}

/// `experiment/arm peak_lr seed`, a star for selection.
fn list(plan: &Plan, stage: usize) -> Vec<String> {
    let cells = plan.cells(stage).map(|c| {
        let axes: Vec<String> = c.axes.values().map(ToString::to_string).collect();
        format!("{}/{} {} {}{}", c.experiment, c.arm, axes.join(" "), c.seed, if c.selection { "*" } else { "" })
    });
    cells.collect()
}

/// Records of stage 0 in which `loss(peak_lr, seed)` is the metric.
fn records(stage: &[Planned], loss: impl Fn(f64, u64) -> f64) -> BTreeMap<RunId, Measured> {
    let record = |p: &Planned| {
        let loss = loss(p.run.recipe.schedule.params.real("peak_lr"), p.run.seed);
        let outcome = if loss.is_finite() { Outcome::Finished } else { Outcome::Diverged { step: 1 } };
        let metrics = BTreeMap::from([("val_loss".to_string(), if loss.is_finite() { loss } else { 0.0 })]);
        (p.run.id(), Measured { outcome, curves: BTreeMap::new(), metrics, digest: String::new() })
    };
    stage.iter().map(record).collect()
}

#[test]
fn cells_stand_as_written() {
    let plan = plan(&suite(SUITE), &PlanOptions::default());
    assert_eq!(plan.stages(), 1);
    let cells = list(&plan, 0);
    assert_eq!(cells.len(), 2 * 3 * 4);
    let expected = ["training/plain 0.001 1", "training/plain 0.001 2", "training/plain 0.001 101*"];
    assert_eq!(cells[..3], expected);
    assert_eq!(cells[4], "training/plain 1.0 1");
    assert_eq!(cells[12], "training/warm 0.001 1");
    assert_eq!(plan.cells(1).count(), 0);
    let runs = plan.resolve_stage(0, &BTreeMap::new()).unwrap();
    assert_eq!(runs.len(), 24);
    assert!(runs.iter().all(|p| p.run.seed == p.run.data_seed && p.run.start == Start::Fresh));
    assert!(runs.iter().all(|p| p.keep_steps.is_empty()));
}

#[test]
fn equal_runs_are_one_run_with_all_their_cells() {
    let same = suite(&with("      plain: {}", "      plain: {}\n      again: {model: {transformer: {layers: 2}}}"));
    let runs = plan(&same, &PlanOptions::default()).resolve_stage(0, &BTreeMap::new()).unwrap();
    assert_eq!(runs.len(), 24);
    let arms: Vec<&str> = runs[0].cells.iter().map(|c| c.arm.as_str()).collect();
    assert_eq!(arms, ["plain", "again"]);
}

#[test]
fn filters() {
    let cells = |filter: &str| list(&plan(&suite(SUITE), &filtered(filter)), 0);
    assert_eq!(cells("warm,peak_lr=1e0,seed=2"), ["training/warm 1.0 2"]);
    assert_eq!(cells("schedule.peak_lr=0.003, arm=plain").len(), 4);
    assert_eq!(cells("training/p").len(), 12);
    assert_eq!(cells("peak_lr=0.5").len(), 0);
    assert_eq!(plan(&suite(SUITE), &filtered("nothing")).stages(), 0);
    for empty in ["", "a,,b", "peak_lr=", "=1"] {
        let error = empty.parse::<preheat_suites::plan::Filter>().unwrap_err().to_string();
        assert_eq!(
            error,
            format!("filter {empty:?} has an empty term; allowed: words and axis=value, divided by commas")
        );
    }
}

#[test]
fn seeds_task_and_tier() {
    let suite = suite(SUITE);
    let seeds = |count| Plan::new(&suite, Tier::Quick, &PlanOptions { seeds: Some(count), ..PlanOptions::default() });
    assert_eq!(seeds(5).unwrap().cells(0).count(), 2 * 3 * (5 + 2));
    assert_eq!(seeds(100).unwrap().cells(0).count(), 2 * 3 * (100 + 2));
    let message = |count| seeds(count).unwrap_err().to_string();
    assert_eq!(message(101), "101 seeds meet the selection seeds of training; allowed: 1 to 100");
    assert_eq!(message(0), "0 seeds; allowed: 1 to 1000");
    assert_eq!(message(u64::MAX), format!("{} seeds; allowed: 1 to 1000", u64::MAX));

    let task = parse_task("--task", "{language: {vocab: 7}}", &registry()).unwrap();
    let runs = plan(&suite, &PlanOptions { task_override: Some(task), ..PlanOptions::default() });
    let runs = runs.resolve_stage(0, &BTreeMap::new()).unwrap();
    assert!(runs.iter().all(|p| p.run.recipe.task.to_string() == "language(path=none,vocab=7)"));
    let wrong = parse_task("--task", "{langage: {}}", &registry()).unwrap_err().to_string();
    assert_eq!(wrong, "--task:1:2: langage: unknown task `langage`; allowed: language");

    let error = Plan::new(&suite, Tier::Paper, &PlanOptions::default()).unwrap_err().to_string();
    assert_eq!(error, "suite small has no tier paper; allowed: smoke, quick");
}

#[test]
fn a_later_stage_takes_the_best_rate_of_the_selection_seeds() {
    let plan = plan(&suite(&second("", "")), &PlanOptions::default());
    assert_eq!(plan.stages(), 2);
    assert_eq!(list(&plan, 1), ["second/base  1"]);
    let first = plan.resolve_stage(0, &BTreeMap::new()).unwrap();
    let taken = |loss: &dyn Fn(f64, u64) -> f64| {
        let runs = plan.resolve_stage(1, &records(&first, loss))?;
        assert_eq!(runs.len(), 1);
        Ok::<f64, PlanError>(runs[0].run.recipe.schedule.params.real("peak_lr"))
    };
    // Claim seeds would choose another rate; they must not be asked.
    assert_eq!(taken(&|lr, seed| if seed > 100 { (lr - 1.0).abs() } else { lr }), Ok(1.0));
    assert_eq!(taken(&|lr, seed| if seed == 101 { 3e-3 / lr } else { lr / 3e-3 }), Ok(3e-3));
    assert_eq!(taken(&|_, _| 1.0), Ok(1e-3), "the first wins a tie");
    // One diverged seed rules a rate out, whatever its metric says.
    assert_eq!(taken(&|lr, seed| if lr == 1.0 && seed == 102 { f64::NAN } else { 1.0 / lr }), Ok(3e-3));
    let nothing = taken(&|_, _| f64::NAN).unwrap_err().to_string();
    assert_eq!(
        nothing,
        "second/base takes schedule.peak_lr from training/warm, where no grid point has a finite val_loss"
    );
    assert!(matches!(plan.resolve_stage(1, &BTreeMap::new()), Err(PlanError::Unmeasured { .. })));
}

#[test]
fn what_can_be_known_is_ready_and_the_rest_waits() {
    // A third experiment of the second's stage needs no record.
    let third = SECOND.replace("id: second", "id: third").replace(take(), START);
    let plan = plan(&suite(&with("claims:\n", &format!("{SECOND}{third}claims:\n"))), &PlanOptions::default());
    let first = plan.resolve_stage(0, &BTreeMap::new()).unwrap();
    let places = |done: &BTreeMap<RunId, Measured>| {
        let ready = plan.ready_stage(1, done).unwrap();
        let place = |cells: &[preheat_suites::plan::Cell]| cells[0].experiment.clone();
        let runs: Vec<String> = ready.runs.iter().map(|planned| place(&planned.cells)).collect();
        let waiting: Vec<String> = ready.waiting.iter().map(|cell| cell.experiment.clone()).collect();
        (runs, waiting)
    };
    let third = || ["third", "third"].map(String::from);
    assert_eq!(places(&BTreeMap::new()), (third().to_vec(), vec!["second".to_string()]));
    let mut done = records(&first, |lr, _| lr);
    assert_eq!(places(&done), ([vec!["second".to_string()], third().to_vec()].concat(), vec![]));
    assert_eq!(plan.ready_stage(1, &done).unwrap().runs, plan.resolve_stage(1, &done).unwrap());
    // One seed that chooses is enough to wait for.
    let chooses = first.iter().find(|p| p.cells[0].selection && p.cells[0].arm == "warm").expect("a selection seed");
    done.remove(&chooses.run.id());
    assert_eq!(places(&done).1, ["second"]);
    assert!(plan.ready_stage(1, &records(&first, |_, _| f64::NAN)).is_err(), "nothing finite is no reason to wait");
}

#[test]
fn without_selection_seeds_the_claim_seeds_choose() {
    let yaml = second("", "").replace("    selection_seeds: {first: 101, count: 2}\n", "");
    let plan = plan(&suite(&yaml), &PlanOptions::default());
    let first = plan.resolve_stage(0, &BTreeMap::new()).unwrap();
    let done = records(&first, |lr, seed| if seed <= 2 { -lr } else { lr });
    assert_eq!(plan.resolve_stage(1, &done).unwrap()[0].run.recipe.schedule.params.real("peak_lr"), 1.0);
}

#[test]
fn shared_axes_agree_where_a_value_is_taken() {
    let grid = "    grid: {model.layers: [1, 2], schedule.peak_lr: [1e-3, 1, 3e-3]}";
    let yaml = second("    take:", "    grid: {model.layers: [1, 2]}\n    take:");
    let yaml = yaml.replace("    grid: {schedule.peak_lr: [1e-3, 1, 3e-3]}", grid);
    let yaml = yaml.replace("model: {transformer: {width: 32, heads: 4}}", "model: {transformer: {width: 32}}");
    let plan = plan(&suite(&yaml), &PlanOptions::default());
    let first = plan.resolve_stage(0, &BTreeMap::new()).unwrap();
    let mut done = BTreeMap::new();
    for planned in &first {
        let small = planned.run.recipe.model.params.int("layers") == 1;
        done.extend(records(std::slice::from_ref(planned), |lr, _| if small { lr } else { -lr }));
    }
    let runs = plan.resolve_stage(1, &done).unwrap();
    let rates: Vec<f64> = runs.iter().map(|p| p.run.recipe.schedule.params.real("peak_lr")).collect();
    assert_eq!(rates, [1e-3, 1.0]);
}

/// In place of [`take`]'s line.
const START: &str =
    "    start: {from: {experiment: training, arm: warm, step: 30}}\n    grid: {schedule.peak_lr: [1e-3, 3e-3]}";

fn take() -> &'static str {
    SECOND.lines().find(|l| l.contains("take:")).unwrap()
}

fn starting() -> String {
    second(take(), START)
}

#[test]
fn a_later_stage_starts_from_a_kept_checkpoint() {
    let plan = plan(&suite(&starting()), &PlanOptions::default());
    let first = plan.resolve_stage(0, &BTreeMap::new()).unwrap();
    let second = plan.resolve_stage(1, &BTreeMap::new()).unwrap();
    assert_eq!(second.len(), 2);
    for planned in &second {
        let Start::Checkpoint { run, step: 30, optimizer_state: false } = &planned.run.start else {
            panic!("{:?}", planned.run.start)
        };
        let source = first.iter().find(|p| p.run.id() == *run).unwrap();
        assert_eq!(source.cells[0].arm, "warm");
        assert_eq!((source.run.seed, &source.cells[0].axes), (planned.run.seed, &planned.cells[0].axes));
        assert_eq!(source.keep_steps, [30]);
    }
    assert_eq!(first.iter().filter(|p| !p.keep_steps.is_empty()).count(), 2);
}

#[test]
fn a_filter_keeps_what_its_cells_wait_for() {
    let takes = plan(&suite(&second("", "")), &filtered("second"));
    // Three rates of the warm arm, each by two selection seeds, then the cell itself.
    assert_eq!(list(&takes, 0).len(), 6);
    assert!(list(&takes, 0).iter().all(|c| c.starts_with("training/warm") && c.ends_with('*')));
    assert_eq!(list(&takes, 1).len(), 1);
    let starts = plan(&suite(&starting()), &filtered("second,peak_lr=0.003"));
    assert_eq!(list(&starts, 0), ["training/warm 0.003 1"]);
    assert_eq!(list(&starts, 1), ["second/base 0.003 1"]);
}

#[test]
fn more_seeds_than_the_source_has() {
    let yaml = starting().replace("seeds: {first: 1, count: 1}", "seeds: {first: 2, count: 1}");
    let plan = plan(&suite(&yaml), &PlanOptions { seeds: Some(2), ..PlanOptions::default() });
    let error = plan.resolve_stage(1, &BTreeMap::new()).unwrap_err().to_string();
    assert_eq!(error, "second/base with seed 3 has no run of training to start from");
}

#[test]
fn every_suite_plans_in_every_tier_that_it_has() {
    for (name, text) in preheat_suites::builtin() {
        let suite = parse(&format!("suites/{name}.yaml"), text.as_bytes(), &Registry::builtin());
        let suite = suite.unwrap_or_else(|e| panic!("{e}"));
        let mut tiers: Vec<Tier> = suite.experiments.iter().flat_map(|e| e.setups.keys().copied()).collect();
        tiers.dedup();
        for tier in tiers {
            let plan = Plan::new(&suite, tier, &PlanOptions::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
            let runs = plan.resolve_stage(0, &BTreeMap::new()).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(runs.iter().map(|p| p.cells.len()).sum::<usize>(), plan.cells(0).count());
            assert!(!runs.is_empty(), "{name} has nothing in its first stage");
        }
    }
}

#[test]
fn flops_of_a_run() {
    let runs = plan(&suite(SUITE), &PlanOptions::default()).resolve_stage(0, &BTreeMap::new()).unwrap();
    // 2 layers × batch 8 × vocabulary 5 × 3 tokens × 100 steps, by the model of these tests.
    assert_eq!(runs[0].flops(&registry(), 5, 3), Ok(24_000.0));
}
