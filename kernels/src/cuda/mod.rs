//! CUDA: the same runs as kernels in CUDA C++, in cohorts, with the reference's bits.
//!
//! The kernels lie in `kernels/cuda/*.cu`; a place that runs them is an [`Exec`].

pub mod exec;
pub mod sources;

pub use exec::{CudaError, DeviceAddress, Exec, Launch};
pub use sources::{Sources, Unit};
