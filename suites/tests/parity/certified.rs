//! The certified network: losses of 30 Adam steps while eps rises, gradients of two of them, and the evaluation after the last
//! with the running statistics.

use crate::fixture::{Fixture, build, distance};
use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::graph::{Session, TensorId};
use preheat_kernels::ops::Ops;
use preheat_kernels::real::Real;
use preheat_kernels::reference::Reference;
use preheat_suites::models::{Built, MODELS, Model, Shape};
use preheat_suites::registry::Scalar;
use preheat_suites::train::{Compiled, initialise};
use std::sync::Arc;

const FIXTURES: [&str; 4] = ["certified_plain", "certified_all", "certified_conv", "certified_linear"];
/// Steps whose gradients are recorded: at eps 0, and while it rises.
const DIFFERENTIATED: [usize; 2] = [1, 10];

fn model(f: &Fixture) -> Box<dyn Model> {
    let int = |key: &str| Scalar::Int(i64::try_from(f.int(key)).expect("a small size"));
    let flag = |key: &str| Scalar::Flag(f.recipe[key].as_bool().expect("a flag"));
    let ints = ["conv_layers", "conv_channels", "channels", "layers", "width", "clean_steps", "eps_warmup_steps"];
    let given = ints.map(|key| (key, int(key))).into_iter();
    let given = given.chain(["tightness", "relu_balance"].map(|key| (key, flag(key))));
    let given = given.chain(["lambda0", "tau"].map(|key| (key, Scalar::Real(f.real(key)))));
    let text = |x: &str| Scalar::Text(x.into());
    let norm = text(f.recipe["norm"].as_str().expect("text"));
    let bounds = text(f.recipe["bounds"].as_str().unwrap_or("ibp"));
    let given = given.chain([("batch_norm", norm), ("bounds", bounds), ("eps", Scalar::Real(f.real("radius")))]);
    build("model", MODELS, "certified", given)
}

/// Trains a fixture's network; `limits` are those of losses, of gradients and of the evaluation.
fn check<T: Real, K: Ops<T>>(name: &str, ops: K, [losses, gradients, evaluation]: [f64; 3]) {
    let (f, optimizer) = (&Fixture::open(name), "optimizer");
    let (model, optimizer) = (model(f), Fixture::optimizer("adam", &f.recipe[optimizer], &["beta1", "beta2", "eps"]));
    let (pixels, batch) = (f.int("side") * f.int("side"), f.int("batch"));
    let (vocab, label_smoothing) = (f.int("classes"), f.real("label_smoothing"));
    let shape = Shape { batch, seq: pixels, vocab, targets: 1, label_smoothing };
    let Ok(Built::Network(network)) = model.build(&shape) else { panic!("{name}: a network") };
    let c = Compiled::new(*network, optimizer.update(), Some(f.real("clip")), 1);
    let graph = c.program.graph();
    let mut session = Session::new(Arc::clone(&c.program), ops);
    initialise(&mut session, &c.init, 0, 0);
    let name_of = |id: TensorId| graph.tensor(id).name.as_str();
    let fill = |session: &mut Session<T, K>, id: TensorId, values: &[f64]| {
        let place = session.get_mut(id, 0);
        assert_eq!(place.len(), values.len(), "{name}: {}", name_of(id));
        place.iter_mut().zip(values).for_each(|(x, v)| *x = T::from_f64(*v));
    };
    for id in graph.params() {
        fill(&mut session, id, &f.tensor(&format!("param.{}", name_of(id))));
    }
    assert_eq!(graph.params().count(), f.tensors("param."), "{name}: every tensor is taken");
    let (images, labels) = (f.tensor("inputs"), f.tensor("targets"));
    let load = |session: &mut Session<T, K>, at: usize| {
        let (inputs, targets) = session.two_tokens_mut(c.inputs, c.targets, 0);
        inputs.iter_mut().zip(&images[at * batch * pixels..]).for_each(|(x, byte)| *x = *byte as u32);
        targets.iter_mut().zip(&labels[at * batch..]).for_each(|(x, label)| *x = *label as u32);
    };
    let recorded = f.tensor("losses.f64");
    assert_eq!(recorded.len(), 30);
    for (i, recorded) in recorded.into_iter().enumerate() {
        let step = i + 1;
        let mut scalars = Vec::new();
        model.write_scalars(step as u64, &mut scalars);
        optimizer.write_scalars(step as u64, f.real("peak_lr"), &mut scalars);
        session.set_scalars(0, scalars.into_iter().map(T::from_f64));
        load(&mut session, i % f.int("batches"));
        session.run(c.train);
        let loss = session.output(c.train, c.loss, 0)[0].to_f64();
        assert!((loss - recorded).abs() <= losses * recorded, "{name}: step {step} is {loss}, not {recorded}");
        for id in graph.params().filter(|_| DIFFERENTIATED.contains(&step)) {
            let recorded = f.tensor(&format!("grad.{step}.{}", name_of(id)));
            let grad = session.get(graph.grad_of(id).expect("a gradient"), 0);
            let apart = distance(grad.iter().map(|g| g.to_f64()), &recorded);
            assert!(apart <= gradients, "{name}: step {step}, {} is {apart:e} apart", name_of(id));
        }
    }
    load(&mut session, 0);
    session.run(c.evaluate);
    let (loss, recorded) = (session.output(c.evaluate, c.eval_loss, 0)[0].to_f64(), f.tensor("evaluated.f64")[0]);
    assert!((loss - recorded).abs() <= evaluation * recorded, "{name}: evaluated {loss}, not {recorded}");
}

#[test]
fn losses_and_gradients_in_f64() {
    // The recorded gradients are f32: what is left is their rounding.
    FIXTURES.iter().for_each(|name| check::<f64, _>(name, Reference, [1e-9, 1e-6, 1e-9]));
}

#[test]
fn losses_and_gradients_on_every_instruction_set() {
    for simd in Simd::available() {
        FIXTURES.iter().for_each(|name| check::<f32, _>(name, Cpu::new(simd), [1e-5, 1e-5, 1e-5]));
    }
}
