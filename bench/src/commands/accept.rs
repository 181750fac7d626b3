//! `preheat accept`.

use crate::cli::{AcceptArgs, DeviceArg};
use crate::exit::{Exit, Failure};
use crate::golden::{self, Golden, compare};
use crate::lab::device::Chosen;
use crate::lab::session::{Session, resume_line};
use crate::lab::{device, load};
use crate::results::SuiteResult;
use crate::say::{out, tell};

/// Shows what differs from golden and accepts it. What is not in the store is trained first.
///
/// # Errors
/// A wrong command or definition, an unusable store, a golden that cannot be written.
pub fn run(args: &AcceptArgs) -> Result<Exit, Failure> {
    if args.reason.as_ref().is_some_and(|reason| reason.contains(char::is_control)) {
        return Err(Failure::usage("--reason: has several lines; allowed: one, as the changelog has"));
    }
    let cpu = device::cpu()?;
    let session = Session::new(args.suite.options(DeviceArg::Cpu), Chosen::Cpu(cpu), None);
    let suites = load::suites(&session)?;
    let done = session.carry(&suites, true)?;
    if done.interrupted {
        let message = format!("interrupted, nothing accepted; go on with: {}", resume_line());
        return Err(Failure { exit: Exit::Interrupted, message });
    }
    if let Some(halt) = done.halt {
        let message = format!("{halt}; nothing accepted; go on with: {}", resume_line());
        return Err(Failure { exit: Exit::Failed, message });
    }
    let golden = Golden::new(&args.suite.golden);
    let early = session.beginnings(&done)?;
    let mut exit = Exit::Golden;
    for (result, failures) in done.results.iter().zip(&done.failures) {
        if failures.is_empty() {
            golden.accept_beginnings(result, &early).map_err(Failure::failed)?;
            accept(&golden, result, args.reason.as_deref())?;
            continue;
        }
        exit = exit.worst(Exit::Failed);
        for line in failures {
            tell!("{}: not accepted: {line}", result.stem());
        }
    }
    Ok(exit)
}

fn accept(golden: &Golden, here: &SuiteResult, reason: Option<&str>) -> Result<(), Failure> {
    let stem = here.stem();
    // A golden of another schema is replaced; the reader is told.
    let was = golden.load(&stem).unwrap_or_else(|why| {
        tell!("{stem}: {why}");
        None
    });
    let differences = was.as_ref().map(|was| compare(was, here)).unwrap_or_default();
    if was.is_some() && differences.is_empty() {
        golden.accept(here).map_err(Failure::failed)?;
        out(&format!("{stem}: as golden, nothing to accept\n"));
        return Ok(());
    }
    let lines = golden::lines(was.as_ref(), here, &differences, reason);
    // First: what is accepted without its lines would never get them.
    golden::add(&golden.changelog(), &lines).map_err(Failure::failed)?;
    golden.accept(here).map_err(Failure::failed)?;
    for line in differences.iter().map(ToString::to_string).chain(lines) {
        out(&format!("{stem}: {line}\n"));
    }
    Ok(())
}
