//! `preheat bench`.

use crate::cli::BenchArgs;
use crate::exit::{Exit, Failure};

/// Trains what is missing, judges, compares, prints.
///
/// # Errors
/// A wrong command or definition, an unusable device or store.
pub fn run(args: &BenchArgs) -> Result<Exit, Failure> {
    crate::lab::device::choose(args.device, args.math)?;
    Err(Failure { exit: Exit::Nothing, message: "nothing selected".into() })
}
