//! Models. One file each: a graph written once, its parameters' initial values, its size.

mod adaptive_rate;
mod certified;
mod layer_norm;
mod transformer;

use crate::fits::accounting::Shape as Counted;
use crate::registry::Entry;
use crate::tasks::Asks;
use preheat_kernels::graph::{Graph, ShapeError, TensorId};
use std::collections::BTreeMap;

/// The static sizes that a model is built for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Sequences a step B.
    pub batch: usize,
    /// Tokens a sequence T.
    pub seq: usize,
    /// Vocabulary V, or classes.
    pub vocab: usize,
    /// Targets a sequence: T, or 1 where a sequence has a label.
    pub targets: usize,
    /// Label smoothing of the training loss.
    pub label_smoothing: f64,
}

impl Shape {
    /// Rows N = B·T.
    pub const fn rows(&self) -> usize {
        self.batch * self.seq
    }
}

/// The forward graph of a model with the tensors that training and probes need.
pub struct Network {
    /// Forward nodes only.
    pub graph: Graph,
    /// Input tokens \[N\].
    pub inputs: TensorId,
    /// Target tokens \[N\], or labels \[B\].
    pub targets: TensorId,
    /// Training loss \[1\], nats/token.
    pub loss: TensorId,
    /// Evaluation loss \[1\], nats/token, without label smoothing.
    pub eval_loss: TensorId,
    /// Per layer: the sum of the residual stream and the feed-forward branch \[N,C\] (x⁵ of Xiong 2020).
    pub hidden: Vec<TensorId>,
    /// Per layer: the feed-forward output weight (W² of Xiong 2020).
    pub ffn_out: Vec<TensorId>,
    /// Initial values by tensor: parameters, states and constant inputs.
    pub init: Vec<(TensorId, Init)>,
    /// States that a training step moves.
    pub states: Vec<TensorId>,
    /// What an evaluation measures beside the loss, a few elements each; their means over batches go to [`Model::measure`].
    pub measured: Vec<TensorId>,
}

/// How a tensor starts.
#[derive(Clone, Debug, PartialEq)]
pub enum Init {
    /// All equal.
    Constant(f32),
    /// Independent normals with this standard deviation; the stream is the tensor's place in the list.
    Normal(f64),
    /// Independent and uniform in \[−x, x) of this x, 24 bits each.
    Uniform(f64),
    /// As `Normal`, but the first `zero_columns` of each row of `width` are zero.
    NormalWithZeroColumns {
        /// Standard deviation of the rest.
        std: f64,
        /// Length of a row.
        width: usize,
        /// Columns that are zero.
        zero_columns: usize,
    },
    /// These values.
    Given(Vec<f32>),
}

/// A model before its sizes are known.
pub trait Model: Send + Sync {
    /// Learnable parameters for vocabulary `vocab` and sequence length `seq`.
    fn parameters(&self, vocab: usize, seq: usize) -> u64;
    /// Floating point operations of the matrix products of one training step (forward and backward).
    fn step_flops(&self, batch: usize, vocab: usize, seq: usize) -> f64;
    /// The sizes that counts of FLOPs speak of; `None` for a model that has no such count.
    fn counted(&self, vocab: usize, seq: usize) -> Option<Counted> {
        let _ = (vocab, seq);
        None
    }
    /// What its tasks must ask for; `None` where it takes no notice of them.
    fn answers(&self) -> Option<Asks> {
        None
    }
    /// Whether it has the layers that the probe `signal` looks at.
    fn has_signal(&self) -> bool {
        true
    }
    /// What is built.
    fn build(&self, shape: &Shape) -> Result<Built, ShapeError>;
    /// Names of the graph's own host scalars of a step, in order.
    fn scalars(&self) -> &'static [&'static str] {
        &[]
    }
    /// Appends the graph's own host scalars of `step` (counted from 1), computed in f64; each is rounded to f32 once by the
    /// caller.
    fn write_scalars(&self, step: u64, out: &mut Vec<f64>) {
        let _ = (step, out);
    }
    /// What is measured beside the loss at each evaluation, and at the end: curves and final metrics.
    fn measures(&self) -> &'static [&'static str] {
        &[]
    }
    /// Appends the numbers of [`Self::measures`] from the means of [`Network::measured`], one after another, over a validation
    /// set in batches of so many sequences of so many tokens.
    fn measure(&self, sizes: [usize; 2], means: &[f64], out: &mut Vec<f64>) {
        let _ = (sizes, means, out);
    }
    /// What such means say of the model at initialisation beside [`Self::measures`].
    fn initial(&self, sizes: [usize; 2], means: &[f64]) -> BTreeMap<String, f64> {
        let _ = (sizes, means);
        BTreeMap::new()
    }
}

/// What a model builds.
pub enum Built {
    /// Something to train.
    Network(Box<Network>),
    /// Layer normalisation alone, whose Jacobian is measured at Gaussian inputs.
    NormJacobian(layer_norm::NormJacobian),
    /// Adam's adaptive rate alone, whose variance is simulated.
    AdaptiveRate(adaptive_rate::AdaptiveRate),
}

pub use adaptive_rate::AdaptiveRate;
pub(crate) use certified::BOUND_MEASURES;
pub use layer_norm::NormJacobian;
pub use transformer::Transformer;

/// All models.
pub static MODELS: &[Entry<Box<dyn Model>>] =
    &[transformer::ENTRY, layer_norm::ENTRY, adaptive_rate::ENTRY, certified::ENTRY];
