//! A run as files that anyone can replay: parameters and batches as safetensors, the recipe as JSON, and what this
//! program computed from them.
//!
//! ```text
//! recipe.json            the run, facts of its task, every step's host scalars
//! params.safetensors     initial parameters by name, f32
//! tokens.safetensors     inputs, targets [steps,B,T]; eval.inputs, eval.targets [S,T]; i32. Labels in place of targets are one a
//!                        sequence: [steps,B,1], [S,1]
//! optimizer.safetensors  where the run takes an optimizer's state: each state by number and parameter, each moment of an
//!                        optimizer of stages by its name; f32
//! gradients.safetensors  gradients of step 1 before clipping, by parameter, f32
//! final.safetensors      parameters after the last exported step, f32
//! expected.json          losses and gradient norms of each step, evaluation loss after the last
//! ```
//!
//! Inputs and targets are kept apart, since a task need not predict the next token. A run without steps has the
//! gradient of its first validation batch.

mod find;
mod folder;

pub use find::{Candidate, Candidates, Wanted, label};
pub use folder::Folder;

use preheat_suites::models::MODELS;
use preheat_suites::optimizers::OPTIMIZERS;
use preheat_suites::record::{Outcome, Point};
use preheat_suites::registry::{Invalid, build};
use preheat_suites::run::{Run, RunId};
use preheat_suites::schedules::SCHEDULES;
use preheat_suites::tasks::{Task, Validation};
use preheat_suites::train::{Named, Progress, Trainer};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Serialize;
use std::collections::BTreeMap;

/// Version of the files' layout.
pub const FORMAT: u32 = 1;

/// What every file says about its origin.
#[derive(Clone, Debug, Serialize)]
pub struct Origin {
    /// [`FORMAT`].
    pub preheat_export: u32,
    /// Version of the program.
    pub preheat: &'static str,
    /// Version of the bit contract.
    pub numerics: u32,
    /// The run's id.
    pub run: RunId,
    /// Steps exported.
    pub steps: u64,
}

/// `recipe.json`.
#[derive(Serialize)]
struct RecipeFile<'a> {
    #[serde(flatten)]
    origin: &'a Origin,
    /// `suite/experiment/arm axis=value seed=N` of every cell that the run fills.
    cells: &'a [String],
    /// Recipe, seeds, start; parameters complete.
    definition: &'a Run,
    task: TaskFacts,
    /// Steps that the optimizer had done before step 1: those of the run whose state is taken.
    optimizer_steps: u64,
    /// Which loss `gradients.safetensors` differentiates.
    gradients_of: &'static str,
    /// The host's numbers of each exported step.
    host: Vec<HostStep>,
}

#[derive(Serialize)]
struct TaskFacts {
    vocab: usize,
    seq: usize,
    unigram_entropy: f64,
    entropy_rate: Option<f64>,
}

#[derive(Serialize)]
struct HostStep {
    step: u64,
    lr: f64,
    /// The optimizer's scalars in f64, before they are rounded to f32.
    scalars: BTreeMap<&'static str, f64>,
}

/// `expected.json`.
#[derive(Serialize)]
struct Expected<'a> {
    #[serde(flatten)]
    origin: &'a Origin,
    /// How the run ended within these steps; `None` where steps remain.
    outcome: Option<Outcome>,
    /// The loss that each step differentiates, nats/token, label smoothing included; `null` where it is not finite.
    train_loss: Vec<Option<f64>>,
    /// Global gradient norm before clipping.
    grad_norm: Vec<Option<f64>>,
    /// Mean loss of the evaluation set after the last exported step, without label smoothing.
    eval_loss: Option<f64>,
    /// The run's digest, where all of its steps are exported: the one that its record and golden hold.
    digest: Option<String>,
}

/// Trains `steps` steps of `run` and writes the folder. `trainer` stands at the run's start.
///
/// # Errors
/// One line: a file that cannot be written.
pub fn write(
    folder: &Folder,
    cells: &[String],
    run: &Run,
    task: &dyn Task,
    trainer: Trainer,
    steps: u64,
) -> Result<(), String> {
    let origin = &Origin {
        preheat_export: FORMAT,
        preheat: env!("CARGO_PKG_VERSION"),
        numerics: preheat_kernels::NUMERICS,
        run: run.id(),
        steps,
    };
    let Validation { unigram_entropy, entropy_rate, .. } = *task.validation();
    let recipe = RecipeFile {
        origin,
        cells,
        definition: run,
        task: TaskFacts { vocab: task.vocab(), seq: task.seq(), unigram_entropy, entropy_rate },
        optimizer_steps: trainer.optimizer_steps(),
        gradients_of: if steps > 0 { "step 1" } else { "first evaluation batch" },
        host: host(run, trainer.optimizer_steps(), steps).map_err(|e| e.to_string())?,
    };
    // The recipe first: by it the folder is known as an export again.
    folder.json("recipe.json", &recipe)?;
    folder.tensors("tokens.safetensors", origin, &tokens(run, task, steps))?;
    train(folder, origin, trainer)
}

fn train(folder: &Folder, origin: &Origin, mut trainer: Trainer) -> Result<(), String> {
    folder.tensors("params.safetensors", origin, &floats(&trainer.parameters()))?;
    if trainer.optimizer_steps() > 0 {
        folder.tensors("optimizer.safetensors", origin, &states(&trainer))?;
    }
    if origin.steps == 0 {
        folder.tensors("gradients.safetensors", origin, &floats(&trainer.validation_gradients()))?;
    }
    for step in 1..=origin.steps {
        let progress = trainer.advance();
        if step == 1 {
            folder.tensors("gradients.safetensors", origin, &floats(&trainer.gradients()))?;
        }
        if progress == Progress::Done {
            break;
        }
    }
    folder.tensors("final.safetensors", origin, &floats(&trainer.parameters()))?;
    let eval_loss = trainer.validation_loss().filter(|loss| loss.is_finite());
    let curve = |name: &str| trainer.curves().get(name).map_or(Vec::new(), |points| values(points));
    let (train_loss, grad_norm) = (curve("train_loss"), curve("grad_norm"));
    let measured = trainer.is_done().then(|| trainer.finish());
    let (outcome, digest) = measured.map(|m| (m.outcome, m.digest)).unzip();
    folder.json("expected.json", &Expected { origin, outcome, train_loss, grad_norm, eval_loss, digest })
}

fn values(points: &[Point]) -> Vec<Option<f64>> {
    points.iter().map(|p| p.value).collect()
}

fn host(run: &Run, before: u64, steps: u64) -> Result<Vec<HostStep>, Invalid> {
    let optimizer = build("optimizer", OPTIMIZERS, &run.recipe.optimizer)?;
    let model = build("model", MODELS, &run.recipe.model)?;
    let schedule = build("schedule", SCHEDULES, &run.recipe.schedule)?;
    let all = run.recipe.train.size("steps") as u64;
    let names: Vec<&str> = model.scalars().iter().copied().chain(optimizer.update().scalars().to_vec()).collect();
    let of_step = |step| {
        let (lr, mut scalars) = (schedule.lr(step, all), Vec::new());
        model.write_scalars(step, &mut scalars);
        optimizer.write_scalars(before + step, lr, &mut scalars);
        HostStep { step, lr, scalars: names.iter().copied().zip(scalars).collect() }
    };
    Ok((1..=steps).map(of_step).collect())
}

/// A tensor that is about to be written.
struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn floats(tensors: &[Named<'_>]) -> Vec<Tensor> {
    let tensor = |t: &Named<'_>| Tensor {
        name: t.name.into(),
        dtype: Dtype::F32,
        shape: t.shape.to_vec(),
        bytes: t.values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    };
    tensors.iter().map(tensor).collect()
}

/// `0.tok_emb`: the part of state 0 that belongs to a parameter. `v of tok_emb`: a moment.
fn states(trainer: &Trainer) -> Vec<Tensor> {
    let numbered = trainer.optimizer_states().into_iter().enumerate().flat_map(|(number, state)| {
        let mut tensors = floats(&state);
        tensors.iter_mut().for_each(|t| t.name = format!("{number}.{}", t.name));
        tensors
    });
    numbered.chain(floats(&trainer.optimizer_moments())).collect()
}

fn tokens(run: &Run, task: &dyn Task, steps: u64) -> Vec<Tensor> {
    let (batch, seq, labels) = (run.recipe.train.size("batch"), task.seq(), task.targets());
    let (mut inputs, mut targets) = (vec![0; batch * seq], vec![0; batch * labels]);
    let (mut all_inputs, mut all_targets) = (Vec::new(), Vec::new());
    for step in 0..steps {
        task.batch(run.data_seed, step, &mut inputs, &mut targets);
        all_inputs.extend(inputs.iter().flat_map(|x| x.to_le_bytes()));
        all_targets.extend(targets.iter().flat_map(|x| x.to_le_bytes()));
    }
    // Token ids are far below 2^31, so u32 and i32 have the same bytes.
    let tensor = |name: &str, shape: &[usize], bytes| Tensor {
        name: name.into(),
        dtype: Dtype::I32,
        shape: shape.into(),
        bytes,
    };
    let flat = |tokens: &[u32]| tokens.iter().flat_map(|x| x.to_le_bytes()).collect();
    let Validation { inputs: eval_inputs, targets: eval_targets, .. } = task.validation();
    let (train, sets) = (|width| [steps as usize, batch, width], eval_inputs.len() / seq);
    vec![
        tensor("inputs", &train(seq), all_inputs),
        tensor("targets", &train(labels), all_targets),
        tensor("eval.inputs", &[sets, seq], flat(eval_inputs)),
        tensor("eval.targets", &[sets, labels], flat(eval_targets)),
    ]
}

impl Tensor {
    fn view(&self) -> Result<TensorView<'_>, String> {
        TensorView::new(self.dtype, self.shape.clone(), &self.bytes).map_err(|e| format!("{}: {e}", self.name))
    }
}

#[cfg(test)]
mod tests;
