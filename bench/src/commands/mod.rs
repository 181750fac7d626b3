//! One file a command.

pub mod accept;
pub mod bench;
mod list;
pub mod report;
