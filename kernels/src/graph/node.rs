//! The ops of a graph. [`crate::reference`] defines what each computes.

use super::{Graph, ScalarSource, TensorId};
use crate::ops::{Activation, Attention, IntervalPenalty, Patches};
use crate::update::UpdateExpr;

/// An op with its static attributes. Inputs and outputs are listed as `inputs → outputs`.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// x\[N,K\], w\[K,M\], (bias\[M\]), (residual\[N,M\]) → y\[N,M\] = (bias or 0) + x·w (+ residual).
    Linear {
        /// Has a bias input.
        bias: bool,
        /// Has a residual input.
        residual: bool,
    },
    /// dy\[N,M\], w\[K,M\], (add\[N,K\]) → dx\[N,K\] = dy·wᵀ (+ add).
    LinearDx {
        /// Has an `add` input.
        add: bool,
    },
    /// x\[N,K\], dy\[N,M\] → dw\[K,M\] = xᵀ·dy.
    LinearDw,
    /// x\[N,K\], w\[M,K\] → y\[N,M\] = x·wᵀ: a tied head.
    LinearTied,
    /// dy\[N,M\], w\[M,K\], (add\[N,K\]) → dx\[N,K\] = dy·w (+ add).
    LinearTiedDx {
        /// Has an `add` input.
        add: bool,
    },
    /// x\[N,K\], dy\[N,M\] → dw\[M,K\] = dyᵀ·x.
    LinearTiedDw,
    /// x\[N,C\], γ\[C\], β\[C\] → y\[N,C\], mean\[N\], rstd\[N\].
    LayerNorm {
        /// Added to the variance.
        eps: f64,
    },
    /// x, γ, mean, rstd, dy, (add) → dx.
    LayerNormDx {
        /// Has an `add` input.
        add: bool,
    },
    /// x, mean, rstd, dy → dγ, dβ.
    LayerNormDparams,
    /// qkv\[N,3C\] → out\[N,C\], probs\[B,H,T,T\].
    Attention(Attention),
    /// qkv, probs, dout → dqkv, scratch\[T,T\].
    AttentionBackward(Attention),
    /// x → f(x).
    Activation(Activation),
    /// x, dy → f'(x)·dy.
    ActivationBackward(Activation),
    /// tokens\[N\], table\[V,C\], (positions\[T,C\]) → x\[N,C\].
    Embedding {
        /// Has a positions input.
        positions: bool,
    },
    /// tokens\[N\], dx\[N,C\] → dtable\[V,C\].
    EmbeddingBackward,
    /// x\[N,C\] → y\[N,1\], the sum of each row.
    RowSum,
    /// x\[N,·\] seen as rows of the output's length → column sums.
    ColumnSum,
    /// logits\[N,V\], targets\[N\] → loss\[1\] (mean, nats), losses\[N\], lse\[N\].
    CrossEntropy {
        /// Label smoothing.
        smoothing: f64,
    },
    /// logits, targets, lse, dloss\[1\] → dlogits.
    CrossEntropyBackward {
        /// Label smoothing.
        smoothing: f64,
    },
    /// a, b → a + b.
    Add,
    /// a, b → a · b.
    Mul,
    /// a → s·a.
    Scale(f64),
    /// x → y, mask: each element kept with probability 1 − rate and scaled by 1/(1 − rate), drawn from
    /// (the run's seed, stream, step, element).
    Dropout {
        /// Share dropped, in \[0, 1).
        rate: f64,
        /// Stream of the run's seed.
        stream: u32,
    },
    /// x → (1).
    Ones,
    /// x → \[1\] = Σx².
    SumSquares,
    /// x → \[1\] = the square root of the flat gradient's Σg²; no inputs: reads the gradient buffer.
    GradNorm,
    /// bytes\[N\] (tokens) → x\[N\] = byte/255.
    Pixels,
    /// x\[B,H,W,C\] → \[B·H'·W', k·k·C\].
    Patches(Patches),
    /// dpatches → dx.
    PatchesBackward(Patches),
    /// → \[1\]: the graph's own host scalar of this step. Those stand before the optimizer's.
    HostScalar(usize),
    /// x\[N,C\] → mean\[C\], biased variance\[C\].
    ColumnMoments,
    /// v\[C\] → 1/√(v + eps).
    Rstd {
        /// Added to the variance.
        eps: f64,
    },
    /// rstd, drstd → dv.
    RstdBackward,
    /// x\[N,C\], shift\[C\], scale\[C\], offset\[C\] → (x − shift)·scale + offset.
    ColumnAffine,
    /// x\[N,C\], scale\[C\] → x·scale.
    ColumnScale,
    /// x\[N,C\], dy\[N,C\], (shift\[C\]) → Σ over rows of (x − shift)·dy.
    ColumnDot {
        /// Has a shift input.
        shift: bool,
    },
    /// x, radius\[1\] → centre, radius of the box around x, cut at the limits.
    InputBox {
        /// The least and the largest value.
        limits: [f64; 2],
    },
    /// centre, radius → those of ReLU.
    IntervalRelu,
    /// centre, radius, dcentre', dradius' → dcentre, dradius.
    IntervalReluBackward,
    /// centre, radius, first\[1\] → penalty\[1\], sums\[8\].
    IntervalPenalty(IntervalPenalty),
    /// centre, radius, first\[1\], sums\[8\], dpenalty\[1\] → dcentre, dradius.
    IntervalPenaltyBackward(IntervalPenalty),
    /// w\[K,V\] → |w_a − w_b| \[K,V·V\].
    PairDistances,
    /// w, ddistances → dw.
    PairDistancesBackward,
    /// z\[N,V\], radii of differences\[N,V·V\], targets\[N\] → m\[N,V\].
    Margins,
    /// dm\[N,V\], targets\[N\] → dz\[N,V\], dradii\[N,V·V\].
    MarginsBackward,
    /// logits\[N,V\], targets\[N\] → share of wrong rows\[1\], wrong\[N\].
    Errors,
    /// targets\[N\] → S\[N·V,V\]: row (i, j) is e_j − e_y.
    Contrasts,
    /// a\[N·G,K\], centre\[N,K\], radius\[N,K\] → a'\[N·G,K\], b\[N·G\].
    LinearRelu,
    /// a, centre, radius, da', db → da, dcentre, dradius.
    LinearReluBackward,
    /// a\[N·G,K\], x\[N,K\] → Σ_k a·x \[N·G\].
    GroupDot {
        /// Of |a|.
        size: bool,
    },
    /// a, x, dout → da, dx.
    GroupDotBackward {
        /// Of |a|.
        size: bool,
    },
    /// state, x → state ← state + rate·(x − state). The output is the state itself.
    Ema {
        /// Weight of the new value.
        rate: f64,
    },
    /// grad norm\[1\] → the flat parameter buffer and the optimizer's states, in place.
    Update {
        /// The optimizer.
        expr: UpdateExpr,
        /// Largest gradient norm; `None` does not clip.
        clip: Option<f64>,
    },
    /// source, (grad norm\[1\]), (scalars\[1\]), the outputs → target, states: an expression over tensors of one
    /// length, in place, the source standing for its gradient. The norm is there where the source is clipped.
    Map {
        /// What is computed.
        expr: UpdateExpr,
        /// Where each scalar of the expression comes from.
        scalars: Vec<ScalarSource>,
        /// Largest gradient norm; `None` does not clip.
        clip: Option<f64>,
    },
}

impl Op {
    /// Whether it is one matrix product, of a linear layer or its gradients.
    pub(super) const fn is_product(&self) -> bool {
        matches!(
            self,
            Self::Linear { .. }
                | Self::LinearDx { .. }
                | Self::LinearDw
                | Self::LinearTied
                | Self::LinearTiedDx { .. }
                | Self::LinearTiedDw
        )
    }
    /// What tables call it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Linear { .. } => "linear",
            Self::LinearDx { .. } => "linear dx",
            Self::LinearDw => "linear dw",
            Self::LinearTied => "tied linear",
            Self::LinearTiedDx { .. } => "tied linear dx",
            Self::LinearTiedDw => "tied linear dw",
            Self::LayerNorm { .. } => "layer norm",
            Self::LayerNormDx { .. } => "layer norm dx",
            Self::LayerNormDparams => "layer norm dparams",
            Self::Attention(_) => "attention",
            Self::AttentionBackward(_) => "attention backward",
            Self::Activation(_) => "activation",
            Self::ActivationBackward(_) => "activation backward",
            Self::Embedding { .. } => "embedding",
            Self::EmbeddingBackward => "embedding backward",
            Self::ColumnSum => "column sum",
            Self::RowSum => "row sum",
            Self::Map { .. } => "map",
            Self::CrossEntropy { .. } => "cross-entropy",
            Self::CrossEntropyBackward { .. } => "cross-entropy backward",
            Self::Add => "add",
            Self::Mul => "mul",
            Self::Scale(_) => "scale",
            Self::Dropout { .. } => "dropout",
            Self::Ones => "ones",
            Self::SumSquares => "sum of squares",
            Self::GradNorm => "gradient norm",
            Self::Pixels => "pixels",
            Self::Patches(_) => "patches",
            Self::PatchesBackward(_) => "patches backward",
            Self::HostScalar(_) => "host scalar",
            Self::ColumnMoments => "column moments",
            Self::Rstd { .. } => "rstd",
            Self::RstdBackward => "rstd backward",
            Self::ColumnAffine => "column affine",
            Self::ColumnScale => "column scale",
            Self::ColumnDot { .. } => "column dot",
            Self::InputBox { .. } => "input box",
            Self::IntervalRelu => "interval relu",
            Self::IntervalReluBackward => "interval relu backward",
            Self::IntervalPenalty(_) => "interval penalty",
            Self::IntervalPenaltyBackward(_) => "interval penalty backward",
            Self::PairDistances => "pair distances",
            Self::PairDistancesBackward => "pair distances backward",
            Self::Margins => "margins",
            Self::MarginsBackward => "margins backward",
            Self::Errors => "errors",
            Self::Contrasts => "contrasts",
            Self::LinearRelu => "linear relu",
            Self::LinearReluBackward => "linear relu backward",
            Self::GroupDot { .. } => "group dot",
            Self::GroupDotBackward { .. } => "group dot backward",
            Self::Ema { .. } => "running mean",
            Self::Update { .. } => "update",
        }
    }
}

/// A node: an op on tensors.
#[derive(Clone, Debug)]
pub struct Node {
    /// The op.
    pub op: Op,
    /// In the order that [`Op`] states.
    pub inputs: Vec<TensorId>,
    /// In the order that [`Op`] states.
    pub outputs: Vec<TensorId>,
}

impl Node {
    /// Floating point operations of its matrix products for one run; other ops count as nothing.
    /// Causal attention counts the terms that are computed.
    pub fn gemm_flops(&self, graph: &Graph) -> u64 {
        let len = |i: usize| graph.tensor(self.inputs[i]).len() as u64;
        let pairs = |a: &Attention| {
            let t = a.seq as u64;
            let terms = if a.causal { t * (t + 1) / 2 } else { t * t };
            terms * (a.batch * a.width()) as u64
        };
        match &self.op {
            Op::Linear { .. } => 2 * len(0) * graph.tensor(self.inputs[1]).width() as u64,
            Op::LinearDx { .. } => 2 * len(0) * graph.tensor(self.inputs[1]).shape[0] as u64,
            Op::LinearTied => 2 * len(0) * graph.tensor(self.inputs[1]).shape[0] as u64,
            Op::LinearTiedDx { .. } => 2 * len(0) * graph.tensor(self.inputs[1]).width() as u64,
            Op::LinearDw | Op::LinearTiedDw => 2 * len(0) * graph.tensor(self.inputs[1]).width() as u64,
            Op::Attention(a) => 4 * pairs(a),
            Op::AttentionBackward(a) => 8 * pairs(a),
            _ => 0,
        }
    }
}
