//! How numbers are computed.
//!
//! This crate holds the ops with their backwards, the graph that is built once and replayed, the
//! random numbers and the devices. It knows nothing of YAML, files, clocks or claims.
//!
//! # The bit contract
//!
//! Every run has the same bits on every machine. The [`mod@reference`] module is the specification: a short
//! scalar definition of each op, generic over `f32` and `f64`. Every fast path equals it bit for bit.
//! ARCHITECTURE.md states the rules (one chain of fused multiply-adds per GEMM output, 32 strided
//! partial sums per reduction, own polynomials, counter-based randomness).
//!
//! # Shapes
//!
//! One legend for the whole crate, row-major, last index fastest:
//! `R` runs, `B` sequences, `T` tokens a sequence, `C` width, `H` heads, `D = C/H` head width,
//! `F` feed-forward width, `L` layers, `V` vocabulary, `N = B·T` rows.

pub mod aligned;
pub mod bounds;
pub mod conformance;
pub mod cpu;
pub mod cuda;
pub mod device;
pub mod graph;
pub mod math;
pub mod ops;
pub mod real;
pub mod reference;
pub mod rng;
pub mod update;

/// Version of the bit contract. It enters every run id and changes when bits change on purpose.
pub const NUMERICS: u32 = 1;
