//! A model is written once as a graph of ops with static shapes; the reverse pass is derived from it.
//!
//! - [`Graph`] collects tensors and nodes; its builder methods check shapes.
//! - [`Graph::backward`] appends the reverse pass as ordinary nodes.
//! - [`Graph::compile`] plans memory for a set of entry points (train, evaluate, probe) over one arena.
//! - [`Session`] holds the arena of a cohort of runs and replays an entry; a step allocates nothing.
//!
//! Every tensor has a leading run axis R that shapes here leave out.

mod backward;
mod bounds;
mod build;
mod later;
mod layout;
mod linear_bounds;
mod micro_batch;
mod node;
mod optimizer;
mod plan;
mod session;

pub use backward::Gradients;
pub use linear_bounds::BoundedLayer;
pub(crate) use micro_batch::Part;
pub use node::{Node, Op};
pub use optimizer::{Given, PerTensor, ScalarSource, TensorUpdate, Update};
pub use plan::{EntryId, Program};
pub(crate) use plan::{Slot, Step};
pub use session::{Session, Watch};

use std::fmt;

/// A tensor of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorId(pub(crate) u32);

impl TensorId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a tensor is for, which decides where it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Learned: lives in the flat parameter buffer.
    Param,
    /// The gradient of a parameter: lives at the same place of the flat gradient buffer.
    Grad,
    /// Kept between steps, changed by ops but by no gradient (running statistics).
    State,
    /// Kept between steps by the optimizer, zero before the first.
    Moment,
    /// Written by the caller before an entry runs.
    Input,
    /// Token ids written by the caller; `u32`.
    Tokens,
    /// Computed by a node.
    Value,
}

/// A tensor's name, shape (without the run axis) and role.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// For messages and for finding parameters by name.
    pub name: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// Where it lives.
    pub role: Role,
}

impl Tensor {
    /// Elements of one run.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Length of the last axis.
    pub fn width(&self) -> usize {
        *self.shape.last().unwrap_or(&1)
    }
    /// Elements over the last axis.
    pub fn rows(&self) -> usize {
        self.len() / self.width().max(1)
    }
}

/// A shape that an op cannot take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError(pub String);

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ShapeError {}

/// A graph under construction.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) nodes: Vec<Node>,
    /// Parameters in order of declaration, each with its gradient tensor.
    pub(crate) params: Vec<(TensorId, TensorId)>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }
    /// A tensor's description.
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.index()]
    }
    /// Parameters in order of declaration.
    pub fn params(&self) -> impl Iterator<Item = TensorId> + '_ {
        self.params.iter().map(|p| p.0)
    }
    /// Tensors of one role, in order of declaration.
    pub fn tensors_with(&self, role: Role) -> Vec<TensorId> {
        (0..self.tensors.len() as u32).map(TensorId).filter(|id| self.tensor(*id).role == role).collect()
    }
    /// The gradient tensor of a parameter.
    pub fn grad_of(&self, param: TensorId) -> Option<TensorId> {
        self.params.iter().find(|p| p.0 == param).map(|p| p.1)
    }
    /// The parameter called `name`.
    pub fn param_named(&self, name: &str) -> Option<TensorId> {
        self.params().find(|p| self.tensor(*p).name == name)
    }
    /// All nodes in order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn declare(&mut self, name: impl Into<String>, shape: &[usize], role: Role) -> TensorId {
        let id = TensorId(u32::try_from(self.tensors.len()).expect("fewer than 2^32 tensors"));
        self.tensors.push(Tensor { name: name.into(), shape: shape.to_vec(), role });
        id
    }
    pub(crate) fn emit(&mut self, op: Op, inputs: &[TensorId], outputs: &[TensorId]) {
        self.nodes.push(Node { op, inputs: inputs.to_vec(), outputs: outputs.to_vec() });
    }
}
