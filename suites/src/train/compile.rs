//! From a model's forward graph to a program with the entries `train`, `evaluate` and `gradients`.

use crate::models::{Init, Network};
use preheat_kernels::graph::{EntryId, Graph, Program, Session, TensorId, Update};
use preheat_kernels::ops::Ops;
use preheat_kernels::real::Real;
use preheat_kernels::rng::Stream;
use std::sync::Arc;

/// A network ready to train, with the tensors that the loop reads and writes.
pub struct Compiled {
    /// The program.
    pub program: Arc<Program>,
    /// Forward, backward, gradient norm and update.
    pub train: EntryId,
    /// Forward only.
    pub evaluate: EntryId,
    /// Forward and backward, no update; keeps the hidden tensors.
    pub gradients: EntryId,
    /// Input tokens \[N\].
    pub inputs: TensorId,
    /// Target tokens \[N\], or labels \[B\].
    pub targets: TensorId,
    /// Training loss \[1\]: a root of `train` and `gradients`.
    pub loss: TensorId,
    /// Evaluation loss \[1\]: a root of `evaluate`.
    pub eval_loss: TensorId,
    /// See [`Network::measured`]: roots of `evaluate`.
    pub measured: Vec<TensorId>,
    /// Global gradient norm \[1\]: a root of `train` and `gradients`.
    pub grad_norm: TensorId,
    /// See [`Network::hidden`].
    pub hidden: Vec<TensorId>,
    /// See [`Network::ffn_out`].
    pub ffn_out: Vec<TensorId>,
    /// Initial values.
    pub init: Vec<(TensorId, Init)>,
}

impl Compiled {
    /// Derives the reverse pass, appends the update and plans memory for `runs` runs.
    pub fn new(network: Network, update: impl Into<Update>, clip: Option<f64>, runs: usize) -> Self {
        let Network { mut graph, inputs, targets, loss, eval_loss, hidden, ffn_out, init, states, measured } = network;
        graph.backward(loss, &[]);
        let grad_norm = graph.grad_norm();
        let done = graph.update(grad_norm, update, clip);
        let mut kept = vec![loss, grad_norm];
        kept.extend(&hidden);
        let trained: Vec<TensorId> = [loss, grad_norm, done].into_iter().chain(states).collect();
        let evaluated: Vec<TensorId> = std::iter::once(eval_loss).chain(measured.iter().copied()).collect();
        let program =
            Arc::new(graph.compile(runs, &[("train", &trained), ("evaluate", &evaluated), ("gradients", &kept)]));
        let entry = |name| program.entry(name).expect("just compiled");
        let (train, evaluate, gradients) = (entry("train"), entry("evaluate"), entry("gradients"));
        Self {
            program,
            train,
            evaluate,
            gradients,
            inputs,
            targets,
            loss,
            eval_loss,
            measured,
            grad_norm,
            hidden,
            ffn_out,
            init,
        }
    }
}

/// Writes the initial values of run `r`: each tensor has its own stream of `seed`, by its place in the list.
pub fn initialise<T: Real, K: Ops<T>>(session: &mut Session<T, K>, init: &[(TensorId, Init)], r: usize, seed: u64) {
    let program = Arc::clone(session.program());
    for (id, values) in initial(program.graph(), init, seed) {
        for (t, v) in session.get_mut(id, r).iter_mut().zip(values) {
            *t = T::from_f64(f64::from(v));
        }
    }
}

/// The initial values of every tensor of `init`.
pub(super) fn initial<'i>(
    graph: &'i Graph,
    init: &'i [(TensorId, Init)],
    seed: u64,
) -> impl Iterator<Item = (TensorId, Vec<f32>)> + 'i {
    let of = move |(stream, (id, init)): (usize, &(TensorId, Init))| {
        (*id, initial_values(init, graph.tensor(*id).len(), Stream::new(seed, stream as u32)))
    };
    init.iter().enumerate().map(of)
}

fn initial_values(init: &Init, len: usize, stream: Stream) -> Vec<f32> {
    let mut values = vec![0.0f32; len];
    match init {
        Init::Constant(x) => values.fill(*x),
        Init::Given(given) => values.copy_from_slice(given),
        Init::Uniform(bound) => {
            for (i, v) in values.iter_mut().enumerate() {
                *v = (2.0 * stream.uniform(0, i as u64) - 1.0) * *bound as f32;
            }
        }
        Init::Normal(std) | Init::NormalWithZeroColumns { std, .. } => {
            stream.fill_normal(0, &mut values);
            for v in &mut values {
                *v *= *std as f32;
            }
        }
    }
    if let Init::NormalWithZeroColumns { width, zero_columns, .. } = init {
        for row in values.chunks_exact_mut(*width) {
            row[..*zero_columns].fill(0.0);
        }
    }
    values
}
