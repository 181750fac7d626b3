//! One file a command.

pub mod accept;
pub mod bench;
pub mod data;
pub mod doctor;
pub mod export;
pub mod fit;
mod junit;
mod list;
pub mod merge;
pub mod perf;
pub mod report;
mod shard;
