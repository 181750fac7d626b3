//! What several unit tests need: a run, a suite's observations, a quick trainer with planted faults.

use crate::lab::carry::{Sizes, Staged, Suite};
use crate::lab::progress::Progress;
use crate::lab::work::{Start as StartOf, Training, Trouble, Work};
use crate::lab::workers::Job;
use crate::results::{About, SuiteResult};
use preheat_suites::claims::{At, Claim, Expect, Judged, Kind, Select, Sweep, Swept, Tier, Verdict};
use preheat_suites::definition::Column;
use preheat_suites::plan::{Cell, Planned, Ready};
use preheat_suites::record::{Measured, Observation, Outcome};
use preheat_suites::registry::{Params, Scalar, Spec};
use preheat_suites::run::{Recipe, Run, RunId, Start};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// A run of `steps` steps whose recipe only the fake trainer understands.
pub(crate) fn run(name: &str, steps: i64, seed: u64) -> Run {
    let spec = |name: &str| Spec { name: name.into(), params: Params::default() };
    let train = Params(BTreeMap::from([("steps".to_string(), Scalar::Int(steps))]));
    let recipe = Recipe { model: spec(name), task: spec("t"), optimizer: spec("o"), schedule: spec("s"), train };
    Run { recipe, seed, data_seed: seed, start: Start::Fresh }
}

/// Two arms, three claim seeds and one selection seed each.
pub(crate) fn observed() -> Vec<(RunId, Observation)> {
    let mut all = Vec::new();
    for (i, arm) in ["pre-ln", "post-ln"].into_iter().enumerate() {
        for seed in 1..=4_u64 {
            let value = 3.0 + i as f64 * 0.5 + seed as f64 / 7.0;
            let metrics = BTreeMap::from([("val_loss".to_string(), value), ("stalled".to_string(), i as f64)]);
            let digest = blake3::hash(format!("{arm}{seed}").as_bytes()).to_hex().to_string();
            let seen = Observation {
                experiment: "sweep".into(),
                arm: arm.into(),
                axes: BTreeMap::from([("schedule.peak_lr".to_string(), Scalar::Real(0.003))]),
                seed,
                selection: seed == 4,
                measured: Measured { outcome: Outcome::Finished, curves: BTreeMap::new(), metrics, digest },
            };
            all.push((run(arm, 10, seed).id(), seen));
        }
    }
    all
}

/// One claim of each verdict.
pub(crate) fn claims() -> (Vec<Claim>, Vec<Judged>) {
    let select = |arm: &str| Select { experiment: "sweep".into(), arm: arm.into(), axes: BTreeMap::new() };
    let verdicts = [Verdict::Reproduced, Verdict::Refuted, Verdict::Inconclusive];
    let made = verdicts.into_iter().enumerate().map(|(i, verdict)| {
        let (id, paper_claim) = (format!("x{i}-claim"), format!("X{i}"));
        let claim = Claim {
            id: id.clone(),
            paper_claim: paper_claim.clone(),
            sentence: format!("Claim {i} holds."),
            place: "Table 2".into(),
            paper_number: "0.8".into(),
            tiers: vec![Tier::Quick],
            kind: Kind::Difference {
                metric: "val_loss".into(),
                of: select("post-ln"),
                minus: select("pre-ln"),
                at: At::EachBest,
            },
            expect: Expect::Above(0.0),
            sweep: (i == 0).then(|| "task.shift".to_string()),
        };
        let none = verdict == Verdict::Inconclusive;
        let judged = Judged {
            id,
            paper_claim,
            verdict,
            why: none.then(|| "tier".to_string()),
            effect: (!none).then_some(0.5),
            interval: (!none).then_some([0.25, 0.75]),
            level: (!none).then_some(0.025),
            n: 3,
            at: (i == 1).then(|| "schedule.peak_lr=0.003".to_string()),
            sweep: (i == 0).then(sweep),
        };
        (claim, judged)
    });
    made.unzip()
}

/// The same verdict at one value, another at the next, no data at the last.
fn sweep() -> Sweep {
    let at = |value, verdict, effect: Option<f64>| Swept {
        value: Scalar::Real(value),
        verdict,
        why: effect.is_none().then(|| "no data: no runs of sweep/post-ln task.shift=0.8".to_string()),
        effect,
        interval: effect.map(|x| [x - 0.25, x + 0.25]),
        n: 3,
    };
    let others = vec![
        at(0.2, Verdict::Reproduced, Some(0.375)),
        at(0.6, Verdict::Refuted, Some(-0.5)),
        at(0.8, Verdict::Inconclusive, None),
    ];
    Sweep { axis: "task.shift".into(), value: Scalar::Real(0.4), others }
}

/// The result of the suite `demo`.
pub(crate) fn result(observed: &[(RunId, Observation)]) -> SuiteResult {
    let (claims, judged) = claims();
    let column = |metric: &str, title: &str| Column { metric: metric.into(), title: title.into() };
    let columns = vec![column("val_loss", "val loss, nats/token"), column("stalled", "stalled")];
    let show = BTreeMap::from([("sweep".to_string(), columns)]);
    let title = "A demonstration";
    let about =
        About { tier: Tier::Quick, name: "demo", title, show: &show, draw: &[], claims: &claims, rankings: &[] };
    SuiteResult::new(&about, "10 steps".into(), observed, judged)
}

/// A clock that stands still.
pub(crate) fn still() -> Duration {
    Duration::ZERO
}

/// Trains runs that add up a hash of their steps. The model's name plants a fault: `panic@N` panics at
/// step N, `refuse` cannot be built.
#[derive(Default)]
pub(crate) struct Fake {
    /// Steps trained by anyone, which a reused or resumed run does not add to.
    pub(crate) steps: AtomicUsize,
    /// Called before each step.
    pub(crate) before_step: Option<Box<dyn Fn(u64) + Send + Sync>>,
    /// Runs trained together; 0 is as 1.
    pub(crate) cohort: usize,
    /// The device is lost at this step of any run, and stays so.
    pub(crate) lost_at: Option<u64>,
    pub(crate) lost: AtomicBool,
    /// Restoring meets a device that has no room.
    pub(crate) restores_nothing: bool,
}

impl Fake {
    /// What every call meets once the device is lost.
    fn there(&self) -> Result<(), Trouble> {
        let lost = self.lost.load(Ordering::SeqCst);
        if lost { Err(Trouble::Lost("the GPU is lost: planted".into())) } else { Ok(()) }
    }
}

struct FakeRun<'a> {
    fake: &'a Fake,
    run: Run,
    step: u64,
    sum: u64,
}

struct FakeRuns<'a> {
    fake: &'a Fake,
    runs: Vec<FakeRun<'a>>,
}

impl Work for Fake {
    fn start(&self, runs: &[StartOf<'_>]) -> Result<Box<dyn Training + '_>, Trouble> {
        self.there()?;
        let one = |(run, from): &StartOf<'_>| {
            if run.recipe.model.name == "refuse" {
                return Err(Trouble::Own("model.heads: 3 does not divide the width 8".into()));
            }
            let mut fresh = FakeRun { fake: self, run: (*run).clone(), step: 0, sum: run.seed };
            if let Some(bytes) = from {
                fresh.restore(bytes)?;
                fresh.step = 0;
            }
            Ok(fresh)
        };
        Ok(Box::new(FakeRuns { fake: self, runs: runs.iter().map(one).collect::<Result<_, _>>()? }))
    }
    fn cohorts(&self, jobs: Vec<Job>) -> Vec<Vec<Job>> {
        jobs.chunks(self.cohort.max(1)).map(<[Job]>::to_vec).collect()
    }
}

impl Sizes for Fake {
    fn step_flops(&self, _: &Run) -> f64 {
        1.0
    }
    fn parameters(&self, _: &Run) -> Option<u64> {
        None
    }
}

impl FakeRun<'_> {
    fn is_done(&self) -> bool {
        self.step >= self.run.recipe.train.int("steps") as u64
    }
    fn advance(&mut self) {
        if let Some(f) = &self.fake.before_step {
            f(self.step);
        }
        assert!(self.run.recipe.model.name != format!("panic@{}", self.step), "planted at step {}", self.step);
        self.step += 1;
        self.sum = self.sum.wrapping_mul(6364136223846793005).wrapping_add(self.step);
        self.fake.steps.fetch_add(1, Ordering::SeqCst);
    }
    fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (step, sum) = bytes.split_at_checked(8).ok_or("short")?;
        self.step = u64::from_le_bytes(step.try_into().map_err(|_| "short")?);
        self.sum = u64::from_le_bytes(sum.try_into().map_err(|_| "short")?);
        Ok(())
    }
    fn measured(&self) -> Measured {
        let metrics = BTreeMap::from([("sum".to_string(), (self.sum >> 11) as f64)]);
        Measured { outcome: Outcome::Finished, curves: BTreeMap::new(), metrics, digest: format!("{:x}", self.sum) }
    }
}

impl Training for FakeRuns<'_> {
    fn step(&self, r: usize) -> u64 {
        self.runs[r].step
    }
    fn is_done(&self, r: usize) -> bool {
        self.runs[r].is_done()
    }
    fn advance(&mut self) -> Result<(), Trouble> {
        if self.fake.lost_at.is_some_and(|step| self.runs.iter().any(|run| run.step == step)) {
            self.fake.lost.store(true, Ordering::SeqCst);
        }
        self.fake.there()?;
        self.runs.iter_mut().filter(|run| !run.is_done()).for_each(FakeRun::advance);
        Ok(())
    }
    fn checkpoint(&mut self, r: usize) -> Result<Vec<u8>, Trouble> {
        self.fake.there()?;
        Ok([self.runs[r].step.to_le_bytes(), self.runs[r].sum.to_le_bytes()].concat())
    }
    fn restore(&mut self, r: usize, bytes: &[u8]) -> Result<(), Trouble> {
        if self.fake.restores_nothing {
            return Err(Trouble::Own("out of device memory".into()));
        }
        self.fake.there()?;
        self.runs[r].restore(bytes).map_err(Trouble::Checkpoint)
    }
    fn finish(self: Box<Self>) -> Result<Vec<Measured>, Trouble> {
        self.fake.there()?;
        Ok(self.runs.iter().map(FakeRun::measured).collect())
    }
}

/// Keeps the warnings that a user would see.
#[derive(Default)]
pub(crate) struct Lines(pub(crate) Mutex<Vec<String>>);

impl Progress for Lines {
    fn begin(&self, _: usize, _: f64, _: usize) {}
    fn advanced(&self, _: f64) {}
    fn resumed(&self, _: &str, _: u64, _: f64) {}
    fn finished(&self) {}
    fn warn(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_string());
    }
    fn end(&self) {}
}

/// Two stages: `runs` runs of 1, 2, 3 … steps, then one that takes what the best of them measured.
pub(crate) struct Staircase {
    /// Part of the runs' recipes: equal names have equal runs.
    pub(crate) suite: &'static str,
    /// Runs of the first stage.
    pub(crate) runs: i64,
}

impl Staircase {
    fn planned(&self, arm: &str, run: Run) -> Planned {
        let cell = Cell {
            experiment: "e".into(),
            arm: arm.into(),
            axes: BTreeMap::from([("train.steps".to_string(), run.recipe.train.0["steps"].clone())]),
            seed: run.seed,
            selection: false,
        };
        Planned { run, cells: vec![cell], keep_steps: vec![] }
    }
}

impl Staged for Staircase {
    fn stages(&self) -> usize {
        2
    }
    fn stage(&self, index: usize, measured: &BTreeMap<RunId, Measured>) -> Result<Vec<Planned>, String> {
        let first: Vec<Run> = (1..=self.runs).map(|steps| run(self.suite, steps, 1)).collect();
        if index == 0 {
            return Ok(first.into_iter().map(|run| self.planned("first", run)).collect());
        }
        let sums = first.iter().map(|run| Some(measured.get(&run.id())?.metrics["sum"]));
        let sums: Vec<f64> = sums.collect::<Option<_>>().ok_or("the sweep is not complete")?;
        let best = sums.into_iter().fold(f64::INFINITY, f64::min);
        Ok(vec![self.planned("second", run(&format!("{} {best}", self.suite), 3, 9))])
    }
    fn ready(&self, index: usize, measured: &BTreeMap<RunId, Measured>) -> Result<Ready, String> {
        let all = self.stage(index, measured).map(|runs| Ready { runs, waiting: vec![] });
        Ok(all.unwrap_or_else(|_| Ready { runs: vec![], waiting: self.cells(index) }))
    }
    fn cells(&self, index: usize) -> Vec<Cell> {
        self.draft(index).unwrap_or_default().into_iter().flat_map(|planned| planned.cells).collect()
    }
    fn draft(&self, index: usize) -> Result<Vec<Planned>, String> {
        if index == 0 { self.stage(0, &BTreeMap::new()) } else { Ok(vec![self.planned("second", run("draft", 3, 9))]) }
    }
}

/// A suite of that name without claims.
pub(crate) fn suite_of(name: &str, plan: impl Staged + 'static) -> Suite {
    let (show, claims) = (BTreeMap::new(), vec![]);
    Suite {
        name: name.into(),
        title: String::new(),
        tier: Tier::Smoke,
        show,
        draw: Vec::new(),
        claims,
        rankings: Vec::new(),
        fits: Vec::new(),
        plan: Box::new(plan),
    }
}
