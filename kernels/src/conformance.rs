//! Whether a device has the reference's bits: small graphs of every op, with their gradients and an update, on awkward
//! shapes. What a machine can be asked about itself; the tests ask more.

mod certified;

use crate::device::{Device, DeviceError, Place, Replay};
use crate::graph::{EntryId, Graph, Program, Session, TensorId};
use crate::ops::{Activation, Attention};
use crate::real::canonical_bits;
use crate::reference::Reference;
use crate::rng::Stream;
use crate::update::{Instr, UpdateBuilder, UpdateExpr};
use certified::Certified;
use std::sync::Arc;

/// Runs of each graph, with other numbers each.
const RUNS: usize = 2;
/// Steps of each graph, so that what a step leaves behind is used.
const STEPS: u32 = 2;
/// Of a builder whose operands are made for each other.
const FIT: &str = "the shapes fit";

/// Sizes and kinds of one graph.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    network: Network,
    /// Size of the initial numbers.
    scale: f32,
}

#[derive(Clone, Copy, Debug)]
enum Network {
    Transformer(Transformer),
    Certified(Certified),
}

/// Embeddings, attention, norms, a feed-forward layer, and whatever else trains on tokens.
#[derive(Clone, Copy, Debug)]
struct Transformer {
    shape: Attention,
    vocab: usize,
    activation: Activation,
    smoothing: f64,
    clip: Option<f64>,
}

/// The graphs: one token, one warp less and more by one, primes, denormal and large numbers.
pub fn cases() -> Vec<Case> {
    let case = |(batch, seq, heads, head_dim): (usize, usize, usize, usize), vocab, activation, causal, scale| {
        let transformer = Transformer {
            shape: Attention { batch, seq, heads, head_dim, causal },
            vocab,
            activation,
            smoothing: if causal { 0.1 } else { 0.0 },
            clip: (!causal).then_some(1e-3),
        };
        Case { network: Network::Transformer(transformer), scale }
    };
    let transformers = [
        case((1, 1, 1, 1), 2, Activation::Relu, true, 0.5),
        case((2, 31, 2, 8), 33, Activation::GeluTanh, true, 0.5),
        case((1, 33, 3, 11), 67, Activation::GeluErf, false, 0.5),
        case((3, 17, 1, 32), 131, Activation::Tanh, true, 0.1),
        case((2, 5, 2, 3), 7, Activation::GeluTanh, false, 1e-39),
        case((2, 5, 2, 3), 7, Activation::GeluErf, true, 1e12),
        case((2, 7, 1, 5), 13, Activation::Silu, false, 0.5),
    ];
    transformers.into_iter().chain(certified_cases()).collect()
}

/// Those of [`cases`] with images, batch statistics and interval bounds.
pub fn certified_cases() -> Vec<Case> {
    let case = |(network, scale)| Case { network: Network::Certified(network), scale };
    Certified::all().into_iter().map(case).collect()
}

/// A graph with the tensors that are compared.
struct Built {
    program: Arc<Program>,
    entry: EntryId,
    /// Each with how many kinds of tokens there are.
    tokens: [(TensorId, usize); 2],
    written: Vec<TensorId>,
    places: Vec<(String, Place)>,
}

impl Case {
    /// What differs between `device` and the reference, one line a tensor, the first element that does.
    ///
    /// # Errors
    /// The device failed.
    pub fn differences(&self, device: &dyn Device) -> Result<Vec<String>, DeviceError> {
        self.differences_of(RUNS, device)
    }

    /// The same, for a cohort of `runs`.
    ///
    /// # Errors
    /// The device failed.
    pub fn differences_of(&self, runs: usize, device: &dyn Device) -> Result<Vec<String>, DeviceError> {
        let built = match self.network {
            Network::Transformer(transformer) => transformer.build(runs),
            Network::Certified(certified) => certified.build(runs),
        };
        let mut ours = device.session(&built.program)?;
        let mut reference: Box<dyn Replay> = Box::new(Session::new(Arc::clone(&built.program), Reference));
        let mut found = Vec::new();
        for session in [&mut ours, &mut reference] {
            for (stream, id) in built.written.iter().enumerate() {
                let mut values = vec![0.0; built.program.graph().tensor(*id).len()];
                for r in 0..runs {
                    Stream::new(r as u64, stream as u32).fill_normal(0, &mut values);
                    values.iter_mut().for_each(|x| *x *= self.scale);
                    session.write(Place::Tensor(*id), r, &values)?;
                }
            }
        }
        for step in 1..=STEPS {
            for session in [&mut ours, &mut reference] {
                built.step(&mut **session, step)?;
            }
            for r in 0..runs {
                for (name, place) in &built.places {
                    let (a, b) = (ours.read(*place, r)?, reference.read(*place, r)?);
                    let differs = |(x, y): (&f32, &f32)| canonical_bits(*x) != canonical_bits(*y);
                    if let Some(i) = a.iter().zip(&*b).position(differs) {
                        found.push(format!("step {step}, run {r}: {name}[{i}] is {:e}, not {:e}", a[i], b[i]));
                    }
                }
            }
        }
        Ok(found)
    }
}

/// What is seen of a graph.
struct Seen {
    tokens: [(TensorId, usize); 2],
    /// Computed and compared.
    values: Vec<TensorId>,
    /// Carried from step to step.
    states: Vec<TensorId>,
    inputs: Vec<TensorId>,
    /// The update.
    done: TensorId,
}

impl Built {
    fn new(g: Graph, runs: usize, seen: Seen) -> Self {
        let Seen { tokens, values, states, inputs, done } = seen;
        let roots: Vec<TensorId> = values.iter().chain(&states).copied().chain([done]).collect();
        let written: Vec<TensorId> = g.params().chain(states.iter().copied()).chain(inputs).collect();
        let grads: Vec<TensorId> = g.params().filter_map(|p| g.grad_of(p)).collect();
        let name = |id: &TensorId| g.tensor(*id).name.clone();
        let named: Vec<(String, TensorId)> = grads.iter().chain(&states).map(|id| (name(id), *id)).collect();
        let outputs: Vec<(String, TensorId)> = values.iter().map(|id| (name(id), *id)).collect();
        let program = Arc::new(g.compile(runs, &[("all", &roots)]));
        let entry = program.entry("all").expect("just compiled");
        let mut places: Vec<(String, Place)> =
            outputs.into_iter().map(|(name, id)| (name, Place::Output(entry, id))).collect();
        places.extend(named.into_iter().map(|(name, id)| (name, Place::Tensor(id))));
        places.extend([("parameters".into(), Place::Params), ("state 0".into(), Place::OptimizerState(0))]);
        Self { program, entry, tokens, written, places }
    }

    fn step(&self, session: &mut dyn Replay, step: u32) -> Result<(), DeviceError> {
        for r in 0..self.program.runs() {
            let own = [0.02 * step as f32, 0.5 + 0.1 * r as f32];
            let scalars = own.into_iter().take(self.program.own_scalars()).chain([0.01, 0.9 + 0.01 * r as f32]);
            session.set_scalars(r, &scalars.collect::<Vec<f32>>());
            session.set_randomness(r, 7 + r as u64, step);
            let [(first, inputs), (second, targets)] = self.tokens;
            let (first, second) = session.two_tokens_mut(first, second, r);
            for (tokens, factor, kinds) in [(first, 7, inputs), (second, 5, targets)] {
                for (i, token) in tokens.iter_mut().enumerate() {
                    *token = ((i * (r + 2) + step as usize) * factor % kinds) as u32;
                }
            }
        }
        session.run(self.entry)
    }
}

impl Transformer {
    fn build(&self, runs: usize) -> Built {
        let Self { shape, vocab, activation, smoothing, clip, .. } = *self;
        let (mut g, c, n) = (Graph::new(), shape.width(), shape.batch * shape.seq);
        let (inputs, targets) = (g.tokens("inputs", n), g.tokens("targets", n));
        let [table, positions] =
            [("table", vocab), ("positions", shape.seq)].map(|(name, rows)| g.param(name, &[rows, c]));
        let [gamma, beta, bias_out] = ["gamma", "beta", "bias out"].map(|name| g.param(name, &[c]));
        let (qkv, bias_qkv) = (g.param("qkv", &[c, 3 * c]), g.param("bias qkv", &[3 * c]));
        let (out, wide, narrow) =
            (g.param("out", &[c, c]), g.param("wide", &[c, 2 * c]), g.param("narrow", &[2 * c, c]));
        let (running, other) = (g.state("running", &[c]), g.input("other", &[n, c]));
        let x = g.embedding(inputs, table, Some(positions)).expect(FIT);
        let x = g.dropout(x, 0.25, 3);
        let normed = g.layer_norm(x, gamma, beta, 1e-5).expect(FIT);
        let projected = g.linear(normed, qkv, Some(bias_qkv), None).expect(FIT);
        let attended = g.attention(projected, shape).expect(FIT);
        let x = g.linear(attended, out, Some(bias_out), Some(x)).expect(FIT);
        let hidden = g.linear(x, wide, None, None).expect(FIT);
        let active = g.activation(activation, hidden);
        let fed = g.linear(active, narrow, None, None).expect(FIT);
        let scaled = g.scale(0.3, fed);
        let gated = g.mul(scaled, other).expect(FIT);
        let x = g.add(x, gated).expect(FIT);
        let logits = g.linear_tied(x, table).expect(FIT);
        let (loss, losses) = g.cross_entropy(logits, targets, smoothing).expect(FIT);
        g.backward(loss, &[]);
        let (squares, columns) = (g.sum_squares(x), g.column_sum(x));
        g.ema(running, columns, 0.1).expect(FIT);
        let norm = g.grad_norm();
        let done = g.update(norm, every_instruction(), clip);
        let values =
            [normed, projected, attended, hidden, active, fed, gated, x, logits, loss, losses, squares, columns, norm];
        let (states, inputs, tokens) = (vec![running], vec![other], [(inputs, vocab), (targets, vocab)]);
        Built::new(g, runs, Seen { tokens, values: values.into(), states, inputs, done })
    }
}

/// An update that makes sense to nobody and uses every instruction.
fn every_instruction() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (p, g, m) = (b.param(), b.grad(), b.state(0));
    let (rate, decay, small) = (b.scalar("rate"), b.scalar("decay"), b.constant(1e-8));
    let kept = b.mul(decay, m);
    let m = b.fma(g, rate, kept);
    let size = b.push(Instr::Abs(m));
    let size = b.push(Instr::Max(size, small));
    let root = b.sqrt(size);
    let direction = b.div(m, root);
    let sign = b.push(Instr::Sign(direction));
    let least = b.push(Instr::Min(direction, sign));
    let back = b.neg(least);
    let sum = b.add(back, g);
    let step = b.sub(sum, p);
    let new = b.fma(step, rate, p);
    b.finish(new, vec![m])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Cpu, Simd};

    #[test]
    fn every_path_of_the_cpu_conforms() {
        for simd in Simd::available() {
            for case in cases() {
                assert_eq!(case.differences(&Cpu::new(simd)), Ok(vec![]), "{simd} {case:?}");
            }
        }
    }

    /// A device on which one run's rate is a bit off.
    struct Other(Cpu);

    impl Device for Other {
        fn session(&self, program: &Arc<Program>) -> Result<Box<dyn Replay>, DeviceError> {
            Ok(Box::new(Shifted(self.0.session(program)?)))
        }
        fn sum_squares(&self, x: &[f32]) -> f32 {
            crate::ops::Ops::sum_squares(&self.0, x)
        }
    }

    struct Shifted(Box<dyn Replay>);

    impl Replay for Shifted {
        fn program(&self) -> &Program {
            self.0.program()
        }
        fn set_scalars(&mut self, r: usize, scalars: &[f32]) {
            let shifted: Vec<f32> = scalars.iter().map(|x| f32::from_bits(x.to_bits() + r as u32)).collect();
            self.0.set_scalars(r, &shifted);
        }
        fn set_randomness(&mut self, r: usize, seed: u64, step: u32) {
            self.0.set_randomness(r, seed, step);
        }
        fn set_active(&mut self, r: usize, active: bool) {
            self.0.set_active(r, active);
        }
        fn two_tokens_mut(&mut self, a: TensorId, b: TensorId, r: usize) -> (&mut [u32], &mut [u32]) {
            self.0.two_tokens_mut(a, b, r)
        }
        fn run(&mut self, entry: EntryId) -> Result<(), DeviceError> {
            self.0.run(entry)
        }
        fn read(&self, place: Place, r: usize) -> Result<std::borrow::Cow<'_, [f32]>, DeviceError> {
            self.0.read(place, r)
        }
        fn read_each(&self, entry: EntryId, id: TensorId, out: &mut [f32]) -> Result<(), DeviceError> {
            self.0.read_each(entry, id, out)
        }
        fn write(&mut self, place: Place, r: usize, values: &[f32]) -> Result<(), DeviceError> {
            self.0.write(place, r, values)
        }
    }

    #[test]
    fn a_bit_in_one_run_is_found() {
        let found = cases()[1].differences(&Other(Cpu::new(Simd::Scalar))).unwrap();
        assert!(found[0].starts_with("step 1, run 1: parameters["), "{found:?}");
        assert!(found.iter().any(|line| line.starts_with("step 2, run 1: loss")), "{found:?}");
        assert!(!found.iter().any(|line| line.contains("run 0")), "{found:?}");
    }

    #[test]
    fn a_bit_of_a_scalar_that_the_graph_reads_is_found() {
        let found = certified_cases()[1].differences(&Other(Cpu::new(Simd::Scalar))).unwrap();
        for what in ["radius", "penalty", "loss", "grad norm", "parameters"] {
            let differs = format!("step 1, run 1: {what}[");
            assert!(found.iter().any(|line| line.starts_with(&differs)), "{what}: {found:?}");
        }
        assert!(!found.iter().any(|line| line.contains("run 0")), "{found:?}");
    }
}
