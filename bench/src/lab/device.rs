//! Where numbers are computed, and what is kept about it.

use super::cubins::Cubins;
use super::{MathArg, libraries};
use crate::CODE_ID;
use crate::cli::DeviceArg;
use crate::exit::Failure;
use crate::store::key::Conditions;
use preheat_kernels::cpu::{Cpu, Simd, check_float_environment};
use preheat_kernels::cuda::blas::Blas;
use preheat_kernels::cuda::gpu::Gpu;
use preheat_kernels::cuda::probe::version;
use preheat_kernels::cuda::{Cuda, Math};
use preheat_kernels::device::Device;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

/// Where numbers are computed.
#[derive(Clone)]
pub enum Chosen {
    /// This machine's processor: a thread a run.
    Cpu(Cpu),
    /// An NVIDIA GPU: runs of one shape together.
    Cuda(Arc<Cuda>),
}

/// The device that the words name. Compiled kernels are kept below `store`.
///
/// # Errors
/// A device that this machine lacks (5), a pair that makes no sense (2).
pub fn choose(device: DeviceArg, math: MathArg, store: &Path) -> Result<Chosen, Failure> {
    if let (DeviceArg::Cpu, Some(_)) = (device, math.mode()) {
        let word = math.name();
        let message = format!("--math {word}: the cpu device computes in exact math only; use --math exact");
        return Err(Failure::usage(message));
    }
    let host = cpu()?;
    match device {
        DeviceArg::Cpu => Ok(Chosen::Cpu(host)),
        DeviceArg::Cuda => {
            let gpu = gpu(store)?;
            let math = match math.mode() {
                None => Math::Exact,
                Some(mode) => Math::Fast(blas(math)?, mode),
            };
            Ok(Chosen::Cuda(Arc::new(Cuda::new(gpu, host, true, math))))
        }
    }
}

/// cuBLAS.
///
/// # Errors
/// What is missing and how to go on (5).
fn blas(math: MathArg) -> Result<Blas, Failure> {
    let opened = Blas::open(&libraries::folders());
    let word = math.name();
    opened.map_err(|e| Failure::failed(format!("--math {word}: {e}; {}; or use --math exact", e.remedy())))
}

/// This machine's processor.
///
/// # Errors
/// A forced instruction set that it lacks (2), rounding that is not IEEE's (5).
pub fn cpu() -> Result<Cpu, Failure> {
    check_float_environment().map_err(Failure::failed)?;
    Ok(Cpu::new(Simd::from_env().map_err(Failure::usage)?))
}

/// This machine's first GPU.
///
/// # Errors
/// What is missing and how to go on (5).
pub fn gpu(store: &Path) -> Result<Arc<Gpu>, Failure> {
    let opened = Gpu::open(&libraries::folders(), Box::new(Cubins::new(store)));
    opened.map_err(|e| Failure::failed(format!("--device cuda: {e}; or use --device cpu")))
}

impl Chosen {
    /// As a trainer sees it.
    pub fn shared(&self) -> Arc<dyn Device> {
        match self {
            Self::Cpu(cpu) => Arc::new(*cpu),
            Self::Cuda(cuda) => Arc::clone(cuda) as Arc<dyn Device>,
        }
    }

    /// `cpu` or `cuda`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Cpu(_) => "cpu",
            Self::Cuda(_) => "cuda",
        }
    }

    /// Threads that train where nobody says how many: one that feeds the GPU, or one a core.
    pub fn jobs(&self) -> usize {
        match self {
            Self::Cpu(_) => std::thread::available_parallelism().map_or(1, NonZero::get),
            Self::Cuda(_) => 1,
        }
    }

    /// What every run on it shares in the store: `simd` is the GPU's architecture, such as `sm_90`.
    pub fn conditions(&self) -> Conditions {
        match self {
            Self::Cpu(cpu) => conditions(cpu),
            Self::Cuda(cuda) => Conditions {
                device: self.name().into(),
                simd: format!("sm_{}", cuda.gpu().about.sm),
                math: self.math(),
                ..conditions(&cuda.host())
            },
        }
    }

    /// What is kept with a record for the reader, and never compared.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let cuda = match self {
            Self::Cpu(cpu) => return environment(cpu),
            Self::Cuda(cuda) => cuda,
        };
        let about = &cuda.gpu().about;
        let mut all = environment(&cuda.host());
        let more = [
            ("device", self.name().to_string()),
            ("math", self.math()),
            ("gpu", format!("{}, sm_{}, {} multiprocessors", about.name, about.sm, about.multiprocessors)),
            ("driver", format!("CUDA {}", version(about.driver))),
            ("nvrtc", format!("{}.{}", about.nvrtc.0, about.nvrtc.1)),
        ];
        all.extend(more.map(|(key, value)| (key.to_string(), value)));
        if let Math::Fast(blas, _) = cuda.math() {
            all.insert("cublas".into(), dotted(blas.version()));
            all.insert("cublas_algorithms".into(), cuda.algorithms().join("; "));
        }
        all
    }

    /// `exact`, or `fast-` with how products are computed and by which cuBLAS.
    pub fn math(&self) -> String {
        match self {
            Self::Cpu(_) => "exact".into(),
            Self::Cuda(cuda) => match cuda.math() {
                Math::Exact => "exact".into(),
                Math::Fast(blas, mode) => format!("fast-{} cublas-{}", mode.name(), dotted(blas.version())),
            },
        }
    }
}

/// cuBLASLt's version for people: `13.0.2`.
fn dotted(version: usize) -> String {
    format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100)
}

/// What every run on `device` shares in the store.
pub fn conditions(device: &Cpu) -> Conditions {
    Conditions {
        numerics: preheat_kernels::NUMERICS,
        code: CODE_ID.into(),
        math: "exact".into(),
        device: "cpu".into(),
        simd: device.simd().name().into(),
    }
}

/// What is kept with a record for the reader, and never compared.
pub fn environment(device: &Cpu) -> BTreeMap<String, String> {
    let fixed = [
        ("commit", env!("PREHEAT_COMMIT").to_string()),
        ("dirty", env!("PREHEAT_DIRTY").to_string()),
        ("rustc", env!("PREHEAT_RUSTC").to_string()),
        ("preheat", env!("CARGO_PKG_VERSION").to_string()),
        ("os", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        ("simd", device.simd().name().to_string()),
        ("cpu", cpu_name().unwrap_or_else(|| "unknown".into())),
    ];
    fixed.into_iter().map(|(k, v)| (k.to_string(), v)).collect()
}

/// The processor's name, where the system tells it.
pub(crate) fn cpu_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn what_a_cpu_lacks_is_said_with_its_code() {
        for math in [MathArg::Fast, MathArg::F32, MathArg::Tf32, MathArg::Bf16] {
            let Err(no_fast) = choose(DeviceArg::Cpu, math, Path::new("store")) else { panic!("{math:?}") };
            assert_eq!(no_fast.exit, Exit::Usage);
            assert!(!no_fast.message.contains('\n') && no_fast.message.contains("use --math exact"));
        }
    }
}
