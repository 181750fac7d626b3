//! What is trained and what is claimed: suites as data, models, optimizers, schedules, tasks, claim kinds
//! and statistics. Nothing here opens a file, starts a thread, reads a clock or knows a device's insides.

pub mod claims;
pub mod definition;
pub mod fits;
pub mod models;
pub mod optimizers;
pub mod plan;
pub mod readings;
pub mod record;
pub mod registry;
pub mod run;
pub mod schedules;
pub mod stats;
pub mod tasks;
pub mod train;

/// The suites that this crate carries: name and YAML text of every `suites/*.yaml`, by name.
pub fn builtin() -> &'static [(&'static str, &'static str)] {
    include!(concat!(env!("OUT_DIR"), "/builtin.rs"))
}
