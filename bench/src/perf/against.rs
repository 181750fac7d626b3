//! This build against another: `perf step` of a fixed set of shapes, both builds in turns, each turn a process of its
//! own. Steps are timed on a core, so that a neighbour's turns do not count.

use super::ratio::{Ratio, Verdict, judge};
use super::shape::{OptimizerArg, Placement, StepShape};
use crate::exit::{Exit, Failure};
use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// How long a turn times steps, seconds: shorter than most disturbances, so that they fall into few turns.
const TURN: f64 = 0.1;

/// The level of all shapes' intervals together.
const ALPHA: f64 = 0.05;

/// A name, and layers, width, heads, tokens a sequence, sequences, vocabulary.
const GPT: [(&str, [i64; 6]); 3] =
    [("A", [4, 64, 2, 64, 32, 256]), ("B", [12, 64, 2, 64, 16, 256]), ("C", [6, 128, 4, 128, 16, 512])];
/// The model that the layernorm suite trains, but for the activation.
const LAYERNORM: [i64; 6] = [6, 32, 2, 64, 8, 128];

/// The shapes that `perf` measures, by name.
pub fn shapes() -> Vec<(&'static str, StepShape)> {
    let shape = |[layers, width, heads, seq, batch, vocab]: [i64; 6], placement, optimizer| StepShape {
        layers,
        width,
        heads,
        seq,
        batch,
        vocab,
        placement,
        optimizer,
    };
    let gpt = GPT.map(|(name, sizes)| (name, shape(sizes, Placement::PreLn, OptimizerArg::Adamw)));
    let own = ("layernorm", shape(LAYERNORM, Placement::PostLn, OptimizerArg::Adam));
    gpt.into_iter().chain([own]).collect()
}

/// One shape's comparison.
#[derive(Clone, Debug, Serialize)]
pub struct AgainstRow {
    /// The shape's name.
    pub name: &'static str,
    /// The shape.
    pub shape: StepShape,
    /// Times on a core of a step of the base build, ms: a median a round.
    pub base_ms: Vec<f64>,
    /// The same of this build.
    pub head_ms: Vec<f64>,
    /// Head over base; above 1 is slower.
    #[serde(flatten)]
    pub ratio: Ratio,
}

/// All shapes' comparisons.
#[derive(Clone, Debug, Serialize)]
pub struct AgainstReport {
    /// Layout version of this report.
    pub schema: u32,
    /// The revision compared with, in the user's words.
    pub against: String,
    /// A ratio above 1 + margin is a regression.
    pub margin: f64,
    /// Level of all intervals together.
    pub alpha: f64,
    /// The process's exit code.
    pub exit: u8,
    /// Why nothing was compared.
    pub error: Option<String>,
    /// By shape.
    pub rows: Vec<AgainstRow>,
}

/// A build's executable, and what messages call it.
struct Build<'a> {
    path: &'a Path,
    name: &'a str,
}

impl Build<'_> {
    /// Median time on a core of a step, ms.
    fn step_ms(&self, shape: &StepShape) -> Result<f64, Failure> {
        let fault = |why: &str| Failure { exit: Exit::Incomparable, message: format!("{}: {why}", self.name) };
        let mut command = Command::new(self.path);
        command.args(["perf", "step", "--format", "json", "--seconds", &TURN.to_string()]).args(shape.words());
        let done = command.stdin(Stdio::null()).output().map_err(|e| fault(&e.to_string()))?;
        if done.status.code() == Some(Exit::Usage.code().into()) {
            return Err(fault("it has no `perf step`, or none that takes these shapes"));
        }
        let report: Option<Value> = serde_json::from_slice(&done.stdout).ok();
        let time = report.as_ref().and_then(|r| r["cpu_ms"].as_f64()).filter(|_| done.status.success());
        time.ok_or_else(|| fault(&format!("its `perf step` gives no `cpu_ms` ({})", done.status)))
    }
}

/// Compares this build with the executable `base`, which messages call `name`, in `rounds` turns of each shape.
///
/// # Errors
/// An executable that does not run or knows no `perf step` (3).
pub fn compare(name: &str, base: &Path, rounds: usize, margin: f64) -> Result<AgainstReport, Failure> {
    let this = std::env::current_exe().map_err(Failure::failed)?;
    let (base, head) = (Build { path: base, name }, Build { path: &this, name: "this build" });
    let shapes = shapes();
    let mut times = vec![(Vec::new(), Vec::new()); shapes.len()];
    for round in 0..rounds {
        for ((_, shape), (base_ms, head_ms)) in shapes.iter().zip(&mut times) {
            // Whoever comes second may find the machine warmer, so they take turns at being first.
            if round % 2 == 0 {
                base_ms.push(base.step_ms(shape)?);
            }
            head_ms.push(head.step_ms(shape)?);
            if round % 2 == 1 {
                base_ms.push(base.step_ms(shape)?);
            }
        }
    }
    // Bonferroni: the intervals hold together.
    let alpha = ALPHA / shapes.len() as f64;
    let rows = shapes.into_iter().zip(times).map(|((name, shape), (base_ms, head_ms))| {
        let ratio = judge(&base_ms, &head_ms, margin, alpha).ok_or_else(|| Failure {
            exit: Exit::Incomparable,
            message: format!("{name}: too few times to compare"),
        })?;
        Ok(AgainstRow { name, shape, base_ms, head_ms, ratio })
    });
    let rows = rows.collect::<Result<Vec<_>, Failure>>()?;
    let exit = exit(&rows).code();
    Ok(AgainstReport { schema: 1, against: name.into(), margin, alpha: ALPHA, exit, error: None, rows })
}

impl AgainstReport {
    /// Where nothing could be compared.
    pub fn failed(name: &str, margin: f64, failure: &Failure) -> Self {
        let (exit, error) = (failure.exit.code(), Some(failure.message.clone()));
        Self { schema: 1, against: name.into(), margin, alpha: ALPHA, exit, error, rows: Vec::new() }
    }
}

/// A shape that is slower is a regression; one that is undecided leaves the comparison open.
pub fn exit(rows: &[AgainstRow]) -> Exit {
    let of = |row: &AgainstRow| match row.ratio.verdict {
        Verdict::Slower => Exit::Regression,
        Verdict::Undecided => Exit::Incomparable,
        Verdict::Faster | Verdict::Same | Verdict::NotSlower => Exit::Golden,
    };
    rows.iter().map(of).fold(Exit::Golden, Exit::worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(verdict: Verdict) -> AgainstRow {
        let ratio = Ratio { ratio: 1.0, interval: [1.0, 1.0], verdict };
        let (name, shape) = shapes()[0];
        AgainstRow { name, shape, base_ms: vec![], head_ms: vec![], ratio }
    }

    #[test]
    fn slower_is_red_and_undecided_is_open() {
        use Verdict::*;
        let exit_of = |verdicts: &[Verdict]| exit(&verdicts.iter().map(|v| row(*v)).collect::<Vec<_>>());
        assert_eq!(exit_of(&[Same, Faster, NotSlower]), Exit::Golden);
        assert_eq!(exit_of(&[Same, Undecided]), Exit::Incomparable);
        assert_eq!(exit_of(&[Undecided, Slower, Faster]), Exit::Regression);
    }

    /// The GFLOP of a step that every table of these shapes states.
    #[test]
    fn the_shapes_cost_what_their_tables_state() {
        let gflop =
            shapes().into_iter().map(|(name, shape)| (name, format!("{:.2}", shape.timed().unwrap().flop / 1e9)));
        let stated = [("A", "2.82"), ("B", "4.03"), ("C", "16.52"), ("layernorm", "0.28")];
        assert_eq!(gflop.collect::<Vec<_>>(), stated.map(|(name, x)| (name, x.to_string())));
    }

    #[test]
    fn a_base_that_is_no_build_is_incomparable() {
        for base in ["/no/such/executable", "/bin/false", "/bin/true"] {
            let failure = compare("v0", Path::new(base), 2, 0.03).unwrap_err();
            assert_eq!(failure.exit, Exit::Incomparable, "{base}");
            assert!(failure.message.starts_with("v0: ") && !failure.message.contains('\n'), "{}", failure.message);
        }
    }
}
