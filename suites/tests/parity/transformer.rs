//! The Transformer: loss and gradients of step 1, and the losses of 100 Adam steps.

use crate::fixture::{Fixture, build, distance};
use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::graph::{Program, Session, TensorId};
use preheat_kernels::ops::Ops;
use preheat_kernels::real::Real;
use preheat_kernels::reference::Reference;
use preheat_suites::models::{Built, MODELS, Network, Shape};
use preheat_suites::optimizers::Optimizer;
use preheat_suites::registry::Scalar;
use std::sync::Arc;

const FIXTURES: [&str; 5] =
    ["post_ln_relu", "post_ln_gelu_smoothed", "pre_ln_gelu", "pre_ln_relu_smoothed", "pre_ln_swiglu"];

fn network(f: &Fixture) -> Network {
    let text = |key: &str| Scalar::Text(f.recipe[key].as_str().expect("text").into());
    let int = |x: usize| Scalar::Int(i64::try_from(x).expect("a small size"));
    let ffn_ratio = f.int("ffn_width") / f.int("width");
    // A gated branch has two thirds of the width.
    let ffn_ratio =
        if f.recipe["activation"] == "swiglu" { f.int("ffn_width") * 3 / 2 / f.int("width") } else { ffn_ratio };
    let given = [
        ("layers", int(f.int("layers"))),
        ("width", int(f.int("width"))),
        ("heads", int(f.int("heads"))),
        ("ffn_ratio", int(ffn_ratio)),
        ("norm", text("norm")),
        ("activation", text("activation")),
    ];
    let shape = Shape {
        batch: f.int("batch"),
        seq: f.int("seq"),
        vocab: f.int("vocab"),
        targets: f.int("seq"),
        label_smoothing: f.real("label_smoothing"),
    };
    match build("model", MODELS, "transformer", given).build(&shape).expect("valid shapes") {
        Built::Network(network) => *network,
        Built::NormJacobian(_) | Built::AdaptiveRate(_) => panic!("a transformer is a network"),
    }
}

fn lr(f: &Fixture, step: usize) -> f64 {
    f.real("peak_lr") * (step as f64 / f.real("warmup_steps")).min(1.0)
}

/// A fixture's network with its initial parameters.
struct Trainer<'f, T: Real, K: Ops<T>> {
    fixture: &'f Fixture,
    session: Session<T, K>,
    program: Arc<Program>,
    optimizer: Box<dyn Optimizer>,
    inputs: TensorId,
    targets: TensorId,
    loss: TensorId,
    batches: [Vec<f64>; 2],
}

impl<'f, T: Real, K: Ops<T>> Trainer<'f, T, K> {
    fn new(fixture: &'f Fixture, ops: K) -> Self {
        let Network { mut graph, inputs, targets, loss, .. } = network(fixture);
        let optimizer = Fixture::optimizer("adam", &fixture.recipe, &["beta1", "beta2", "eps"]);
        graph.backward(loss, &[]);
        let norm = graph.grad_norm();
        let updated = graph.update(norm, optimizer.update(), Some(fixture.real("clip")));
        let program = Arc::new(graph.compile(1, &[("gradients", &[loss, norm]), ("train", &[loss, updated])]));
        let mut session = Session::new(Arc::clone(&program), ops);
        for id in program.graph().params() {
            let values = fixture.tensor(&format!("param.{}", program.graph().tensor(id).name));
            let place = session.get_mut(id, 0);
            assert_eq!(place.len(), values.len());
            place.iter_mut().zip(values).for_each(|(x, v)| *x = T::from_f64(v));
        }
        let batches = [fixture.tensor("inputs"), fixture.tensor("targets")];
        Self { fixture, session, program, optimizer, inputs, targets, loss, batches }
    }

    /// Runs `entry` on the batch of `step`, counted from 1; the loss before the update.
    fn run(&mut self, entry: &str, step: usize) -> f64 {
        let rows = self.fixture.int("batch") * self.fixture.int("seq");
        let start = (step - 1) % self.fixture.int("batches") * rows;
        for (id, tokens) in [self.inputs, self.targets].into_iter().zip(&self.batches) {
            let place = self.session.tokens_mut(id, 0);
            place.iter_mut().zip(&tokens[start..start + rows]).for_each(|(x, t)| *x = *t as u32);
        }
        let scalars = self.optimizer.scalars(step as u64, lr(self.fixture, step));
        self.session.set_scalars(0, scalars.into_iter().map(T::from_f64));
        let entry = self.program.entry(entry).expect("an entry");
        self.session.run(entry);
        self.session.output(entry, self.loss, 0)[0].to_f64()
    }
}

fn check_gradients<T: Real, K: Ops<T>>(ops: impl Fn() -> K, limit: f64) {
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let mut trainer = Trainer::<T, K>::new(&fixture, ops());
        let loss = trainer.run("gradients", 1);
        let recorded = fixture.tensor("losses.f32")[0];
        assert!((loss - recorded).abs() <= limit * recorded, "{name}: loss {loss} against {recorded}");
        let graph = trainer.program.graph();
        assert_eq!(graph.params().count(), fixture.tensors("grad."), "{name}: every tensor is compared");
        for id in graph.params() {
            let tensor = &graph.tensor(id).name;
            let recorded = fixture.tensor(&format!("grad.{tensor}"));
            let grad = trainer.session.get(graph.grad_of(id).expect("a gradient"), 0);
            assert_eq!(grad.len(), recorded.len(), "{name}: {tensor}");
            let apart = distance(grad.iter().map(|g| g.to_f64()), &recorded);
            assert!(apart <= limit, "{name}: {tensor} is {apart:e} apart");
        }
    }
}

/// The losses of the first `steps` steps; `limits` hold to step 20 and after it.
fn check_losses<T: Real, K: Ops<T>>(ops: impl Fn() -> K, recorded: &str, steps: usize, limits: [f64; 2]) {
    for name in FIXTURES {
        let fixture = Fixture::open(name);
        let mut trainer = Trainer::<T, K>::new(&fixture, ops());
        let recorded = fixture.tensor(recorded);
        assert_eq!(recorded.len(), 100);
        for (i, recorded) in recorded.into_iter().take(steps).enumerate() {
            let (step, limit) = (i + 1, limits[usize::from(i >= 20)]);
            let apart = (trainer.run("train", step) - recorded).abs() / recorded;
            assert!(apart <= limit, "{name}: loss of step {step} is {apart:e} apart");
        }
    }
}

#[test]
fn gradients_of_step_1_in_f64() {
    // PyTorch's are f32: what is left is their rounding.
    check_gradients::<f64, _>(|| Reference, 1e-6);
}

#[test]
fn gradients_of_step_1_on_every_instruction_set() {
    for simd in Simd::available() {
        check_gradients::<f32, _>(|| Cpu::new(simd), 1e-5);
    }
}

#[test]
fn losses_of_9_steps_in_f64() {
    check_losses::<f64, _>(|| Reference, "losses.f64", 9, [1e-12, 1e-12]);
}

#[test]
fn losses_of_100_steps_in_f32() {
    check_losses::<f32, _>(|| Cpu::new(Simd::detect()), "losses.f32", 100, [1e-5, 1e-4]);
}

#[test]
fn losses_of_3_steps_on_every_instruction_set() {
    for simd in Simd::available() {
        check_losses::<f32, _>(|| Cpu::new(simd), "losses.f32", 3, [1e-5, 1e-5]);
    }
}
