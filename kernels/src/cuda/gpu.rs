//! A GPU through the driver: memory, launches and recorded lists of launches on one stream.
//!
//! The thin layer of `cudarc` is used, not its safe one: that one adds events to every buffer, and they end up in
//! recorded graphs.

use super::blas::{Blas, WORKSPACE_BYTES};
use super::fault::{failed, lost, said, words};
use super::gemm::{Gemm, MathMode};
use super::multiplier::Multiplier;
use super::staging::{STAGING_BYTES, Staging};
use super::{CudaError, DeviceAddress, Exec, Launch, Sources, Unit, Work};
use cudarc::driver::result::{self, stream::StreamKind};
use cudarc::driver::sys::{self, CUfunction_attribute as FunctionAttribute};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex};

pub use super::context::{About, Cache, Gpu, NoCache, OpenError};

/// Dynamic shared memory that every kernel may have without being asked for more.
const SHARED_BYTES: u32 = 48 * 1024;

/// The list of a product that belongs to none.
const SINGLE: usize = usize::MAX;

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
        let made = {
            let _disturbs = self.gpu.disturbing();
            Multiplier::new(blas, mode, self.stream.cast(), workspace, algorithms)
        };
        self.multiplier = Some(made.map_err(|e| self.explained(e))?);
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
        let gpu = Arc::clone(&self.gpu);
        let _disturbs = gpu.disturbing();
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
            none => {
                let _disturbs = self.gpu.disturbing();
                none.insert(Staging::new()?)
            }
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
        let gpu = Arc::clone(&self.gpu);
        let _records = gpu.recording();
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
    unsafe fn replayed(&mut self, id: usize, work: &[Work]) -> Result<(), CudaError> {
        self.gpu.enter()?;
        self.prepare(id, work)?;
        let graph = match self.recorded.get(&id).copied().filter(|_| self.records) {
            // What a library loads or allocates when a product first runs must not happen while a list is recorded.
            None => {
                let gpu = Arc::clone(&self.gpu);
                let _disturbs = gpu.disturbing();
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
            Some(Some(graph)) => graph,
        };
        // SAFETY: recorded on this stream, with addresses that the caller keeps.
        said("cuGraphLaunch", unsafe { result::graph::launch(graph, self.stream) })
    }

    /// The end of the context instead, where that is the reason: cuBLAS's words do not say so, nor does a recording that
    /// broke. Nothing is recorded now.
    fn explained(&self, e: CudaError) -> CudaError {
        // SAFETY: this stream.
        match said("cuStreamSynchronize", unsafe { result::stream::synchronize(self.stream) }) {
            Err(lost @ CudaError::Lost { .. }) if !matches!(e, CudaError::Lost { .. }) => lost,
            _ => e,
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
        let gpu = Arc::clone(&self.gpu);
        let _disturbs = gpu.disturbing();
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
        let _disturbs = self.gpu.disturbing();
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
        launched.map_err(|e| {
            let what = || format!("{} (grid {grid:?}, block {block:?}, {shared_bytes} bytes shared)", words(e));
            lost("cuLaunchKernel", e).unwrap_or_else(|| CudaError::Launch { kernel: kernel.to_string(), what: what() })
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
        let done = {
            let _disturbs = self.gpu.disturbing();
            // SAFETY: the caller's.
            unsafe { multiplier.run(SINGLE, 0) }
        };
        multiplier.forget(SINGLE);
        done.map_err(|e| self.explained(e))
    }

    unsafe fn replay(&mut self, id: usize, work: &[Work]) -> Result<(), CudaError> {
        // SAFETY: the caller's.
        unsafe { self.replayed(id, work) }.map_err(|e| self.explained(e))
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
        let _disturbs = self.gpu.disturbing();
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
