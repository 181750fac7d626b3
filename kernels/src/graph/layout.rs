//! Where an entry's tensors lie: those that are never alive together share space.

use super::later::later;
use super::micro_batch::{Item, Order, Part};
use super::plan::{Program, Slot, Step, padded};
use super::{Role, TensorId};
use std::collections::BTreeMap;

/// The steps of an entry being placed.
pub(super) struct Layout<'p> {
    program: &'p Program,
    order: &'p Order,
    /// After which item a tensor's space is free again; roots stay.
    released: BTreeMap<usize, Vec<TensorId>>,
    space: Space,
    placed: BTreeMap<TensorId, Slot>,
    /// Partial sums of a node, kept between micro-batches.
    partial: BTreeMap<usize, Slot>,
}

impl<'p> Layout<'p> {
    /// Nothing placed yet; space begins at `base`.
    pub(super) fn new(program: &'p Program, order: &'p Order, roots: &[TensorId], base: usize) -> Self {
        let mut last_use: BTreeMap<TensorId, usize> = BTreeMap::new();
        for (at, item) in order.items.iter().enumerate() {
            for id in item.inputs.iter().chain(&item.outputs) {
                last_use.insert(*id, at);
            }
        }
        let mut released: BTreeMap<usize, Vec<TensorId>> = BTreeMap::new();
        for (id, at) in last_use.into_iter().filter(|(id, _)| !roots.contains(id)) {
            // The next micro-batch asks for it again.
            let again = order.repeated.contains(&at) && order.stays(id);
            released.entry(if again { order.repeated.end - 1 } else { at }).or_default().push(id);
        }
        let (placed, partial) = (BTreeMap::new(), BTreeMap::new());
        Self { program, order, released, space: Space::new(base), placed, partial }
    }

    /// The steps, where values lie, and the end of the space.
    pub(super) fn place(mut self) -> (Vec<Step>, BTreeMap<TensorId, Slot>, usize) {
        let mut steps = Vec::new();
        for (at, item) in self.order.items.iter().enumerate() {
            if at == self.order.repeated.start {
                self.place_shared();
            }
            item.outputs.iter().for_each(|id| self.take(*id));
            steps.push(self.step(item));
            for id in self.released.remove(&at).unwrap_or_default() {
                if let Some(slot) = self.placed.get(&id) {
                    self.space.give(slot.offset, slot.run_stride * self.program.runs);
                }
            }
        }
        for (at, step) in steps.iter_mut().enumerate() {
            step.later = later(self.program, &self.order.items, at, |item, id| self.slot(id, item.part));
        }
        (steps, self.placed, self.space.end)
    }

    /// Places what micro-batches share before the first of them.
    fn place_shared(&mut self) {
        for item in &self.order.items[self.order.repeated.clone()] {
            for id in item.outputs.iter().filter(|id| self.order.stays(**id)) {
                self.take(*id);
            }
            let len = item.partial_sums(&self.program.graph);
            if len > 0 {
                let run_stride = padded(len);
                let offset = self.space.take(run_stride * self.program.runs);
                self.partial.insert(item.node, Slot { offset, run_stride, micro_stride: 0, len, width: len });
            }
        }
    }

    /// Space for a value that has none.
    fn take(&mut self, id: TensorId) {
        let tensor = self.program.graph.tensor(id);
        if tensor.role != Role::Value || self.placed.contains_key(&id) {
            return;
        }
        let share = if self.order.passes(id) { self.order.micro_batches } else { 1 };
        let len = tensor.len() / share;
        let run_stride = padded(len);
        let offset = self.space.take(run_stride * self.program.runs);
        self.placed.insert(id, Slot { offset, run_stride, micro_stride: 0, len, width: tensor.width() });
    }

    fn step(&self, item: &Item) -> Step {
        let node = &self.program.graph.nodes[item.node];
        let slots = |ids: &[TensorId]| ids.iter().map(|id| self.slot(*id, item.part)).collect();
        let mut outputs: Vec<Slot> = slots(&item.outputs);
        if item.part != Part::Whole {
            outputs.extend(self.partial.get(&item.node));
        }
        let share = if item.part == Part::Rows { self.order.micro_batches } else { 1 };
        let flops = if item.part == Part::Total { 0 } else { node.gemm_flops(&self.program.graph) };
        let op = node.op.of_micro_batch(share);
        Step {
            op,
            part: item.part,
            inputs: slots(&item.inputs),
            outputs,
            later: Vec::new(),
            gemm_flops: flops / share as u64,
        }
    }

    /// Where an operand lies: all of it, or a micro-batch's rows.
    fn slot(&self, id: TensorId, part: Part) -> Slot {
        let Program { fixed, tokens, graph, .. } = self.program;
        let found = self.placed.get(&id).or_else(|| fixed.get(&id)).or_else(|| tokens.get(&id));
        let slot = *found.unwrap_or_else(|| panic!("{} is used before it is computed", graph.tensor(id).name));
        if part != Part::Rows || !self.order.has_rows(id) || self.order.passes(id) {
            return slot;
        }
        let len = slot.len / self.order.micro_batches;
        Slot { len, micro_stride: len, ..slot }
    }
}

/// Best-fit allocation of arena space; free neighbours are merged.
struct Space {
    free: BTreeMap<usize, usize>,
    end: usize,
}

impl Space {
    fn new(base: usize) -> Self {
        Self { free: BTreeMap::new(), end: base }
    }

    fn take(&mut self, len: usize) -> usize {
        let best = self.free.iter().filter(|(_, l)| **l >= len).min_by_key(|(_, l)| **l).map(|(o, l)| (*o, *l));
        if let Some((offset, free)) = best {
            self.free.remove(&offset);
            if free > len {
                self.free.insert(offset + len, free - len);
            }
            return offset;
        }
        // Grow the last free piece if it touches the end.
        if let Some((&offset, &free)) = self.free.last_key_value()
            && offset + free == self.end
        {
            self.free.remove(&offset);
            self.end = offset + len;
            return offset;
        }
        let offset = self.end;
        self.end += len;
        offset
    }

    fn give(&mut self, mut offset: usize, mut len: usize) {
        if len == 0 {
            return;
        }
        if let Some((&before, &free)) = self.free.range(..offset).next_back()
            && before + free == offset
        {
            self.free.remove(&before);
            (offset, len) = (before, free + len);
        }
        if let Some(free) = self.free.remove(&(offset + len)) {
            len += free;
        }
        self.free.insert(offset, len);
    }
}
