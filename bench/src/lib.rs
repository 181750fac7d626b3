//! The lab: plans, trains, records, judges, compares with golden, and tables. Its binary `preheat` owns
//! the command line. How numbers are computed is `kernels`' business, what is trained `suites`'.

// Both panic where their reader went away; `say` does not.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod cli;
pub mod commands;
pub mod doctor;
pub mod drawing;
pub mod exit;
pub mod export;
pub mod fit;
pub mod golden;
pub mod lab;
pub mod perf;
pub mod report;
pub mod results;
mod say;
pub mod store;
pub mod table;

#[cfg(test)]
mod testing;

/// Hash of the sources of `kernels` and `suites` and of the lock file that this binary was built from.
pub const CODE_ID: &str = env!("PREHEAT_CODE_ID");
