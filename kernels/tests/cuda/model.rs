//! A small transformer with everything that a graph can hold, and what trains it.

use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::cuda::{CudaSession, Exec};
use preheat_kernels::graph::{EntryId, Graph, Program, Session, ShapeError, TensorId};
use preheat_kernels::ops::{Activation, Attention};
use preheat_kernels::rng::Stream;
use preheat_kernels::update::{UpdateBuilder, UpdateExpr};
use std::sync::Arc;

/// What differs between the tests' models.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) runs: usize,
    pub(crate) batch: usize,
    pub(crate) seq: usize,
    pub(crate) heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) vocab: usize,
    pub(crate) pre_ln: bool,
    pub(crate) causal: bool,
    pub(crate) activation: Activation,
    pub(crate) dropout: f64,
    pub(crate) smoothing: f64,
    pub(crate) clip: Option<f64>,
}

/// A compiled model and the places in it.
pub(crate) struct Model {
    pub(crate) shape: Shape,
    pub(crate) program: Arc<Program>,
    pub(crate) tokens: TensorId,
    pub(crate) targets: TensorId,
    pub(crate) params: Vec<TensorId>,
    pub(crate) running: TensorId,
    /// Roots of both entries: loss; and of training: gradient norm, a probe, a gradient's sum of squares.
    pub(crate) loss: TensorId,
    pub(crate) scalars: Vec<TensorId>,
    pub(crate) train: EntryId,
    pub(crate) evaluate: EntryId,
}

/// AdamW with decoupled weight decay (Loshchilov & Hutter 2019, Algorithm 2).
fn adamw() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (p, g, m, v) = (b.param(), b.grad(), b.state(0), b.state(1));
    let (beta1, rest1) = (b.constant(0.9), b.constant(0.1));
    let (beta2, rest2) = (b.constant(0.99), b.constant(0.01));
    let (minus_rate, correction, decay) = (b.scalar("minus rate"), b.scalar("correction"), b.scalar("decay"));
    let eps = b.constant(1e-8);
    let first = b.mul(rest1, g);
    let new_m = b.fma(beta1, m, first);
    let square = b.mul(g, g);
    let second = b.mul(rest2, square);
    let new_v = b.fma(beta2, v, second);
    let corrected = b.mul(new_v, correction);
    let root = b.sqrt(corrected);
    let root = b.add(root, eps);
    let ratio = b.div(new_m, root);
    let decayed = b.mul(p, decay);
    let new_p = b.fma(minus_rate, ratio, decayed);
    b.finish(new_p, vec![new_m, new_v])
}

fn norm(g: &mut Graph, x: TensorId, name: &str) -> Result<TensorId, ShapeError> {
    let width = g.tensor(x).width();
    let (gamma, beta) = (g.param(&format!("{name} gamma"), &[width]), g.param(&format!("{name} beta"), &[width]));
    g.layer_norm(x, gamma, beta, 1e-5)
}

/// Attention and a feed-forward layer, each on the residual stream.
fn block(g: &mut Graph, s: &Shape, x: TensorId, name: &str) -> Result<TensorId, ShapeError> {
    let c = s.heads * s.head_dim;
    let h = if s.pre_ln { norm(g, x, &format!("{name} ln1"))? } else { x };
    let (w, b) = (g.param(&format!("{name} qkv"), &[c, 3 * c]), g.param(&format!("{name} qkv bias"), &[3 * c]));
    let qkv = g.linear(h, w, Some(b), None)?;
    let shape = Attention { batch: s.batch, seq: s.seq, heads: s.heads, head_dim: s.head_dim, causal: s.causal };
    let mixed = g.attention(qkv, shape)?;
    let w = g.param(&format!("{name} out"), &[c, c]);
    let mut x = g.linear(mixed, w, None, Some(x))?;
    if !s.pre_ln {
        x = norm(g, x, &format!("{name} ln1"))?;
    }
    let h = if s.pre_ln { norm(g, x, &format!("{name} ln2"))? } else { x };
    let (w, b) = (g.param(&format!("{name} up"), &[c, 3 * c + 1]), g.param(&format!("{name} up bias"), &[3 * c + 1]));
    let up = g.linear(h, w, Some(b), None)?;
    let active = g.activation(s.activation, up);
    // SiLU stands in a gate, as in SwiGLU.
    let up = if s.activation == Activation::Silu { g.mul(active, up)? } else { active };
    let up = if s.dropout > 0.0 { g.dropout(up, s.dropout, 7) } else { up };
    let (w, b) = (g.param(&format!("{name} down"), &[3 * c + 1, c]), g.param(&format!("{name} down bias"), &[c]));
    let x = g.linear(up, w, Some(b), Some(x))?;
    if s.pre_ln { Ok(x) } else { norm(g, x, &format!("{name} ln2")) }
}

impl Model {
    pub(crate) fn new(shape: Shape) -> Self {
        Self::build(shape).unwrap_or_else(|e| panic!("{e}"))
    }

    fn build(s: Shape) -> Result<Self, ShapeError> {
        let (mut g, c, n) = (Graph::new(), s.heads * s.head_dim, s.batch * s.seq);
        let (tokens, targets) = (g.tokens("tokens", n), g.tokens("targets", n));
        let (table, positions) = (g.param("table", &[s.vocab, c]), g.param("positions", &[s.seq, c]));
        let embedded = g.embedding(tokens, table, Some(positions))?;
        let mut x = block(&mut g, &s, embedded, "first")?;
        x = block(&mut g, &s, x, "second")?;
        // What no transformer needs: a branch of sums, products and multiples, and running column sums.
        let half = g.scale(0.5, x);
        let gate = g.param("gate", &[n, c]);
        let gated = g.mul(half, gate)?;
        x = g.add(x, gated)?;
        let running = g.state("running", &[c]);
        let sums = g.column_sum(x);
        g.ema(running, sums, 0.25)?;
        let logits = g.linear_tied(x, table)?;
        let (loss, _) = g.cross_entropy(logits, targets, s.smoothing)?;
        let gradients = g.backward(loss, &[]);
        let embedded_gradient = gradients.get(embedded).expect("the loss depends on it");
        let probe = g.sum_squares(embedded_gradient);
        let norm = g.grad_norm();
        let done = g.update(norm, adamw(), s.clip);
        let params: Vec<TensorId> = g.params().collect();
        let scalars = vec![loss, norm, probe];
        let roots = [loss, norm, probe, running, done];
        let program = Arc::new(g.compile(s.runs, &[("train", &roots), ("evaluate", &[loss])]));
        let (train, evaluate) = (program.entry("train").expect("a name"), program.entry("evaluate").expect("a name"));
        Ok(Self { shape: s, program, tokens, targets, params, running, loss, scalars, train, evaluate })
    }

    /// Initial values of parameter `id` under a seed.
    fn initial(&self, id: TensorId, seed: u64) -> Vec<f32> {
        let tensor = self.program.graph().tensor(id);
        let mut x = vec![0.0; tensor.len()];
        Stream::new(seed, 1)
            .fill_normal(self.params.iter().position(|p| *p == id).expect("a parameter") as u32, &mut x);
        let offset = if tensor.name.ends_with("gamma") { 1.0 } else { 0.0 };
        x.iter_mut().for_each(|x| *x = offset + 0.3 * *x);
        x
    }

    /// The token at `i` of a step; targets are another stream.
    fn token(&self, seed: u64, stream: u32, step: u32, i: usize) -> u32 {
        Stream::new(seed, stream).below(step, i as u64, self.shape.vocab as u64) as u32
    }

    /// −rate, a correction and the decay of a step.
    fn host_scalars(seed: u64, step: u32) -> [f32; 3] {
        let rate = 0.01 / f64::from(step + 1) * (1.0 + seed as f64 * 0.1);
        [-rate as f32, (1.0 / (1.0 - 0.5 / f64::from(step + 2))) as f32, (1.0 - 0.1 * rate) as f32]
    }
}

/// A session of either kind, as the tests drive it.
pub(crate) trait Driven {
    fn set(&mut self, id: TensorId, r: usize, x: &[f32]);
    fn get(&mut self, id: TensorId, r: usize) -> Vec<f32>;
    fn root(&mut self, entry: EntryId, id: TensorId, r: usize) -> Vec<f32>;
    fn state(&mut self, s: usize, r: usize) -> Vec<f32>;
    fn tokens(&mut self, id: TensorId, r: usize) -> &mut [u32];
    fn step(&mut self, r: usize, scalars: [f32; 3], seed: u64, step: u32);
    fn run(&mut self, entry: EntryId);
}

impl Driven for Session<f32, Cpu> {
    fn set(&mut self, id: TensorId, r: usize, x: &[f32]) {
        self.get_mut(id, r).copy_from_slice(x);
    }
    fn get(&mut self, id: TensorId, r: usize) -> Vec<f32> {
        Session::get(self, id, r).to_vec()
    }
    fn root(&mut self, entry: EntryId, id: TensorId, r: usize) -> Vec<f32> {
        self.output(entry, id, r).to_vec()
    }
    fn state(&mut self, s: usize, r: usize) -> Vec<f32> {
        self.optimizer_state(s, r).to_vec()
    }
    fn tokens(&mut self, id: TensorId, r: usize) -> &mut [u32] {
        self.tokens_mut(id, r)
    }
    fn step(&mut self, r: usize, scalars: [f32; 3], seed: u64, step: u32) {
        self.set_scalars(r, scalars);
        self.set_randomness(r, seed, step);
    }
    fn run(&mut self, entry: EntryId) {
        Session::run(self, entry);
    }
}

const FINE: &str = "the device does as it is told";

impl<E: Exec> Driven for CudaSession<E> {
    fn set(&mut self, id: TensorId, r: usize, x: &[f32]) {
        CudaSession::set(self, id, r, x).expect(FINE);
    }
    fn get(&mut self, id: TensorId, r: usize) -> Vec<f32> {
        CudaSession::get(self, id, r).expect(FINE)
    }
    fn root(&mut self, entry: EntryId, id: TensorId, r: usize) -> Vec<f32> {
        let one = self.output(entry, id, r).expect(FINE);
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let all = &self.outputs(entry, id).expect(FINE)[r];
        assert_eq!(bits(&one), bits(all), "one run's output and all runs'");
        one
    }
    fn state(&mut self, s: usize, r: usize) -> Vec<f32> {
        self.optimizer_state(s, r).expect(FINE)
    }
    fn tokens(&mut self, id: TensorId, r: usize) -> &mut [u32] {
        self.tokens_mut(id, r)
    }
    fn step(&mut self, r: usize, scalars: [f32; 3], seed: u64, step: u32) {
        self.set_scalars(r, scalars);
        self.set_randomness(r, seed, step);
    }
    fn run(&mut self, entry: EntryId) {
        CudaSession::run(self, entry).unwrap_or_else(|e| panic!("{e}"));
    }
}

/// The CPU's session of a model.
pub(crate) fn on_cpu(model: &Model) -> Session<f32, Cpu> {
    on_cpu_program(&model.program)
}

/// The CPU's session of a program.
pub(crate) fn on_cpu_program(program: &Arc<Program>) -> Session<f32, Cpu> {
    let simd = Simd::available().into_iter().next_back().expect("every machine has one");
    Session::new(Arc::clone(program), Cpu::new(simd))
}

impl Model {
    /// Writes the initial parameters of run `r`.
    pub(crate) fn begin(&self, session: &mut impl Driven, r: usize, seed: u64) {
        for id in &self.params {
            session.set(*id, r, &self.initial(*id, seed));
        }
    }
    /// Makes a step of all runs.
    pub(crate) fn train(&self, session: &mut impl Driven, seeds: &[u64], step: u32) {
        self.prepare(session, seeds, step);
        session.run(self.train);
    }
    /// What a step of all runs needs: tokens, scalars, randomness.
    pub(crate) fn prepare(&self, session: &mut impl Driven, seeds: &[u64], step: u32) {
        for (r, &seed) in seeds.iter().enumerate() {
            for (stream, id) in [(2, self.tokens), (3, self.targets)] {
                for (i, token) in session.tokens(id, r).iter_mut().enumerate() {
                    *token = self.token(seed, stream, step, i);
                }
            }
            session.step(r, Self::host_scalars(seed, step), seed << 33 | seed, step);
        }
    }
    /// Everything of run `r` after [`Self::train`], then the loss of an evaluation.
    pub(crate) fn outcome(&self, session: &mut impl Driven, r: usize) -> Vec<Vec<f32>> {
        let mut all: Vec<_> = self.scalars.iter().map(|id| session.root(self.train, *id, r)).collect();
        for id in self.params.iter().flat_map(|p| [Some(*p), self.program.graph().grad_of(*p)]).flatten() {
            all.push(session.get(id, r));
        }
        all.push(session.get(self.running, r));
        all.extend((0..2).map(|s| session.state(s, r)));
        all
    }
    /// The loss of each run on the tokens of the last step.
    pub(crate) fn evaluate(&self, session: &mut impl Driven) -> Vec<Vec<f32>> {
        session.run(self.evaluate);
        (0..self.shape.runs).map(|r| session.root(self.evaluate, self.loss, r)).collect()
    }
}
