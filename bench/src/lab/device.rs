//! Where numbers are computed, and what is kept about it.

use super::MathArg;
use crate::CODE_ID;
use crate::cli::DeviceArg;
use crate::exit::{Exit, Failure};
use crate::store::key::Conditions;
use preheat_kernels::cpu::{Cpu, Simd, check_float_environment};
use std::collections::BTreeMap;

/// The device that the words name.
///
/// # Errors
/// A device that this build lacks (5), a pair that makes no sense (2).
pub fn choose(device: DeviceArg, math: MathArg) -> Result<Cpu, Failure> {
    match (device, math) {
        (DeviceArg::Cuda, _) => Err(Failure {
            exit: Exit::Failed,
            message: "--device cuda: this build has no CUDA device yet; use --device cpu".into(),
        }),
        (DeviceArg::Cpu, MathArg::Fast) => {
            Err(Failure::usage("--math fast: the cpu device computes in exact math only; use --math exact"))
        }
        (DeviceArg::Cpu, MathArg::Exact) => {
            check_float_environment().map_err(Failure::failed)?;
            Ok(Cpu::new(Simd::from_env().map_err(Failure::usage)?))
        }
    }
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

    #[test]
    fn what_this_build_lacks_is_said_with_its_code() {
        let no_cuda = choose(DeviceArg::Cuda, MathArg::Exact).unwrap_err();
        assert_eq!(no_cuda.exit, Exit::Failed);
        let no_fast = choose(DeviceArg::Cpu, MathArg::Fast).unwrap_err();
        assert_eq!(no_fast.exit, Exit::Usage);
        assert!(!no_cuda.message.contains('\n') && !no_fast.message.contains('\n'));
    }
}
