//! Graphs: derived gradients against finite differences in f64, cohorts against runs alone, gradients to
//! inputs, state, per-step randomness and several entry points.

mod certified;

use certified::{Layer, Streams, relu};
use preheat_kernels::graph::{Graph, Program, Session, ShapeError, TensorId};
use preheat_kernels::ops::{Activation, Attention, IntervalPenalty, Patches};
use preheat_kernels::reference::Reference;
use preheat_kernels::rng::Stream;
use preheat_kernels::update::UpdateBuilder;
use std::sync::Arc;

type F64 = Session<f64, Reference>;

fn fill(out: &mut [f64], seed: u64, stream: u32) {
    let mut values = vec![0.0f32; out.len()];
    Stream::new(seed, stream).fill_normal(0, &mut values);
    for (x, v) in out.iter_mut().zip(values) {
        *x = 0.5 * f64::from(v);
    }
}

/// A graph under test: the loss is Σy² over `y` unless the builder made its own.
struct Case {
    graph: Graph,
    tokens: Vec<(TensorId, u32)>,
    wrt: Vec<TensorId>,
    /// The graph's own host scalars.
    scalars: Vec<f64>,
}

impl Case {
    fn new() -> Self {
        Self { graph: Graph::new(), tokens: Vec::new(), wrt: Vec::new(), scalars: Vec::new() }
    }
    fn input(&mut self, shape: &[usize]) -> TensorId {
        let id = self.graph.input("x", shape);
        self.wrt.push(id);
        id
    }
    fn tokens(&mut self, len: usize, vocab: u32) -> TensorId {
        let id = self.graph.tokens("tokens", len);
        self.tokens.push((id, vocab));
        id
    }
    /// A scalar that depends on every element of `y` in its own way: cross-entropy over its rows.
    fn scalar(&mut self, y: TensorId) -> TensorId {
        let (rows, width) = (self.graph.tensor(y).rows(), self.graph.tensor(y).width());
        let targets = self.tokens(rows, width as u32);
        self.graph.cross_entropy(y, targets, 0.1).unwrap().0
    }

    fn host_scalar(&mut self, value: f64) -> TensorId {
        self.scalars.push(value);
        self.graph.host_scalar(self.scalars.len() - 1)
    }

    /// Central differences against the derived gradients, for every element of every parameter and input.
    fn check(mut self, loss: TensorId) {
        let grads = self.graph.backward(loss, &self.wrt);
        let places: Vec<TensorId> = self.graph.params().chain(self.wrt.iter().copied()).collect();
        let derived: Vec<TensorId> = places.iter().map(|p| grads.get(*p).expect("the loss depends on it")).collect();
        let mut roots = vec![loss];
        roots.extend(&derived);
        let program = Arc::new(self.graph.compile(1, &[("loss", &[loss]), ("gradients", &roots)]));
        let mut session = F64::new(Arc::clone(&program), Reference);
        for (i, id) in places.iter().enumerate() {
            fill(session.get_mut(*id, 0), 5, i as u32);
        }
        for (id, vocab) in &self.tokens {
            for (i, t) in session.tokens_mut(*id, 0).iter_mut().enumerate() {
                *t = (i as u32 * 7 + 3) % vocab;
            }
        }
        session.set_randomness(0, 11, 4);
        session.set_scalars(0, self.scalars.iter().copied());
        let (loss_entry, both) = (program.entry("loss").unwrap(), program.entry("gradients").unwrap());
        session.run(both);
        let derived: Vec<Vec<f64>> = derived.iter().map(|g| read(&session, &program, *g, both)).collect();
        for (id, derived) in places.iter().zip(&derived) {
            for (i, &expected) in derived.iter().enumerate() {
                let x = session.get(*id, 0)[i];
                let mut at = |x: f64| {
                    session.get_mut(*id, 0)[i] = x;
                    session.run(loss_entry);
                    session.output(loss_entry, loss, 0)[0]
                };
                let h = 1e-5;
                let numeric = (at(x + h) - at(x - h)) / (2.0 * h);
                at(x);
                let name = &program.graph().tensor(*id).name;
                assert!(
                    (numeric - expected).abs() <= 1e-8 + 1e-6 * expected.abs(),
                    "{name}[{i}]: {numeric} against {expected}"
                );
            }
        }
    }
}

fn read(session: &F64, program: &Program, id: TensorId, entry: preheat_kernels::graph::EntryId) -> Vec<f64> {
    let flat = program.graph().params().any(|p| program.graph().grad_of(p) == Some(id));
    if flat { session.get(id, 0).to_vec() } else { session.output(entry, id, 0).to_vec() }
}

#[test]
fn linear_with_bias_and_residual() {
    let mut c = Case::new();
    let (x, r) = (c.input(&[5, 7]), c.input(&[5, 3]));
    let (w, b) = (c.graph.param("w", &[7, 3]), c.graph.param("b", &[3]));
    let y = c.graph.linear(x, w, Some(b), Some(r)).unwrap();
    let loss = c.scalar(y);
    c.check(loss);
}

#[test]
fn layer_norm_on_a_branch_and_the_residual_stream() {
    let mut c = Case::new();
    let x = c.input(&[4, 9]);
    let (g, b, w) = (c.graph.param("g", &[9]), c.graph.param("b", &[9]), c.graph.param("w", &[9, 9]));
    let h = c.graph.layer_norm(x, g, b, 1e-5).unwrap();
    let y = c.graph.linear(h, w, None, Some(x)).unwrap();
    let z = c.graph.layer_norm(y, g, b, 1e-5).unwrap();
    let loss = c.scalar(z);
    c.check(loss);
}

#[test]
fn attention_causal_and_full() {
    for causal in [true, false] {
        let mut c = Case::new();
        let shape = Attention { batch: 2, seq: 5, heads: 2, head_dim: 3, causal };
        let qkv = c.input(&[10, 18]);
        let y = c.graph.attention(qkv, shape).unwrap();
        let loss = c.scalar(y);
        c.check(loss);
    }
}

#[test]
fn every_activation() {
    for f in Activation::ALL {
        let mut c = Case::new();
        let x = c.input(&[3, 11]);
        let y = c.graph.activation(f, x);
        let loss = c.scalar(y);
        c.check(loss);
    }
}

#[test]
fn tied_embedding_with_positions() {
    let mut c = Case::new();
    let tokens = c.tokens(12, 7);
    let (table, positions) = (c.graph.param("table", &[7, 5]), c.graph.param("positions", &[4, 5]));
    let x = c.graph.embedding(tokens, table, Some(positions)).unwrap();
    let logits = c.graph.linear_tied(x, table).unwrap();
    let loss = c.scalar(logits);
    c.check(loss);
}

#[test]
fn pointwise_and_dropout() {
    let mut c = Case::new();
    let (a, b) = (c.input(&[3, 8]), c.input(&[3, 8]));
    let sum = c.graph.add(a, b).unwrap();
    let product = c.graph.mul(sum, a).unwrap();
    let square = c.graph.mul(product, product).unwrap();
    let scaled = c.graph.scale(-0.75, square);
    let dropped = c.graph.dropout(scaled, 0.3, 2);
    let loss = c.scalar(dropped);
    c.check(loss);
}

/// One linear layer trained by SGD with a running mean of its output: parameters, state, two entries.
struct Small {
    program: Arc<Program>,
    x: TensorId,
    w: TensorId,
    targets: TensorId,
    running: TensorId,
    loss: TensorId,
}

fn small(runs: usize) -> Result<Small, ShapeError> {
    let mut g = Graph::new();
    let x = g.input("x", &[6, 4]);
    let targets = g.tokens("targets", 6);
    let w = g.param("w", &[4, 5]);
    let running = g.state("running", &[5]);
    let dropped = g.dropout(x, 0.25, 1);
    let y = g.linear(dropped, w, None, None)?;
    let sums = g.column_sum(y);
    g.ema(running, sums, 0.5)?;
    let (loss, _) = g.cross_entropy(y, targets, 0.0)?;
    g.backward(loss, &[]);
    let norm = g.grad_norm();
    let mut b = UpdateBuilder::new();
    let (p, grad, lr) = (b.param(), b.grad(), b.scalar("lr"));
    let step = b.mul(lr, grad);
    let new = b.sub(p, step);
    let done = g.update(norm, b.finish(new, vec![]), Some(0.05));
    let program = Arc::new(g.compile(runs, &[("train", &[loss, norm, running, done]), ("evaluate", &[loss])]));
    Ok(Small { program, x, w, targets, running, loss })
}

fn prepare(s: &Small, session: &mut Session<f32, Reference>, r: usize, seed: u64) {
    let mut values = vec![0.0f32; 24];
    Stream::new(seed, 0).fill_normal(0, &mut values);
    session.get_mut(s.x, r).copy_from_slice(&values);
    Stream::new(seed, 1).fill_normal(0, &mut values[..20]);
    session.get_mut(s.w, r).copy_from_slice(&values[..20]);
    for (i, t) in session.tokens_mut(s.targets, r).iter_mut().enumerate() {
        *t = ((i as u64 + seed) % 5) as u32;
    }
    session.set_scalars(r, [0.1 * (seed as f32)]);
}

fn train(s: &Small, session: &mut Session<f32, Reference>, seeds: &[u64], steps: u32) {
    let (train, evaluate) = (s.program.entry("train").unwrap(), s.program.entry("evaluate").unwrap());
    for step in 0..steps {
        for (r, &seed) in seeds.iter().enumerate() {
            session.set_randomness(r, seed, step);
        }
        session.run(train);
        session.run(evaluate);
    }
}

#[test]
fn a_cohort_has_the_bits_of_runs_alone() {
    let seeds = [3, 4, 9];
    let together = small(3).unwrap();
    let mut cohort = Session::new(Arc::clone(&together.program), Reference);
    for (r, &seed) in seeds.iter().enumerate() {
        prepare(&together, &mut cohort, r, seed);
    }
    train(&together, &mut cohort, &seeds, 5);
    let evaluate = together.program.entry("evaluate").unwrap();
    for (r, &seed) in seeds.iter().enumerate() {
        let alone = small(1).unwrap();
        let mut session = Session::new(Arc::clone(&alone.program), Reference);
        prepare(&alone, &mut session, 0, seed);
        train(&alone, &mut session, &[seed], 5);
        assert_eq!(session.get(alone.w, 0), cohort.get(together.w, r));
        assert_eq!(session.get(alone.running, 0), cohort.get(together.running, r));
        assert_eq!(session.output(evaluate, alone.loss, 0), cohort.output(evaluate, together.loss, r));
        assert!(session.get(alone.running, 0).iter().any(|x| *x != 0.0), "the running value moves");
    }
    assert_ne!(cohort.get(together.w, 0), cohort.get(together.w, 1), "runs differ by their seeds");
}

/// A root lies where an earlier value of another run was: no run may compute that value once the root is there.
#[test]
fn a_runs_root_outlives_what_others_compute() {
    let build = |runs: usize| {
        let mut g = Graph::new();
        let x = g.input("x", &[1, 16]);
        let [wide, one, middle, last] =
            [[16, 64], [64, 1], [1, 32], [32, 16]].map(|[k, m]| g.param(&format!("{k}x{m}"), &[k, m]));
        let mut y = x;
        for w in [wide, one, middle, last] {
            y = g.linear(y, w, None, None).unwrap();
        }
        let params: Vec<TensorId> = g.params().collect();
        (Arc::new(g.compile(runs, &[("all", &[y])])), params, x, y)
    };
    let run = |runs: usize, first: u64| {
        let (program, params, x, y) = build(runs);
        let mut session = F64::new(Arc::clone(&program), Reference);
        for r in 0..runs {
            for (stream, id) in params.iter().chain([&x]).enumerate() {
                fill(session.get_mut(*id, r), first + r as u64, stream as u32);
            }
        }
        let all = program.entry("all").unwrap();
        session.run(all);
        (0..runs).map(|r| session.output(all, y, r).to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(run(2, 5), [run(1, 5), run(1, 6)].concat());
}

#[test]
fn an_inactive_run_idles() {
    let s = small(2).unwrap();
    let mut session = Session::new(Arc::clone(&s.program), Reference);
    for r in 0..2 {
        prepare(&s, &mut session, r, 3);
    }
    let before = session.get(s.w, 1).to_vec();
    session.set_active(1, false);
    train(&s, &mut session, &[3, 3], 2);
    assert_eq!(session.get(s.w, 1), before);
    assert_ne!(session.get(s.w, 0), before);
}

#[test]
fn dropout_follows_seed_and_step_alone() {
    let s = small(1).unwrap();
    let evaluate = s.program.entry("evaluate").unwrap();
    let mut session = Session::new(Arc::clone(&s.program), Reference);
    prepare(&s, &mut session, 0, 3);
    let mut loss_at = |seed, step| {
        session.set_randomness(0, seed, step);
        session.run(evaluate);
        session.output(evaluate, s.loss, 0)[0]
    };
    assert_eq!(loss_at(1, 7), loss_at(1, 7));
    assert_ne!(loss_at(1, 7), loss_at(1, 8));
    assert_ne!(loss_at(1, 7), loss_at(2, 7));
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let mut g = Graph::new();
    let x = g.input("x", &[5, 7]);
    let w = g.param("w", &[6, 3]);
    let error = g.linear(x, w, None, None).unwrap_err();
    assert_eq!(error.to_string(), "linear weight: w has shape [6, 3], needed [7, 3]");
}

/// The robust loss of two layers with batch normalisation, the first a convolution, and their penalties.
fn robust_loss(c: &mut Case, x: Streams, shape: Patches, penalty: IntervalPenalty) -> Result<TensorId, ShapeError> {
    let (first, lambda) = (c.graph.mean(x.radius), c.host_scalar(0.7));
    let (g, channels, width, classes) = (&mut c.graph, 4, 6, 3);
    let x = x.patches(g, shape)?;
    let layer = Layer::new(g, "conv", shape.patch_len(), channels);
    let (x, _) = layer.affine(g, x, None)?;
    let (one, _) = g.interval_penalty(x.centre, x.radius, first, penalty)?;
    let x = relu(g, x)?;
    let flat = [shape.batch, shape.rows() / shape.batch * channels];
    let x = x.reshape(g, &flat)?;
    let layer = Layer::new(g, "full", flat[1], width);
    let (x, _) = layer.affine(g, x, None)?;
    let (two, _) = g.interval_penalty(x.centre, x.radius, first, penalty)?;
    let x = relu(g, x)?;
    let (w, b) = (g.param("head w", &[width, classes]), g.param("head bias", &[classes]));
    let targets = c.tokens(shape.batch, classes as u32);
    let g = &mut c.graph;
    let margins = g.worst_margins([x.centre, x.radius], w, Some(b), targets)?;
    let (robust, _) = g.cross_entropy(margins, targets, 0.0)?;
    let logits = g.linear(x.clean, w, Some(b), None)?;
    let (clean, _) = g.cross_entropy(logits, targets, 0.0)?;
    let penalties = g.add(one, two)?;
    let penalties = g.mul(penalties, lambda)?;
    let losses = g.add(robust, clean)?;
    g.add(losses, penalties)
}

/// The loss of margins that are `share` linear bounds and the rest intervals' ones, of dense layers with batch normalisation.
fn mixed_loss(c: &mut Case, x: Streams, sizes: &[usize], share: f64) -> Result<TensorId, ShapeError> {
    let (share, rows) = (c.host_scalar(share), c.graph.tensor(x.clean).rows());
    let (input, classes) = (x.radius, 3);
    let targets = c.tokens(rows, classes as u32);
    let (g, mut x, mut layers) = (&mut c.graph, x, Vec::new());
    for pair in sizes.windows(2) {
        let (before, _, layer) = Layer::new(g, "full", pair[0], pair[1]).bounded(g, x, None)?;
        layers.push(layer);
        x = relu(g, before)?;
    }
    let (w, b) = (g.param("head w", &[sizes[sizes.len() - 1], classes]), g.param("head bias", &[classes]));
    let interval = g.worst_margins([x.centre, x.radius], w, Some(b), targets)?;
    let z = g.linear(x.centre, w, Some(b), None)?;
    let linear = g.linear_margins(input, &layers, [z, w], targets)?;
    let margins = g.mix(share, interval, linear)?;
    Ok(g.cross_entropy(margins, targets, 0.0)?.0)
}

/// A penalty of which every part counts.
const PENALTY: IntervalPenalty = IntervalPenalty { width: 0, tau: 1.5, tightness: true, balance: true };
const IMAGES: Patches = Patches { batch: 7, height: 5, width: 4, channels: 2, kernel: 3, stride: 2, padding: 1 };

#[test]
fn a_certified_network_from_pixels() {
    for parts in [[true, true], [true, false], [false, true]] {
        let mut c = Case::new();
        let bytes = c.tokens(IMAGES.batch * IMAGES.image_len(), 256);
        let eps = c.host_scalar(0.02);
        let clean = c.graph.pixels(bytes, &[IMAGES.batch, IMAGES.image_len()]).unwrap();
        let (centre, radius) = c.graph.input_box(clean, eps, [0.0, 1.0]).unwrap();
        let penalty = IntervalPenalty { tightness: parts[0], balance: parts[1], ..PENALTY };
        let loss = robust_loss(&mut c, Streams { clean, centre, radius }, IMAGES, penalty).unwrap();
        c.check(loss);
    }
}

#[test]
fn a_certified_network_from_any_bounds() {
    let mut c = Case::new();
    let [clean, centre, width] = [(); 3].map(|()| c.input(&[IMAGES.batch, IMAGES.image_len()]));
    let size = c.graph.activation(Activation::Abs, width);
    let radius = c.graph.scale(0.1, size);
    // The penalty takes the input's mean radius as given: without tightness it has no part in the loss.
    let penalty = IntervalPenalty { tightness: false, ..PENALTY };
    let loss = robust_loss(&mut c, Streams { clean, centre, radius }, IMAGES, penalty).unwrap();
    c.check(loss);
}

#[test]
fn linear_bounds_of_dense_layers() {
    for (share, sizes) in [(1.0, &[5, 6, 7, 4][..]), (0.3, &[5, 6])] {
        let mut c = Case::new();
        let [clean, centre, width] = [(); 3].map(|()| c.input(&[7, 5]));
        let size = c.graph.activation(Activation::Abs, width);
        let radius = c.graph.scale(0.3, size);
        let loss = mixed_loss(&mut c, Streams { clean, centre, radius }, sizes, share).unwrap();
        c.check(loss);
    }
}

#[test]
fn an_entry_that_reads_a_state_leaves_it_as_it_is() {
    let mut g = Graph::new();
    let (x, state) = (g.input("x", &[2]), g.state("state", &[2]));
    g.ema(state, x, 0.5).unwrap();
    let read = g.scale(2.0, state);
    let program = Arc::new(g.compile(1, &[("train", &[state]), ("evaluate", &[read])]));
    let (train, evaluate) = (program.entry("train").unwrap(), program.entry("evaluate").unwrap());
    let mut session = Session::new(program, Reference);
    session.get_mut(x, 0).copy_from_slice(&[4.0f32, 8.0]);
    for expected in [[2.0, 4.0], [3.0, 6.0]] {
        session.run(train);
        for _ in 0..2 {
            session.run(evaluate);
            assert_eq!(session.get(state, 0), expected);
            assert_eq!(session.output(evaluate, read, 0), expected.map(|x| 2.0 * x));
        }
    }
}
