//! A place where CUDA kernels run: a GPU, or the host emulator of the tests.

use super::gemm::Gemm;
use std::ffi::c_void;

/// An address in a device's memory; 0 is no address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct DeviceAddress(pub u64);

impl DeviceAddress {
    /// No address: an operand that is absent.
    pub const NONE: Self = Self(0);
    /// The address `bytes` further on.
    pub const fn offset(self, bytes: u64) -> Self {
        Self(self.0 + bytes)
    }
}

/// What can go wrong between the host and a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CudaError {
    /// The device's memory does not hold what was asked for.
    #[error("out of device memory: {asked_bytes} bytes asked, {free_bytes} bytes free")]
    OutOfMemory {
        /// Bytes asked for.
        asked_bytes: u64,
        /// Bytes that were free.
        free_bytes: u64,
    },
    /// A unit of the sources was not compiled.
    #[error("{unit} does not compile:\n{log}")]
    Compile {
        /// Its name.
        unit: String,
        /// The compiler's messages.
        log: String,
    },
    /// A kernel was not launched, or did not end well.
    #[error("kernel {kernel}: {what}")]
    Launch {
        /// Its name.
        kernel: String,
        /// Why.
        what: String,
    },
    /// A kernel or a copy touched memory that it must not touch.
    #[error("memory fault: {what}")]
    MemoryFault {
        /// Where, as far as it is known.
        what: String,
    },
    /// The context is gone: every further call of this process says so.
    #[error("the GPU is lost: {what}")]
    Lost {
        /// The driver's words, and the call that saw it.
        what: String,
    },
    /// Another call of the driver or of a library failed.
    #[error("{call}: {what}")]
    Call {
        /// The call.
        call: &'static str,
        /// The library's words.
        what: String,
    },
}

/// One kernel launch whose arguments never change.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The kernel.
    pub kernel: String,
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y and z.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory, a multiple of 16.
    pub shared_bytes: u32,
    /// The kernel's only parameter, a structure passed by value, in its bytes.
    pub args: Box<[u64]>,
}

/// A piece of work whose operands never change.
#[derive(Clone, Debug)]
pub enum Work {
    /// A kernel of the project's.
    Kernel(Launch),
    /// A product that cuBLAS computes.
    Product(Gemm),
}

impl From<Launch> for Work {
    fn from(launch: Launch) -> Self {
        Self::Kernel(launch)
    }
}

/// A place where kernels run. Work is done in the order of the calls, as on one stream.
///
/// An implementation is built from [`super::Sources`] and knows the kernels of all their units by name.
pub trait Exec {
    /// `bytes` of zeroed memory, aligned as its elements need (GPU: 256 bytes; at least 16 where `bytes` is a
    /// multiple of 16).
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`].
    fn alloc(&mut self, bytes: usize) -> Result<DeviceAddress, CudaError>;
    /// Gives back what [`Exec::alloc`] gave.
    fn free(&mut self, address: DeviceAddress);
    /// Copies to the device. The bytes may be reused when it returns.
    ///
    /// # Errors
    /// Those of the driver, also of work before.
    fn upload(&mut self, to: DeviceAddress, bytes: &[u8]) -> Result<(), CudaError>;
    /// Copies from the device after all work before is done.
    ///
    /// # Errors
    /// Those of the driver, also of work before.
    fn download(&mut self, from: DeviceAddress, bytes: &mut [u8]) -> Result<(), CudaError>;
    /// Launches a kernel; `args` points to the value of each of its parameters, as `cuLaunchKernel` takes them.
    ///
    /// # Safety
    /// `args` must match the kernel's parameters, and the addresses in them memory of this device that is large
    /// enough.
    ///
    /// # Errors
    /// [`CudaError::Launch`] where there is no such kernel or it cannot be launched so.
    unsafe fn launch(
        &mut self,
        kernel: &str,
        grid: [u32; 3],
        block: [u32; 3],
        shared_bytes: u32,
        args: &mut [*mut c_void],
    ) -> Result<(), CudaError>;
    /// Whether it computes [`Work::Product`], in fast math. Where not, products are kernels too.
    fn multiplies(&self) -> bool {
        false
    }
    /// Computes a product.
    ///
    /// # Safety
    /// Its matrices must be memory of this device that is large enough.
    ///
    /// # Errors
    /// Those of the library, or that there is none.
    unsafe fn product(&mut self, gemm: &Gemm) -> Result<(), CudaError> {
        let _ = gemm;
        Err(CudaError::Call { call: "a product", what: "this device multiplies by kernels alone".into() })
    }
    /// Runs a list of work. A device may record the list under `id` and replay the record from then on: the list of an
    /// `id` never changes.
    ///
    /// # Safety
    /// As for [`Exec::launch`] and [`Exec::product`], for each.
    ///
    /// # Errors
    /// As there.
    unsafe fn replay(&mut self, id: usize, work: &[Work]) -> Result<(), CudaError> {
        let _ = id;
        for piece in work {
            match piece {
                Work::Kernel(l) => {
                    let mut args = [l.args.as_ptr().cast_mut().cast::<c_void>()];
                    // SAFETY: as promised; a launch reads its arguments and does not write them.
                    unsafe { self.launch(&l.kernel, l.grid, l.block, l.shared_bytes, &mut args)? };
                }
                // SAFETY: as promised.
                Work::Product(gemm) => unsafe { self.product(gemm)? },
            }
        }
        Ok(())
    }
    /// Waits until all work is done.
    ///
    /// # Errors
    /// Those of the work.
    fn synchronize(&mut self) -> Result<(), CudaError>;
}
