//! What the fuzzer calls with any bytes, and the replay of the corpus too. Nothing here may panic, hang, or reserve more
//! than its input can justify; where bytes are taken, they must survive being written again.

use preheat_bench::store::key::{Conditions, Key};
use preheat_bench::store::{self, envelope};
use preheat_kernels::cpu::{Cpu, Simd};
use preheat_suites::claims::Tier;
use preheat_suites::definition::{self, Registry};
use preheat_suites::plan::{Plan, PlanOptions};
use preheat_suites::record::Record;
use preheat_suites::registry::{Invalid, Params, Scalar, Spec, build};
use preheat_suites::run::Run;
use preheat_suites::tasks::{Corpus, TASKS, Task};
use preheat_suites::train::Trainer;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// All targets: each has a folder of its name in the corpus.
pub const TARGETS: &[(&str, Target)] =
    &[("checkpoint", checkpoint), ("record", record), ("suite", suite), ("tokens", tokens)];

/// The YAML of a suite. A refusal is one line with file, line and column.
pub fn suite(data: &[u8]) {
    if let Err(why) = definition::parse("suites/fuzz.yaml", data, &Registry::builtin()) {
        let line = why.to_string();
        assert!(line.starts_with("suites/fuzz.yaml:") && line.lines().count() == 1, "{line:?}");
    }
}

/// A record's file as it is, and sealed, so that the checksum keeps nothing from the reader behind it.
pub fn record(data: &[u8]) {
    if let Ok(body) = envelope::unseal("record", data) {
        let _ = store::parse_record(body);
    }
    let sealed = envelope::seal("record", data);
    let body = envelope::unseal("record", &sealed).expect("what was sealed opens");
    assert_eq!(body, data);
    if let Ok((key, record)) = store::parse_record(body) {
        let again = store::record_body(&key, &record).expect("what was read can be written");
        let (key_again, record_again) = store::parse_record(&again).expect("what was written can be read");
        assert_eq!(key, key_again);
        // As text: NaN is not equal to itself.
        assert_eq!(again, store::record_body(&key_again, &record_again).expect("twice the same"));
    }
}

/// A checkpoint, restored into a run and as a start of one.
pub fn checkpoint(data: &[u8]) {
    let _ = envelope::unseal("checkpoint", data);
    let mut trainer = trainer();
    if trainer.restore(data).is_ok() {
        // What is taken gives itself back.
        let kept = trainer.checkpoint();
        let mut again = self::trainer();
        again.restore(&kept).expect("a checkpoint of a restored run");
        assert_eq!(kept, again.checkpoint());
    }
    for optimizer_state in [false, true] {
        let _ = self::trainer().start_from(data, optimizer_state);
    }
}

/// A suite of one run that is as small as a run can be: seed of the corpus, and the run whose checkpoints are read here.
pub const SMALL: &str = include_str!("small.yaml");

/// The one run of [`SMALL`].
pub fn run() -> Run {
    let suite = definition::parse("fuzz.yaml", SMALL.as_bytes(), &Registry::builtin()).expect("a definition");
    let plan = Plan::new(&suite, Tier::Smoke, &PlanOptions::default()).expect("a plan");
    plan.resolve_stage(0, &BTreeMap::new()).expect("a stage").remove(0).run
}

struct Bytes<'b>(&'b [u8]);

impl Corpus for Bytes<'_> {
    fn read(&self, _: &str) -> Result<Vec<u8>, Invalid> {
        Ok(self.0.to_vec())
    }
}

/// A trainer of [`run`] at its start.
pub fn trainer() -> Trainer {
    static RUN: OnceLock<(Run, Arc<dyn Task>)> = OnceLock::new();
    let (run, task) = RUN.get_or_init(|| {
        let run = run();
        let task = build("task", TASKS, &run.recipe.task).expect("a task").open(&Bytes(b""), 1).expect("a language");
        (run, Arc::from(task))
    });
    Trainer::new(run, Arc::clone(task), Cpu::new(Simd::detect())).expect("a run that can be built")
}

/// The first four bytes choose parameters, the rest is the file.
pub fn tokens(data: &[u8]) {
    let Some((&[choice, seq, vocab, sequences], file)) = data.split_first_chunk() else { return };
    let format = ["auto", "llmc", "nanogpt", "text"][usize::from(choice % 4)];
    let path = ["a.bin", "a.txt"][usize::from(choice / 4 % 2)];
    let (seq, sequences) = (usize::from(seq) + 1, usize::from(sequences));
    let params = [
        ("path", Scalar::Text(path.into())),
        ("sha256", Scalar::Text("0".repeat(64))),
        ("format", Scalar::Text(format.into())),
        ("vocab", Scalar::Int(i64::from(vocab).pow(2))),
        ("seq", Scalar::Int(seq as i64)),
        ("validation", Scalar::Real(f64::from(choice / 8) / 64.0)),
    ];
    let params = Params(params.map(|(key, value)| (key.to_string(), value)).into());
    let task = build("task", TASKS, &Spec { name: "tokens".into(), params }).expect("parameters that hold");
    match task.open(&Bytes(file), sequences) {
        Err(why) => assert_eq!(why.to_string().lines().count(), 1, "{why}"),
        Ok(task) => {
            let (mut inputs, mut targets) = (vec![0; 2 * seq], vec![0; 2 * seq]);
            task.batch(1, 2, &mut inputs, &mut targets);
            let v = task.validation();
            assert_eq!((v.inputs.len(), v.targets.len()), (sequences * seq, sequences * seq));
            for tokens in [&inputs, &targets, &v.inputs, &v.targets] {
                assert!(tokens.iter().all(|t| (*t as usize) < task.vocab()), "a token outside the vocabulary");
            }
        }
    }
}

/// Inputs of a target that go deep: made here, so that they follow the formats.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "suite" => vec![SMALL.into()],
        "record" => vec![record_seed()],
        "checkpoint" => {
            let mut trainer = trainer();
            trainer.advance();
            vec![trainer.checkpoint()]
        }
        "tokens" => tokens_seeds(),
        other => panic!("no target {other}"),
    }
}

fn record_seed() -> Vec<u8> {
    let mut trainer = trainer();
    let run = run();
    while !trainer.is_done() {
        trainer.advance();
    }
    let mut measured = trainer.finish();
    measured.metrics.insert("not finite".into(), f64::NAN);
    let conditions = Conditions {
        numerics: 1,
        code: "code".into(),
        math: "exact".into(),
        device: "cpu".into(),
        simd: "scalar".into(),
    };
    let key = Key { run: run.id(), conditions, data: "generated".into() };
    let environment = BTreeMap::from([("cpu".to_string(), "a processor".to_string())]);
    store::record_body(&key, &Record { run, measured, environment }).expect("a record")
}

/// One file a format: auto knows the first two, then nanogpt, then a text. The parameters stand in front.
fn tokens_seeds() -> Vec<Vec<u8>> {
    let header = |magic: i32, version: i32| {
        let mut bytes: Vec<u8> = [magic, version, 20].iter().flat_map(|x| x.to_le_bytes()).collect();
        bytes.resize(1024, 0);
        bytes
    };
    // A quarter is held out, windows have 3 tokens, the vocabulary is 196², two sequences.
    let first = |choice: u8, file: &[u8]| [&[choice | 16 << 3, 2, 196, 2][..], file].concat();
    let u16s: Vec<u8> = (0..20_u16).flat_map(u16::to_le_bytes).collect();
    let u32s: Vec<u8> = (0..20_u32).flat_map(u32::to_le_bytes).collect();
    vec![
        first(0, &[header(20_240_520, 1), u16s.clone()].concat()),
        first(1, &[header(20_240_801, 7), u32s].concat()),
        first(2, &u16s),
        first(7, "wärmup and décay".as_bytes()),
    ]
}
