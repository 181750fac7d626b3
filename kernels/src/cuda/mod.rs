//! CUDA: the same runs as kernels in CUDA C++, in cohorts, with the reference's bits.
//!
//! The kernels lie in `kernels/cuda/*.cu`; a place that runs them is an [`Exec`]. CUDA's libraries are opened at run
//! time: without them the same binary runs, and says what is missing.

mod arguments;
pub mod blas;
mod constants;
mod context;
mod control;
mod device;
pub mod exec;
mod fault;
pub mod gemm;
pub mod gpu;
pub mod launch;
mod library;
mod multiplier;
pub mod nvrtc;
pub mod probe;
mod program;
mod session;
pub mod sources;
mod staging;
mod update;

pub use arguments::{Operand, Scalar};
pub use device::{Cuda, CudaReplay, Math};
pub use exec::{CudaError, DeviceAddress, Exec, Launch, Work};
pub use session::{CudaSession, device_bytes};
pub use sources::{Sources, Unit};
