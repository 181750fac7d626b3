//! Shards: parts of a plan trained by several benches, on one store or on stores that are merged, are together the whole.

use crate::support::{Lab, Said, said, tiny, wait};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// A sweep, a longer run at its best rate that keeps a checkpoint, and a run that starts from it: three stages.
const STAGES: &str = "\
suite: tiny
title: Three stages
paper: {key: nobody2026, authors: Nobody, year: 2026}
prose: For tests.
experiments:
  - id: sweep
    about: rates
    recipe: &recipe
      model: {transformer: {layers: 1, width: 8, heads: 2}}
      task: {language: {vocab: 16, seq: 8}}
      optimizer: {adam: {}}
      schedule: {linear: {peak_lr: 3e-3, warmup_steps: 0}}
      train: {batch: 2, steps: 6, eval_sequences: 4, eval_every: 0}
    arms:
      post: {model: {transformer: {norm: post-ln}}}
      pre: {model: {transformer: {norm: pre-ln}}}
    grid: {schedule.peak_lr: [1e-3, 3e-3, 1e-2]}
    seeds: {first: 1, count: 1}
    selection_seeds: {first: 101, count: 1}
    tiers: {smoke: {}}
  - id: longer
    about: at the best rate
    recipe: *recipe
    arms:
      post: {model: {transformer: {norm: post-ln}}, train: {steps: 9}}
      pre: {model: {transformer: {norm: pre-ln}}, train: {steps: 9}}
    seeds: {first: 1, count: 2}
    take: {schedule.peak_lr: {best_of: {experiment: sweep, arm: post, metric: val_loss}}}
    tiers: {smoke: {}}
  - id: further
    about: from a checkpoint
    recipe: *recipe
    arms:
      post: {model: {transformer: {norm: post-ln}}, train: {steps: 5}}
    seeds: {first: 1, count: 2}
    start: {from: {experiment: longer, arm: post, step: 4}}
    tiers: {smoke: {}}
claims:
  - id: longer-is-lower
    paper_claim: T1
    sentence: Going further ends lower.
    place: Section 1
    paper_number: \"0.5\"
    tiers: [smoke]
    kind:
      difference:
        metric: val_loss
        of: {experiment: longer, arm: post}
        minus: {experiment: further, arm: post}
        at: given
    expect: {above: 0}
";

/// Runs of [`STAGES`]: the sweep, the longer ones, those from a checkpoint.
const RUNS: u64 = 12 + 4 + 2;

fn judged(lab: &Lab, store: &str) -> Said {
    said(lab.bench_command(store, &["--no-train", "--format", "json"]))
}

fn shard(lab: &Lab, store: &str, part: &str) -> Said {
    said(lab.bench_command(store, &["--shard", part, "--format", "json"]))
}

/// A count of the shard's own report.
fn count(said: &Said, what: &str) -> u64 {
    let document: Value = said.json();
    assert_eq!((&document["exit"], document["suites"].as_array().map(Vec::len)), (&0.into(), Some(0)), "{said:#?}");
    document["shard"][what].as_u64().unwrap_or_else(|| panic!("{what}: {said:#?}"))
}

fn merge(lab: &Lab, stores: &[&str], into: &str) -> Said {
    said(lab.command(&[&["merge"], stores, &["--into", into]].concat()))
}

const PARTS: [&str; 3] = ["1/3", "2/3", "3/3"];

#[test]
fn three_shards_one_after_the_other_are_the_whole() {
    let lab = Lab::with(&tiny(4));
    let whole = said(lab.bench_command("whole", &["--format", "json"]));
    for part in PARTS {
        judged(&lab, "store").exits(3).says(&["not compared", "are not in the store"]);
        let done = shard(&lab, "store", part);
        done.exits(0).says(&[&format!("shard {part}: trained 2 of its 2 runs, 0 from the store")]);
        done.says(&["judge with: preheat bench --tier smoke --suites suites --store store --format json"]);
        assert_eq!((count(&done, "trained"), count(&done, "waiting")), (2, 0));
        assert_eq!(count(&shard(&lab, "store", part), "reused"), 2, "a shard that is done has nothing to do");
    }
    let done = judged(&lab, "store");
    assert_eq!((done.trained(), done.code, &done.stdout), (0, Some(3), &whole.stdout));
}

#[test]
fn three_shards_at_the_same_time_are_the_whole() {
    let lab = Lab::with(&tiny(60));
    let whole = said(lab.bench_command("whole", &["--format", "json"]));
    let words = |part| ["--shard", part, "--format", "json"];
    let children = PARTS.map(|part| lab.bench_command("store", &words(part)).spawn().expect("preheat starts"));
    let done = children.map(wait);
    assert_eq!(done.iter().map(|said| count(said, "trained")).sum::<u64>(), 6, "{done:#?}");
    let done = judged(&lab, "store");
    assert_eq!((done.trained(), &done.stdout), (0, &whole.stdout));
}

#[test]
fn three_stores_merged_are_the_whole() {
    let lab = Lab::with(&tiny(4));
    let whole = said(lab.bench_command("whole", &["--format", "json"]));
    for part in PARTS {
        assert_eq!(count(&shard(&lab, &format!("store-{}", &part[..1]), part), "trained"), 2);
    }
    merge(&lab, &["store-1", "store-2"], "store").exits(0);
    judged(&lab, "store").exits(3).says(&["2 runs are not in the store"]);
    let merged = merge(&lab, &["store-3", "store-1"], "store");
    assert_eq!(
        merged.stdout,
        "merged 2 records and 0 checkpoints into store; 2 were there already, 0 damaged, 0 differ\n"
    );
    let done = judged(&lab, "store");
    assert_eq!((done.trained(), &done.stdout), (0, &whole.stdout));
    // A store merged into itself stays as it is.
    let before = lab.files("store/records", "");
    let itself = merge(&lab, &["store"], "store");
    assert!(itself.exits(0).stdout.starts_with("merged 0 records and 0 checkpoints into store; 6 were"), "{itself:?}");
    assert_eq!((lab.files("store/records", ""), locks(&lab, "store")), (before, 0));
}

/// Locks of runs that are left in a store.
fn locks(lab: &Lab, store: &str) -> usize {
    lab.files(&format!("{store}/locks"), ".lock").iter().filter(|path| !path.ends_with("throughput.lock")).count()
}

/// Rounds of shards, each on its own store and all merged into each after a round, until nothing waits.
#[test]
fn stages_on_separate_stores_go_in_rounds() {
    let lab = Lab::with(STAGES);
    let whole = said(lab.bench_command("whole", &["--format", "json"]));
    assert_eq!(u64::from(whole.exits(3).trained()), RUNS);
    let stores = ["store-1", "store-2", "store-3"];
    let mut trained = Vec::new();
    for round in 1.. {
        let done: Vec<Said> = PARTS.iter().zip(stores).map(|(part, store)| shard(&lab, store, part)).collect();
        trained.push(done.iter().map(|said| count(said, "trained")).sum::<u64>());
        assert_eq!(done.iter().map(|said| count(said, "runs")).sum::<u64>(), RUNS, "round {round}");
        let waiting: u64 = done.iter().map(|said| count(said, "waiting")).sum();
        for said in done.iter().filter(|said| count(said, "waiting") > 0) {
            said.says(&["wait for runs of other shards", "merged", "go on with: preheat bench", "--shard"]);
        }
        if round == 1 {
            judged(&lab, "store-1").exits(3).says(&["8 runs are not in the store, and 6 cells of later stages wait"]);
        }
        for into in stores {
            merge(&lab, &stores, into).exits(0);
        }
        if waiting == 0 {
            break;
        }
        judged(&lab, "store-1").exits(3).says(&["runs are not in the store"]);
    }
    // A run that starts from one of its own shard's need not wait for a round.
    assert!(trained[0] == 12 && (2..=3).contains(&trained.len()) && trained.iter().sum::<u64>() == RUNS, "{trained:?}");
    let done = judged(&lab, "store-2");
    assert_eq!((done.trained(), &done.stdout), (0, &whole.stdout));
}

#[test]
fn stages_on_one_store_end_with_the_bench_that_judges() {
    let lab = Lab::with(STAGES);
    let whole = said(lab.bench_command("whole", &["--format", "json"]));
    let trained: u64 = PARTS.iter().map(|part| count(&shard(&lab, "store", part), "trained")).sum();
    assert!((12..RUNS).contains(&trained), "{trained}");
    let done = lab.bench(&["--format", "json"]);
    assert_eq!((u64::from(done.trained()), &done.stdout), (RUNS - trained, &whole.stdout));
}

#[test]
fn a_shard_is_listed_and_lists_add_up() {
    let lab = Lab::with(STAGES);
    let rows = |words: &[&str]| lab.bench(&[&["--list", "--format", "json"], words].concat()).json();
    let sum = |rows: &Value, what: &str| {
        rows.as_array().expect("rows").iter().map(|row| row[what].as_f64().expect("a number")).sum::<f64>()
    };
    let whole = rows(&[]);
    let parts = PARTS.map(|part| rows(&["--shard", part]));
    let runs: Vec<f64> = parts.iter().map(|part| sum(part, "runs")).collect();
    assert_eq!((runs.iter().sum::<f64>(), sum(&whole, "runs")), (RUNS as f64, RUNS as f64));
    let flops: Vec<f64> = parts.iter().map(|part| sum(part, "flops")).collect();
    let all = sum(&whole, "flops");
    assert!((flops.iter().sum::<f64>() - all).abs() < 1e-6 * all);
    assert!(flops.iter().all(|part| (0.25..0.42).contains(&(part / all))), "{flops:?}");
    lab.bench(&["--verify", "--shard", "1/3"]).exits(0).says(&[&format!("{} runs built", runs[0])]);
    assert!(!lab.path("store").exists());
}

#[test]
fn a_shard_that_is_none_is_2_in_one_line() {
    let lab = Lab::new();
    for bad in ["0/3", "4/3", "x", "3", "1/0", "-1/3", ""] {
        let done = lab.bench(&["--format", "json", &format!("--shard={bad}")]);
        done.exits(2).says(&[&format!("preheat: --shard {bad}: allowed: I/N")]);
        assert_eq!((done.stdout.as_str(), done.stderr.lines().count()), ("", 1), "{done:?}");
    }
    lab.bench(&["--shard", "1/2", "--format", "junit"]).exits(2).says(&["nothing is judged"]);
    // More shards than runs: the last have nothing to do.
    assert_eq!(count(&shard(&lab, "store", "9/9"), "runs"), 0);
}

#[test]
fn a_shard_that_cannot_carry_out_a_run_is_5() {
    let lab = Lab::new();
    lab.bench(&["--shard", "1/1"]).exits(0);
    let record = lab.files("store/records", ".record").remove(0);
    fs::remove_file(&record).expect("removable");
    fs::create_dir_all(record.join("in the way")).expect("a folder");
    let done = lab.bench(&["--shard", "1/1", "--format", "json"]);
    done.exits(5).says(&["failed: tiny/training/"]);
    assert_eq!(done.json()["shard"]["failures"].as_array().map(Vec::len), Some(1));
}

#[test]
fn records_that_differ_are_1_and_nothing_is_overwritten() {
    let lab = Lab::new();
    for store in ["one", "two"] {
        said(lab.bench_command(store, &[])).exits(3);
    }
    // The same run with another digest: sealed anew, as a machine that computes wrongly would.
    let path = lab.files("two/records", ".record").remove(0);
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    let body = fs::read(&path).expect("a record");
    let text = String::from_utf8(body).expect("JSON").split_once('\n').expect("a header").1.to_string();
    let record: Value = serde_json::from_str(&text).expect("JSON");
    let digest = record["record"]["measured"]["digest"].as_str().expect("a digest").to_string();
    let other = "0".repeat(digest.len());
    let sealed = preheat_bench::store::envelope::seal("record", text.replace(&digest, &other).as_bytes());
    fs::write(&path, sealed).expect("writable");
    let before = fs::read(lab.path("one/records").join(&name)).expect("a record");
    let done = merge(&lab, &["two"], "one");
    done.exits(1).says(&["not determined", &digest, &other, &name]);
    assert!(done.stdout.contains("5 were there already, 0 damaged, 1 differ"), "{done:?}");
    assert_eq!(fs::read(lab.path("one/records").join(&name)).expect("a record"), before);
    merge(&lab, &["nowhere"], "one").exits(2).says(&["nowhere", "no store"]);
    merge(&lab, &["suites"], "one").exits(2).says(&["suites", "no store"]);
}

#[cfg(unix)]
#[test]
fn a_killed_merge_goes_on_and_leaves_nothing_behind() {
    let seeds = tiny(1).replace("count: 2", "count: 100");
    let lab = Lab::with(&seeds);
    let whole = said(lab.bench_command("source", &["--format", "json"]));
    whole.exits(3);
    let records = |store: &str| lab.files(&format!("{store}/records"), ".record");
    let runs = records("source").len();
    let mut between = 0;
    for round in 0..6 {
        let into = format!("into-{round}");
        for kill in 1..4_usize {
            let mut child = lab.command(&["merge", "source", "--into", &into]).spawn().expect("preheat starts");
            // Once so many records are there, wherever it then is.
            while records(&into).len() < kill * 40 + round && child.try_wait().expect("a child").is_none() {
                std::thread::yield_now();
            }
            let _ = child.kill();
            wait(child);
            between += usize::from((1..runs).contains(&records(&into).len()));
        }
        merge(&lab, &["source"], &into).exits(0);
        let bytes =
            |paths: Vec<PathBuf>| paths.iter().map(|path| fs::read(path).expect("a record")).collect::<Vec<_>>();
        assert_eq!(bytes(records(&into)), bytes(records("source")));
        assert_eq!(lab.files(&format!("{into}/records"), "").len(), runs, "nothing is left behind");
        assert_eq!(locks(&lab, &into), 0);
    }
    assert!(between >= 6, "kills fell between the first record and the last: {between}");
    let done = judged(&lab, "into-0");
    assert_eq!((done.trained(), &done.stdout), (0, &whole.stdout));
}

#[test]
fn a_merge_beside_benches_harms_none() {
    let lab = Lab::with(&tiny(120));
    let whole = said(lab.bench_command("whole", &["--format", "json"]));
    // One bench fills the source, another the target, and merges run meanwhile.
    let bench = |store: &str| lab.bench_command(store, &["--jobs", "1", "--format", "json"]).spawn().expect("starts");
    said(lab.bench_command("from", &["--shard", "1/6"])).exits(0);
    let mut benches = [bench("from"), bench("into")];
    let mut merges = 0;
    while benches.iter_mut().any(|child| child.try_wait().expect("a child").is_none()) {
        merge(&lab, &["from"], "into").exits(0);
        merges += 1;
    }
    assert!(merges > 0);
    for child in benches {
        assert_eq!(wait(child).stdout, whole.stdout);
    }
    merge(&lab, &["from"], "into").exits(0);
    let done = judged(&lab, "into");
    assert_eq!((done.trained(), &done.stdout), (0, &whole.stdout));
    assert_eq!(lab.files("into/records", ".bad-1").len() + lab.files("from/records", ".bad-1").len(), 0);
}
