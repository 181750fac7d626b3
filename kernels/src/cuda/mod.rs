//! CUDA: the same runs as kernels in CUDA C++, in cohorts, with the reference's bits.
//!
//! The kernels lie in `kernels/cuda/*.cu`; a place that runs them is an [`Exec`]. CUDA's libraries are opened at run
//! time: without them the same binary runs, and says what is missing.

pub mod exec;
pub mod gpu;
mod library;
pub mod nvrtc;
pub mod probe;
pub mod sources;

pub use exec::{CudaError, DeviceAddress, Exec, Launch};
pub use sources::{Sources, Unit};
