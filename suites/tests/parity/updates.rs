//! The optimizers' updates on recorded gradients: the vector after every step.

use crate::fixture::{Fixture, distance};
use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::graph::Update;
use preheat_kernels::ops::Ops;
use preheat_kernels::real::Real;
use preheat_kernels::reference::Reference;

/// Each registered optimizer with the coefficients that its recipe gives.
pub(crate) const OPTIMIZERS: [(&str, &[&str]); 3] = [
    ("sgd", &["momentum"]),
    ("adam", &["beta1", "beta2", "eps"]),
    ("adamw", &["beta1", "beta2", "eps", "weight_decay"]),
];

/// The vector after each step.
fn trajectory<T: Real>(fixture: &Fixture, name: &str, keys: &[&str], ops: &impl Ops<T>) -> Vec<Vec<f64>> {
    let recipe = &fixture.recipe[name];
    assert_eq!(recipe.as_object().map(serde_json::Map::len), Some(keys.len()), "{name}: every coefficient is used");
    let optimizer = Fixture::optimizer(name, recipe, keys);
    let Update::Elementwise(expr) = optimizer.update() else { panic!("{name} is elementwise") };
    let numbers = |tensor: &str| fixture.tensor(tensor).into_iter().map(T::from_f64).collect::<Vec<T>>();
    let (mut param, grads, lr) = (numbers("initial"), numbers("grads"), fixture.tensor("lr"));
    let mut states = vec![vec![T::from_f64(0.0); param.len()]; expr.states];
    let after = grads.chunks_exact(param.len()).zip(lr).zip(1_u64..).map(|((grad, lr), step)| {
        let scalars: Vec<T> = optimizer.scalars(step, lr).into_iter().map(T::from_f64).collect();
        let mut views: Vec<&mut [T]> = states.iter_mut().map(Vec::as_mut_slice).collect();
        ops.update(&expr, &scalars, None, &mut param, grad, &mut views);
        param.iter().map(|x| x.to_f64()).collect()
    });
    after.collect()
}

#[test]
fn the_vector_after_every_step_in_f32() {
    let fixture = Fixture::open("updates");
    for (name, keys) in OPTIMIZERS {
        let recorded = fixture.tensor(&format!("{name}.params"));
        for simd in Simd::available() {
            let ours = trajectory::<f32>(&fixture, name, keys, &Cpu::new(simd));
            assert_eq!((ours.len(), ours.len() * ours[0].len()), (fixture.int("steps"), recorded.len()));
            for (i, (ours, recorded)) in
                ours.into_iter().zip(recorded.chunks_exact(fixture.int("elements"))).enumerate()
            {
                let apart = distance(ours, recorded);
                assert!(apart <= 1e-6, "{name} on {simd}: the vector after step {} is {apart:e} apart", i + 1);
            }
        }
    }
}

#[test]
fn the_vector_after_the_last_step_in_f64() {
    let fixture = Fixture::open("updates");
    for (name, keys) in OPTIMIZERS {
        let ours = trajectory::<f64>(&fixture, name, keys, &Reference).pop().expect("steps");
        let recorded = fixture.tensor(&format!("{name}.last.f64"));
        assert_eq!(ours.len(), recorded.len());
        let apart = distance(ours, &recorded);
        assert!(apart <= 1e-12, "{name}: the last vector is {apart:e} apart");
    }
}
