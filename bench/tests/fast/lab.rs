//! A suite carried out on a device of these tests: planned, trained, judged, as the lab does it.

use preheat_bench::lab::carry::{self, Suite};
use preheat_bench::lab::{Options, data, load};
use preheat_bench::results::SuiteResult;
use preheat_kernels::device::Device;
use preheat_suites::claims::Tier;
use preheat_suites::plan::Planned;
use preheat_suites::record::{Measured, Observation};
use preheat_suites::run::{Run, RunId, Start};
use preheat_suites::train::{Cohort, Early};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a bench knows of a suite once it is trained.
pub(crate) struct Trained {
    pub(crate) result: SuiteResult,
    pub(crate) early: BTreeMap<RunId, Early>,
}

/// The smoke tier of every suite, or of those in a folder.
pub(crate) fn smoke(suites_dir: Option<PathBuf>) -> Vec<Suite> {
    let options = Options {
        suites: Vec::new(),
        suites_dir,
        tier: Tier::Smoke,
        jobs: None,
        store: PathBuf::from("nowhere"),
        checkpoint_every: Duration::ZERO,
        filter: Vec::new(),
        seeds: None,
        task: None,
    };
    load::plans(&options).expect("suites of this repository")
}

/// Carries out `suite` on `device`. Seeds are `shift` higher than they say; the results are filed under the runs as
/// they stand in the plan.
pub(crate) fn carry_out(suite: &Suite, device: &Arc<dyn Device>, shift: u64) -> Trained {
    let (mut measured, mut early) = (BTreeMap::new(), BTreeMap::new());
    let (mut kept, mut observed) = (BTreeMap::new(), Vec::new());
    for stage in 0..suite.plan.stages() {
        for planned in suite.plan.stage(stage, &measured).expect("earlier stages are done") {
            let id = planned.run.id();
            let seen = train(&planned, device, shift, &mut kept);
            early.insert(id.clone(), Early::of(&planned.run, &seen).expect("it was trained"));
            for cell in &planned.cells {
                let observation = Observation {
                    experiment: cell.experiment.clone(),
                    arm: cell.arm.clone(),
                    axes: cell.axes.clone(),
                    seed: cell.seed,
                    selection: cell.selection,
                    measured: seen.clone(),
                };
                observed.push((id.clone(), observation));
            }
            measured.insert(id, seen);
        }
    }
    Trained { result: carry::result(suite, String::new(), observed), early }
}

/// Trains one run. Checkpoints that later stages want are put into `kept`, under the plan's run and their step.
fn train(
    planned: &Planned,
    device: &Arc<dyn Device>,
    shift: u64,
    kept: &mut BTreeMap<(RunId, u64), Vec<u8>>,
) -> Measured {
    let Run { recipe, seed, data_seed, start } = planned.run.clone();
    let run = Run { recipe, seed: seed + shift, data_seed: data_seed + shift, start };
    let task = data::open(&run.recipe.task, run.recipe.train.size("eval_sequences")).expect("generated data");
    let mut cohort = Cohort::new(&[(&run, Arc::from(task))], Arc::clone(device)).expect("a sound recipe");
    if let Start::Checkpoint { run: other, step, .. } = &run.start {
        let bytes = &kept[&(other.clone(), *step)];
        cohort.start_from(0, bytes, run.takes_optimizer_state()).expect("a checkpoint of the same model");
    }
    while !cohort.is_done(0) {
        cohort.advance().expect("a device that does not fail");
        if planned.keep_steps.contains(&cohort.step(0)) {
            kept.insert((planned.run.id(), cohort.step(0)), cohort.checkpoint(0).expect("as above"));
        }
    }
    cohort.finish().expect("as above").remove(0)
}
