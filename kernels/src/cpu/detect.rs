//! Which instruction set runs, and whether the thread rounds as the bit contract says.

use std::fmt;

use thiserror::Error;

/// The environment variable that forces an instruction set.
pub const SIMD_VARIABLE: &str = "PREHEAT_SIMD";

/// An instruction set that the kernels were compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Simd {
    /// AVX-512 F/DQ/BW/VL.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
    /// Advanced SIMD of arm64.
    Neon,
    /// The reference definitions themselves.
    Scalar,
}

/// A forced instruction set that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SimdError {
    /// No such name.
    #[error("{SIMD_VARIABLE}={0}: unknown; allowed are {allowed}; this machine has {here}",
        allowed = names(&Simd::ALL), here = names(&Simd::available()))]
    Unknown(String),
    /// The machine lacks it, or no kernels were compiled for it.
    #[error("{SIMD_VARIABLE}={0}: this machine lacks it; it has {here}", here = names(&Simd::available()))]
    Absent(Simd),
}

fn names(list: &[Simd]) -> String {
    list.iter().map(|s| s.name()).collect::<Vec<_>>().join(", ")
}

impl Simd {
    /// All of them, fastest first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Avx2, Self::Neon, Self::Scalar];

    /// The name in `PREHEAT_SIMD` and in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Scalar => "scalar",
        }
    }

    /// Whether this machine has it and kernels were compiled for it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && Self::Avx2.is_available()
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Self::Scalar => true,
            _ => false,
        }
    }

    /// Those that can run here, fastest first; never empty.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|s| s.is_available()).collect()
    }

    /// The fastest that can run here.
    pub fn detect() -> Self {
        Self::available()[0]
    }

    /// The one that `PREHEAT_SIMD` names, or [`Simd::detect`] where it is unset or empty.
    ///
    /// # Errors
    ///
    /// The name is unknown, or this machine cannot run it.
    pub fn from_env() -> Result<Self, SimdError> {
        match std::env::var_os(SIMD_VARIABLE) {
            Some(name) if !name.is_empty() => Self::forced(&name.to_string_lossy()),
            _ => Ok(Self::detect()),
        }
    }

    /// The one called `name`.
    ///
    /// # Errors
    ///
    /// The name is unknown, or this machine cannot run it.
    pub fn forced(name: &str) -> Result<Self, SimdError> {
        let simd =
            Self::ALL.into_iter().find(|s| s.name() == name).ok_or_else(|| SimdError::Unknown(name.to_owned()))?;
        if simd.is_available() { Ok(simd) } else { Err(SimdError::Absent(simd)) }
    }
}

impl fmt::Display for Simd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Lines that a set of the first-level data cache holds, where the processor tells. No bit depends on it.
pub(super) fn first_level_ways() -> Option<usize> {
    static WAYS: std::sync::OnceLock<Option<usize>> = std::sync::OnceLock::new();
    *WAYS.get_or_init(ways_of_first_level)
}

#[cfg(target_arch = "x86_64")]
fn ways_of_first_level() -> Option<usize> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    let caches = |leaf: u32| {
        (0..8).map(move |index| __cpuid_count(leaf, index)).map(|cache| (cache.eax, cache.ebx)).collect::<Vec<_>>()
    };
    let exists = |(first, leaf): &(u32, u32)| __cpuid(*first).eax >= *leaf;
    [(0, 4), (0x8000_0000, 0x8000_001D)].into_iter().filter(exists).find_map(|(_, leaf)| ways_of(&caches(leaf)))
}

/// From EAX and EBX of each cache in the leaf of cache parameters: 4, or AMD's with the same layout. EAX says type (4:0;
/// 0 ends the list, 1 is data) and level (7:5), EBX the ways less one (31:22).
#[cfg(target_arch = "x86_64")]
fn ways_of(caches: &[(u32, u32)]) -> Option<usize> {
    let mut listed = caches.iter().take_while(|(eax, _)| eax & 0x1F != 0);
    listed.find(|(eax, _)| eax & 0xFF == 1 << 5 | 1).map(|(_, ebx)| (ebx >> 22) as usize + 1)
}

#[cfg(not(target_arch = "x86_64"))]
fn ways_of_first_level() -> Option<usize> {
    None
}

/// The thread's floating-point control register asks for other results than IEEE's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "this thread's floating-point control register is {0:#x}: the kernels need rounding to nearest with denormals \
     kept (a host process or a library has changed it)"
)]
pub struct FloatEnvironmentError(pub u64);

/// Checks that the calling thread rounds to nearest and keeps denormals.
///
/// # Errors
///
/// It does not; runs on this thread would have other bits.
pub fn check_float_environment() -> Result<(), FloatEnvironmentError> {
    let (register, wrong) = control_register();
    if register & wrong == 0 { Ok(()) } else { Err(FloatEnvironmentError(register)) }
}

/// MXCSR, and its flush-to-zero (15), rounding (14:13) and denormals-are-zero (6) bits.
#[cfg(target_arch = "x86_64")]
fn control_register() -> (u64, u64) {
    let mut mxcsr = 0_u32;
    // SAFETY: stores 4 bytes into a local; every x86-64 has the instruction.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack, preserves_flags)) };
    (u64::from(mxcsr), 1 << 15 | 0b11 << 13 | 1 << 6)
}

/// FPCR, and its bits for flush-to-zero (24), rounding (23:22), and those of FEAT_AFP (2:0), which change what other
/// instructions do: NEP, AH, and FIZ, which flushes denormal inputs. Default NaN (25) changes no canonical bits.
#[cfg(target_arch = "aarch64")]
fn control_register() -> (u64, u64) {
    let fpcr: u64;
    // SAFETY: reads a register that user code may read.
    unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) fpcr, options(nomem, nostack, preserves_flags)) };
    (fpcr, 1 << 24 | 0b11 << 22 | 0b111)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn control_register() -> (u64, u64) {
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_errors_say_what_is_allowed() {
        for simd in Simd::ALL {
            match Simd::forced(simd.name()) {
                Ok(s) => assert!(s == simd && simd.is_available()),
                Err(e) => assert!(e == SimdError::Absent(simd) && !simd.is_available()),
            }
        }
        let message = Simd::forced("AVX9").unwrap_err().to_string();
        assert!(message.contains("PREHEAT_SIMD=AVX9") && message.contains("avx512, avx2, neon, scalar"), "{message}");
        assert!(message.ends_with(&names(&Simd::available())), "{message}");
    }

    #[test]
    fn the_float_environment_of_a_fresh_thread_is_right() {
        assert_eq!(std::thread::spawn(check_float_environment).join().unwrap(), Ok(()));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn ways_come_from_the_first_level_data_cache_alone() {
        // 32 KiB of instructions and 48 KiB of data, of 12 ways, and 2 MiB of 16 for both.
        let (instructions, data, both) = ((0x22, 7 << 22 | 63), (0x21, 11 << 22 | 63), (0x43, 15 << 22 | 63));
        assert_eq!(ways_of(&[instructions, data, both]), Some(12));
        assert_eq!(ways_of(&[(0x4121, 0x01C0_003F)]), Some(8), "with bits that say who shares it");
        assert_eq!(ways_of(&[instructions, both]), None);
        assert_eq!(ways_of(&[(0, 0), data]), None, "behind the end of the list");
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_changed_float_environment_is_found() {
        for bit in [15, 14, 13, 6] {
            let found = std::thread::spawn(move || {
                let changed = 0x1f80_u32 | 1 << bit;
                // SAFETY: a valid MXCSR with all exceptions masked; the thread ends at once.
                unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const changed) };
                check_float_environment()
            });
            assert_eq!(found.join().unwrap(), Err(FloatEnvironmentError(0x1f80 | 1 << bit)));
        }
    }
    #[cfg(target_arch = "aarch64")]
    #[test]
    fn every_arm64_machine_has_neon() {
        assert_eq!(Simd::detect(), Simd::Neon);
    }

    /// What the check finds with `fpcr` in the register, and what the register then holds.
    #[cfg(target_arch = "aarch64")]
    fn found_with(fpcr: u64) -> (Result<(), FloatEnvironmentError>, u64) {
        let asked = std::thread::spawn(move || {
            // SAFETY: a register that user code may write; the thread ends at once.
            unsafe { std::arch::asm!("msr fpcr, {}", in(reg) fpcr) };
            (check_float_environment(), control_register().0)
        });
        asked.join().unwrap()
    }

    #[cfg(target_arch = "aarch64")]
    #[test]
    fn a_changed_float_environment_is_found() {
        for bit in [24, 23, 22] {
            assert_eq!(found_with(1 << bit).0, Err(FloatEnvironmentError(1 << bit)));
        }
        // Bits that a machine without FEAT_AFP keeps at zero.
        for bit in [2, 1, 0] {
            let (found, held) = found_with(1 << bit);
            assert_eq!(found, if held == 0 { Ok(()) } else { Err(FloatEnvironmentError(1 << bit)) });
        }
        assert_eq!(found_with(1 << 25), (Ok(()), 1 << 25), "default NaN is let through");
    }
}
