//! Images, batch statistics and interval bounds in a graph: builder methods, reverse rules, execution.

use super::backward::Reverse;
use super::build::Built;
use super::session::Operands;
use super::{Graph, Node, Op, ShapeError, TensorId, linear_bounds};
use crate::ops::{INTERVAL_SUMS, IntervalPenalty, Ops, Patches};
use crate::real::Real;

/// Two tensors of one shape: centre and radius, or mean and variance.
type Pair = Result<(TensorId, TensorId), ShapeError>;

impl Graph {
    /// Pixels of `shape` from bytes, one a token: byte/255.
    pub fn pixels(&mut self, bytes: TensorId, shape: &[usize]) -> Built {
        self.expect(bytes, &[shape.iter().product()], "bytes of pixels")?;
        let x = self.value("pixels", shape);
        self.emit(Op::Pixels, &[bytes], &[x]);
        Ok(x)
    }
    /// The same elements under another shape.
    pub fn reshape(&mut self, x: TensorId, shape: &[usize]) -> Built {
        let found = self.tensor(x);
        if found.len() != shape.iter().product() {
            return Err(ShapeError(format!("{} has shape {:?}, which is not {shape:?}", found.name, found.shape)));
        }
        let out = self.value("reshaped", shape);
        self.emit(Op::Scale(1.0), &[x], &[out]);
        Ok(out)
    }
    /// The windows of a convolution as rows \[B·H'·W', k·k·C\].
    pub fn patches(&mut self, x: TensorId, shape: Patches) -> Built {
        let fits = |size: usize| size + 2 * shape.padding >= shape.kernel;
        if shape.stride == 0 || shape.kernel == 0 || !fits(shape.height) || !fits(shape.width) {
            return Err(ShapeError(format!("no window of {shape:?} fits")));
        }
        if self.tensor(x).len() != shape.batch * shape.image_len() {
            return Err(ShapeError(format!("images: {:?} is not {shape:?}", self.tensor(x).shape)));
        }
        let out = self.value("patches", &[shape.rows(), shape.patch_len()]);
        self.emit(Op::Patches(shape), &[x], &[out]);
        Ok(out)
    }
    /// The graph's own host scalar `i` of a step, \[1\]; [`super::Program::own_scalars`] of them stand before the optimizer's.
    pub fn host_scalar(&mut self, i: usize) -> TensorId {
        let out = self.value("host scalar", &[1]);
        self.emit(Op::HostScalar(i), &[], &[out]);
        out
    }
    /// Mean \[C\] and biased variance \[C\] of the columns of x\[N,C\].
    pub fn column_moments(&mut self, x: TensorId) -> (TensorId, TensorId) {
        let c = self.tensor(x).width();
        let (mean, var) = (self.value("column mean", &[c]), self.value("column variance", &[c]));
        self.emit(Op::ColumnMoments, &[x], &[mean, var]);
        (mean, var)
    }
    /// 1/√(v + eps).
    pub fn rstd(&mut self, v: TensorId, eps: f64) -> TensorId {
        let out = self.value_like("rstd", v);
        self.emit(Op::Rstd { eps }, &[v], &[out]);
        out
    }
    /// (x − shift)·scale + offset by column.
    pub fn column_affine(&mut self, x: TensorId, [shift, scale, offset]: [TensorId; 3]) -> Built {
        let c = self.tensor(x).width();
        for id in [shift, scale, offset] {
            self.expect(id, &[c], "column affine")?;
        }
        let out = self.value_like("column affine", x);
        self.emit(Op::ColumnAffine, &[x, shift, scale, offset], &[out]);
        Ok(out)
    }
    /// x·scale by column.
    pub fn column_scale(&mut self, x: TensorId, scale: TensorId) -> Built {
        self.expect(scale, &[self.tensor(x).width()], "column scale")?;
        let out = self.value_like("column scale", x);
        self.emit(Op::ColumnScale, &[x, scale], &[out]);
        Ok(out)
    }
    /// Centre and radius of the box of radius `eps`\[1\] around x, cut at `limits`. No gradient goes through it.
    pub fn input_box(&mut self, x: TensorId, eps: TensorId, limits: [f64; 2]) -> Pair {
        self.expect(eps, &[1], "radius of the input")?;
        let (c, r) = (self.value_like("centre", x), self.value_like("radius", x));
        self.emit(Op::InputBox { limits }, &[x, eps], &[c, r]);
        Ok((c, r))
    }
    /// Centre and radius of ReLU.
    pub fn interval_relu(&mut self, c: TensorId, r: TensorId) -> Pair {
        self.expect(r, &self.tensor(c).shape, "radius")?;
        let (c_out, r_out) = (self.value_like("centre", c), self.value_like("radius", r));
        self.emit(Op::IntervalRelu, &[c, r], &[c_out, r_out]);
        Ok((c_out, r_out))
    }
    /// The penalty \[1\] of a layer's bounds, and the sums \[8\] behind it; `first`\[1\] is the input's mean radius.
    pub fn interval_penalty(&mut self, c: TensorId, r: TensorId, first: TensorId, p: IntervalPenalty) -> Pair {
        self.expect(r, &self.tensor(c).shape, "radius")?;
        self.expect(first, &[1], "the input's mean radius")?;
        let p = IntervalPenalty { width: self.tensor(c).width(), ..p };
        let (penalty, sums) = (self.value("penalty", &[1]), self.value("interval sums", &[INTERVAL_SUMS]));
        self.emit(Op::IntervalPenalty(p), &[c, r, first], &[penalty, sums]);
        Ok((penalty, sums))
    }
    /// Logits' margins \[N,V\] at worst: z = `centre`·w + `bias` and radii through the differences of w's columns, so that
    /// what two classes share cancels (the last layer merged with the comparison).
    pub fn worst_margins(
        &mut self,
        [centre, radius]: [TensorId; 2],
        w: TensorId,
        bias: Option<TensorId>,
        targets: TensorId,
    ) -> Built {
        let z = self.linear(centre, w, bias, None)?;
        let (n, v) = self.matrix(z);
        self.expect(targets, &[n], "targets")?;
        let k = self.tensor(w).rows();
        let distances = self.value("pair distances", &[k, v * v]);
        self.emit(Op::PairDistances, &[w], &[distances]);
        let radii = self.linear(radius, distances, None, None)?;
        let out = self.value("margins", &[n, v]);
        self.emit(Op::Margins, &[z, radii, targets], &[out]);
        Ok(out)
    }
    /// The share \[1\] of rows in which another class is above the target.
    pub fn errors(&mut self, logits: TensorId, targets: TensorId) -> Built {
        let (n, _) = self.matrix(logits);
        self.expect(targets, &[n], "targets")?;
        let (rate, wrong) = (self.value("error rate", &[1]), self.value("wrong", &[n]));
        self.emit(Op::Errors, &[logits, targets], &[rate, wrong]);
        Ok(rate)
    }
    /// The mean \[1\] of all elements of x\[N,C\]: rows, then their sums.
    pub fn mean(&mut self, x: TensorId) -> TensorId {
        let rows = self.row_sum(x);
        let total = self.column_sum(rows);
        self.scale(1.0 / self.tensor(x).len() as f64, total)
    }
}

impl Reverse<'_> {
    /// The reverse of the ops of this file; others have none.
    pub(super) fn bounds(&mut self, node: &Node, dy: TensorId) {
        let input = |i: usize| node.inputs[i];
        match &node.op {
            Op::Patches(shape) => self.unary(input(0), Op::PatchesBackward(*shape), &[dy]),
            Op::ColumnMoments => self.column_moments(node, dy),
            Op::Rstd { .. } => self.unary(input(0), Op::RstdBackward, &[node.outputs[0], dy]),
            Op::ColumnAffine => self.column_affine(node, dy),
            Op::ColumnScale => {
                self.unary(input(0), Op::ColumnScale, &[dy, input(1)]);
                self.unary(input(1), Op::ColumnDot { shift: false }, &[input(0), dy]);
            }
            Op::IntervalRelu => {
                let dr = self.so_far(node.outputs[1]).expect("both bounds of a layer are used");
                self.both(node, Op::IntervalReluBackward, &[input(0), input(1), dy, dr]);
            }
            Op::IntervalPenalty(p) => {
                let inputs = [input(0), input(1), input(2), node.outputs[1], dy];
                self.both(node, Op::IntervalPenaltyBackward(*p), &inputs);
            }
            Op::PairDistances => self.unary(input(0), Op::PairDistancesBackward, &[input(0), dy]),
            Op::Margins => self.both(node, Op::MarginsBackward, &[dy, input(2)]),
            _ => self.linear_bounds(node, dy),
        }
    }

    /// Contributions to the first two inputs by one op with two outputs.
    fn both(&mut self, node: &Node, op: Op, inputs: &[TensorId]) {
        let wanted = [node.inputs[0], node.inputs[1]];
        let outputs = wanted.map(|id| self.graph.value_like("gradient", id));
        self.graph.emit(op, inputs, &outputs);
        for (id, gradient) in wanted.into_iter().zip(outputs) {
            if self.wants(id) {
                self.contribute(id, gradient);
            }
        }
    }

    /// dx = (x − mean)·2/N·dvar + dmean/N.
    fn column_moments(&mut self, node: &Node, dmean: TensorId) {
        let (x, mean) = (node.inputs[0], node.outputs[0]);
        let dvar = self.so_far(node.outputs[1]).expect("both moments are used");
        let rows = self.graph.tensor(x).rows() as f64;
        let (scale, offset) = (self.graph.scale(2.0 / rows, dvar), self.graph.scale(1.0 / rows, dmean));
        self.unary(x, Op::ColumnAffine, &[x, mean, scale, offset]);
    }

    fn column_affine(&mut self, node: &Node, dy: TensorId) {
        let [x, shift, scale, offset] = [0, 1, 2, 3].map(|i| node.inputs[i]);
        self.unary(x, Op::ColumnScale, &[dy, scale]);
        self.unary(scale, Op::ColumnDot { shift: true }, &[x, dy, shift]);
        if !self.wants(offset) && !self.wants(shift) {
            return;
        }
        let sum = self.target(offset);
        self.graph.emit(Op::ColumnSum, &[dy], &[sum]);
        if self.wants(offset) {
            self.contribute(offset, sum);
        }
        if self.wants(shift) {
            let minus = self.graph.scale(-1.0, sum);
            self.unary(shift, Op::Mul, &[minus, scale]);
        }
    }
}

/// Executes an op of this file.
pub(super) fn compute<T: Real, K: Ops<T>>(ops: &K, o: &Operands<'_, T>) {
    match &o.step.op {
        Op::Pixels => ops.pixels(o.token_input(0), o.output(0)),
        Op::Patches(shape) => ops.patches(shape, o.input(0), o.output(0)),
        Op::PatchesBackward(shape) => ops.patches_backward(shape, o.input(0), o.output(0)),
        Op::ColumnMoments => ops.column_moments(o.width(0), o.input(0), o.output(0), o.output(1)),
        Op::Rstd { eps } => ops.rstd(*eps, o.input(0), o.output(0)),
        Op::RstdBackward => ops.rstd_backward(o.input(0), o.input(1), o.output(0)),
        Op::ColumnAffine => ops.column_affine(o.input(0), o.input(1), o.input(2), o.input(3), o.output(0)),
        Op::ColumnScale => ops.column_scale(o.input(0), o.input(1), o.output(0)),
        Op::ColumnDot { shift } => {
            ops.column_dot(o.input(0), shift.then(|| o.input(2)), o.input(1), o.output(0));
        }
        _ => interval(ops, o),
    }
}

fn interval<T: Real, K: Ops<T>>(ops: &K, o: &Operands<'_, T>) {
    match &o.step.op {
        Op::InputBox { limits } => ops.input_box(*limits, o.input(1)[0], o.input(0), o.output(0), o.output(1)),
        Op::IntervalRelu => ops.interval_relu(o.input(0), o.input(1), o.output(0), o.output(1)),
        Op::IntervalReluBackward => {
            let d_out = [o.input(2), o.input(3)];
            ops.interval_relu_backward(o.input(0), o.input(1), d_out, o.output(0), o.output(1));
        }
        Op::IntervalPenalty(p) => {
            o.output(0)[0] = ops.interval_penalty(p, o.input(0), o.input(1), o.input(2)[0], o.output(1));
        }
        Op::IntervalPenaltyBackward(p) => {
            let known = [o.input(2)[0], o.input(4)[0]];
            ops.interval_penalty_backward(p, o.input(0), o.input(1), o.input(3), known, o.output(0), o.output(1));
        }
        Op::PairDistances => ops.pair_distances(o.width(0), o.input(0), o.output(0)),
        Op::PairDistancesBackward => ops.pair_distances_backward(o.width(0), o.input(0), o.input(1), o.output(0)),
        Op::Margins => ops.margins(o.width(0), o.input(0), o.input(1), o.token_input(2), o.output(0)),
        Op::MarginsBackward => {
            ops.margins_backward(o.width(0), o.input(0), o.token_input(1), o.output(0), o.output(1));
        }
        Op::Errors => {
            let wrong = o.output(1);
            ops.errors(o.width(0), o.input(0), o.token_input(1), wrong);
            o.output(0)[0] = ops.sum(wrong) / T::from_f64(wrong.len() as f64);
        }
        _ => linear_bounds::compute(ops, o),
    }
}
