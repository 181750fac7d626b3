//! The door: `cargo xtask …` builds the lab in release mode and forwards words, streams, exit code and
//! signals unchanged. The repository's own chores live here too.

mod against;
mod ci;
mod door;
mod torture;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask WORDS…

  bench, accept, report, data, merge
                          the lab; `cargo xtask bench --help` tells more
  fit TABLE.csv           compute-optimal exponents from a table of isoFLOP points
  export, doctor          a run as files to replay; what this machine has
  perf                    speed of training steps; `perf --against REV` builds REV and compares
  ci [STEP…]              what CI runs, cheapest first; all steps where none is named
  torture [--kills N]     kill benches at random moments; nothing may be lost
  help                    this text

Every other word goes to the lab as it is.";

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let done = match words.first().and_then(|word| word.to_str()) {
        None | Some("help" | "--help" | "-h") => {
            println!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        Some("ci") => ci::run(&words[1..]),
        Some("torture") => torture::run(&words[1..]),
        Some(_) => door::run(&words),
    };
    done.unwrap_or_else(|e| {
        eprintln!("xtask: {e:#}");
        ExitCode::from(e.downcast_ref::<Refused>().map_or(5, |refused| refused.code))
    })
}

/// An error with an exit code of its own, told in one line.
#[derive(Debug)]
struct Refused {
    code: u8,
    message: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}
