//! Speed: what a training step costs, and which share of the machine's peak it uses.
//!
//! Absolute times are never compared across runs of this program: a machine's clock and its neighbours drift. What is
//! compared is measured in turns within one run.

pub mod against;
pub mod clock;
pub mod cohort;
pub mod gemm;
pub mod jobs;
pub mod ops;
pub mod peak;
pub mod ratio;
pub mod shape;
pub mod step;
