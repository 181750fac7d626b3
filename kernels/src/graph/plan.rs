//! Memory is planned once: one arena, tensors of an entry that are never alive together share space.

use super::layout::Layout;
use super::micro_batch::{self, Order, Part};
use super::{Graph, Node, Op, Role, TensorId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Elements that keep every tensor and every run on a 64-byte boundary.
const ALIGN: usize = 16;

pub(crate) fn padded(len: usize) -> usize {
    len.div_ceil(ALIGN) * ALIGN
}

/// An entry point of a [`Program`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryId(pub(crate) usize);

/// Where a tensor lies in the arena: run r's micro-batch m at `offset + r·run_stride + m·micro_stride`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) offset: usize,
    pub(crate) run_stride: usize,
    /// 0 for what all micro-batches share and for what lives only as long as its own.
    pub(crate) micro_stride: usize,
    pub(crate) len: usize,
    /// Length of the last axis.
    pub(crate) width: usize,
}

/// A node with its operands' places.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) op: Op,
    pub(crate) part: Part,
    pub(crate) inputs: Vec<Slot>,
    pub(crate) outputs: Vec<Slot>,
    /// What the steps after a product read; [`super::later`].
    pub(crate) later: Vec<Slot>,
    /// Floating point operations of its matrix products for one run.
    pub(crate) gemm_flops: u64,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
    /// The steps that run once for each micro-batch; those before and after run once.
    pub(crate) repeated: Range<usize>,
    roots: Vec<TensorId>,
    /// Tensors that may be read after the entry ran.
    pub(crate) kept: BTreeMap<TensorId, Slot>,
    pub(crate) gemm_flops: u64,
}

/// A graph with its memory plan: what a [`super::Session`] replays.
#[derive(Debug)]
pub struct Program {
    pub(crate) graph: Graph,
    pub(crate) runs: usize,
    /// Parts that a batch is computed in; 1 is the whole.
    pub(crate) micro_batches: usize,
    pub(crate) entries: Vec<Entry>,
    /// Parameters, gradients, states, inputs: the same place in every entry.
    pub(crate) fixed: BTreeMap<TensorId, Slot>,
    /// Elements of one run's flat parameter buffer, padding included.
    pub(crate) flat_len: usize,
    pub(crate) param_base: usize,
    pub(crate) grad_base: usize,
    /// Start of optimizer state s: `state_base + s·runs·flat_len`.
    pub(crate) state_base: usize,
    pub(crate) optimizer_states: usize,
    /// Host scalars that the graph itself reads; they stand before the optimizer's.
    pub(crate) own_scalars: usize,
    /// Elements of the arena that are the same in every entry.
    fixed_len: usize,
    pub(crate) arena_len: usize,
    pub(crate) tokens: BTreeMap<TensorId, Slot>,
    pub(crate) tokens_len: usize,
}

impl Graph {
    /// Plans memory for `runs` runs and the given entry points. Each entry computes its roots and what they
    /// need, in the order of the nodes; roots stay readable after it ran.
    pub fn compile(self, runs: usize, entries: &[(&str, &[TensorId])]) -> Program {
        let entries = entries.iter().map(|(name, roots)| (name.to_string(), roots.to_vec()));
        self.planned(runs, 1, entries)
    }

    pub(super) fn planned(
        self,
        runs: usize,
        micro_batches: usize,
        entries: impl Iterator<Item = (String, Vec<TensorId>)>,
    ) -> Program {
        let mut plan = Program {
            runs,
            micro_batches,
            entries: Vec::new(),
            fixed: BTreeMap::new(),
            flat_len: 0,
            param_base: 0,
            grad_base: 0,
            state_base: 0,
            optimizer_states: self.optimizer_states(),
            own_scalars: self.own_scalars(),
            fixed_len: 0,
            arena_len: 0,
            tokens: BTreeMap::new(),
            tokens_len: 0,
            graph: self,
        };
        plan.place_fixed();
        for (name, roots) in entries {
            let entry = plan.plan_entry(name, roots);
            plan.entries.push(entry);
        }
        plan
    }

    fn optimizer_states(&self) -> usize {
        let states = |node: &Node| match &node.op {
            Op::Update { expr, .. } => expr.states,
            _ => 0,
        };
        self.nodes.iter().map(states).max().unwrap_or(0)
    }

    fn own_scalars(&self) -> usize {
        let needed = |node: &Node| match node.op {
            Op::HostScalar(i) => i + 1,
            _ => 0,
        };
        self.nodes.iter().map(needed).max().unwrap_or(0)
    }
}

impl Program {
    /// Finds an entry by name.
    pub fn entry(&self, name: &str) -> Option<EntryId> {
        self.entries.iter().position(|e| e.name == name).map(EntryId)
    }
    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }
    /// Runs R of the cohort.
    pub fn runs(&self) -> usize {
        self.runs
    }
    /// The same program, its entries' steps computed in `count` micro-batches one after another, as far as the
    /// ops allow: the gradients of parameters are chains and sums over rows, which go on from micro-batch to
    /// micro-batch with the bits of the whole. Activations take a `count`-th of the memory.
    pub fn in_micro_batches(&self, count: usize) -> Self {
        let entries = self.entries.iter().map(|e| (e.name.clone(), e.roots.clone()));
        self.graph.clone().planned(self.runs, count, entries)
    }
    /// [`Self::in_micro_batches`], the most of at least `least` rows.
    pub(crate) fn in_micro_batches_of(&self, least: usize) -> Self {
        self.in_micro_batches(micro_batch::most(&self.graph, least))
    }
    /// Bytes of the arena in f32.
    pub fn arena_bytes(&self) -> usize {
        self.arena_len * size_of::<f32>()
    }
    /// Bytes of it in which an entry's values lie, of all runs.
    pub(crate) fn value_bytes(&self) -> usize {
        (self.arena_len - self.fixed_len) * size_of::<f32>()
    }
    /// Floating point operations of an entry's matrix products for one run.
    pub fn gemm_flops(&self, entry: EntryId) -> u64 {
        self.entries[entry.0].gemm_flops
    }
    /// Elements of one run's flat parameter buffer, padding included.
    pub fn flat_len(&self) -> usize {
        self.flat_len
    }
    /// Where a parameter lies in the flat parameter buffer, and its states in theirs.
    ///
    /// # Panics
    /// If `param` is no parameter.
    pub fn flat_range(&self, param: TensorId) -> Range<usize> {
        assert!(self.graph.params().any(|p| p == param), "{} is no parameter", self.graph.tensor(param).name);
        let slot = self.fixed[&param];
        let start = slot.offset - self.param_base;
        start..start + slot.len
    }
    /// Host scalars of a step that the graph itself reads; [`super::Session::set_scalars`] takes them before the optimizer's.
    pub fn own_scalars(&self) -> usize {
        self.own_scalars
    }
    /// State buffers of the optimizer.
    pub fn optimizer_states(&self) -> usize {
        self.optimizer_states
    }

    /// Where a tensor may be read or written between entries, or a root of `entry` after it ran.
    ///
    /// # Panics
    /// Where it is not kept.
    pub(crate) fn place(&self, id: TensorId, entry: Option<EntryId>) -> Slot {
        let kept = entry.and_then(|e| self.entries[e.0].kept.get(&id));
        *kept
            .or_else(|| self.fixed.get(&id))
            .unwrap_or_else(|| panic!("{} is not kept after this entry", self.graph.tensor(id).name))
    }

    fn place_fixed(&mut self) {
        let mut at = 0;
        let params = self.graph.params.clone();
        let mut offsets = Vec::new();
        for (param, _) in &params {
            offsets.push(at);
            at += padded(self.graph.tensor(*param).len());
        }
        self.flat_len = at;
        self.grad_base = self.runs * at;
        self.state_base = 2 * self.runs * at;
        for ((param, grad), offset) in params.iter().zip(offsets) {
            let slot = self.slot(*param, offset, self.flat_len);
            self.fixed.insert(*param, slot);
            self.fixed.insert(*grad, Slot { offset: slot.offset + self.grad_base, ..slot });
        }
        let mut next = (2 + self.optimizer_states) * self.runs * self.flat_len;
        let mut next_token = 0;
        for index in 0..self.graph.tensors.len() {
            let id = TensorId(index as u32);
            let tensor = self.graph.tensor(id);
            let (role, stride) = (tensor.role, padded(tensor.len()));
            match role {
                Role::State | Role::Moment | Role::Input => {
                    let slot = self.slot(id, next, stride);
                    self.fixed.insert(id, slot);
                    next += stride * self.runs;
                }
                Role::Tokens => {
                    let slot = self.slot(id, next_token, stride);
                    self.tokens.insert(id, slot);
                    next_token += stride * self.runs;
                }
                Role::Param | Role::Grad | Role::Value => {}
            }
        }
        (self.fixed_len, self.arena_len) = (next, next);
        self.tokens_len = next_token;
    }

    fn slot(&self, id: TensorId, offset: usize, run_stride: usize) -> Slot {
        let tensor = self.graph.tensor(id);
        Slot { offset, run_stride, micro_stride: 0, len: tensor.len(), width: tensor.width() }
    }

    /// Nodes that `roots` need, in order. Who reads a state takes it as it is: only an entry with the state among its roots
    /// moves it.
    fn reachable(&self, roots: &[TensorId]) -> Vec<usize> {
        let mut wanted: BTreeSet<TensorId> = roots.iter().copied().collect();
        let mut picked = Vec::new();
        for (index, node) in self.graph.nodes.iter().enumerate().rev() {
            if node.outputs.iter().any(|o| wanted.contains(o)) {
                wanted.extend(node.inputs.iter().filter(|id| self.graph.tensor(**id).role != Role::State));
                picked.push(index);
            }
        }
        picked.reverse();
        picked
    }

    fn plan_entry(&mut self, name: String, roots: Vec<TensorId>) -> Entry {
        let picked = self.reachable(&roots);
        let order = Order::new(&self.graph, &picked, &roots, self.micro_batches);
        let (steps, placed, end) = Layout::new(self, &order, &roots, self.fixed_len).place();
        self.arena_len = self.arena_len.max(end);
        let gemm_flops = picked.iter().map(|index| self.graph.nodes[*index].gemm_flops(&self.graph)).sum();
        let kept = roots.iter().filter_map(|r| placed.get(r).map(|s| (*r, *s))).collect();
        Entry { name, steps, repeated: order.repeated, roots, kept, gemm_flops }
    }
}
