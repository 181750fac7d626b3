//! Models. One file each: a graph written once, its parameters' initial values, its size.

mod adaptive_rate;
mod layer_norm;
mod transformer;

use crate::fits::accounting::Shape as Counted;
use crate::registry::Entry;
use preheat_kernels::graph::{Graph, ShapeError, TensorId};

/// The static sizes that a model is built for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Sequences a step B.
    pub batch: usize,
    /// Tokens a sequence T.
    pub seq: usize,
    /// Vocabulary V.
    pub vocab: usize,
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
    /// Target tokens \[N\].
    pub targets: TensorId,
    /// Training loss \[1\], nats/token.
    pub loss: TensorId,
    /// Evaluation loss \[1\], nats/token, without label smoothing.
    pub eval_loss: TensorId,
    /// Per layer: the sum of the residual stream and the feed-forward branch \[N,C\] (x⁵ of Xiong 2020).
    pub hidden: Vec<TensorId>,
    /// Per layer: the feed-forward output weight (W² of Xiong 2020).
    pub ffn_out: Vec<TensorId>,
    /// Initial values by tensor: parameters and constant inputs.
    pub init: Vec<(TensorId, Init)>,
}

/// How a tensor starts.
#[derive(Clone, Debug, PartialEq)]
pub enum Init {
    /// All equal.
    Constant(f32),
    /// Independent normals with this standard deviation; the stream is the tensor's place in the list.
    Normal(f64),
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
    /// What is built.
    fn build(&self, shape: &Shape) -> Result<Built, ShapeError>;
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
pub use layer_norm::NormJacobian;
pub use transformer::Transformer;

/// All models.
pub static MODELS: &[Entry<Box<dyn Model>>] = &[transformer::ENTRY, layer_norm::ENTRY, adaptive_rate::ENTRY];
