//! `preheat bench --shard I/N`: one part of the plan is trained, and nothing is judged.

use super::bench::shard_json;
use crate::cli::{BenchArgs, Format};
use crate::exit::{Exit, Failure};
use crate::lab::carry::Suite;
use crate::lab::part::Part;
use crate::lab::session::{Session, judge_line, resume_line};
use crate::lab::shard::Shard;
use crate::say::{out, tell};
use crate::table::{Style, draw};
use std::io::IsTerminal;

/// Trains the shard's part and says what remains. 0 where it did all that it could: runs that wait for other shards
/// are no fault of this one, and whoever judges finds them missing.
///
/// # Errors
/// A store that cannot be written.
pub(super) fn train(session: &Session, suites: &[Suite], shard: Shard, args: &BenchArgs) -> Result<Exit, Failure> {
    let part = session.carry_part(suites, shard)?;
    let mut exit = Exit::Golden;
    if part.halt.is_some() || !part.failures.is_empty() {
        exit = exit.worst(Exit::Failed);
    }
    if part.interrupted {
        exit = exit.worst(Exit::Interrupted);
    }
    let rows = rows(&part, shard);
    match args.format {
        Format::Json => shard_json(args, exit, &part),
        Format::Csv => out(&rows.map(|row| row.join(",") + "\n").concat()),
        Format::Markdown => out(&(draw(rows.into(), Style::Markdown) + "\n")),
        _ if std::io::stdout().is_terminal() => out(&(draw(rows.into(), Style::Unicode) + "\n")),
        _ => out(&(draw(rows.into(), Style::Plain) + "\n")),
    }
    for line in &part.failures {
        tell!("failed: {line}");
    }
    tell!("{}", remains(&part, shard));
    Ok(exit)
}

fn rows(part: &Part, shard: Shard) -> [Vec<String>; 2] {
    let Part { runs, trained, reused, waiting, failures, .. } = part;
    let header = ["shard", "runs", "trained", "from the store", "waiting", "failed"].map(String::from).to_vec();
    let counts = [*runs, *trained, *reused, *waiting, failures.len()].map(|n| n.to_string());
    [header, std::iter::once(shard.to_string()).chain(counts).collect()]
}

/// One line: what was done, what remains, how to go on.
fn remains(part: &Part, shard: Shard) -> String {
    let Part { runs, trained, reused, waiting, .. } = part;
    let done = format!("shard {shard}: trained {trained} of its {runs} runs, {reused} from the store");
    if let Some(halt) = &part.halt {
        return format!("{done}; {}: {}", halt.told(), resume_line());
    }
    if part.interrupted {
        return format!("{done}; interrupted; go on with: {}", resume_line());
    }
    if *waiting > 0 {
        return format!(
            "{done}; {waiting} wait for runs of other shards: once those are done (separate stores: merged), go on with: {}",
            resume_line()
        );
    }
    format!("{done}; once all shards are done (separate stores: merged), judge with: {}", judge_line())
}
