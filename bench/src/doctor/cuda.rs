//! What a device computes, against what it must: its kernels, each op, and golden's digests by every way of training.

use super::{Finding, State};
use crate::golden::Golden;
use crate::lab::device::Chosen;
use crate::lab::libraries;
use crate::lab::trainer::Trainers;
use crate::lab::work::Work;
use crate::lab::{Options, load};
use preheat_kernels::bounds::{Precision, outside};
use preheat_kernels::conformance::cases;
use preheat_kernels::cuda::blas::Blas;
use preheat_kernels::cuda::gemm::MathMode;
use preheat_kernels::cuda::gpu::GpuExec;
use preheat_kernels::cuda::probe::{self, version};
use preheat_kernels::cuda::{Cuda, Math, Sources};
use preheat_kernels::device::{Device, DeviceError, Place};
use preheat_kernels::graph::Graph;
use preheat_kernels::ops::{MatMul, Start};
use preheat_kernels::rng::Stream;
use preheat_suites::claims::Tier;
use preheat_suites::run::{Run, RunId};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Whether the driver, a GPU and the compiler are there.
pub(super) fn gpu() -> Vec<Finding> {
    let (state, found) = match probe::probe(&libraries::folders()) {
        Ok(found) => {
            let (major, minor) = found.nvrtc.version();
            (
                State::Ok,
                format!("driver of CUDA {}, {} GPU, nvrtc {major}.{minor}", version(found.driver), found.devices),
            )
        }
        Err(absent) => (State::Absent, format!("{absent}; {}", absent.remedy())),
    };
    vec![Finding::new("gpu", "cuda", state, found)]
}

/// Everything that the GPU is asked: the same bits by cohorts, alone, and without recorded graphs.
pub fn examine(cuda: &Arc<Cuda>, golden: &Path) -> Vec<Finding> {
    let about = &cuda.gpu().about;
    let fact = |what, found| Finding::new("cuda", what, State::Info, found);
    let mut all = vec![
        fact("gpu", format!("{}, sm_{}, {} multiprocessors", about.name, about.sm, about.multiprocessors)),
        fact("driver", format!("CUDA {}", version(about.driver))),
        fact("nvrtc", format!("{}.{}", about.nvrtc.0, about.nvrtc.1)),
        fact("memory", super::store::size(about.memory_bytes as f64)),
        judged("kernels spill nothing", spills(cuda).map(|(kernels, wrong)| (format!("{kernels} kernels"), wrong))),
        judged("ops", ops(&**cuda)),
    ];
    all.extend(fast(cuda));
    let eager = Arc::new(Cuda::new(Arc::clone(cuda.gpu()), cuda.host(), false, Math::Exact));
    for (what, device, cohort) in
        [("golden, in cohorts", cuda, 64), ("golden, alone", cuda, 1), ("golden, launched one by one", &eager, 64)]
    {
        all.push(judged(what, digests(Chosen::Cuda(Arc::clone(device)), cohort, golden)));
    }
    all
}

/// What was looked at, and what is wrong with it.
type Looked = Result<(String, Vec<String>), String>;

fn judged(what: &str, looked: Looked) -> Finding {
    let (state, found) = match looked {
        Ok((seen, wrong)) if wrong.is_empty() => (State::Ok, seen),
        Ok((seen, wrong)) => (State::Bad, format!("{seen}; {} differ: {}", wrong.len(), wrong[0])),
        Err(why) => (State::Bad, why),
    };
    Finding::new("cuda", what, state, found)
}

/// How many kernels there are, and those that spill.
fn spills(cuda: &Cuda) -> Result<(usize, Vec<String>), String> {
    let exec = GpuExec::new(Arc::clone(cuda.gpu()), &Sources::new([]), true).map_err(|e| e.to_string())?;
    let footprints = exec.footprints().map_err(|e| e.to_string())?;
    let wrong = footprints.iter().filter(|(_, footprint)| footprint.local_bytes > 0);
    let wrong = wrong.map(|(name, footprint)| format!("{name} takes {} bytes of local memory", footprint.local_bytes));
    Ok((footprints.len(), wrong.collect()))
}

/// Fast math: cuBLAS, and the error bounds of its products in each mode.
fn fast(cuda: &Arc<Cuda>) -> Vec<Finding> {
    let blas = match Blas::open(&libraries::folders()) {
        Ok(blas) => blas,
        Err(absent) => {
            let found = format!("{absent}; {}; --math exact does without", absent.remedy());
            return vec![Finding::new("cuda", "fast math", State::Absent, found)];
        }
    };
    let of = |mode: MathMode| {
        let device = Cuda::new(Arc::clone(cuda.gpu()), cuda.host(), true, Math::Fast(blas, mode));
        judged(&format!("products in {}", mode.name()), products(&device))
    };
    MathMode::ALL.into_iter().map(of).collect()
}

/// Products of numbers that every mode takes as they are, so that only sums can be wrong, against their error bounds.
fn products(device: &dyn Device) -> Looked {
    let mut wrong = Vec::new();
    let sizes = [(1, 1, 1), (31, 33, 65), (64, 64, 64), (128, 96, 512), (7, 256, 1000)];
    for (m, n, k) in sizes {
        let mm = MatMul::nn(m, n, k);
        let (a, b, bias) = (short_numbers(1, m * k), short_numbers(2, k * n), short_numbers(3, n));
        let c = product(device, &mm, [&a, &b, &bias]).map_err(|e| e.to_string())?;
        let seen = outside(&mm, [&a, &b], Start::Bias(&bias), None, &c, Precision::EXACT_INPUTS);
        wrong.extend(seen.map(|words| format!("{m}×{n}×{k} {words}")));
    }
    Ok((format!("{} shapes inside the error bounds of sums in f32", sizes.len()), wrong))
}

/// A + bias, as a program of one layer computes it.
fn product(device: &dyn Device, mm: &MatMul, [a, b, bias]: [&[f32]; 3]) -> Result<Vec<f32>, DeviceError> {
    let mut graph = Graph::new();
    let (x, w) = (graph.input("a", &[mm.m, mm.k]), graph.input("b", &[mm.k, mm.n]));
    let added = graph.input("bias", &[mm.n]);
    let y = graph.linear(x, w, Some(added), None).expect("the shapes fit");
    let program = Arc::new(graph.compile(1, &[("product", &[y])]));
    let entry = program.entry("product").expect("just compiled");
    let mut session = device.session(&program)?;
    for (id, values) in [(x, a), (w, b), (added, bias)] {
        session.write(Place::Tensor(id), 0, values)?;
    }
    session.run(entry)?;
    Ok(session.read(Place::Output(entry, y), 0)?.into_owned())
}

/// Normal numbers cut to bf16's 8 bits.
fn short_numbers(stream: u32, len: usize) -> Vec<f32> {
    let mut x = vec![0.0; len];
    Stream::new(11, stream).fill_normal(0, &mut x);
    x.iter().map(|x| f32::from_bits(x.to_bits() & 0xffff_0000)).collect()
}

/// Every op on awkward shapes against the reference.
fn ops(device: &dyn Device) -> Looked {
    let mut wrong = Vec::new();
    for case in cases() {
        wrong.extend(case.differences(device).map_err(|e| e.to_string())?);
    }
    Ok((format!("{} graphs against the reference", cases().len()), wrong))
}

/// The smoke tier's first stages on `device` against golden, `cohort` runs together at most.
fn digests(device: Chosen, cohort: usize, golden: &Path) -> Looked {
    let expected = accepted(golden)?;
    let trainers = Trainers::on(device, Some(cohort), 1);
    let runs: Vec<Run> = planned()?.into_iter().filter(|run| expected.contains_key(&run.id())).collect();
    if runs.is_empty() {
        return Err(format!("no run of a smoke tier is in {}", golden.display()));
    }
    let mut wrong = Vec::new();
    for group in trainers.grouped(runs.iter().collect()) {
        let starts: Vec<_> = group.iter().map(|run| (*run, None)).collect();
        let mut training = trainers.start(&starts)?;
        while (0..group.len()).any(|r| !training.is_done(r)) {
            training.advance()?;
        }
        for (run, measured) in group.iter().zip(training.finish()?) {
            let digest = &expected[&run.id()];
            if measured.digest != *digest {
                wrong.push(format!("run {} is {}, not {digest}", run.id(), measured.digest));
            }
        }
    }
    Ok((format!("{} runs of the smoke tier", runs.len()), wrong))
}

/// Digests of the smoke tier's runs as they were accepted.
fn accepted(golden: &Path) -> Result<BTreeMap<RunId, String>, String> {
    let all = Golden::new(golden).all()?;
    let smoke = all.iter().filter(|result| result.tier == Tier::Smoke);
    Ok(smoke.flat_map(|result| &result.runs).map(|run| (run.id.clone(), run.digest.clone())).collect())
}

/// The runs of the smoke tier that wait for nothing, each once.
fn planned() -> Result<Vec<Run>, String> {
    let options = Options {
        suites: Vec::new(),
        suites_dir: None,
        tier: Tier::Smoke,
        jobs: None,
        store: "target/preheat".into(),
        checkpoint_every: Duration::ZERO,
        filter: Vec::new(),
        seeds: None,
        task: None,
    };
    let mut runs: BTreeMap<RunId, Run> = BTreeMap::new();
    for suite in load::plans(&options).map_err(|e| e.message)? {
        let fresh = suite.plan.draft(0)?;
        runs.extend(fresh.into_iter().map(|planned| (planned.run.id(), planned.run)));
    }
    Ok(runs.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use preheat_kernels::cpu::{Cpu, Simd};

    fn golden() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../golden"))
    }

    #[test]
    fn sound_products_are_inside_their_bounds() {
        let (seen, wrong) = products(&Cpu::new(Simd::detect())).unwrap();
        assert!(wrong.is_empty() && seen.starts_with("5 shapes"), "{seen} {wrong:?}");
    }

    #[test]
    fn a_sound_device_has_golden_digests_in_cohorts_and_alone() {
        for cohort in [1, 5] {
            let (seen, wrong) = digests(Chosen::Cpu(Cpu::new(Simd::detect())), cohort, golden()).unwrap();
            assert!(wrong.is_empty() && seen != "0 runs of the smoke tier", "{seen} {wrong:?}");
        }
    }

    #[test]
    fn another_digest_and_no_golden_are_bad() {
        let dir = tempfile::tempdir().unwrap();
        let exact = dir.path().join("exact");
        std::fs::create_dir(&exact).unwrap();
        let none = digests(Chosen::Cpu(Cpu::new(Simd::detect())), 1, dir.path());
        assert!(none.as_ref().is_err_and(|why| why.contains("no run of a smoke tier")), "{none:?}");
        let text = std::fs::read_to_string(golden().join("exact/layernorm.smoke.json")).unwrap();
        let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
        for run in document["runs"].as_array_mut().unwrap() {
            run["digest"] = "0".repeat(32).into();
        }
        std::fs::write(exact.join("layernorm.smoke.json"), document.to_string()).unwrap();
        let looked = digests(Chosen::Cpu(Cpu::new(Simd::detect())), 4, dir.path());
        let finding = judged("golden", looked);
        assert!(finding.state == State::Bad && finding.found.contains(" differ: run "), "{finding:?}");
    }
}
