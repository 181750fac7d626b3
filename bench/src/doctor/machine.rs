//! The processor and the memory.

use super::{Finding, State};
use crate::lab::device::cpu_name;
use crate::perf::peak::Peak;
use preheat_kernels::cpu::{Cpu, Simd, check_float_environment};
use std::num::NonZero;

/// Samples of each path's peak, about a millisecond each.
const SAMPLES: usize = 9;

/// Instruction sets: which are there, how fast, which is chosen.
pub(super) fn simd() -> Vec<Finding> {
    let path = |simd: Simd| match simd.is_available() {
        true => Finding::new("simd", simd.name(), State::Ok, format!("peak {:.1} GFLOP/s a core", peak(simd))),
        false => Finding::new("simd", simd.name(), State::Info, "not on this machine, or no kernels for it"),
    };
    let mut all: Vec<Finding> = Simd::ALL.into_iter().map(path).collect();
    let variable = preheat_kernels::cpu::SIMD_VARIABLE;
    all.push(match (Simd::from_env(), std::env::var_os(variable)) {
        (Ok(chosen), Some(forced)) if !forced.is_empty() => {
            Finding::new("simd", "chosen", State::Ok, format!("{chosen}, by {variable}"))
        }
        (Ok(chosen), _) => Finding::new("simd", "chosen", State::Ok, chosen.name()),
        (Err(e), _) => Finding::new("simd", "chosen", State::Bad, e.to_string()),
    });
    all.push(match check_float_environment() {
        Ok(()) => Finding::new("simd", "rounding", State::Ok, "to nearest, denormals kept"),
        Err(e) => Finding::new("simd", "rounding", State::Bad, e.to_string()),
    });
    all
}

/// Fused multiply-adds by the time on a core, so that a busy machine does not look slow.
fn peak(simd: Simd) -> f64 {
    let mut peak = Peak::new(Cpu::new(simd));
    for _ in 0..SAMPLES {
        peak.sample();
    }
    peak.cpu_gflops()
}

/// Processor, cores, memory.
pub(super) fn machine() -> Vec<Finding> {
    let fact = |what: &str, found: Option<String>| {
        Finding::new("machine", what, State::Info, found.unwrap_or_else(|| "unknown".into()))
    };
    let cores = std::thread::available_parallelism().ok().map(|n: NonZero<usize>| n.to_string());
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let all = [
        fact("system", Some(format!("{os} {arch}"))),
        fact("processor", cpu_name()),
        fact("cores", cores),
        fact("memory", memory("MemTotal:")),
        fact("memory free", memory("MemAvailable:")),
    ];
    all.into()
}

/// A line of Linux's own account of its memory.
fn memory(line: &str) -> Option<String> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = text.lines().find_map(|found| found.strip_prefix(line))?;
    let kib: f64 = kib.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(super::store::size(kib * 1024.0))
}
