//! Steps that a device may carry out together with the next one: what the first one writes is then used while it is
//! near, and some of it need not be written at all.

use super::micro_batch::{Item, Order};
use super::{Graph, Op, Role, TensorId};
use std::collections::BTreeMap;

/// What a step and the next one are together. With `spare`, the activation's input x is read by these two joins of
/// the entry alone, so that a device may keep there what its own backward needs instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    /// A linear layer and the activation of what it computes.
    Activation { spare: bool },
    /// The gradient to a linear layer's input, which nothing else reads, and through the activation it came from.
    ActivationBackward { spare: bool },
}

impl Join {
    /// What tables call the two.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Activation { .. } => "linear + activation",
            Self::ActivationBackward { .. } => "linear dx + activation",
        }
    }
}

/// An entry with those of its items that read each tensor.
struct Entry<'g> {
    graph: &'g Graph,
    order: &'g Order,
    roots: &'g [TensorId],
    readers: BTreeMap<TensorId, Vec<usize>>,
}

/// For each item, whether it may be joined with the next one. No item is in two joins.
pub(super) fn joins(graph: &Graph, order: &Order, roots: &[TensorId]) -> Vec<Option<Join>> {
    let mut readers: BTreeMap<TensorId, Vec<usize>> = BTreeMap::new();
    for (at, item) in order.items.iter().enumerate() {
        for input in &item.inputs {
            readers.entry(*input).or_default().push(at);
        }
    }
    let entry = Entry { graph, order, roots, readers };
    let join = |at| {
        let forward = entry.forward(at).map(|x| Join::Activation { spare: entry.is_spare(x) });
        forward.or_else(|| entry.backward(at).map(|x| Join::ActivationBackward { spare: entry.is_spare(x) }))
    };
    (0..order.items.len()).map(join).collect()
}

impl Entry<'_> {
    /// The items `at` and `at + 1`, where they run as often and on the same rows, and their ops.
    fn two(&self, at: usize) -> Option<[(&Item, &Op); 2]> {
        let [first, second] = self.order.items.get(at..at + 2)? else { return None };
        let repeated = |at| self.order.repeated.contains(&at);
        let alike = repeated(at) == repeated(at + 1) && first.part == second.part;
        alike.then(|| [first, second].map(|item| (item, &self.graph.nodes[item.node].op)))
    }
    /// x, where the item at `at` is a linear layer that gives it and the next one its activation.
    fn forward(&self, at: usize) -> Option<TensorId> {
        let [(first, Op::Linear { .. }), (second, Op::Activation(_))] = self.two(at)? else { return None };
        let x = first.outputs[0];
        (second.inputs[0] == x).then_some(x)
    }
    /// x, where the item at `at` gives the gradient of f(x), which nothing but the next one needs, for that of x.
    fn backward(&self, at: usize) -> Option<TensorId> {
        let two = self.two(at)?;
        let [(first, Op::LinearDx { add: false }), (second, Op::ActivationBackward(_))] = two else { return None };
        let dy = first.outputs[0];
        (second.inputs[1] == dy && self.is_inner(dy) && self.readers(dy) == [at + 1]).then(|| second.inputs[0])
    }
    /// Whether x is read by the two halves of its joins alone.
    fn is_spare(&self, x: TensorId) -> bool {
        let is_join = |at: usize| self.forward(at) == Some(x) || self.backward(at) == Some(x);
        let joined = |at: &usize| at.checked_sub(1).is_some_and(is_join);
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
