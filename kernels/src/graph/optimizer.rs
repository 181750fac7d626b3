//! What an optimizer does to the parameters, as nodes: one expression over all of them at once, or stages tensor by tensor.
//!
//! An elementwise optimizer is one [`Op::Update`] over the flat buffers. One that needs norms, row and column sums or
//! products is written as stages for one parameter tensor ([`TensorUpdate`]), and its nodes are appended for each: a
//! device that replays the graph replays them, and needs no more than [`crate::ops::Ops`].

use super::{Graph, Op, Role, TensorId};
use crate::update::UpdateExpr;
use std::fmt;

/// An optimizer's step.
pub enum Update {
    /// The same expression for every element.
    Elementwise(UpdateExpr),
    /// Stages, tensor by tensor.
    PerTensor(PerTensor),
}

/// See [`Update::per_tensor`].
pub struct PerTensor {
    scalars: Vec<&'static str>,
    stages: Box<dyn Fn(&mut TensorUpdate<'_>)>,
}

impl Update {
    /// A step whose `stages` append nodes for one tensor. `scalars` names the host scalars, in the order in which they are set.
    pub fn per_tensor(scalars: &[&'static str], stages: impl Fn(&mut TensorUpdate<'_>) + 'static) -> Self {
        Self::PerTensor(PerTensor { scalars: scalars.to_vec(), stages: Box::new(stages) })
    }
    /// Names of the host scalars, in index order.
    pub fn scalars(&self) -> &[&'static str] {
        match self {
            Self::Elementwise(expr) => &expr.scalars,
            Self::PerTensor(stages) => &stages.scalars,
        }
    }
}

impl From<UpdateExpr> for Update {
    fn from(expr: UpdateExpr) -> Self {
        Self::Elementwise(expr)
    }
}

impl fmt::Debug for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elementwise(expr) => f.debug_tuple("Elementwise").field(expr).finish(),
            Self::PerTensor(stages) => f.debug_struct("PerTensor").field("scalars", &stages.scalars).finish(),
        }
    }
}

/// Where a scalar of a map's expression comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScalarSource {
    /// Host scalar of this index.
    Host(usize),
    /// The only element of the node's input of this index.
    Input(usize),
    /// A number that the shape gives.
    Number(f64),
}

/// What a map's scalar is bound to.
#[derive(Clone, Copy, Debug)]
pub enum Given {
    /// The only element of a tensor \[1\].
    Tensor(TensorId),
    /// A number that the shape gives.
    Number(f64),
}

/// The stages of one parameter tensor under construction.
pub struct TensorUpdate<'g> {
    graph: &'g mut Graph,
    host: &'g [&'static str],
    param: TensorId,
    grad: TensorId,
    norm: TensorId,
    clip: Option<f64>,
}

impl TensorUpdate<'_> {
    /// The parameter.
    pub const fn param(&self) -> TensorId {
        self.param
    }
    /// Its gradient. Only [`Self::map`] clips it; what reduces it takes [`Self::clipped_grad`].
    pub const fn grad(&self) -> TensorId {
        self.grad
    }
    /// (rows, columns) of the parameter; leading axes are merged.
    pub fn shape(&self) -> (usize, usize) {
        let tensor = self.graph.tensor(self.param);
        (tensor.rows(), tensor.width())
    }
    /// Whether the parameter has two axes or more.
    pub fn is_matrix(&self) -> bool {
        self.graph.tensor(self.param).shape.len() > 1
    }
    /// Whether the parameter is the weight of a linear layer inside the network: no table of an embedding, no head whose
    /// products are logits.
    pub fn is_hidden_matrix(&self) -> bool {
        self.is_matrix() && self.graph.is_hidden(self.param)
    }
    /// The graph, for products and sums.
    pub const fn graph(&mut self) -> &mut Graph {
        self.graph
    }
    /// Kept from step to step, zero before the first.
    pub fn moment(&mut self, name: &str, shape: &[usize]) -> TensorId {
        let name = format!("{name} of {}", self.graph.tensor(self.param).name);
        self.graph.declare(name, shape, Role::Moment)
    }
    /// A moment of the parameter's shape.
    pub fn moment_like_param(&mut self, name: &str) -> TensorId {
        let shape = self.graph.tensor(self.param).shape.clone();
        self.moment(name, &shape)
    }
    /// Room that a map fills.
    pub fn temp(&mut self, shape: &[usize]) -> TensorId {
        self.graph.value("optimizer", shape)
    }
    /// Room of the parameter's shape.
    pub fn temp_like_param(&mut self) -> TensorId {
        self.graph.value_like("optimizer", self.param)
    }
    /// The gradient as a tensor of its own where the run clips.
    pub fn clipped_grad(&mut self) -> TensorId {
        if self.clip.is_none() {
            return self.grad;
        }
        let mut b = crate::update::UpdateBuilder::new();
        let g = b.grad();
        let (out, grad) = (self.temp_like_param(), self.grad);
        self.map(b.finish(g, vec![]), out, grad, &[], &[]);
        out
    }
    /// Evaluates `expr` over tensors of one length: `target` is its parameter, `source` its gradient (clipped where it
    /// is the gradient), `states` its states. A scalar is looked for in `given`, then among the host scalars.
    ///
    /// # Panics
    ///
    /// Operands that overlap or differ in length, an unknown scalar: faults of the code.
    pub fn map(
        &mut self,
        expr: UpdateExpr,
        target: TensorId,
        source: TensorId,
        states: &[TensorId],
        given: &[(&str, Given)],
    ) {
        let outputs: Vec<TensorId> = std::iter::once(target).chain(states.iter().copied()).collect();
        let len = self.graph.tensor(target).len();
        assert!(expr.states == states.len(), "a tensor for each state");
        for (i, id) in outputs.iter().enumerate() {
            assert!(*id != source && !outputs[..i].contains(id), "operands of a map are different tensors");
            assert_eq!(self.graph.tensor(*id).len(), len, "operands of a map have one length");
        }
        assert_eq!(self.graph.tensor(source).len(), len, "operands of a map have one length");
        let clip = self.clip.filter(|_| source == self.grad);
        let mut inputs = vec![source];
        inputs.extend(clip.map(|_| self.norm));
        let scalars = expr.scalars.iter().map(|name| match given.iter().find(|(key, _)| key == name) {
            Some((_, Given::Number(x))) => ScalarSource::Number(*x),
            Some((_, Given::Tensor(id))) => {
                inputs.push(*id);
                ScalarSource::Input(inputs.len() - 1)
            }
            None => {
                let host = self.host.iter().position(|host| host == name);
                ScalarSource::Host(host.unwrap_or_else(|| panic!("{name} is no scalar of the step")))
            }
        });
        let scalars = scalars.collect();
        // What is changed in place is needed too.
        inputs.extend(&outputs);
        self.graph.emit(Op::Map { expr, scalars, clip }, &inputs, &outputs);
    }
}

impl Graph {
    /// One optimizer step over all parameters, the gradient clipped to `clip` by its norm. Returns the
    /// step's token, to be named as an entry's root. Call after the model and [`Graph::backward`].
    pub fn update(&mut self, norm: TensorId, update: impl Into<Update>, clip: Option<f64>) -> TensorId {
        let done = self.value("update done", &[1]);
        match update.into() {
            Update::Elementwise(expr) => self.emit(Op::Update { expr, clip }, &[norm], &[done]),
            Update::PerTensor(PerTensor { scalars, stages }) => {
                for (param, grad) in self.params.clone() {
                    stages(&mut TensorUpdate { graph: self, host: &scalars, param, grad, norm, clip });
                }
                let changed = [self.tensors_with(Role::Param), self.tensors_with(Role::Moment)].concat();
                self.emit(Op::Ones, &changed, &[done]);
            }
        }
        done
    }

    fn is_hidden(&self, param: TensorId) -> bool {
        let is_logits =
            |id: TensorId| self.nodes.iter().any(|n| matches!(n.op, Op::CrossEntropy { .. }) && n.inputs[0] == id);
        let mut hidden = false;
        for node in &self.nodes {
            match node.op {
                Op::Linear { .. } if node.inputs[1] == param && is_logits(node.outputs[0]) => return false,
                Op::Linear { .. } if node.inputs[1] == param => hidden = true,
                Op::Embedding { .. } | Op::LinearTied if node.inputs[1..].contains(&param) => return false,
                _ => {}
            }
        }
        hidden
    }
}
