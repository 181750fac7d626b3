//! A batch computed in micro-batches, so that activations stay near the core: which steps run once for each, and
//! which before and after all of them.
//!
//! No bit depends on it. What belongs to a row is computed with its rows. A weight's gradient is one chain over rows,
//! which starts from what the micro-batch before left. A column sum's 32 partial rows are kept between micro-batches
//! of a multiple of 32 rows. All else that needs all rows runs after the last micro-batch, on tensors that hold them.

use super::{Graph, Node, Op, Role, TensorId};
use crate::reference::LANES;
use std::collections::BTreeSet;
use std::ops::Range;

/// What of a node a step computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// The rows of one micro-batch, or their part of a sum over rows.
    Rows,
    /// What is left of a sum over rows after the last micro-batch.
    Total,
}

/// A step to be: a node, or a part of it.
pub(super) struct Item {
    pub(super) node: usize,
    pub(super) part: Part,
    pub(super) inputs: Vec<TensorId>,
    pub(super) outputs: Vec<TensorId>,
}

/// An entry's steps in order, and how its tensors live.
pub(super) struct Order {
    pub(super) items: Vec<Item>,
    /// Items that run once for each micro-batch.
    pub(super) repeated: Range<usize>,
    pub(super) micro_batches: usize,
    /// Tensors that have the batch's rows.
    rows: BTreeSet<TensorId>,
    /// Those of them that hold all rows at once.
    whole: BTreeSet<TensorId>,
    /// Room for the work of one step.
    room: BTreeSet<TensorId>,
}

/// How a node treats rows.
enum Rule {
    /// Rows from rows.
    Rows,
    /// A chain over rows.
    Chain,
    /// A sum over rows that ends after the last micro-batch.
    Sum,
}

impl Order {
    /// The nodes `picked` in `count` micro-batches; where the batch does not divide so, in one.
    pub(super) fn new(graph: &Graph, picked: &[usize], roots: &[TensorId], count: usize) -> Self {
        let sequences = sequences(graph, picked).filter(|b| count > 1 && b % count == 0);
        let Some(rows) = sequences.and_then(|_| batch_rows(graph)) else { return Self::in_one(graph, picked) };
        let mut sorter = Sorter::new(graph, rows, (rows / count).is_multiple_of(LANES));
        picked.iter().for_each(|index| sorter.node(*index));
        let Sorter { before, repeated, totals, after, rows, mut whole, room, .. } = sorter;
        whole.extend(roots.iter().filter(|root| rows.contains(*root)));
        let range = before.len()..before.len() + repeated.len();
        let items = [before, repeated, totals, after].into_iter().flatten().collect();
        Self { items, repeated: range, micro_batches: count, rows, whole, room }
    }

    fn in_one(graph: &Graph, picked: &[usize]) -> Self {
        let items = picked.iter().map(|index| Item::new(graph, *index, Part::Whole)).collect();
        Self {
            items,
            repeated: 0..0,
            micro_batches: 1,
            rows: BTreeSet::new(),
            whole: BTreeSet::new(),
            room: BTreeSet::new(),
        }
    }

    /// Whether a tensor has the batch's rows.
    pub(super) fn has_rows(&self, id: TensorId) -> bool {
        self.rows.contains(&id)
    }
    /// Whether only one micro-batch's rows of it exist at a time.
    pub(super) fn passes(&self, id: TensorId) -> bool {
        self.rows.contains(&id) && !self.whole.contains(&id)
    }
    /// Whether the next micro-batch finds what this one left.
    pub(super) fn stays(&self, id: TensorId) -> bool {
        !self.passes(id) && !self.room.contains(&id)
    }
}

impl Item {
    fn new(graph: &Graph, node: usize, part: Part) -> Self {
        let Node { inputs, outputs, op } = &graph.nodes[node];
        let (inputs, outputs) = match (part, op) {
            (Part::Total, Op::CrossEntropy { .. }) => (Vec::new(), outputs[..2].to_vec()),
            (Part::Total, _) => (Vec::new(), outputs.clone()),
            _ => (inputs.clone(), outputs.clone()),
        };
        Self { node, part, inputs, outputs }
    }
    /// Elements kept between micro-batches for a sum over rows: \[outputs, 32, width\].
    pub(super) fn partial_sums(&self, graph: &Graph) -> usize {
        match (self.part, &graph.nodes[self.node].op) {
            (Part::Rows, Op::ColumnSum | Op::LayerNormDparams) => {
                self.outputs.iter().map(|id| LANES * graph.tensor(*id).len()).sum()
            }
            _ => 0,
        }
    }
}

impl Op {
    /// The op on one of `count` micro-batches.
    pub(super) fn of_micro_batch(&self, count: usize) -> Self {
        let mut op = self.clone();
        if let Self::Attention(shape) | Self::AttentionBackward(shape) = &mut op {
            shape.batch /= count;
        }
        op
    }
}

/// Sequences of the batch, which only attention knows.
fn sequences(graph: &Graph, picked: &[usize]) -> Option<usize> {
    let mut found = picked.iter().filter_map(|index| match &graph.nodes[*index].op {
        Op::Attention(shape) => Some(shape.batch),
        _ => None,
    });
    let first = found.next()?;
    found.all(|batch| batch == first).then_some(first)
}

/// Rows of a batch: its tokens.
fn batch_rows(graph: &Graph) -> Option<usize> {
    let tokens = graph.tensors_with(Role::Tokens);
    let first = graph.tensor(*tokens.first()?).len();
    tokens.iter().all(|id| graph.tensor(*id).len() == first).then_some(first)
}

/// The most micro-batches of at least `least` rows each, whole sequences and a multiple of 32 rows; 1 where none do.
pub(crate) fn most(graph: &Graph, least: usize) -> usize {
    let all: Vec<usize> = (0..graph.nodes.len()).collect();
    let (Some(batch), Some(rows)) = (sequences(graph, &all), batch_rows(graph)) else { return 1 };
    let fits = |count: &usize| batch % count == 0 && (rows / count).is_multiple_of(LANES) && rows / count >= least;
    (1..=batch).rev().find(fits).unwrap_or(1)
}

/// Sorts nodes by when they run.
struct Sorter<'g> {
    graph: &'g Graph,
    /// Whether partial rows of sums can go on from micro-batch to micro-batch.
    sums: bool,
    before: Vec<Item>,
    repeated: Vec<Item>,
    totals: Vec<Item>,
    after: Vec<Item>,
    rows: BTreeSet<TensorId>,
    whole: BTreeSet<TensorId>,
    room: BTreeSet<TensorId>,
    /// What is known after the last micro-batch only.
    late: BTreeSet<TensorId>,
}

impl<'g> Sorter<'g> {
    fn new(graph: &'g Graph, rows: usize, sums: bool) -> Self {
        let tokens = graph.tensors_with(Role::Tokens).into_iter().filter(|id| graph.tensor(*id).len() == rows);
        let rows: BTreeSet<TensorId> = tokens.collect();
        Self {
            graph,
            sums,
            before: Vec::new(),
            repeated: Vec::new(),
            totals: Vec::new(),
            after: Vec::new(),
            whole: rows.clone(),
            rows,
            room: BTreeSet::new(),
            late: BTreeSet::new(),
        }
    }

    fn node(&mut self, index: usize) {
        let node = &self.graph.nodes[index];
        let reads_all = matches!(node.op, Op::GradNorm | Op::Update { .. });
        if reads_all || node.inputs.iter().any(|id| self.late.contains(id)) {
            self.after(index);
        } else if !node.inputs.iter().any(|id| self.rows.contains(id)) {
            self.before.push(Item::new(self.graph, index, Part::Whole));
        } else {
            match self.rule(node) {
                None => self.after(index),
                Some(rule) => self.repeat(index, &rule),
            }
        }
    }

    /// Runs the node once, on all rows.
    fn after(&mut self, index: usize) {
        let node = &self.graph.nodes[index];
        self.whole.extend(node.inputs.iter().filter(|id| self.rows.contains(*id)));
        self.late.extend(&node.outputs);
        self.after.push(Item::new(self.graph, index, Part::Whole));
    }

    fn repeat(&mut self, index: usize, rule: &Rule) {
        let node = &self.graph.nodes[index];
        self.repeated.push(Item::new(self.graph, index, Part::Rows));
        match (rule, &node.op) {
            (Rule::Sum, Op::CrossEntropy { .. }) => {
                self.late.insert(node.outputs[0]);
                self.rows.extend(&node.outputs[1..]);
                self.whole.insert(node.outputs[1]);
            }
            (Rule::Sum | Rule::Chain, _) => self.late.extend(&node.outputs),
            (Rule::Rows, Op::AttentionBackward(_)) => {
                self.rows.insert(node.outputs[0]);
                self.room.insert(node.outputs[1]);
            }
            (Rule::Rows, _) => self.rows.extend(&node.outputs),
        }
        if matches!(rule, Rule::Sum) {
            self.totals.push(Item::new(self.graph, index, Part::Total));
        }
    }

    /// How a node treats rows, where it can be computed in micro-batches.
    fn rule(&self, node: &Node) -> Option<Rule> {
        let one_row = |x: TensorId, y: TensorId| self.graph.tensor(x).width() == self.graph.tensor(y).len();
        // Which inputs must have rows; the others must have none.
        let (rule, rows): (Rule, &[bool]) = match node.op {
            Op::Linear { bias: true, residual: true } => (Rule::Rows, &[true, false, false, true]),
            Op::Linear { bias: true, .. } | Op::LayerNorm { .. } => (Rule::Rows, &[true, false, false]),
            Op::Linear { residual: true, .. } | Op::LinearDx { add: true } | Op::LinearTiedDx { add: true } => {
                (Rule::Rows, &[true, false, true])
            }
            Op::Linear { .. } | Op::LinearDx { .. } | Op::LinearTied | Op::LinearTiedDx { .. } => {
                (Rule::Rows, &[true, false])
            }
            Op::LinearDw | Op::LinearTiedDw => (Rule::Chain, &[true, true]),
            Op::LayerNormDx { add: true } => (Rule::Rows, &[true, false, true, true, true, true]),
            Op::LayerNormDx { .. } => (Rule::Rows, &[true, false, true, true, true]),
            Op::LayerNormDparams if self.sums => (Rule::Sum, &[true; 4]),
            Op::ColumnSum if self.sums && one_row(node.inputs[0], node.outputs[0]) => (Rule::Sum, &[true]),
            Op::Attention(_) | Op::Activation(_) | Op::Scale(_) | Op::Dropout { .. } => (Rule::Rows, &[true]),
            Op::AttentionBackward(_) => (Rule::Rows, &[true; 3]),
            Op::ActivationBackward(_) | Op::Add | Op::Mul => (Rule::Rows, &[true; 2]),
            Op::Embedding { positions: true } => (Rule::Rows, &[true, false, false]),
            Op::Embedding { .. } => (Rule::Rows, &[true, false]),
            Op::CrossEntropy { .. } => (Rule::Sum, &[true; 2]),
            Op::CrossEntropyBackward { .. } => (Rule::Rows, &[true, true, true, false]),
            _ => return None,
        };
        node.inputs.iter().map(|id| self.rows.contains(id)).eq(rows.iter().copied()).then_some(rule)
    }
}
