//! The door: `cargo xtask …` builds the lab in release mode and forwards words, streams, exit code and
//! signals unchanged. The repository's own chores live here too.

mod ci;
mod door;
mod torture;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask WORDS…

  bench, accept, report   the lab; `cargo xtask bench --help` tells more
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
        ExitCode::from(5)
    })
}
