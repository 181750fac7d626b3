//! The command line of the lab.

use std::process::ExitCode;

fn main() -> ExitCode {
    preheat_bench::cli::main()
}
