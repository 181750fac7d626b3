//! One file a command.

pub mod accept;
pub mod bench;
pub mod data;
pub mod doctor;
pub mod export;
pub mod fit;
mod list;
pub mod perf;
pub mod report;
