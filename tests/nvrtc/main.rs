//! Every CUDA kernel compiled for every architecture, without a GPU: nothing is spilled, and nothing in it has other
//! bits than the contract's. The compiler is the wheel that `bash .ci/run nvrtc` fetches, or one that
//! `PREHEAT_NVRTC` names by its folder.

mod kept;
mod lint;
mod machine_code;
mod planted;

use kept::Texts;
use lint::Report;
use preheat_kernels::cuda::nvrtc::Nvrtc;
use preheat_kernels::cuda::{Sources, Unit};
use preheat_kernels::graph::{Graph, Op, ShapeError, Update};
use preheat_kernels::update::UpdateExpr;
use preheat_suites::optimizers::OPTIMIZERS;
use preheat_suites::registry::{ParamDef, ParamKind, Params, Preset, Scalar};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Ampere (A100, RTX 30), Ada, Hopper, Blackwell (B200, RTX 50).
const ARCHITECTURES: [u32; 6] = [80, 86, 89, 90, 100, 120];

/// The version whose register counts are kept.
const PINNED: (i32, i32) = (13, 0);

/// The compiler, opened once a process; a word and `None` where it is not there.
fn compiler(test: &str) -> Option<Nvrtc> {
    static OPENED: OnceLock<Option<Nvrtc>> = OnceLock::new();
    let opened = *OPENED.get_or_init(|| Nvrtc::open(&[folder()]).ok());
    if opened.is_none() {
        preheat::skip(test, "nvrtc");
    }
    opened
}

/// Where the compiler's library lies.
fn folder() -> PathBuf {
    let fetched = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ci/nvrtc/nvidia/cu13/lib");
    std::env::var_os("PREHEAT_NVRTC").map_or_else(fetched, PathBuf::from)
}

/// What each kernel takes, and everything wrong with them.
fn check(nvrtc: Nvrtc, name: &str, text: &str, sm: u32) -> (BTreeMap<String, Report>, Vec<String>) {
    let Texts { ptx, log, .. } = match kept::compiled(nvrtc, name, text, sm) {
        Ok(texts) => texts,
        Err(why) => return (BTreeMap::new(), vec![why]),
    };
    let reports = lint::reports(&log);
    let faults = [lint::ptx(&ptx), lint::spills(&reports)].concat();
    (reports, faults)
}

/// A value of every kind that a parameter can have where it changes an expression's form.
fn values(def: &ParamDef) -> Vec<Scalar> {
    match (def.kind, def.default) {
        (ParamKind::Choice(words), _) => words.iter().map(|w| Scalar::Text((*w).into())).collect(),
        (_, Preset::Flag(_)) => vec![Scalar::Flag(false), Scalar::Flag(true)],
        (ParamKind::Int { min, max }, Preset::Int(x)) => vec![Scalar::Int(x), Scalar::Int((x + 1).clamp(min, max))],
        (_, Preset::Real(0.0)) => vec![Scalar::Real(0.0), Scalar::Real(0.01)],
        (_, Preset::Real(x)) => vec![Scalar::Real(x)],
        (_, Preset::Int(x)) => vec![Scalar::Int(x)],
        (_, Preset::Text(x)) => vec![Scalar::Text(x.into())],
        (_, Preset::Required) => vec![Scalar::Real(0.5), Scalar::Int(1)],
    }
}

/// The expressions of an update: its own, or those of its stages on a small model's tensors.
fn of_update(update: Update) -> Vec<UpdateExpr> {
    match update {
        Update::Elementwise(expr) => vec![expr],
        staged @ Update::PerTensor(_) => {
            let all = stages(staged).unwrap_or_else(|e| panic!("{e}"));
            assert!(!all.is_empty(), "an optimizer without an expression");
            all
        }
    }
}

/// An embedding, a hidden layer with a bias and a head that is tied: every kind of tensor that an optimizer tells apart.
fn stages(update: Update) -> Result<Vec<UpdateExpr>, ShapeError> {
    let mut g = Graph::new();
    let (tokens, targets) = (g.tokens("tokens", 6), g.tokens("targets", 6));
    let (table, gamma, beta) = (g.param("table", &[5, 4]), g.param("gamma", &[4]), g.param("beta", &[4]));
    let (wide, narrow, bias) = (g.param("wide", &[4, 8]), g.param("narrow", &[8, 4]), g.param("bias", &[8]));
    let x = g.embedding(tokens, table, None)?;
    let x = g.layer_norm(x, gamma, beta, 1e-5)?;
    let x = g.linear(x, wide, Some(bias), None)?;
    let x = g.linear(x, narrow, None, None)?;
    let logits = g.linear_tied(x, table)?;
    let (loss, _) = g.cross_entropy(logits, targets, 0.0)?;
    g.backward(loss, &[]);
    let norm = g.grad_norm();
    let done = g.update(norm, update, None);
    let program = g.compile(1, &[("train", &[loss, done])]);
    let maps = program.graph().nodes().iter().filter_map(|node| match &node.op {
        Op::Map { expr, .. } | Op::Update { expr, .. } => Some(expr.clone()),
        _ => None,
    });
    Ok(maps.collect())
}

/// The update expressions of every registered optimizer: as it is, and with each parameter changed.
fn expressions() -> Vec<UpdateExpr> {
    let mut all = Vec::new();
    for entry in OPTIMIZERS {
        let preset: BTreeMap<String, Scalar> =
            entry.params.iter().map(|def| (def.name.to_string(), values(def).swap_remove(0))).collect();
        for def in entry.params {
            for value in values(def) {
                let mut params = preset.clone();
                params.insert(def.name.into(), value);
                // A pair of parameters may exclude each other.
                let built = (entry.build)(&Params(params)).ok();
                all.extend(built.into_iter().flat_map(|optimizer| of_update(optimizer.update())));
            }
        }
        let built = (entry.build)(&Params(preset)).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
        all.extend(of_update(built.update()));
    }
    all
}

#[test]
fn every_kernel_compiles_without_a_spill_and_holds_what_it_may() {
    let Some(nvrtc) = compiler("every_kernel_compiles_without_a_spill_and_holds_what_it_may") else { return };
    let (expressions, mut faults) = (expressions(), Vec::new());
    let sources = Sources::new(&expressions);
    let mut counts: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for Unit { name, text } in &sources.units {
        for sm in ARCHITECTURES {
            let (reports, wrong) = check(nvrtc, name, text, sm);
            faults.extend(wrong.into_iter().map(|fault| format!("{name} sm_{sm}: {fault}")));
            for (kernel, report) in reports {
                counts.entry(kernel).or_default().push(report.registers);
            }
        }
    }
    assert_eq!(faults, Vec::<String>::new());
    let kernels: usize = sources.units.iter().map(|unit| unit.kernels().len()).sum();
    assert_eq!(counts.len(), kernels, "a report of every kernel");
    assert!(counts.values().all(|c| c.len() == ARCHITECTURES.len() && c.iter().all(|n| *n > 0)), "{counts:?}");
    if nvrtc.version() != PINNED {
        return preheat::skip("register counts", "nvrtc 13.0");
    }
    // Those of generated kernels are left out: an optimizer is one file.
    counts.retain(|kernel, _| !kernel.starts_with("update_"));
    if std::env::var_os("UPDATE_REGISTERS").is_some() {
        std::fs::write(RECORDED, table(&counts)).expect("the table is written");
    }
    let recorded = std::fs::read_to_string(RECORDED).expect("the recorded table is there");
    assert_eq!(above(&counts, &recorded), Vec::<String>::new(), "UPDATE_REGISTERS=1 writes {RECORDED}");
}

/// Registers that threads were given when kernels last changed.
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nvrtc/registers.txt");
/// Registers come to a thread in eights.
const EIGHT: u32 = 8;

/// Kernels that take more than was recorded, and those of which nothing is. NVRTC allots registers by chance: three
/// compilations of one source gave three tables, up to three steps apart. The most that was seen is recorded, and one
/// step more is let through.
fn above(counts: &BTreeMap<String, Vec<u32>>, recorded: &str) -> Vec<String> {
    let row = |line: &str| {
        let mut words = line.split_whitespace().map(String::from);
        Some((words.next()?, words.map(|word| word.parse().ok()).collect::<Option<Vec<u32>>>()?))
    };
    let recorded: BTreeMap<String, Vec<u32>> = recorded.lines().skip(1).filter_map(row).collect();
    let mut wrong: Vec<String> = recorded.keys().filter(|k| !counts.contains_key(*k)).cloned().collect();
    for (kernel, registers) in counts {
        let most = recorded.get(kernel).map_or(&[] as &[u32], Vec::as_slice);
        let holds = |(now, most): (&u32, &u32)| now.next_multiple_of(EIGHT) <= most + EIGHT;
        if most.len() != registers.len() || !registers.iter().zip(most).all(holds) {
            wrong.push(format!("{kernel}: {registers:?} where {most:?} are recorded"));
        }
    }
    wrong
}

#[test]
fn more_registers_than_recorded_are_a_fault() {
    let recorded = "registers a thread  sm_80  sm_90\nadd  16  24\n";
    let of = |registers: &[u32]| above(&BTreeMap::from([("add".to_string(), registers.to_vec())]), recorded);
    assert_eq!([of(&[16, 24]), of(&[9, 30])], [Vec::<String>::new(), Vec::new()]);
    assert_eq!(of(&[16, 33]), ["add: [16, 33] where [16, 24] are recorded"]);
    assert_eq!(of(&[16]).len(), 1);
    assert_eq!(above(&BTreeMap::new(), recorded), ["add"]);
}

/// Registers that a thread is given, by kernel and architecture.
fn table(counts: &BTreeMap<String, Vec<u32>>) -> String {
    let head: String = ARCHITECTURES.iter().map(|sm| format!("{:>8}", format!("sm_{sm}"))).collect();
    let mut lines = vec![format!("{:<32}{head}", "registers a thread")];
    for (kernel, registers) in counts {
        let numbers: String = registers.iter().map(|n| format!("{:>8}", n.next_multiple_of(EIGHT))).collect();
        lines.push(format!("{kernel:<32}{numbers}"));
    }
    lines.join("\n") + "\n"
}
