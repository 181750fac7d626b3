//! `preheat accept`.

use crate::cli::AcceptArgs;
use crate::exit::{Exit, Failure};

/// Shows what differs from golden and accepts it.
///
/// # Errors
/// A wrong command or definition, an unusable device or store.
pub fn run(args: &AcceptArgs) -> Result<Exit, Failure> {
    Err(Failure { exit: Exit::Nothing, message: "nothing selected".into() })
}
