//! One file a command.

pub mod accept;
pub mod bench;
mod list;
pub mod perf;
pub mod report;
