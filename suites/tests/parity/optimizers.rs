//! Every optimizer over 1,000 steps on tensors of several shapes: all parameters after some of the steps.

use crate::fixture::{Fixture, build, distance};
use crate::rig::{Rig, Shape};
use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::ops::Ops;
use preheat_kernels::real::Real;
use preheat_kernels::reference::Reference;
use preheat_suites::optimizers::{OPTIMIZERS, Optimizer};
use preheat_suites::registry::Scalar;
use serde_json::Value;
use std::collections::BTreeSet;

/// What is left in f64: both round every operation, in another order. 2e-14 was measured.
const IN_F64: f64 = 1e-12;
/// In f32 a host scalar such as 1 − lr·decay is rounded once and then used 1,000 times: up to 3e-8 a step, all in one
/// direction. PyTorch's own f32 is up to 1.3e-5 from its f64 on these, and so is ours.
const IN_F32: f64 = 2e-5;

fn scalar(value: &Value) -> Scalar {
    match value {
        Value::Bool(x) => Scalar::Flag(*x),
        Value::String(x) => Scalar::Text(x.clone()),
        Value::Number(x) if x.is_i64() => Scalar::Int(x.as_i64().expect("an integer")),
        other => Scalar::Real(other.as_f64().expect("a number")),
    }
}

/// The optimizer of an arm; every parameter is one that the fixture gives.
fn optimizer(arm: &Value) -> (String, Box<dyn Optimizer>) {
    let name = arm[0].as_str().expect("a name");
    let given = arm[1].as_object().expect("coefficients");
    let entry = OPTIMIZERS.iter().find(|e| e.name == name).expect("registered");
    assert_eq!(entry.params.len(), given.len(), "{name}: every coefficient is given");
    let given = given.iter().map(|(key, value)| (key.as_str(), scalar(value)));
    (name.to_string(), build("optimizer", OPTIMIZERS, name, given))
}

/// The largest distance of our parameters from the recorded ones, over the steps that are kept.
fn apart<T: Real, K: Ops<T>>(fixture: &Fixture, arm: &str, ops: K) -> f64 {
    let recipe = &fixture.recipe;
    let shapes: Vec<(String, Vec<usize>)> = ["hidden.wide", "hidden.tall", "table", "vector", "one"]
        .map(|name| (name.to_string(), serde_json::from_value(recipe["shapes"][name].clone()).expect("a shape")))
        .to_vec();
    assert_eq!(recipe["shapes"].as_object().map(serde_json::Map::len), Some(shapes.len()));
    let shapes: Vec<Shape<'_>> = shapes.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
    let numbers = |name: &str| fixture.tensor(name).into_iter().map(T::from_f64).collect::<Vec<T>>();
    let (initial, bank) = (numbers("initial"), numbers("bank"));
    let bank: Vec<&[T]> = bank.chunks_exact(initial.len()).collect();
    let (_, optimizer) = optimizer(&recipe["arms"][arm]);
    let mut rig = Rig::new(optimizer, &shapes, None, ops, &initial);
    let kept: Vec<u64> = serde_json::from_value(recipe["kept"].clone()).expect("steps");
    let recorded = fixture.tensor(&format!("{arm}.f64"));
    let mut recorded = recorded.chunks_exact(initial.len());
    let mut worst = 0.0f64;
    for step in 1..=fixture.int("steps") {
        let halved = (step - 1) / fixture.int("halved_every");
        let scale = T::from_f64(libm::pow(0.5, halved as f64));
        let grads: Vec<T> = bank[(step - 1) % fixture.int("bank")].iter().map(|g| *g * scale).collect();
        let lr = fixture.real("peak_lr") * (step as f64 / fixture.real("warmup_steps")).min(1.0);
        rig.step(step as u64, lr, &grads);
        if kept.contains(&(step as u64)) {
            let recorded = recorded.next().expect("a row for each kept step");
            worst = worst.max(distance(rig.values().into_iter().map(|x| x.to_f64()), recorded));
        }
    }
    assert!(recorded.next().is_none());
    assert!(rig.kept().iter().all(|x| x.to_f64().is_finite()), "{arm}");
    worst
}

fn arms(fixture: &Fixture) -> Vec<String> {
    fixture.recipe["arms"].as_object().expect("arms").keys().cloned().collect()
}

#[test]
fn parameters_of_1000_steps_in_f64() {
    let fixture = Fixture::open("optimizers");
    for arm in arms(&fixture) {
        let apart = apart::<f64, _>(&fixture, &arm, Reference);
        println!("{arm}: {apart:e}");
        assert!(apart <= IN_F64, "{arm} is {apart:e} apart");
    }
}

#[test]
fn parameters_of_1000_steps_in_f32() {
    let fixture = Fixture::open("optimizers");
    for arm in arms(&fixture) {
        let apart = apart::<f32, _>(&fixture, &arm, Cpu::new(Simd::detect()));
        println!("{arm}: {apart:e}");
        assert!(apart <= IN_F32, "{arm} is {apart:e} apart");
    }
}

/// What has no arm here has one in `updates`.
#[test]
fn every_optimizer_is_compared() {
    let fixture = Fixture::open("optimizers");
    let mut compared: BTreeSet<String> =
        arms(&fixture).iter().map(|arm| optimizer(&fixture.recipe["arms"][arm]).0).collect();
    compared.extend(crate::updates::OPTIMIZERS.map(|(name, _)| name.to_string()));
    assert_eq!(compared, OPTIMIZERS.iter().map(|e| e.name.to_string()).collect());
}
