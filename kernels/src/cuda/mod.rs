//! CUDA: the same runs as kernels in CUDA C++, in cohorts, with the reference's bits.
//!
//! The kernels lie in `kernels/cuda/*.cu`; a place that runs them is an [`Exec`].

mod arguments;
mod constants;
mod control;
pub mod exec;
pub mod launch;
mod program;
mod session;
pub mod sources;
mod update;

pub use arguments::Operand;
pub use exec::{CudaError, DeviceAddress, Exec, Launch};
pub use session::{CudaSession, device_bytes};
pub use sources::{Sources, Unit};
