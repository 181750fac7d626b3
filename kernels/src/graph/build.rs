//! Builder methods: one per forward op, each checks its shapes.

use super::{Graph, Op, Role, ShapeError, TensorId};
use crate::ops::{Activation, Attention};

pub(super) type Built = Result<TensorId, ShapeError>;

impl Graph {
    /// A learned tensor.
    pub fn param(&mut self, name: &str, shape: &[usize]) -> TensorId {
        let id = self.declare(name, shape, Role::Param);
        let grad = self.declare(format!("grad {name}"), shape, Role::Grad);
        self.params.push((id, grad));
        id
    }
    /// A tensor that is kept between steps and that no gradient changes.
    pub fn state(&mut self, name: &str, shape: &[usize]) -> TensorId {
        self.declare(name, shape, Role::State)
    }
    /// A tensor that the caller writes.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> TensorId {
        self.declare(name, shape, Role::Input)
    }
    /// Token ids \[N\] that the caller writes.
    pub fn tokens(&mut self, name: &str, len: usize) -> TensorId {
        self.declare(name, &[len], Role::Tokens)
    }

    pub(crate) fn value(&mut self, name: &str, shape: &[usize]) -> TensorId {
        self.declare(name, shape, Role::Value)
    }
    pub(crate) fn value_like(&mut self, name: &str, other: TensorId) -> TensorId {
        let shape = self.tensor(other).shape.clone();
        self.value(name, &shape)
    }
    pub(super) fn expect(&self, id: TensorId, shape: &[usize], what: &str) -> Result<(), ShapeError> {
        let found = self.tensor(id);
        if found.shape == shape {
            Ok(())
        } else {
            Err(ShapeError(format!("{what}: {} has shape {:?}, needed {shape:?}", found.name, found.shape)))
        }
    }
    /// (rows, width) of a matrix; leading axes are merged.
    pub(super) fn matrix(&self, id: TensorId) -> (usize, usize) {
        let t = self.tensor(id);
        (t.rows(), t.width())
    }

    /// y\[N,M\] = x\[N,K\]·w\[K,M\] (+ bias\[M\] as the chains' start) (+ residual\[N,M\] after the chains).
    pub fn linear(&mut self, x: TensorId, w: TensorId, bias: Option<TensorId>, residual: Option<TensorId>) -> Built {
        let (n, k) = self.matrix(x);
        let m = self.tensor(w).width();
        self.expect(w, &[k, m], "linear weight")?;
        let mut inputs = vec![x, w];
        if let Some(b) = bias {
            self.expect(b, &[m], "linear bias")?;
            inputs.push(b);
        }
        if let Some(r) = residual {
            self.expect(r, &[n, m], "linear residual")?;
            inputs.push(r);
        }
        let y = self.value("linear", &[n, m]);
        self.emit(Op::Linear { bias: bias.is_some(), residual: residual.is_some() }, &inputs, &[y]);
        Ok(y)
    }
    /// y\[N,M\] = x\[N,K\]·w\[M,K\]ᵀ: the head that shares the embedding's table.
    pub fn linear_tied(&mut self, x: TensorId, w: TensorId) -> Built {
        let (n, k) = self.matrix(x);
        let m = self.tensor(w).rows();
        self.expect(w, &[m, k], "tied weight")?;
        let y = self.value("linear tied", &[n, m]);
        self.emit(Op::LinearTied, &[x, w], &[y]);
        Ok(y)
    }
    /// Layer normalisation over the last axis.
    pub fn layer_norm(&mut self, x: TensorId, gamma: TensorId, beta: TensorId, eps: f64) -> Built {
        let (n, c) = self.matrix(x);
        self.expect(gamma, &[c], "layer norm gamma")?;
        self.expect(beta, &[c], "layer norm beta")?;
        let y = self.value_like("layer norm", x);
        let (mean, rstd) = (self.value("mean", &[n]), self.value("rstd", &[n]));
        self.emit(Op::LayerNorm { eps }, &[x, gamma, beta], &[y, mean, rstd]);
        Ok(y)
    }
    /// Attention over packed projections qkv\[B·T,3C\].
    pub fn attention(&mut self, qkv: TensorId, shape: Attention) -> Built {
        let rows = shape.batch * shape.seq;
        self.expect(qkv, &[rows, 3 * shape.width()], "attention projections")?;
        let out = self.value("attention", &[rows, shape.width()]);
        let probs = self.value("probabilities", &[shape.probs_len()]);
        self.emit(Op::Attention(shape), &[qkv], &[out, probs]);
        Ok(out)
    }
    /// f(x), elementwise.
    pub fn activation(&mut self, f: Activation, x: TensorId) -> TensorId {
        let y = self.value_like("activation", x);
        self.emit(Op::Activation(f), &[x], &[y]);
        y
    }
    /// Rows of `table`\[V,C\] by token (+ positions\[T,C\], repeated over sequences).
    pub fn embedding(&mut self, tokens: TensorId, table: TensorId, positions: Option<TensorId>) -> Built {
        let (n, c) = (self.tensor(tokens).len(), self.tensor(table).width());
        let mut inputs = vec![tokens, table];
        if let Some(p) = positions {
            let t = self.tensor(p).rows();
            self.expect(p, &[t, c], "positions")?;
            if t == 0 || n % t != 0 {
                return Err(ShapeError(format!("positions: {n} tokens are not whole sequences of {t}")));
            }
            inputs.push(p);
        }
        let x = self.value("embedding", &[n, c]);
        self.emit(Op::Embedding { positions: positions.is_some() }, &inputs, &[x]);
        Ok(x)
    }
    /// Mean cross-entropy \[1\] in nats, and its per-row values \[N\].
    pub fn cross_entropy(
        &mut self,
        logits: TensorId,
        targets: TensorId,
        smoothing: f64,
    ) -> Result<(TensorId, TensorId), ShapeError> {
        let (n, _) = self.matrix(logits);
        self.expect(targets, &[n], "targets")?;
        let (loss, losses, lse) = (self.value("loss", &[1]), self.value("losses", &[n]), self.value("lse", &[n]));
        self.emit(Op::CrossEntropy { smoothing }, &[logits, targets], &[loss, losses, lse]);
        Ok((loss, losses))
    }
    /// a + b.
    pub fn add(&mut self, a: TensorId, b: TensorId) -> Built {
        self.pointwise(Op::Add, a, b)
    }
    /// a · b, elementwise.
    pub fn mul(&mut self, a: TensorId, b: TensorId) -> Built {
        self.pointwise(Op::Mul, a, b)
    }
    fn pointwise(&mut self, op: Op, a: TensorId, b: TensorId) -> Built {
        self.expect(b, &self.tensor(a).shape, "second operand")?;
        let out = self.value_like("pointwise", a);
        self.emit(op, &[a, b], &[out]);
        Ok(out)
    }
    /// s · a.
    pub fn scale(&mut self, s: f64, a: TensorId) -> TensorId {
        let out = self.value_like("scaled", a);
        self.emit(Op::Scale(s), &[a], &[out]);
        out
    }
    /// Dropout with per-step randomness from the run's seed.
    pub fn dropout(&mut self, x: TensorId, rate: f64, stream: u32) -> TensorId {
        let (y, mask) = (self.value_like("dropout", x), self.value_like("dropout mask", x));
        self.emit(Op::Dropout { rate, stream }, &[x], &[y, mask]);
        y
    }
    /// Σx² as \[1\].
    pub fn sum_squares(&mut self, x: TensorId) -> TensorId {
        let out = self.value("sum of squares", &[1]);
        self.emit(Op::SumSquares, &[x], &[out]);
        out
    }
    /// Column sums \[C\] of x\[N,C\].
    pub fn column_sum(&mut self, x: TensorId) -> TensorId {
        let out = self.value("column sums", &[self.tensor(x).width()]);
        self.emit(Op::ColumnSum, &[x], &[out]);
        out
    }
    /// Row sums \[N,1\] of x\[N,C\].
    pub fn row_sum(&mut self, x: TensorId) -> TensorId {
        let out = self.value("row sums", &[self.tensor(x).rows(), 1]);
        self.emit(Op::RowSum, &[x], &[out]);
        out
    }
    /// The smaller of x·xᵀ \[N,N\] and xᵀ·x \[K,K\] of x\[N,K\]; the first where N ≤ K.
    pub fn gram(&mut self, x: TensorId) -> TensorId {
        let (n, k) = self.matrix(x);
        let (op, side) = if n <= k { (Op::LinearTied, n) } else { (Op::LinearDw, k) };
        let out = self.value("gram", &[side, side]);
        self.emit(op, &[x, x], &[out]);
        out
    }
    /// state ← state + rate·(x − state).
    pub fn ema(&mut self, state: TensorId, x: TensorId, rate: f64) -> Result<(), ShapeError> {
        self.expect(x, &self.tensor(state).shape, "running value")?;
        self.emit(Op::Ema { rate }, &[state, x], &[state]);
        Ok(())
    }
    /// The norm \[1\] of the whole flat gradient. Call after [`Graph::backward`].
    pub fn grad_norm(&mut self) -> TensorId {
        let out = self.value("grad norm", &[1]);
        let grads: Vec<TensorId> = self.params.iter().map(|p| p.1).collect();
        self.emit(Op::GradNorm, &grads, &[out]);
        out
    }
}
