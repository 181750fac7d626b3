//! Whether CUDA can be used here. Everything that could make a later call panic is looked at first: a missing library,
//! an old driver, a missing symbol. No call of `cudarc` comes before [`probe`] has passed.

use super::library;
use super::nvrtc::Nvrtc;
use cudarc::driver::sys;
use libloading::Library;
use std::ffi::{c_int, c_uint};
use std::path::PathBuf;

/// The oldest driver's CUDA version that is used: 13.0, as the driver counts.
pub const DRIVER_MINIMUM: i32 = 13_000;

/// The driver's library, by the name that every NVIDIA driver installs on Linux.
pub const DRIVER: &str = "libcuda.so.1";

/// Why CUDA cannot be used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    /// No driver is installed.
    #[error("the NVIDIA driver is missing ({DRIVER} is not found)")]
    Driver,
    /// The driver is older than [`DRIVER_MINIMUM`].
    #[error("the NVIDIA driver is too old: it offers CUDA {}, and CUDA {} is needed", version(*.have), version(DRIVER_MINIMUM))]
    DriverTooOld {
        /// What the driver offers, as it counts: 1000·major + 10·minor.
        have: i32,
    },
    /// A function that is called is not in the library.
    #[error("the NVIDIA driver lacks {0}")]
    Symbol(&'static str),
    /// The driver does not start.
    #[error("the NVIDIA driver does not start: {}", code(*.0))]
    Start(u32),
    /// The driver sees no GPU.
    #[error("the NVIDIA driver sees no GPU")]
    Device,
    /// Another process has the GPU.
    #[error("the NVIDIA driver does not give the GPU to this process, as where another one has it for itself")]
    Taken,
    /// The run-time compiler is missing.
    #[error("CUDA's run-time compiler is missing ({} is not found)", super::nvrtc::LIBRARY)]
    Compiler,
    /// The run-time compiler's library is of another version or damaged.
    #[error("CUDA's run-time compiler lacks {0}")]
    CompilerSymbol(&'static str),
    /// A library of cuBLAS is missing.
    #[error("cuBLAS is missing ({0} is not found)")]
    Blas(&'static str),
    /// A library of cuBLAS is of another version or damaged.
    #[error("cuBLAS lacks {0}")]
    BlasSymbol(&'static str),
}

impl Absent {
    /// What the reader can do.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Driver | Self::DriverTooOld { .. } | Self::Symbol(_) => "install the NVIDIA driver 580 or newer",
            Self::Start(STUB) => "take CUDA's folder of stubs out of LD_LIBRARY_PATH",
            Self::Start(_) => "ask nvidia-smi what is wrong",
            Self::Device => {
                "look whether nvidia-smi lists a GPU, whether CUDA_VISIBLE_DEVICES hides it, and whether MIG leaves an instance"
            }
            Self::Taken => "ask nvidia-smi for its compute mode and its processes",
            Self::Compiler | Self::CompilerSymbol(_) => {
                "install CUDA 13 or `pip install nvidia-cuda-nvrtc==13.0.88`, and name its folder in PREHEAT_CUDA"
            }
            Self::Blas(_) | Self::BlasSymbol(_) => {
                "install CUDA 13 or `pip install nvidia-cublas==13.*`, and name its folder in PREHEAT_CUDA"
            }
        }
    }
}

/// A driver's version for people: `13.0`.
pub fn version(count: i32) -> String {
    format!("{}.{}", count / 1000, count % 1000 / 10)
}

/// CUDA_ERROR_STUB_LIBRARY: what is linked against where there is no driver.
const STUB: u32 = 34;

/// The driver's codes that a start can end with.
fn code(code: u32) -> String {
    let words = match code {
        STUB => "its library is a stub",
        802 => "the system is not ready",
        803 => "the driver's parts are of different versions",
        804 => "forward compatibility is not for this GPU",
        _ => return format!("error {code}"),
    };
    format!("error {code}, {words}")
}

/// What a machine offers.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The driver's CUDA version as it counts.
    pub driver: i32,
    /// GPUs.
    pub devices: u32,
    /// The run-time compiler.
    pub nvrtc: Nvrtc,
}

/// Looks whether CUDA can be used: `folders` first, then the loader's places.
///
/// # Errors
/// What is missing. Nothing panics, whatever is installed.
pub fn probe(folders: &[PathBuf]) -> Result<Found, Absent> {
    let (driver, devices) = probe_driver(folders)?;
    let nvrtc = Nvrtc::open(folders)?;
    Ok(Found { driver, devices, nvrtc })
}

/// The driver's CUDA version and the number of GPUs that it sees.
fn probe_driver(folders: &[PathBuf]) -> Result<(i32, u32), Absent> {
    // Opened here, so that `cudarc`, which asks the loader by name, gets one from `folders` too.
    library::open(DRIVER, folders).ok_or(Absent::Driver)?;
    let library = driver_of_cudarc().ok_or(Absent::Driver)?;
    type GetVersion = unsafe extern "C" fn(*mut c_int) -> c_uint;
    type Init = unsafe extern "C" fn(c_uint) -> c_uint;
    // SAFETY: the C types of cuda.h.
    let (get_version, init, get_count) = unsafe {
        (
            symbol::<GetVersion>(library, "cuDriverGetVersion")?,
            symbol::<Init>(library, "cuInit")?,
            symbol::<GetVersion>(library, "cuDeviceGetCount")?,
        )
    };
    let mut have = 0;
    // SAFETY: an out-parameter that lives; may be called before `cuInit`.
    started(unsafe { get_version(&raw mut have) })?;
    // Before the symbols: an old driver lacks some, and its age is the better reason.
    if have < DRIVER_MINIMUM {
        return Err(Absent::DriverTooOld { have });
    }
    if let Some(missing) = SYMBOLS.iter().find(|symbol| !library::has(library, symbol)) {
        return Err(Absent::Symbol(missing));
    }
    // SAFETY: zero is the only flag there is.
    started(unsafe { init(0) })?;
    let mut devices = 0;
    // SAFETY: an out-parameter that lives, after `cuInit`.
    started(unsafe { get_count(&raw mut devices) })?;
    u32::try_from(devices).ok().filter(|n| *n > 0).map(|n| (have, n)).ok_or(Absent::Device)
}

/// The very library that `cudarc` will call.
fn driver_of_cudarc() -> Option<&'static Library> {
    // SAFETY: opens a library; the second call panics only where the first is false.
    unsafe { sys::is_culib_present().then(|| sys::culib()) }
}

unsafe fn symbol<F: Copy>(library: &'static Library, name: &'static str) -> Result<F, Absent> {
    // SAFETY: the caller's.
    unsafe { library::function(library, name) }.ok_or(Absent::Symbol(name))
}

fn started(code: c_uint) -> Result<(), Absent> {
    match code {
        0 => Ok(()),
        100 => Err(Absent::Device),
        other => Err(Absent::Start(other)),
    }
}

/// Every function of the driver that [`super::gpu`] reaches through `cudarc`, which panics where one is missing.
pub const SYMBOLS: &[&str] = &[
    "cuCtxSetCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDeviceTotalMem_v2",
    "cuDriverGetVersion",
    "cuFuncGetAttribute",
    "cuFuncSetAttribute",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuInit",
    "cuLaunchKernel",
    "cuMemAlloc_v2",
    "cuMemFreeHost",
    "cuMemFree_v2",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemsetD8Async",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuStreamBeginCapture_v2",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamEndCapture",
    "cuStreamSynchronize",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_one_line_with_a_remedy() {
        let all = [
            Absent::Driver,
            Absent::DriverTooOld { have: 12_080 },
            Absent::Symbol("cuGraphLaunch"),
            Absent::Start(803),
            Absent::Start(STUB),
            Absent::Device,
            Absent::Taken,
            Absent::Compiler,
            Absent::CompilerSymbol("nvrtcGetCUBIN"),
            Absent::Blas("libcublasLt.so.13"),
            Absent::BlasSymbol("cublasLtMatmul"),
        ];
        for reason in &all {
            let line = format!("{reason}; {}", reason.remedy());
            assert!(!line.contains('\n') && line.len() < 200, "{line}");
        }
        assert!(all[1].to_string().contains("CUDA 12.8") && all[1].to_string().contains("CUDA 13.0"), "{}", all[1]);
        assert_eq!(Absent::Start(7).to_string(), "the NVIDIA driver does not start: error 7");
    }
}
