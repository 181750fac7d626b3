//! Training: the pure step loop over a graph. No files, no clocks, no threads.

mod checkpoint;
mod cohort;
mod compile;
mod digest;
mod early;
mod member;
pub mod metrics;
mod net;
mod probe;
pub mod spaced;
mod trainer;
mod view;

pub use cohort::{Cohort, ResumeError, StartError, program, shape};
use compile::initial;
pub use compile::{Compiled, initialise};
pub use early::{EARLY_STEPS, Early};
pub use probe::{COUNTED_STEPS, gradient_bins};
pub use trainer::{Progress, Trainer};
pub use view::Named;

use crate::registry::{ParamDef, ParamKind, Preset};
use crate::run::{Run, Start};

const fn def(name: &'static str, doc: &'static str, kind: ParamKind, default: Preset) -> ParamDef {
    ParamDef { name, doc, kind, default }
}

/// Parameters of a recipe's `train` section.
pub static PARAMS: &[ParamDef] = &[
    def(
        "steps",
        "optimizer steps; 0 measures at initialisation only",
        ParamKind::Int { min: 0, max: 10_000_000 },
        Preset::Required,
    ),
    def("batch", "sequences a step", ParamKind::Int { min: 1, max: 65_536 }, Preset::Required),
    def(
        "eval_every",
        "steps between evaluations; 0 evaluates at the end only",
        ParamKind::Int { min: 0, max: 10_000_000 },
        Preset::Int(0),
    ),
    def(
        "eval_sequences",
        "sequences of the validation set, a multiple of batch",
        ParamKind::Int { min: 1, max: 1_000_000 },
        Preset::Required,
    ),
    def(
        "clip",
        "largest global gradient norm; 0 does not clip",
        ParamKind::Real { min: 0.0, max: 1e9 },
        Preset::Real(0.0),
    ),
    def(
        "label_smoothing",
        "weight spread over all classes in the training loss",
        ParamKind::Real { min: 0.0, max: 0.999 },
        Preset::Real(0.0),
    ),
    def(
        "probe",
        "signal: gradients and hidden scales by layer, at initialisation and at the end; gradients: how large those of the first \
         ten steps are; isoflop: the loss at steps that halve, and the sizes that counts of FLOPs speak of",
        ParamKind::Choice(&["none", "signal", "gradients", "isoflop"]),
        Preset::Text("none"),
    ),
];

/// A run is stalled when its final validation loss is above the unigram entropy minus this, in nats.
pub const STALL_MARGIN: f64 = 0.15;

/// FLOPs of a whole run's matrix products, from those of one step. `sets` validation sets are measured. An evaluation
/// batch is a forward pass, a third of a step; a probe is a step without its update.
pub fn run_flops(run: &Run, sets: usize, step_flops: f64) -> f64 {
    let train = &run.recipe.train;
    let (steps, every) = (train.size("steps"), train.size("eval_every"));
    // At multiples of `every`, at spaced steps and at the last; once where that is all. At the start of a run that goes on.
    let on_the_way = if every == 0 { 1 } else { steps.div_ceil(every).max(1) };
    let on_the_way = on_the_way + spaced::beside(train).count();
    let evaluations = on_the_way + usize::from(steps > 0 && run.start != Start::Fresh);
    let sets = if steps > 0 { sets } else { 1 };
    let batches = sets * evaluations * (train.size("eval_sequences") / train.size("batch"));
    let probes = if train.text("probe") == "signal" { 1 + usize::from(steps > 0) } else { 0 };
    step_flops * (steps + probes) as f64 + step_flops * batches as f64 / 3.0
}
