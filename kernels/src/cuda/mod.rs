//! CUDA: the same runs as kernels in CUDA C++, in cohorts, with the reference's bits.
//!
//! The kernels lie in `kernels/cuda/*.cu`; a place that runs them is an [`Exec`].

mod arguments;
mod constants;
pub mod exec;
pub mod launch;
pub mod sources;
mod update;

pub use arguments::Operand;
pub use exec::{CudaError, DeviceAddress, Exec, Launch};
pub use sources::{Sources, Unit};
