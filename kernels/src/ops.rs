//! The ops that a device must offer, with their shapes. [`crate::reference`] says what each computes.
//!
//! All matrices are row-major. Every function checks nothing beyond slice bounds: shapes are checked
//! once, when a graph is built.

mod column;
mod image;
mod interval;
mod linear_bounds;

pub use column::ColumnOps;
pub use image::{ImageOps, Patches};
pub use interval::{INTERVAL_SUMS, IntervalOps, IntervalPenalty};
pub use linear_bounds::LinearBoundOps;

use crate::real::Real;
use crate::reference::{self, LANES, fold_lanes};
use crate::update::UpdateExpr;
use std::ops::Range;

/// Which terms of the inner dimension belong to output row `i`. Masked terms are not terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KRange {
    /// All of `0..k`.
    Full,
    /// `0..=i`: causal attention's output and query gradient.
    UpToRow,
    /// `i..k`: causal attention's key and value gradients.
    FromRow,
}

/// Which columns of output row `i` are computed. Others are left untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// All of `0..n`.
    Full,
    /// `0..=i`: causal scores.
    UpToRow,
}

/// C\[m,n\] = start + A·B, one chain of fused multiply-adds over k in increasing order per element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatMul {
    /// Rows of C.
    pub m: usize,
    /// Columns of C.
    pub n: usize,
    /// Inner dimension.
    pub k: usize,
    /// A is stored \[k,m\] (TN) instead of \[m,k\].
    pub trans_a: bool,
    /// B is stored \[n,k\] (NT) instead of \[k,n\].
    pub trans_b: bool,
    /// Row strides of A, B and C as stored, in elements.
    pub lda: usize,
    /// See `lda`.
    pub ldb: usize,
    /// See `lda`.
    pub ldc: usize,
    /// Terms of each row.
    pub k_range: KRange,
    /// Columns of each row.
    pub columns: Columns,
}

impl MatMul {
    /// A dense product of contiguous matrices: A\[m,k\]·B\[k,n\].
    pub const fn nn(m: usize, n: usize, k: usize) -> Self {
        let (k_range, columns) = (KRange::Full, Columns::Full);
        Self { m, n, k, trans_a: false, trans_b: false, lda: k, ldb: n, ldc: n, k_range, columns }
    }
    /// A\[m,k\]·B\[n,k\]ᵀ.
    pub const fn nt(m: usize, n: usize, k: usize) -> Self {
        Self { trans_b: true, ldb: k, ..Self::nn(m, n, k) }
    }
    /// A\[k,m\]ᵀ·B\[k,n\].
    pub const fn tn(m: usize, n: usize, k: usize) -> Self {
        Self { trans_a: true, lda: m, ..Self::nn(m, n, k) }
    }
    /// How many columns of row `i` are computed: the first so many.
    pub fn columns_of(&self, i: usize) -> usize {
        match self.columns {
            Columns::Full => self.n,
            Columns::UpToRow => self.n.min(i + 1),
        }
    }
    /// Terms of row `i`, in their order.
    pub fn terms_of(&self, i: usize) -> Range<usize> {
        match self.k_range {
            KRange::Full => 0..self.k,
            KRange::UpToRow => 0..self.k.min(i + 1),
            KRange::FromRow => i.min(self.k)..self.k,
        }
    }
}

/// Where a GEMM's accumulator starts.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a, T> {
    /// +0.
    Zero,
    /// The old value of C.
    Accumulate,
    /// A bias row \[n\].
    Bias(&'a [T]),
}

/// Pointwise non-linearities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// max(x, 0); its derivative at 0 is 0.
    Relu,
    /// ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))) (Hendrycks & Gimpel 2016, tanh form).
    GeluTanh,
    /// ½·x·(1 + erf(x/√2)).
    GeluErf,
    /// tanh x.
    Tanh,
    /// x/(1 + e^−x), the gate of SwiGLU (Shazeer 2020).
    Silu,
    /// |x|; its derivative at 0 is 0.
    Abs,
}

impl Activation {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Relu, Self::GeluTanh, Self::GeluErf, Self::Tanh, Self::Silu, Self::Abs];
}

/// Multi-head attention on packed projections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Sequences B.
    pub batch: usize,
    /// Tokens a sequence T.
    pub seq: usize,
    /// Heads H.
    pub heads: usize,
    /// Head width D; C = H·D.
    pub head_dim: usize,
    /// Position i sees 0..=i only.
    pub causal: bool,
}

impl Attention {
    /// C = H·D.
    pub const fn width(&self) -> usize {
        self.heads * self.head_dim
    }
    /// Elements of the probabilities \[B,H,T,T\].
    pub const fn probs_len(&self) -> usize {
        self.batch * self.heads * self.seq * self.seq
    }
}

/// Softmax cross-entropy over V with label smoothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropy {
    /// Rows N.
    pub rows: usize,
    /// Classes V.
    pub vocab: usize,
    /// Weight spread uniformly over all V classes, in \[0, 1).
    pub smoothing: f64,
}

/// Places that a product can be told of.
pub const MOST_LATER: usize = 6;

/// The kernels of one device over one number type. One run at a time: the run axis is the caller's loop
/// on a CPU.
pub trait Ops<T: Real>: ColumnOps<T> + IntervalOps<T> + LinearBoundOps<T> + ImageOps<T> + Send + Sync {
    /// C = start + A·B (+ residual, added after the chain; same layout as C).
    fn matmul(&self, mm: &MatMul, a: &[T], b: &[T], start: Start<'_, T>, residual: Option<&[T]>, c: &mut [T]);

    /// [`Self::matmul`], told what will be read after it, in that order, at most [`MOST_LATER`] places: a device may
    /// bring it near meanwhile.
    #[expect(clippy::too_many_arguments, reason = "a product's operands")]
    fn matmul_before(
        &self,
        mm: &MatMul,
        a: &[T],
        b: &[T],
        start: Start<'_, T>,
        residual: Option<&[T]>,
        c: &mut [T],
        _later: &[&[T]],
    ) {
        self.matmul(mm, a, b, start, residual, c);
    }

    /// y = γ·(x − mean)·rstd + β over rows of `width`; keeps mean \[rows\] and rstd \[rows\].
    #[expect(clippy::too_many_arguments, reason = "a kernel's operands")]
    fn layer_norm(
        &self,
        width: usize,
        eps: f64,
        x: &[T],
        gamma: &[T],
        beta: &[T],
        y: &mut [T],
        mean: &mut [T],
        rstd: &mut [T],
    );
    /// dx (+ `add`, e.g. the residual stream's gradient, added last).
    #[expect(clippy::too_many_arguments, reason = "a kernel's operands")]
    fn layer_norm_dx(
        &self,
        width: usize,
        x: &[T],
        gamma: &[T],
        mean: &[T],
        rstd: &[T],
        dy: &[T],
        add: Option<&[T]>,
        dx: &mut [T],
    );
    /// dγ \[width\] and dβ \[width\], by the column rule.
    #[expect(clippy::too_many_arguments, reason = "a kernel's operands")]
    fn layer_norm_dparams(
        &self,
        width: usize,
        x: &[T],
        mean: &[T],
        rstd: &[T],
        dy: &[T],
        dgamma: &mut [T],
        dbeta: &mut [T],
    );

    /// out \[N,C\] and probabilities \[B,H,T,T\] from qkv \[N,3C\] (queries, keys, values side by side).
    /// Masked probabilities are left untouched and never read.
    fn attention(&self, shape: &Attention, qkv: &[T], out: &mut [T], probs: &mut [T]);
    /// dqkv \[N,3C\] from dout \[N,C\]. `scratch` has T·T elements.
    fn attention_backward(
        &self,
        shape: &Attention,
        qkv: &[T],
        probs: &[T],
        dout: &[T],
        dqkv: &mut [T],
        scratch: &mut [T],
    );

    /// y = f(x).
    fn activation(&self, f: Activation, x: &[T], y: &mut [T]);
    /// dx = f'(x)·dy.
    fn activation_backward(&self, f: Activation, x: &[T], dy: &[T], dx: &mut [T]);

    /// x\[row\] = table\[token\] (+ positions\[row mod T\]), rows of `width`.
    fn embedding(&self, width: usize, tokens: &[u32], table: &[T], positions: Option<&[T]>, x: &mut [T]);
    /// dtable\[token\] += dx\[row\], in row order; dtable is zeroed first.
    fn embedding_backward(&self, width: usize, tokens: &[u32], dx: &[T], dtable: &mut [T]);
    /// out\[j\] = Σ_i x\[i,j\] by the column rule (32 strided partial rows, then the tree).
    fn column_sum(&self, width: usize, x: &[T], out: &mut [T]);

    /// Adds rows to the 32 partial rows \[32, width\] of a [`Self::column_sum`], from zero where they are the `first`.
    /// The rows before were a multiple of 32.
    fn column_sum_rows(&self, width: usize, x: &[T], first: bool, partial: &mut [T]) {
        reference::add_columns(width, x.len() / width, |at, _, acc| acc + x[at], first, partial);
    }
    /// The same for [`Self::layer_norm_dparams`]; `partial` is \[2, 32, width\], γ's before β's.
    #[expect(clippy::too_many_arguments, reason = "a kernel's operands")]
    fn layer_norm_dparams_rows(
        &self,
        width: usize,
        x: &[T],
        mean: &[T],
        rstd: &[T],
        dy: &[T],
        first: bool,
        partial: &mut [T],
    ) {
        let (gamma, beta) = partial.split_at_mut(LANES * width);
        let term = |at: usize, row: usize, acc: T| dy[at].mul_add((x[at] - mean[row]) * rstd[row], acc);
        reference::add_columns(width, mean.len(), term, first, gamma);
        reference::add_columns(width, mean.len(), |at, _, acc| acc + dy[at], first, beta);
    }
    /// The column sums \[width\] that the partial rows add up to, by the tree.
    fn fold_columns(&self, width: usize, partial: &[T], out: &mut [T]) {
        for (j, sum) in out.iter_mut().enumerate() {
            *sum = fold_lanes(std::array::from_fn(|lane| partial[lane * width + j]));
        }
    }

    /// losses \[N\] in nats and the log-sum-exp \[N\].
    fn cross_entropy(&self, shape: &CrossEntropy, logits: &[T], targets: &[u32], losses: &mut [T], lse: &mut [T]);
    /// dlogits = (softmax − smoothed target)·scale.
    fn cross_entropy_backward(
        &self,
        shape: &CrossEntropy,
        logits: &[T],
        targets: &[u32],
        lse: &[T],
        scale: T,
        dlogits: &mut [T],
    );

    /// out = a + b.
    fn add(&self, a: &[T], b: &[T], out: &mut [T]);
    /// out = a · b.
    fn mul(&self, a: &[T], b: &[T], out: &mut [T]);
    /// out = s · a.
    fn scale(&self, s: T, a: &[T], out: &mut [T]);
    /// Σ x by the 32-lane rule.
    fn sum(&self, x: &[T]) -> T;
    /// Σ x² by the 32-lane rule in blocks of 4,096, the blocks' results by the rule again.
    fn sum_squares(&self, x: &[T]) -> T;
    /// Evaluates `expr` over all elements. The gradient is multiplied by `grad_scale` first unless it is `None`.
    fn update(
        &self,
        expr: &UpdateExpr,
        scalars: &[T],
        grad_scale: Option<T>,
        param: &mut [T],
        grad: &[T],
        states: &mut [&mut [T]],
    );
}
