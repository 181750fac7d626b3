//! The shape of a training step that is to be timed, and the run that it stands for.

use crate::exit::Failure;
use clap::{Args, ValueEnum};
use preheat_kernels::cpu::Cpu;
use preheat_suites::definition::{Registry, parse_recipe};
use preheat_suites::models::{Built, MODELS, Shape};
use preheat_suites::optimizers::OPTIMIZERS;
use preheat_suites::registry::{Invalid, build};
use preheat_suites::run::{Recipe, Run, Start};
use preheat_suites::tasks::{Corpus, TASKS, Task};
use preheat_suites::train::{Compiled, Trainer};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// A GPT: learned positions, GELU-tanh, feed-forward width 4 C, AdamW; synthetic language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args, Serialize)]
pub struct StepShape {
    /// Layers L.
    #[arg(long, value_name = "L", allow_negative_numbers = true)]
    pub layers: i64,
    /// Width C, a multiple of the heads.
    #[arg(long, value_name = "C", allow_negative_numbers = true)]
    pub width: i64,
    /// Attention heads H.
    #[arg(long, value_name = "H", allow_negative_numbers = true)]
    pub heads: i64,
    /// Tokens a sequence T.
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub seq: i64,
    /// Sequences a step B.
    #[arg(long, value_name = "B", allow_negative_numbers = true)]
    pub batch: i64,
    /// Vocabulary V.
    #[arg(long, value_name = "V", allow_negative_numbers = true)]
    pub vocab: i64,
    /// Where the layer norms stand.
    #[arg(long, value_enum, default_value = "pre-ln")]
    pub placement: Placement,
    /// The optimizer.
    #[arg(long, value_enum, default_value = "adamw")]
    pub optimizer: OptimizerArg,
}

/// Where the layer norms stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// Inside the branches.
    PreLn,
    /// After the residual sums.
    PostLn,
}

/// The optimizer of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerArg {
    /// Adam with decoupled weight decay.
    Adamw,
    /// Adam.
    Adam,
    /// Gradient descent without momentum.
    Sgd,
}

/// The word that the command line and the registry use.
fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |v| v.get_name().to_string())
}

impl fmt::Display for StepShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layers, width, heads, seq, batch, vocab, placement, optimizer } = self;
        write!(f, "L{layers} C{width} H{heads} T{seq} B{batch} V{vocab} {} {}", word(placement), word(optimizer))
    }
}

/// More would not be a step but an afternoon.
const MAX_FLOP: f64 = 1e13;

/// Steps that a trainer is built for: more than any measurement takes, so that the run never ends.
pub const STEPS: u64 = 1_000_000;

/// The synthetic language reads no files.
struct NoFiles;

impl Corpus for NoFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, Invalid> {
        Err(Invalid::new("path", format!("{path}: a timed step reads no files")))
    }
}

/// A shape that holds and fits: its run, and what a step costs.
pub struct Timed {
    /// The run.
    pub run: Run,
    /// Its batches.
    pub task: Arc<dyn Task>,
    /// Floating point operations of a step's matrix products; causal attention counts the visible half.
    pub flop: f64,
    /// Learnable parameters.
    pub parameters: u64,
    /// Tokens a step N.
    pub tokens: usize,
}

impl StepShape {
    /// The words of the command line that give this shape.
    pub fn words(&self) -> Vec<String> {
        let Self { layers, width, heads, seq, batch, vocab, placement, optimizer } = self;
        let sizes =
            [("layers", layers), ("width", width), ("heads", heads), ("seq", seq), ("batch", batch), ("vocab", vocab)];
        let sizes = sizes.map(|(name, size)| format!("--{name}={size}"));
        let words = [format!("--placement={}", word(placement)), format!("--optimizer={}", word(optimizer))];
        sizes.into_iter().chain(words).collect()
    }

    /// What the shape stands for.
    ///
    /// # Errors
    /// A size out of its range, heads that do not divide the width, more than memory or patience holds (2).
    pub fn timed(&self) -> Result<Timed, Failure> {
        let recipe = self.recipe()?;
        let usage = |e: &dyn fmt::Display| Failure::usage(format!("perf step: {e}"));
        let model = build("model", MODELS, &recipe.model).map_err(|e| usage(&e))?;
        let (batch, seq, vocab) = (self.batch as usize, self.seq as usize, self.vocab as usize);
        let flop = model.step_flops(batch, vocab, seq);
        if flop > MAX_FLOP {
            return Err(usage(&format!("{self}: a step takes {flop:.2e} FLOP; allowed: at most {MAX_FLOP:.0e}")));
        }
        let shape = Shape { batch, seq, vocab, targets: seq, label_smoothing: 0.0 };
        let built = model.build(&shape).map_err(|e| usage(&e))?;
        let Built::Network(network) = built else { return Err(usage(&"this model does not train")) };
        let update = build("optimizer", OPTIMIZERS, &recipe.optimizer).map_err(|e| usage(&e))?.update();
        let (need, free) = (Compiled::new(*network, update, None, 1).program.arena_bytes(), free_bytes());
        if free.is_some_and(|free| need > free) {
            let (need, free) = (need as f64 / 1e9, free.unwrap_or_default() as f64 / 1e9);
            return Err(usage(&format!("{self}: needs {need:.1} GB; allowed: the {free:.1} GB that are free here")));
        }
        let builder = build("task", TASKS, &recipe.task).map_err(|e| usage(&e))?;
        let task = Arc::from(builder.open(&NoFiles, batch).map_err(|e| usage(&e))?);
        let parameters = model.parameters(vocab, seq);
        let run = Run { recipe, seed: 1, data_seed: 1, start: Start::Fresh };
        Ok(Timed { run, task, flop, parameters, tokens: shape.rows() })
    }

    fn recipe(&self) -> Result<Recipe, Failure> {
        let Self { layers, width, heads, seq, batch, vocab, placement, optimizer } = self;
        let (norm, optimizer) = (word(placement), word(optimizer));
        let yaml = format!(
            "model: {{transformer: {{layers: {layers}, width: {width}, heads: {heads}, norm: {norm}, activation: gelu-tanh}}}}\n\
             task: {{language: {{vocab: {vocab}, seq: {seq}}}}}\n\
             optimizer: {{{optimizer}: {{}}}}\n\
             schedule: {{constant: {{peak_lr: 3e-4}}}}\n\
             train: {{batch: {batch}, eval_sequences: {batch}, steps: {STEPS}}}\n"
        );
        parse_recipe("", &yaml, &Registry::builtin()).map_err(|e| {
            // The words of the command line have no line and column; the key's last part is the option's name.
            let option = e.place.key.rsplit('.').next().unwrap_or_default().to_string();
            Failure::usage(format!("perf step: --{option}: {}; allowed: {}", e.message, e.allowed))
        })
    }
}

impl Timed {
    /// A trainer at step 0.
    ///
    /// # Errors
    /// A run that cannot be built.
    pub fn trainer(&self, cpu: Cpu) -> Result<Trainer, Failure> {
        Trainer::new(&self.run, Arc::clone(&self.task), cpu).map_err(|e| Failure::usage(format!("perf step: {e}")))
    }
}

/// Memory that can be had, where the system tells.
fn free_bytes() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn shape(layers: i64, width: i64, heads: i64, seq: i64, batch: i64, vocab: i64) -> StepShape {
        let (placement, optimizer) = (Placement::PreLn, OptimizerArg::Adamw);
        StepShape { layers, width, heads, seq, batch, vocab, placement, optimizer }
    }

    #[test]
    fn a_shape_becomes_the_run_that_a_trainer_takes() {
        let cpu = Cpu::new(preheat_kernels::cpu::Simd::detect());
        for (placement, optimizer) in [
            (Placement::PreLn, OptimizerArg::Adamw),
            (Placement::PostLn, OptimizerArg::Adam),
            (Placement::PostLn, OptimizerArg::Sgd),
        ] {
            let timed = StepShape { placement, optimizer, ..shape(2, 12, 3, 5, 3, 31) }.timed().unwrap();
            let trainer = timed.trainer(cpu).unwrap();
            assert_eq!((trainer.step_flops() as f64, timed.tokens), (timed.flop, 15));
        }
    }

    #[test]
    fn what_does_not_hold_is_one_line_with_the_option() {
        let cases = [
            (shape(1, 7, 2, 4, 1, 8), "perf step: --width: 7 is not divisible by heads 2; allowed: multiples of 2"),
            (shape(0, 8, 2, 4, 1, 8), "perf step: --layers: is 0; allowed: a whole number from 1 to 1024"),
            (shape(1, 8, 0, 4, 1, 8), "perf step: --heads: is 0; allowed: a whole number from 1 to 65536"),
            (shape(1, 8, 2, -4, 1, 8), "perf step: --seq: is -4; allowed: a whole number from 1 to 65536"),
            (shape(1, 8, 2, 4, 0, 8), "perf step: --batch: is 0; allowed: a whole number from 1 to 65536"),
            (shape(1, 8, 2, 4, 1, 1), "perf step: --vocab: is 1; allowed: a whole number from 2 to 65536"),
            (shape(1, 65_536, 1, 1, 1, 65_536), "needs"),
            (shape(1024, 65_536, 64, 65_536, 65_536, 65_536), "FLOP; allowed: at most 1e13"),
        ];
        for (shape, expected) in cases {
            let Err(failure) = shape.timed() else { panic!("{shape} was taken") };
            assert_eq!((failure.exit, failure.message.lines().count()), (Exit::Usage, 1), "{}", failure.message);
            assert!(failure.message.contains(expected), "{}", failure.message);
        }
    }
}
