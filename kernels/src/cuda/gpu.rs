//! A GPU through the driver: memory, launches and recorded lists of launches on one stream.
//!
//! The thin layer of `cudarc` is used, not its safe one: that one adds events to every buffer, and they end up in
//! recorded graphs.

use super::blas::{Blas, WORKSPACE_BYTES};
use super::gemm::{Gemm, MathMode};
use super::multiplier::Multiplier;
use super::nvrtc::{Compiled, EXACT, Nvrtc};
use super::probe::{self, Absent, Found};
use super::staging::{STAGING_BYTES, Staging};
use super::{CudaError, DeviceAddress, Exec, Launch, Sources, Unit, Work};
use cudarc::driver::result::{self, DriverError, stream::StreamKind};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUfunction_attribute as FunctionAttribute};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_void};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Dynamic shared memory that every kernel may have without being asked for more.
const SHARED_BYTES: u32 = 48 * 1024;

/// The list of a product that belongs to none.
const SINGLE: usize = usize::MAX;

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
        let context = said("cuDevicePrimaryCtxRetain", unsafe { result::primary_ctx::retain(device) })?;
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
        Ok(Arc::new(Self { device, context, nvrtc, cache, about }))
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
    fn cubin(&self, unit: &Unit) -> Result<Vec<u8>, CudaError> {
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

    /// Makes the context current on this thread.
    fn enter(&self) -> Result<(), CudaError> {
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

/// One stream of a GPU with the kernels of its sources.
pub struct GpuExec {
    gpu: Arc<Gpu>,
    stream: sys::CUstream,
    modules: Vec<sys::CUmodule>,
    kernels: BTreeMap<String, Kernel>,
    /// Lists that ran; the record of those that ran twice.
    recorded: BTreeMap<usize, Option<sys::CUgraphExec>>,
    memory: Vec<DeviceAddress>,
    /// Made with the first upload.
    staging: Option<Staging>,
    records: bool,
    /// Fast math.
    multiplier: Option<Multiplier>,
}

/// How products were computed, in words, each once.
pub type Algorithms = Arc<Mutex<BTreeSet<String>>>;

#[derive(Clone, Copy)]
struct Kernel {
    function: sys::CUfunction,
    /// Dynamic shared memory that it may have.
    shared_bytes: u32,
}

impl Kernel {
    fn attribute(&self, attribute: FunctionAttribute) -> Result<u32, CudaError> {
        // SAFETY: a function of a loaded module.
        let value = unsafe { result::function::get_function_attribute(self.function, attribute) };
        Ok(u32::try_from(said("cuFuncGetAttribute", value)?).unwrap_or(0))
    }
}

/// What a kernel takes of a multiprocessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Registers a thread.
    pub registers: u32,
    /// Bytes of local memory a thread; 0 where nothing is spilled.
    pub local_bytes: u32,
}

impl GpuExec {
    /// Compiles what the cache lacks, and loads it. Where `records` is false, a list of launches is launched one by
    /// one each time instead of being recorded: slower, with the same bits.
    ///
    /// # Errors
    /// A source that does not compile; the driver's words.
    pub fn new(gpu: Arc<Gpu>, sources: &Sources, records: bool) -> Result<Self, CudaError> {
        gpu.enter()?;
        let stream = said("cuStreamCreate", result::stream::create(StreamKind::NonBlocking))?;
        let (modules, kernels, recorded, memory) = (Vec::new(), BTreeMap::new(), BTreeMap::new(), Vec::new());
        let mut exec =
            Self { gpu, stream, modules, kernels, recorded, memory, staging: None, records, multiplier: None };
        for unit in &sources.units {
            exec.load(unit)?;
        }
        Ok(exec)
    }

    /// The same in fast math: products are cuBLAS's, in `mode`. How each is computed is added to `algorithms`.
    ///
    /// # Errors
    /// No memory for the workspace; the library's words.
    pub fn multiplying(mut self, blas: Blas, mode: MathMode, algorithms: Algorithms) -> Result<Self, CudaError> {
        let workspace = self.alloc(WORKSPACE_BYTES)?;
        self.multiplier = Some(Multiplier::new(blas, mode, self.stream.cast(), workspace, algorithms)?);
        Ok(self)
    }

    /// Makes the products of a list ready, once: nothing of it may happen while the list is recorded.
    fn prepare(&mut self, id: usize, work: &[Work]) -> Result<(), CudaError> {
        // It puts lists of addresses into this exec's memory.
        let Some(mut multiplier) = self.multiplier.take() else { return Ok(()) };
        let done = multiplier.prepare(id, work, |addresses| {
            let bytes: Vec<u8> = addresses.iter().flat_map(|at| at.to_ne_bytes()).collect();
            let at = self.alloc(bytes.len())?;
            self.upload(at, &bytes)?;
            Ok(at)
        });
        self.multiplier = Some(multiplier);
        done
    }

    fn load(&mut self, unit: &Unit) -> Result<(), CudaError> {
        let cubin = self.gpu.cubin(unit)?;
        // SAFETY: a whole CUBIN, which the driver copies.
        let module = said("cuModuleLoadData", unsafe { result::module::load_data(cubin.as_ptr().cast()) })?;
        self.modules.push(module);
        for name in unit.kernels() {
            let c_name = CString::new(name).expect("a C identifier");
            // SAFETY: a module that is loaded until this is dropped.
            let function = said("cuModuleGetFunction", unsafe { result::module::get_function(module, c_name) })?;
            let kernel = Kernel { function, shared_bytes: SHARED_BYTES };
            // Asked for a number, the driver loads the kernel now and not while a list is recorded.
            kernel.attribute(FunctionAttribute::CU_FUNC_ATTRIBUTE_NUM_REGS)?;
            self.kernels.insert(name.to_string(), kernel);
        }
        Ok(())
    }

    /// What each kernel takes, by name.
    ///
    /// # Errors
    /// The driver's words.
    pub fn footprints(&self) -> Result<BTreeMap<String, Footprint>, CudaError> {
        self.gpu.enter()?;
        let footprint = |kernel: &Kernel| {
            Ok(Footprint {
                registers: kernel.attribute(FunctionAttribute::CU_FUNC_ATTRIBUTE_NUM_REGS)?,
                local_bytes: kernel.attribute(FunctionAttribute::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES)?,
            })
        };
        self.kernels.iter().map(|(name, kernel)| Ok((name.clone(), footprint(kernel)?))).collect()
    }

    /// The kernel, allowed `shared_bytes` of dynamic shared memory.
    fn kernel(&mut self, name: &str, shared_bytes: u32) -> Result<sys::CUfunction, CudaError> {
        let fail = |what: String| CudaError::Launch { kernel: name.to_string(), what };
        let kernel = self.kernels.get_mut(name).ok_or_else(|| fail("there is no such kernel".into()))?;
        if shared_bytes > kernel.shared_bytes {
            let attribute = FunctionAttribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let bytes = i32::try_from(shared_bytes).unwrap_or(i32::MAX);
            // SAFETY: a function of a loaded module.
            let set = unsafe { result::function::set_function_attribute(kernel.function, attribute, bytes) };
            set.map_err(|e| fail(format!("{shared_bytes} bytes of shared memory: {}", words(e))))?;
            kernel.shared_bytes = shared_bytes;
        }
        Ok(kernel.function)
    }

    /// Copies at most [`STAGING_BYTES`] to the device by way of pinned memory; false where that has no room now.
    fn stage(&mut self, to: DeviceAddress, bytes: &[u8]) -> Result<bool, CudaError> {
        let staging = match &mut self.staging {
            Some(staging) => staging,
            none => none.insert(Staging::new()?),
        };
        let Some(held) = staging.hold(bytes) else { return Ok(false) };
        // SAFETY: the caller gives an address of this device with room; what is held stays until the stream is done.
        said("cuMemcpyHtoDAsync", unsafe { result::memcpy_htod_async(to.0, held, self.stream) })?;
        Ok(true)
    }

    /// The launches as one graph, ready to be replayed.
    ///
    /// # Safety
    /// As for [`Exec::replay`].
    unsafe fn record(&mut self, id: usize, work: &[Work]) -> Result<sys::CUgraphExec, CudaError> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: this stream, which no other thread uses.
        said("cuStreamBeginCapture", unsafe { result::stream::begin_capture(self.stream, mode) })?;
        // SAFETY: the caller's.
        let launched = unsafe { self.one_by_one(id, work) };
        // SAFETY: the capture that was just begun ends here, also where a launch failed: else the stream stays
        // unusable.
        let graph = said("cuStreamEndCapture", unsafe { result::stream::end_capture(self.stream) });
        if let (Err(e), Ok(graph)) = (&launched, &graph) {
            if !graph.is_null() {
                // SAFETY: a graph that nothing else knows.
                let _ = unsafe { result::graph::destroy(*graph) };
            }
            return Err(e.clone());
        }
        launched?;
        let graph = graph?;
        // SAFETY: a whole graph; what is made of it does not need it any more.
        unsafe {
            let made = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0));
            let destroyed = result::graph::destroy(graph);
            let made = said("cuGraphInstantiate", made)?;
            said("cuGraphDestroy", destroyed)?;
            Ok(made)
        }
    }

    /// # Safety
    /// As for [`Exec::replay`].
    unsafe fn one_by_one(&mut self, id: usize, work: &[Work]) -> Result<(), CudaError> {
        let mut products = 0;
        for piece in work {
            let l: &Launch = match (piece, &self.multiplier) {
                (Work::Kernel(launch), _) => launch,
                (Work::Product(_), Some(multiplier)) => {
                    // SAFETY: the caller's.
                    unsafe { multiplier.run(id, products)? };
                    products += 1;
                    continue;
                }
                (Work::Product(gemm), None) => {
                    // SAFETY: the caller's; it only says that there is nothing that multiplies.
                    unsafe { self.product(gemm)? };
                    continue;
                }
            };
            let mut args = [l.args.as_ptr().cast_mut().cast::<c_void>()];
            // SAFETY: the caller's; a launch reads its arguments and does not write them.
            unsafe { self.launch(&l.kernel, l.grid, l.block, l.shared_bytes, &mut args)? };
        }
        Ok(())
    }
}

impl Exec for GpuExec {
    fn alloc(&mut self, bytes: usize) -> Result<DeviceAddress, CudaError> {
        self.gpu.enter()?;
        // The driver gives no memory of no bytes.
        let bytes = bytes.max(1);
        // SAFETY: nothing is assumed of what it holds.
        let address = unsafe { result::malloc_sync(bytes) }.map_err(|e| match e.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                let free_bytes = result::mem_get_info().map_or(0, |(free, _)| free as u64);
                CudaError::OutOfMemory { asked_bytes: bytes as u64, free_bytes }
            }
            _ => failed("cuMemAlloc", e),
        })?;
        self.memory.push(DeviceAddress(address));
        // SAFETY: all of the memory that was just allocated.
        said("cuMemsetD8Async", unsafe { result::memset_d8_async(address, 0, bytes, self.stream) })?;
        Ok(DeviceAddress(address))
    }

    fn free(&mut self, address: DeviceAddress) {
        let Some(place) = self.memory.iter().position(|held| *held == address) else { return };
        self.memory.swap_remove(place);
        // SAFETY: given by `alloc`, and forgotten above; no work that uses it is under way. An error here comes from
        // work before, and the next call tells it.
        unsafe {
            let _ = self.gpu.enter();
            let _ = result::stream::synchronize(self.stream);
            let _ = result::free_sync(address.0);
        }
    }

    fn upload(&mut self, to: DeviceAddress, bytes: &[u8]) -> Result<(), CudaError> {
        self.gpu.enter()?;
        for (i, part) in bytes.chunks(STAGING_BYTES).enumerate() {
            let to = to.offset((i * STAGING_BYTES) as u64);
            if !self.stage(to, part)? {
                // What was uploaded before is on its way: once it has arrived, there is room for any part.
                self.synchronize()?;
                self.stage(to, part)?;
            }
        }
        Ok(())
    }

    fn download(&mut self, from: DeviceAddress, bytes: &mut [u8]) -> Result<(), CudaError> {
        self.gpu.enter()?;
        // SAFETY: the caller gives an address of this device that holds as much; `bytes` is not touched before the
        // stream is done.
        said("cuMemcpyDtoHAsync", unsafe { result::memcpy_dtoh_async(bytes, from.0, self.stream) })?;
        self.synchronize()
    }

    unsafe fn launch(
        &mut self,
        kernel: &str,
        grid: [u32; 3],
        block: [u32; 3],
        shared_bytes: u32,
        args: &mut [*mut c_void],
    ) -> Result<(), CudaError> {
        self.gpu.enter()?;
        let function = self.kernel(kernel, shared_bytes)?;
        // SAFETY: the caller's.
        let launched =
            unsafe { result::launch_kernel(function, grid.into(), block.into(), shared_bytes, self.stream, args) };
        launched.map_err(|e| CudaError::Launch {
            kernel: kernel.to_string(),
            what: format!("{} (grid {grid:?}, block {block:?}, {shared_bytes} bytes shared)", words(e)),
        })
    }

    fn multiplies(&self) -> bool {
        self.multiplier.is_some()
    }

    unsafe fn product(&mut self, gemm: &Gemm) -> Result<(), CudaError> {
        let work = [Work::Product(gemm.clone())];
        self.gpu.enter()?;
        self.prepare(SINGLE, &work)?;
        let Some(multiplier) = &mut self.multiplier else {
            let what = "this device multiplies by kernels alone".into();
            return Err(CudaError::Call { call: "a product", what });
        };
        // SAFETY: the caller's.
        let done = unsafe { multiplier.run(SINGLE, 0) };
        multiplier.forget(SINGLE);
        done
    }

    unsafe fn replay(&mut self, id: usize, work: &[Work]) -> Result<(), CudaError> {
        self.gpu.enter()?;
        self.prepare(id, work)?;
        if !self.records {
            // SAFETY: the caller's.
            return unsafe { self.one_by_one(id, work) };
        }
        let graph = match self.recorded.get(&id) {
            // What a library loads or allocates when a product first runs must not happen while a list is recorded.
            None => {
                // SAFETY: the caller's.
                unsafe { self.one_by_one(id, work)? };
                self.recorded.insert(id, None);
                return Ok(());
            }
            Some(None) => {
                // SAFETY: the caller's.
                let graph = unsafe { self.record(id, work)? };
                self.recorded.insert(id, Some(graph));
                graph
            }
            Some(Some(graph)) => *graph,
        };
        // SAFETY: recorded on this stream, with addresses that the caller keeps.
        said("cuGraphLaunch", unsafe { result::graph::launch(graph, self.stream) })
    }

    fn synchronize(&mut self) -> Result<(), CudaError> {
        self.gpu.enter()?;
        // SAFETY: this stream.
        said("cuStreamSynchronize", unsafe { result::stream::synchronize(self.stream) })?;
        self.staging.iter_mut().for_each(Staging::clear);
        Ok(())
    }
}

impl Drop for GpuExec {
    fn drop(&mut self) {
        // SAFETY: all of it was made here and is used no more once the stream is done. An error has nobody to go to.
        unsafe {
            let _ = self.gpu.enter();
            let _ = result::stream::synchronize(self.stream);
            self.multiplier = None;
            for graph in self.recorded.values().flatten() {
                let _ = result::graph::exec_destroy(*graph);
            }
            for address in &self.memory {
                let _ = result::free_sync(address.0);
            }
            for module in &self.modules {
                let _ = result::module::unload(*module);
            }
            self.staging.take().into_iter().for_each(Staging::free);
            let _ = result::stream::destroy(self.stream);
        }
    }
}

pub(super) fn said<T>(call: &'static str, answer: Result<T, DriverError>) -> Result<T, CudaError> {
    answer.map_err(|e| failed(call, e))
}

/// What a failed call says. A fault of a kernel shows in whichever call comes next.
fn failed(call: &'static str, e: DriverError) -> CudaError {
    use sys::CUresult as R;
    match e.0 {
        R::CUDA_ERROR_ILLEGAL_ADDRESS | R::CUDA_ERROR_MISALIGNED_ADDRESS | R::CUDA_ERROR_INVALID_ADDRESS_SPACE => {
            CudaError::MemoryFault { what: format!("{} (seen by {call})", words(e)) }
        }
        _ => CudaError::Call { call, what: words(e) },
    }
}

/// The driver's own words; the library is known to be there.
fn words(e: DriverError) -> String {
    let text = |t: Result<&CStr, DriverError>| t.map_or("?".into(), |t| t.to_string_lossy().into_owned());
    format!("{}: {}", text(e.error_name()), text(e.error_string()))
}
