//! Linear bounds in a graph: builder methods, reverse rules, execution.

use super::backward::Reverse;
use super::build::Built;
use super::session::Operands;
use super::{Graph, Node, Op, ShapeError, TensorId};
use crate::ops::Ops;
use crate::real::Real;

/// A dense layer as linear bounds go back through it.
#[derive(Clone, Copy, Debug)]
pub struct BoundedLayer {
    /// Weight \[K,M\].
    pub w: TensorId,
    /// What each output is multiplied by afterwards, \[M\]: batch normalisation's γ/σ.
    pub scale: Option<TensorId>,
    /// Centre and radius before ReLU, \[N,M\].
    pub interval: [TensorId; 2],
}

impl Graph {
    /// Upper bounds \[N,V\] of every class's margin over the target. `layers` are the hidden ones from first to last, `radius`
    /// \[N,·\] that of the input, `z`\[N,V\] the logits of the centre that the last layer is given, `w`\[K,V\] its weight.
    pub fn linear_margins(
        &mut self,
        radius: TensorId,
        layers: &[BoundedLayer],
        [z, w]: [TensorId; 2],
        targets: TensorId,
    ) -> Built {
        let (n, v) = self.matrix(z);
        let contrasts = self.contrasts(targets, v)?;
        let mut margins = self.group_dot(false, contrasts, z)?;
        let mut a = self.linear_tied(contrasts, w)?;
        for BoundedLayer { w, scale, interval } in layers.iter().rev() {
            let (before, more) = self.linear_relu(a, *interval)?;
            margins = self.add(margins, more)?;
            let scaled = scale.map_or(Ok(before), |scale| self.column_scale(before, scale))?;
            a = self.linear_tied(scaled, *w)?;
        }
        let reach = self.group_dot(true, a, radius)?;
        let margins = self.add(margins, reach)?;
        self.reshape(margins, &[n, v])
    }
    /// `from` + `share`\[1\]·(`to` − `from`). The share gets no gradient.
    pub fn mix(&mut self, share: TensorId, from: TensorId, to: TensorId) -> Built {
        let minus = self.scale(-1.0, from);
        let way = self.add(to, minus)?;
        let column = self.reshape(way, &[self.tensor(from).len(), 1])?;
        let part = self.column_scale(column, share)?;
        let part = self.reshape(part, &self.tensor(from).shape.clone())?;
        self.add(from, part)
    }
    /// \[N·V,V\]: row (i, j) is e_j − e_y, y the target of i.
    pub fn contrasts(&mut self, targets: TensorId, classes: usize) -> Built {
        let n = self.tensor(targets).len();
        let out = self.value("contrasts", &[n * classes, classes]);
        self.emit(Op::Contrasts, &[targets], &[out]);
        Ok(out)
    }
    /// Coefficients a\[N·G,K\] behind ReLU as those before it, where the intervals are \[N,K\], and what the bounds of the rows
    /// move by, \[N·G,1\].
    pub fn linear_relu(&mut self, a: TensorId, [c, r]: [TensorId; 2]) -> Result<(TensorId, TensorId), ShapeError> {
        self.expect(r, &self.tensor(c).shape, "radius")?;
        self.expect_groups(a, c)?;
        let rows = self.tensor(a).rows();
        let (before, more) = (self.value_like("coefficients", a), self.value("offset", &[rows, 1]));
        self.emit(Op::LinearRelu, &[a, c, r], &[before, more]);
        Ok((before, more))
    }
    /// Σ_k a\[N·G,K\]·x\[N,K\] as \[N·G,1\]; with `size` that of |a|.
    pub fn group_dot(&mut self, size: bool, a: TensorId, x: TensorId) -> Built {
        self.expect_groups(a, x)?;
        let out = self.value("group dot", &[self.tensor(a).rows(), 1]);
        self.emit(Op::GroupDot { size }, &[a, x], &[out]);
        Ok(out)
    }
    /// a\[N·G,K\] for an x\[N,K\].
    fn expect_groups(&self, a: TensorId, x: TensorId) -> Result<(), ShapeError> {
        let (rows, width) = self.matrix(a);
        let (n, k) = self.matrix(x);
        if width == k && n > 0 && rows > 0 && rows % n == 0 {
            return Ok(());
        }
        let (a, x) = (self.tensor(a), self.tensor(x));
        Err(ShapeError(format!("rows of {} {:?} are no groups of those of {} {:?}", a.name, a.shape, x.name, x.shape)))
    }
}

impl Reverse<'_> {
    /// The reverse of the ops of this file; others have none.
    pub(super) fn linear_bounds(&mut self, node: &Node, dy: TensorId) {
        let [a, x] = match node.inputs.as_slice() {
            [a, x, ..] => [*a, *x],
            _ => return,
        };
        match &node.op {
            Op::LinearRelu => {
                let db = self.so_far(node.outputs[1]).expect("both parts of a bound are used");
                self.each(&[a, x, node.inputs[2]], Op::LinearReluBackward, &[a, x, node.inputs[2], dy, db]);
            }
            Op::GroupDot { size } => self.each(&[a, x], Op::GroupDotBackward { size: *size }, &[a, x, dy]),
            _ => {}
        }
    }

    /// Contributions to each of `wanted` by one op with as many outputs.
    fn each(&mut self, wanted: &[TensorId], op: Op, inputs: &[TensorId]) {
        let outputs: Vec<TensorId> = wanted.iter().map(|id| self.graph.value_like("gradient", *id)).collect();
        self.graph.emit(op, inputs, &outputs);
        for (id, gradient) in wanted.iter().zip(outputs) {
            if self.wants(*id) {
                self.contribute(*id, gradient);
            }
        }
    }
}

/// Executes an op of this file.
pub(super) fn compute<T: Real, K: Ops<T>>(ops: &K, o: &Operands<'_, T>) {
    let width = o.width(0);
    match &o.step.op {
        Op::Contrasts => ops.contrasts(o.step.outputs[0].width, o.token_input(0), o.output(0)),
        Op::LinearRelu => ops.linear_relu(width, o.input(0), o.input(1), o.input(2), o.output(0), o.output(1)),
        Op::LinearReluBackward => {
            let (interval, d_out) = ([o.input(1), o.input(2)], [o.input(3), o.input(4)]);
            ops.linear_relu_backward(width, o.input(0), interval, d_out, o.output(0), o.output(1), o.output(2));
        }
        Op::GroupDot { size } => ops.group_dot(width, *size, o.input(0), o.input(1), o.output(0)),
        Op::GroupDotBackward { size } => {
            ops.group_dot_backward(width, *size, o.input(0), o.input(1), o.input(2), o.output(0), o.output(1));
        }
        op => unreachable!("{} is executed elsewhere", op.name()),
    }
}
