//! What a product is told that the steps after it read: a device may bring it near while the product keeps its
//! arithmetic busy. Weights and saved activations lie far by then, since all other layers were computed in between.

use super::micro_batch::Item;
use super::plan::{Program, Slot};
use super::{Op, TensorId};
use crate::ops::MOST_LATER;
use std::collections::BTreeSet;

/// Elements that a product is told of at most: a part of a second-level cache.
const ROOM: usize = 192 << 10;
/// Elements of the smallest tensor worth it.
const LEAST: usize = 1 << 10;

/// What is read from the step after the product `at` to the next product, in that order, and neither read nor written from
/// the product on. Nothing where the step is no product. `place` says where an item's tensor lies.
pub(super) fn later(
    program: &Program,
    items: &[Item],
    at: usize,
    place: impl Fn(&Item, TensorId) -> Slot,
) -> Vec<Slot> {
    let op = |item: &Item| &program.graph.nodes[item.node].op;
    if !op(&items[at]).is_product() {
        return Vec::new();
    }
    let next = items[at + 1..].iter().position(|item| op(item).is_product());
    let end = next.map_or(items.len(), |next| at + next + 2);
    let mut touched: BTreeSet<TensorId> = items[at].inputs.iter().chain(&items[at].outputs).copied().collect();
    let (mut places, mut room) = (Vec::new(), ROOM);
    for item in &items[at + 1..end] {
        // A weight's gradient goes on from what the micro-batch before left.
        let goes_on = matches!(op(item), Op::LinearDw | Op::LinearTiedDw);
        let gradients = item.outputs.iter().filter(|id| goes_on && program.fixed.contains_key(id));
        for id in item.inputs.iter().chain(gradients).filter(|id| !program.tokens.contains_key(id)) {
            let slot = place(item, *id);
            let len = slot.len.min(room);
            if touched.insert(*id) && slot.len >= LEAST && len > 0 && places.len() < MOST_LATER {
                places.push(Slot { len, ..slot });
                room -= len;
            }
        }
        touched.extend(&item.outputs);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::ROOM;
    use crate::graph::{Graph, Program};
    use crate::ops::Activation;

    /// Names and lengths of what each product of the first entry is told.
    fn told(program: &Program) -> Vec<Vec<(&str, usize)>> {
        let name = |offset: usize| {
            let found = program.fixed.iter().find(|(_, slot)| slot.offset == offset);
            found.map_or("value", |(id, _)| program.graph.tensor(*id).name.as_str())
        };
        let products = program.entries[0].steps.iter().filter(|step| step.op.is_product());
        products.map(|step| step.later.iter().map(|slot| (name(slot.offset), slot.len)).collect()).collect()
    }

    #[test]
    fn a_product_is_told_of_weights_and_saved_values_up_to_the_next() {
        let mut graph = Graph::new();
        let (x, targets) = (graph.input("x", &[64, 32]), graph.tokens("targets", 64));
        let [first, second, third] = [("first", [32, 64]), ("second", [64, 16]), ("third", [16, 16_384])]
            .map(|(name, shape)| graph.param(name, &shape));
        let hidden = graph.linear(x, first, None, None).unwrap();
        let active = graph.activation(Activation::Relu, hidden);
        let narrow = graph.linear(active, second, None, None).unwrap();
        let logits = graph.linear(narrow, third, None, None).unwrap();
        let (loss, _) = graph.cross_entropy(logits, targets, 0.0).unwrap();
        let grads = graph.backward(loss, &[]);
        let mut roots = vec![loss];
        roots.extend([first, second, third].map(|p| grads.get(p).unwrap()));
        let program = graph.compile(1, &[("train", &roots)]);
        let expect: [&[(&str, usize)]; 8] = [
            &[("second", 1024)],
            // As much as there is room for.
            &[("third", ROOM)],
            // The loss and the gradient of the last product's input read what is near.
            &[],
            // Third: `narrow` and what its gradient goes on from.
            &[("value", 1024), ("grad third", ROOM - 1024)],
            // Second: the gradient of `narrow` and the weight, then `active`.
            &[("value", 1024), ("second", 1024)],
            &[("value", 4096), ("grad second", 1024)],
            // The activation's backward reads `hidden` and its gradient, then first's.
            &[("value", 4096), ("value", 4096), ("x", 2048), ("grad first", 2048)],
            &[],
        ];
        assert_eq!(told(&program), expect);
    }
}
