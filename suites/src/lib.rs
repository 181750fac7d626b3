//! What is trained and what is claimed: suites as data, models, optimizers, schedules, tasks, claim kinds
//! and statistics. Nothing here opens a file, starts a thread, reads a clock or knows a device's insides.

pub mod claims;
pub mod models;
pub mod optimizers;
pub mod record;
pub mod registry;
pub mod run;
pub mod schedules;
pub mod stats;
pub mod tasks;
pub mod train;
