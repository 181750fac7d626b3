//! CUDA kernels on the host: their sources, compiled by g++ behind `emulator.hpp`, loaded and run one thread after
//! another. No GPU and no CUDA is needed.

mod build;
mod memory;

use build::Library;
use memory::Allocation;
use preheat_kernels::cuda::{CudaError, DeviceAddress, Exec, Sources};
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_void};
use std::sync::{Mutex, PoisonError};

pub(crate) use build::has_compiler;

/// In which order a block's threads, warps and a grid's blocks run. A missing barrier shows in one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Forward = 0,
    Reverse = 1,
    Shuffled = 2,
}

impl Order {
    pub(crate) const ALL: [Self; 3] = [Self::Forward, Self::Reverse, Self::Shuffled];
}

type Kernel = unsafe extern "C" fn(*mut *mut c_void);
type Launcher = unsafe extern "C" fn(Kernel, *mut *mut c_void, *const u32, *const u32, u32, u32) -> *const c_char;

/// Faults arrive as signals, and those belong to the process.
static ONE_LAUNCH: Mutex<()> = Mutex::new(());

/// A device of this process.
pub(crate) struct Emulator {
    libraries: Vec<Library>,
    /// Library of each kernel.
    kernels: BTreeMap<String, usize>,
    memory: BTreeMap<u64, Allocation>,
    pub(crate) order: Order,
    /// Launches so far.
    pub(crate) launches: usize,
}

impl Emulator {
    /// Compiles the units that were not compiled before.
    ///
    /// # Errors
    /// [`CudaError::Compile`].
    pub(crate) fn new(sources: &Sources, order: Order) -> Result<Self, CudaError> {
        let libraries = sources.units.iter().map(Library::of).collect::<Result<Vec<_>, _>>()?;
        let names =
            sources.units.iter().enumerate().flat_map(|(i, unit)| unit.kernels().into_iter().map(move |k| (k, i)));
        let kernels = names.map(|(kernel, i)| (kernel.to_owned(), i)).collect();
        Ok(Self { libraries, kernels, memory: BTreeMap::new(), order, launches: 0 })
    }

    /// The place of `len` bytes from `address`.
    fn place(&self, address: DeviceAddress, len: usize) -> Result<*mut u8, CudaError> {
        let inside = self.memory.range(..=address.0).next_back().is_some_and(|(start, a)| {
            let end = address.0.checked_add(len as u64);
            end.is_some_and(|end| end <= start + a.len() as u64)
        });
        let outside = || CudaError::MemoryFault { what: format!("a copy of {len} bytes at {:#x}", address.0) };
        inside.then_some(address.0 as *mut u8).ok_or_else(outside)
    }
}

impl Exec for Emulator {
    fn alloc(&mut self, bytes: usize) -> Result<DeviceAddress, CudaError> {
        let allocation = Allocation::new(bytes);
        let address = allocation.address();
        self.memory.insert(address, allocation);
        Ok(DeviceAddress(address))
    }
    fn free(&mut self, address: DeviceAddress) {
        assert!(self.memory.remove(&address.0).is_some(), "{address:?} was not allocated");
    }
    fn upload(&mut self, to: DeviceAddress, bytes: &[u8]) -> Result<(), CudaError> {
        let place = self.place(to, bytes.len())?;
        // SAFETY: the range lies in one allocation.
        unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }
    fn download(&mut self, from: DeviceAddress, bytes: &mut [u8]) -> Result<(), CudaError> {
        let place = self.place(from, bytes.len())?;
        // SAFETY: as above.
        unsafe { place.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }
    unsafe fn launch(
        &mut self,
        kernel: &str,
        grid: [u32; 3],
        block: [u32; 3],
        shared_bytes: u32,
        args: &mut [*mut c_void],
    ) -> Result<(), CudaError> {
        let failed = |what: String| CudaError::Launch { kernel: kernel.into(), what };
        let library = *self.kernels.get(kernel).ok_or_else(|| failed("there is no such kernel".into()))?;
        let library = &self.libraries[library];
        self.launches += 1;
        let _one = ONE_LAUNCH.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the library was built behind emulator.hpp, whose functions have these types; the caller answers for
        // the arguments. The message is copied before the next launch.
        unsafe {
            let call: Kernel = std::mem::transmute(library.symbol(&format!("emulator_call_{kernel}")));
            let launch: Launcher = std::mem::transmute(library.symbol("emulator_launch"));
            let order = self.order as u32;
            let message = launch(call, args.as_mut_ptr(), grid.as_ptr(), block.as_ptr(), shared_bytes, order);
            if message.is_null() {
                return Ok(());
            }
            Err(failed(CStr::from_ptr(message).to_string_lossy().into_owned()))
        }
    }
    fn synchronize(&mut self) -> Result<(), CudaError> {
        Ok(())
    }
}
