//! One file a command.

pub mod accept;
pub mod bench;
pub mod data;
mod list;
pub mod report;
