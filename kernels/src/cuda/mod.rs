//! The CUDA device. Its libraries are opened at run time: without them the same binary runs, and says what is missing.

mod library;
pub mod nvrtc;
pub mod probe;
