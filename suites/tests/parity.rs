//! The Transformer against PyTorch: loss and gradients of step 1, and the losses of 100 Adam steps. The fixtures and
//! the limits are described in `tests/parity/README.md` of the workspace.

use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::graph::{Program, Session, TensorId};
use preheat_kernels::ops::Ops;
use preheat_kernels::real::Real;
use preheat_kernels::reference::Reference;
use preheat_kernels::update::{UpdateBuilder, UpdateExpr};
use preheat_suites::models::{Built, MODELS, Network, Shape};
use preheat_suites::registry::{self, Params, Preset, Scalar, Spec};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

const FIXTURES: [&str; 4] = ["post_ln_relu", "post_ln_gelu_smoothed", "pre_ln_gelu", "pre_ln_relu_smoothed"];

/// What PyTorch recorded.
struct Fixture {
    bytes: Vec<u8>,
    recipe: Value,
}

impl Fixture {
    fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/parity/fixtures/{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a safetensors file");
        let recipe = &header.metadata().as_ref().expect("metadata")["recipe"];
        let recipe = serde_json::from_str(recipe).expect("the recipe is JSON");
        Self { bytes, recipe }
    }
    fn int(&self, key: &str) -> usize {
        self.recipe[key].as_u64().unwrap_or_else(|| panic!("{key} is an integer")) as usize
    }
    fn real(&self, key: &str) -> f64 {
        self.recipe[key].as_f64().unwrap_or_else(|| panic!("{key} is a number"))
    }
    /// A tensor's elements; integers and f32 are exact in f64.
    fn tensor(&self, name: &str) -> Vec<f64> {
        let tensors = SafeTensors::deserialize(&self.bytes).expect("a safetensors file");
        let view = tensors.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let four = |b: &[u8]| <[u8; 4]>::try_from(b).expect("four bytes");
        match view.dtype() {
            Dtype::F32 => view.data().chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(four(b)))).collect(),
            Dtype::U32 => view.data().chunks_exact(4).map(|b| f64::from(u32::from_le_bytes(four(b)))).collect(),
            Dtype::F64 => {
                view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes"))).collect()
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    fn tensors(&self, prefix: &str) -> usize {
        let tensors = SafeTensors::deserialize(&self.bytes).expect("a safetensors file");
        tensors.names().iter().filter(|n| n.starts_with(prefix)).count()
    }

    fn network(&self) -> Network {
        let text = |key: &str| Scalar::Text(self.recipe[key].as_str().expect("text").into());
        let int = |x: usize| Scalar::Int(i64::try_from(x).expect("a small size"));
        let given = [
            ("layers", int(self.int("layers"))),
            ("width", int(self.int("width"))),
            ("heads", int(self.int("heads"))),
            ("ffn_ratio", int(self.int("ffn_width") / self.int("width"))),
            ("norm", text("norm")),
            ("activation", text("activation")),
        ];
        let entry = MODELS.iter().find(|e| e.name == "transformer").expect("the transformer is registered");
        let defaults = entry.params.iter().filter_map(|p| Some((p.name, preset(p.default)?)));
        let params = defaults.chain(given).map(|(name, value)| (name.to_string(), value)).collect();
        let spec = Spec { name: "transformer".into(), params: Params(params) };
        let shape = Shape {
            batch: self.int("batch"),
            seq: self.int("seq"),
            vocab: self.int("vocab"),
            label_smoothing: self.real("label_smoothing"),
        };
        match registry::build("model", MODELS, &spec).expect("a valid model").build(&shape).expect("valid shapes") {
            Built::Network(network) => *network,
            Built::NormJacobian(_) => panic!("a transformer is a network"),
        }
    }

    fn lr(&self, step: usize) -> f64 {
        self.real("peak_lr") * (step as f64 / self.real("warmup_steps")).min(1.0)
    }
}

fn preset(default: Preset) -> Option<Scalar> {
    match default {
        Preset::Required => None,
        Preset::Int(x) => Some(Scalar::Int(x)),
        Preset::Real(x) => Some(Scalar::Real(x)),
        Preset::Text(x) => Some(Scalar::Text(x.into())),
        Preset::Flag(x) => Some(Scalar::Flag(x)),
    }
}

/// Adam (Kingma & Ba 2015, algorithm 1), the corrections as host scalars.
fn adam() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (param, grad, m, v) = (b.param(), b.grad(), b.state(0), b.state(1));
    let (beta1, rest1) = (b.scalar("beta1"), b.scalar("1 - beta1"));
    let (beta2, rest2) = (b.scalar("beta2"), b.scalar("1 - beta2"));
    let (step_size, root_correction, eps) = (b.scalar("lr / c1"), b.scalar("sqrt c2"), b.scalar("eps"));
    let (kept, added) = (b.mul(m, beta1), rest1);
    let m = b.fma(added, grad, kept);
    let (square, kept) = (b.mul(grad, grad), b.mul(v, beta2));
    let v = b.fma(rest2, square, kept);
    let root = b.sqrt(v);
    let root = b.div(root, root_correction);
    let root = b.add(root, eps);
    let ratio = b.div(m, root);
    let down = b.neg(step_size);
    let param = b.fma(down, ratio, param);
    b.finish(param, vec![m, v])
}

fn adam_scalars(f: &Fixture, step: usize) -> [f64; 7] {
    let (beta1, beta2) = (f.real("beta1"), f.real("beta2"));
    let correction = |beta: f64| 1.0 - libm::pow(beta, step as f64);
    let step_size = f.lr(step) / correction(beta1);
    [beta1, 1.0 - beta1, beta2, 1.0 - beta2, step_size, correction(beta2).sqrt(), f.real("eps")]
}

/// A fixture's network with its initial parameters.
struct Trainer<'f, T: Real, K: Ops<T>> {
    fixture: &'f Fixture,
    session: Session<T, K>,
    program: Arc<Program>,
    inputs: TensorId,
    targets: TensorId,
    loss: TensorId,
    batches: [Vec<f64>; 2],
}

impl<'f, T: Real, K: Ops<T>> Trainer<'f, T, K> {
    fn new(fixture: &'f Fixture, ops: K) -> Self {
        let Network { mut graph, inputs, targets, loss, .. } = fixture.network();
        graph.backward(loss, &[]);
        let norm = graph.grad_norm();
        let updated = graph.update(norm, adam(), Some(fixture.real("clip")));
        let program = Arc::new(graph.compile(1, &[("gradients", &[loss, norm]), ("train", &[loss, updated])]));
        let mut session = Session::new(Arc::clone(&program), ops);
        for id in program.graph().params() {
            let values = fixture.tensor(&format!("param.{}", program.graph().tensor(id).name));
            let place = session.get_mut(id, 0);
            assert_eq!(place.len(), values.len());
            place.iter_mut().zip(values).for_each(|(x, v)| *x = T::from_f64(v));
        }
        let batches = [fixture.tensor("inputs"), fixture.tensor("targets")];
        Self { fixture, session, program, inputs, targets, loss, batches }
    }

    /// Runs `entry` on the batch of `step`, counted from 1; the loss before the update.
    fn run(&mut self, entry: &str, step: usize) -> f64 {
        let rows = self.fixture.int("batch") * self.fixture.int("seq");
        let start = (step - 1) % self.fixture.int("batches") * rows;
        for (id, tokens) in [self.inputs, self.targets].into_iter().zip(&self.batches) {
            let place = self.session.tokens_mut(id, 0);
            place.iter_mut().zip(&tokens[start..start + rows]).for_each(|(x, t)| *x = *t as u32);
        }
        let scalars = adam_scalars(self.fixture, step).map(T::from_f64);
        self.session.set_scalars(0, scalars);
        let entry = self.program.entry(entry).expect("an entry");
        self.session.run(entry);
        self.session.output(entry, self.loss, 0)[0].to_f64()
    }
}

/// ‖a − b‖ / ‖b‖.
fn distance(a: impl IntoIterator<Item = f64>, b: &[f64]) -> f64 {
    let squares = |x: f64| x * x;
    let apart: f64 = a.into_iter().zip(b).map(|(a, b)| squares(a - b)).sum();
    (apart / b.iter().map(|b| squares(*b)).sum::<f64>()).sqrt()
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

fn scalar_cpu() -> Cpu {
    Cpu::new(Simd::Scalar)
}

#[test]
fn gradients_of_step_1_in_f64() {
    // PyTorch's are f32: what is left is their rounding.
    check_gradients::<f64, _>(|| Reference, 1e-6);
}

#[test]
fn gradients_of_step_1_in_f32() {
    check_gradients::<f32, _>(scalar_cpu, 1e-5);
}

#[test]
fn losses_of_25_steps_in_f64() {
    check_losses::<f64, _>(|| Reference, "losses.f64", 25, [1e-12, 1e-12]);
}

#[test]
fn losses_of_100_steps_in_f32() {
    check_losses::<f32, _>(scalar_cpu, "losses.f32", 100, [1e-5, 1e-4]);
}
