//! Reverse mode: appends, for each forward node from last to first, the nodes of its vector–Jacobian product.

use super::{Graph, Op, Role, TensorId};
use std::collections::BTreeMap;

/// Gradients by tensor.
#[derive(Debug, Default)]
pub struct Gradients {
    by_tensor: BTreeMap<TensorId, TensorId>,
}

impl Gradients {
    /// The gradient with respect to `tensor`, where the loss depends on it.
    pub fn get(&self, tensor: TensorId) -> Option<TensorId> {
        self.by_tensor.get(&tensor).copied()
    }
}

/// The reverse pass while it is being written.
pub(super) struct Reverse<'g> {
    pub(super) graph: &'g mut Graph,
    needed: Vec<bool>,
    /// Forward uses of each tensor.
    uses: Vec<usize>,
    grads: Gradients,
}

impl Graph {
    /// Appends the reverse pass of the scalar `loss` with respect to all parameters and to `wrt` (inputs).
    /// Parameters' gradients land in the flat gradient buffer.
    pub fn backward(&mut self, loss: TensorId, wrt: &[TensorId]) -> Gradients {
        let one = self.value("dloss", &[1]);
        self.emit(Op::Ones, &[], &[one]);
        self.backward_from(loss, one, wrt)
    }

    /// The vector–Jacobian product of `output` with `cotangent`, a tensor of the same shape.
    pub fn backward_from(&mut self, output: TensorId, cotangent: TensorId, wrt: &[TensorId]) -> Gradients {
        let needed = self.needs_gradient(wrt);
        let forward = self.nodes.len();
        let mut uses = vec![0; self.tensors.len()];
        for input in self.nodes.iter().flat_map(|n| &n.inputs) {
            uses[input.index()] += 1;
        }
        let mut reverse = Reverse { graph: self, needed, uses, grads: Gradients::default() };
        reverse.grads.by_tensor.insert(output, cotangent);
        for index in (0..forward).rev() {
            reverse.node(index);
        }
        reverse.land();
        reverse.grads
    }

    /// Which tensors depend on a parameter or on one of `wrt`.
    fn needs_gradient(&self, wrt: &[TensorId]) -> Vec<bool> {
        let mut needed: Vec<bool> = self.tensors.iter().map(|t| t.role == Role::Param).collect();
        for id in wrt {
            needed[id.index()] = true;
        }
        for node in &self.nodes {
            if node.inputs.iter().any(|i| needed[i.index()]) {
                for out in &node.outputs {
                    needed[out.index()] = true;
                }
            }
        }
        needed
    }
}

impl Reverse<'_> {
    pub(super) fn wants(&self, id: TensorId) -> bool {
        self.needed[id.index()]
    }
    pub(super) fn so_far(&self, id: TensorId) -> Option<TensorId> {
        self.grads.get(id)
    }
    /// Where the gradient of `id` goes: a parameter's only contribution goes to the flat buffer at once.
    pub(super) fn target(&mut self, id: TensorId) -> TensorId {
        match self.graph.grad_of(id) {
            Some(flat) if self.uses[id.index()] == 1 => flat,
            _ => self.graph.value_like("gradient", id),
        }
    }
    /// Copies the gradients of parameters with several uses into the flat buffer.
    fn land(&mut self) {
        for (param, flat) in self.graph.params.clone() {
            if let Some(grad) = self.so_far(param).filter(|g| *g != flat) {
                self.graph.emit(Op::Scale(1.0), &[grad], &[flat]);
                self.grads.by_tensor.insert(param, flat);
            }
        }
    }
    /// Adds a contribution that no op could fuse.
    pub(super) fn contribute(&mut self, id: TensorId, grad: TensorId) {
        let total = match self.so_far(id) {
            None => grad,
            Some(before) => {
                let out = self.graph.value_like("gradient sum", id);
                self.graph.emit(Op::Add, &[before, grad], &[out]);
                out
            }
        };
        self.grads.by_tensor.insert(id, total);
    }
    /// Emits `op` whose only output is the whole gradient of `id` so far, `add` already folded in.
    fn replace(&mut self, id: TensorId, op: Op, inputs: &[TensorId]) {
        let out = self.graph.value_like("gradient", id);
        self.graph.emit(op, inputs, &[out]);
        self.grads.by_tensor.insert(id, out);
    }

    fn node(&mut self, index: usize) {
        let node = self.graph.nodes[index].clone();
        let Some(dy) = node.outputs.first().and_then(|y| self.so_far(*y)) else {
            let later = node.outputs.iter().any(|y| self.so_far(*y).is_some());
            assert!(!later, "{}: the loss depends on a later output alone", node.op.name());
            return;
        };
        let x = node.inputs.first().copied();
        match (node.op.clone(), x) {
            (Op::Linear { bias, residual }, Some(x)) => self.linear(&node.inputs, x, bias, residual, dy),
            (Op::LinearTied, Some(x)) => self.linear_tied(x, node.inputs[1], dy),
            (Op::LayerNorm { .. }, Some(x)) => self.layer_norm(x, &node.inputs, &node.outputs, dy),
            (Op::Attention(shape), Some(qkv)) => {
                let dqkv = self.graph.value_like("dqkv", qkv);
                let scratch = self.graph.value("attention scratch", &[shape.seq * shape.seq]);
                self.graph.emit(Op::AttentionBackward(shape), &[qkv, node.outputs[1], dy], &[dqkv, scratch]);
                self.contribute(qkv, dqkv);
            }
            (Op::Activation(f), Some(x)) => self.unary(x, Op::ActivationBackward(f), &[x, dy]),
            (Op::Embedding { positions }, Some(tokens)) => self.embedding(tokens, &node.inputs, positions, dy),
            (Op::CrossEntropy { smoothing }, Some(logits)) => {
                let inputs = [logits, node.inputs[1], node.outputs[2], dy];
                self.unary(logits, Op::CrossEntropyBackward { smoothing }, &inputs);
            }
            (Op::Add, Some(a)) => {
                for input in [a, node.inputs[1]] {
                    if self.wants(input) {
                        self.contribute(input, dy);
                    }
                }
            }
            (Op::Mul, Some(a)) => {
                let b = node.inputs[1];
                self.unary(a, Op::Mul, &[dy, b]);
                self.unary(b, Op::Mul, &[dy, a]);
            }
            (Op::Scale(s), Some(a)) => self.unary(a, Op::Scale(s), &[dy]),
            (Op::Dropout { .. }, Some(x)) => self.unary(x, Op::Mul, &[dy, node.outputs[1]]),
            (Op::ColumnSum, Some(_)) | (Op::SumSquares, Some(_)) => {
                unreachable!("{:?} is a probe: no loss is built on it", self.graph.nodes[index].op)
            }
            _ => self.bounds(&node, dy),
        }
    }

    /// One contribution by one op with one output.
    pub(super) fn unary(&mut self, id: TensorId, op: Op, inputs: &[TensorId]) {
        if self.wants(id) {
            let out = self.target(id);
            self.graph.emit(op, inputs, &[out]);
            self.contribute(id, out);
        }
    }

    /// A contribution by an op that can add what is there already.
    fn fused(&mut self, id: TensorId, op: impl Fn(bool) -> Op, inputs: &[TensorId]) {
        if self.wants(id) {
            let before = self.so_far(id);
            let inputs: Vec<TensorId> = inputs.iter().copied().chain(before).collect();
            self.replace(id, op(before.is_some()), &inputs);
        }
    }

    fn linear(&mut self, inputs: &[TensorId], x: TensorId, bias: bool, residual: bool, dy: TensorId) {
        let w = inputs[1];
        if residual {
            let r = inputs[2 + usize::from(bias)];
            if self.wants(r) {
                self.contribute(r, dy);
            }
        }
        self.fused(x, |add| Op::LinearDx { add }, &[dy, w]);
        self.unary(w, Op::LinearDw, &[x, dy]);
        if bias {
            self.unary(inputs[2], Op::ColumnSum, &[dy]);
        }
    }

    fn linear_tied(&mut self, x: TensorId, w: TensorId, dy: TensorId) {
        self.fused(x, |add| Op::LinearTiedDx { add }, &[dy, w]);
        self.unary(w, Op::LinearTiedDw, &[x, dy]);
    }

    fn layer_norm(&mut self, x: TensorId, inputs: &[TensorId], outputs: &[TensorId], dy: TensorId) {
        let (gamma, beta) = (inputs[1], inputs[2]);
        let (mean, rstd) = (outputs[1], outputs[2]);
        if self.wants(gamma) || self.wants(beta) {
            let (dgamma, dbeta) = (self.target(gamma), self.target(beta));
            self.graph.emit(Op::LayerNormDparams, &[x, mean, rstd, dy], &[dgamma, dbeta]);
            self.contribute(gamma, dgamma);
            self.contribute(beta, dbeta);
        }
        self.fused(x, |add| Op::LayerNormDx { add }, &[x, gamma, mean, rstd, dy]);
    }

    fn embedding(&mut self, tokens: TensorId, inputs: &[TensorId], positions: bool, dy: TensorId) {
        self.unary(inputs[1], Op::EmbeddingBackward, &[tokens, dy]);
        if positions {
            self.unary(inputs[2], Op::ColumnSum, &[dy]);
        }
    }
}
