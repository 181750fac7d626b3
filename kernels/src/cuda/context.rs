//! A GPU, opened: its context, what it is, and the kernels that are compiled for it.

use super::fault::{failed, said};
use super::nvrtc::{Compiled, EXACT, Nvrtc};
use super::probe::{self, Absent, Found};
use super::{CudaError, Unit};
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Where compiled kernels are kept between processes. What is kept answers for the text beside it, and for nothing
/// else; a cache may forget, and must not give back anything but what it took.
pub trait Cache: Send + Sync {
    /// What was kept for `text`.
    fn get(&self, text: &str) -> Option<Vec<u8>>;
    /// Keeps `bytes` for `text`.
    fn put(&self, text: &str, bytes: &[u8]);
}

/// Keeps nothing.
pub struct NoCache;

impl Cache for NoCache {
    fn get(&self, _: &str) -> Option<Vec<u8>> {
        None
    }
    fn put(&self, _: &str, _: &[u8]) {}
}

/// A GPU of this machine, opened.
pub struct Gpu {
    device: sys::CUdevice,
    context: sys::CUcontext,
    nvrtc: Nvrtc,
    cache: Box<dyn Cache>,
    /// See [`Gpu::recording`].
    recorded: RwLock<()>,
    /// What it is, for the reader.
    pub about: About,
}

/// What a GPU is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The driver's name for it.
    pub name: String,
    /// Its architecture: 90 for `sm_90`.
    pub sm: u32,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The driver's CUDA version, as it counts.
    pub driver: i32,
    /// The run-time compiler's version.
    pub nvrtc: (i32, i32),
}

// SAFETY: a primary context may be current on any number of threads; the fields are never changed.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

/// Why no GPU was opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Something is missing.
    #[error("{0}; {remedy}", remedy = .0.remedy())]
    Absent(#[from] Absent),
    /// The driver refused.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// The run-time compiler knows no such GPU.
    #[error("{name} is sm_{sm}, and CUDA's run-time compiler {major}.{minor} compiles for sm_{oldest} to sm_{newest}; {remedy}",
        major = .nvrtc.0, minor = .nvrtc.1, remedy = remedy(*sm, *newest))]
    Architecture {
        /// The driver's name for the GPU.
        name: String,
        /// Its architecture.
        sm: u32,
        /// The compiler's version.
        nvrtc: (i32, i32),
        /// The least that it compiles for.
        oldest: u32,
        /// The most.
        newest: u32,
    },
}

/// What helps where the compiler does not know the architecture.
const fn remedy(sm: u32, newest: u32) -> &'static str {
    if sm > newest { "install a newer one, and name its folder in PREHEAT_CUDA" } else { "CUDA 13 has left it behind" }
}

impl Gpu {
    /// Opens the first GPU (`CUDA_VISIBLE_DEVICES` decides which one that is). `folders` are searched for CUDA's
    /// libraries where the loader does not know them.
    ///
    /// # Errors
    /// What is missing, or what the driver says.
    pub fn open(folders: &[PathBuf], cache: Box<dyn Cache>) -> Result<Arc<Self>, OpenError> {
        let Found { driver, nvrtc, .. } = probe::probe(folders)?;
        let device = said("cuDeviceGet", result::device::get(0))?;
        // SAFETY: the device that was just got; the context is released once, when this is dropped.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(|e| match e.0 {
            // Some drivers' answer to a second process on a GPU in exclusive mode.
            sys::CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE => OpenError::Absent(Absent::Taken),
            _ => failed("cuDevicePrimaryCtxRetain", e).into(),
        })?;
        let attribute = |a| {
            // SAFETY: a device that was got.
            let value = said("cuDeviceGetAttribute", unsafe { result::device::get_attribute(device, a) })?;
            Ok::<u32, CudaError>(u32::try_from(value).unwrap_or(0))
        };
        let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let about = About {
            name: said("cuDeviceGetName", result::device::get_name(device))?,
            sm: 10 * major + minor,
            multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            // SAFETY: a device that was got.
            memory_bytes: said("cuDeviceTotalMem", unsafe { result::device::total_mem(device) })? as u64,
            driver,
            nvrtc: nvrtc.version(),
        };
        let gpu = Self { device, context, nvrtc, cache, recorded: RwLock::new(()), about };
        gpu.can_be_compiled_for()?;
        Ok(Arc::new(gpu))
    }

    /// Whether the run-time compiler knows this architecture. Otherwise each run would meet it.
    fn can_be_compiled_for(&self) -> Result<(), OpenError> {
        let (known, About { name, sm, nvrtc, .. }) = (self.nvrtc.architectures(), &self.about);
        match (known.iter().min(), known.iter().max()) {
            (Some(oldest), Some(newest)) if !known.contains(sm) => {
                let (oldest, newest) = (*oldest, *newest);
                Err(OpenError::Architecture { name: name.clone(), sm: *sm, nvrtc: *nvrtc, oldest, newest })
            }
            // A compiler that does not say what it knows is asked when there is something to compile.
            _ => Ok(()),
        }
    }

    /// Bytes of memory that are free now.
    ///
    /// # Errors
    /// The driver's words.
    pub fn free_bytes(&self) -> Result<u64, CudaError> {
        self.enter()?;
        Ok(said("cuMemGetInfo", result::mem_get_info())?.0 as u64)
    }

    /// Machine code of one unit for this GPU: from the cache, or compiled.
    pub(super) fn cubin(&self, unit: &Unit) -> Result<Vec<u8>, CudaError> {
        let Unit { name, text } = unit;
        let (major, minor) = self.nvrtc.version();
        let answers_for = format!("nvrtc {major}.{minor} sm_{} {} {name}\n{text}", self.about.sm, EXACT.join(" "));
        if let Some(cubin) = self.cache.get(&answers_for) {
            return Ok(cubin);
        }
        let Compiled { cubin, .. } = self
            .nvrtc
            .compile(name, text, self.about.sm, &[])
            .map_err(|e| CudaError::Compile { unit: name.clone(), log: e.log })?;
        self.cache.put(&answers_for, &cubin);
        Ok(cubin)
    }

    /// Held while a thread records. What waits for the whole device, or may, breaks a recording of any thread, whatever the
    /// capture mode: cuBLAS's end, the first launch of a kernel that is loaded by then, memory that is given back.
    pub(super) fn recording(&self) -> RwLockWriteGuard<'_, ()> {
        self.recorded.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held around such calls. Not twice by one thread, which could wait for itself.
    pub(super) fn disturbing(&self) -> RwLockReadGuard<'_, ()> {
        self.recorded.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the context current on this thread.
    pub(super) fn enter(&self) -> Result<(), CudaError> {
        // SAFETY: a context that is retained as long as this lives.
        said("cuCtxSetCurrent", unsafe { result::ctx::set_current(self.context) })
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: retained once, released once. An error here has nobody to go to.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}
