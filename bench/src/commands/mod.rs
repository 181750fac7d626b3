//! One file a command.

pub mod accept;
pub mod bench;
pub mod report;
