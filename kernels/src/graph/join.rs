//! Steps that a device may carry out together with the next one: what the first one writes is then used while it is
//! near, and some of it need not be written at all.

use super::{Graph, Op, Role, TensorId};
use std::collections::BTreeMap;

/// What a step and the next one are together. With `spare`, the activation's input x is read by these two joins of
/// the entry alone, so that a device may keep there what its own backward needs instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    /// A linear layer and the activation of what it computes.
    Activation { spare: bool },
    /// The gradients of a linear layer's weights and of its bias.
    ColumnSum,
    /// The gradients of a layer norm's parameters and of its input.
    LayerNormBackward,
    /// The gradient to a linear layer's input, which nothing else reads, and through the activation it came from.
    ActivationBackward { spare: bool },
}

impl Join {
    /// What tables call the two.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Activation { .. } => "linear + activation",
            Self::ActivationBackward { .. } => "linear dx + activation",
            Self::ColumnSum => "linear dw + column sum",
            Self::LayerNormBackward => "layer norm backward",
        }
    }
}

/// The nodes of an entry in their order, with those that read each tensor.
struct Entry<'g> {
    graph: &'g Graph,
    picked: &'g [usize],
    roots: &'g [TensorId],
    readers: BTreeMap<TensorId, Vec<usize>>,
}

/// For each of the `picked` nodes, whether it may be joined with the next one. No node is in two joins.
pub(super) fn joins(graph: &Graph, picked: &[usize], roots: &[TensorId]) -> Vec<Option<Join>> {
    let mut readers: BTreeMap<TensorId, Vec<usize>> = BTreeMap::new();
    for (at, &index) in picked.iter().enumerate() {
        for input in &graph.nodes[index].inputs {
            readers.entry(*input).or_default().push(at);
        }
    }
    let entry = Entry { graph, picked, roots, readers };
    let join = |at| {
        let spare = |x| entry.is_spare(x);
        let forward = entry.forward(at).map(|x| Join::Activation { spare: spare(x) });
        let backward = || entry.backward(at).map(|x| Join::ActivationBackward { spare: spare(x) });
        forward.or_else(backward).or_else(|| entry.sums(at))
    };
    (0..picked.len()).map(join).collect()
}

impl Entry<'_> {
    /// The nodes `at` and `at + 1`, inputs and outputs included.
    fn two(&self, at: usize) -> Option<[&super::Node; 2]> {
        let [first, second] = self.picked.get(at..at + 2)? else { return None };
        Some([&self.graph.nodes[*first], &self.graph.nodes[*second]])
    }
    /// x, where the node at `at` is a linear layer that gives it and the next one its activation.
    fn forward(&self, at: usize) -> Option<TensorId> {
        let [first, second] = self.two(at)?;
        let ops = matches!((&first.op, &second.op), (Op::Linear { .. }, Op::Activation(_)));
        (ops && second.inputs[0] == first.outputs[0]).then(|| first.outputs[0])
    }
    /// x, where the node at `at` gives the gradient of f(x), which nothing but the next node needs, for that of x.
    fn backward(&self, at: usize) -> Option<TensorId> {
        let [first, second] = self.two(at)?;
        let ops = matches!((&first.op, &second.op), (Op::LinearDx { add: false }, Op::ActivationBackward(_)));
        let dy = *first.outputs.first()?;
        (ops && second.inputs[1] == dy && self.is_inner(dy) && self.readers(dy) == [at + 1]).then(|| second.inputs[0])
    }
    /// Where the nodes `at` and `at + 1` go over the same rows of a gradient.
    fn sums(&self, at: usize) -> Option<Join> {
        let [first, second] = self.two(at)?;
        match (&first.op, &second.op) {
            (Op::LinearDw, Op::ColumnSum) => {
                let (dy, sums) = (first.inputs[1], second.outputs[0]);
                let whole = self.graph.tensor(dy).width() == self.graph.tensor(sums).len();
                (second.inputs[0] == dy && whole).then_some(Join::ColumnSum)
            }
            (Op::LayerNormDparams, Op::LayerNormDx { .. }) => {
                let [x, _, mean, rstd, dy] = second.inputs[..5] else { return None };
                (first.inputs == [x, mean, rstd, dy]).then_some(Join::LayerNormBackward)
            }
            _ => None,
        }
    }
    /// Whether x is read by the two halves of its joins alone.
    fn is_spare(&self, x: TensorId) -> bool {
        let joined =
            |at: &usize| at.checked_sub(1).is_some_and(|at| [self.forward(at), self.backward(at)].contains(&Some(x)));
        self.is_inner(x) && self.readers(x).len() == 2 && self.readers(x).iter().all(joined)
    }
    /// Whether nobody outside the entry can see a tensor.
    fn is_inner(&self, id: TensorId) -> bool {
        self.graph.tensor(id).role == Role::Value && !self.roots.contains(&id)
    }
    fn readers(&self, id: TensorId) -> &[usize] {
        self.readers.get(&id).map_or(&[], Vec::as_slice)
    }
}
