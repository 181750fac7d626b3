//! Each optimizer against its closed form in f64.

use super::*;
use crate::registry::{ParamKind, Params, Preset, Scalar};
use preheat_kernels::ops::Ops;
use preheat_kernels::reference::Reference;

const GRADS: [f64; 5] = [0.3, -1.7, 0.0, 2.5, -1e-3];

fn params(entry: &Entry<Box<dyn Optimizer>>, given: &[(&str, f64)]) -> Params {
    let mut out = Params::default();
    for def in entry.params {
        let Preset::Real(x) = def.default else { panic!("{} has no real default", def.name) };
        out.0.insert(def.name.into(), Scalar::Real(x));
    }
    for (key, x) in given {
        assert!(out.0.insert((*key).into(), Scalar::Real(*x)).is_some(), "{key} is not declared");
    }
    out
}

fn build(name: &str, given: &[(&str, f64)]) -> Box<dyn Optimizer> {
    let entry = OPTIMIZERS.iter().find(|e| e.name == name).expect("registered");
    (entry.build)(&params(entry, given)).expect("valid")
}

/// The parameter after each of `GRADS`, by the reference device in f64; the rate is 0.1·t.
fn trajectory(name: &str, given: &[(&str, f64)]) -> Vec<f64> {
    let optimizer = build(name, given);
    let expr = optimizer.expr();
    let mut p = [0.7f64];
    let mut states = vec![[0.0f64]; expr.states];
    let mut out = Vec::new();
    for (i, g) in GRADS.iter().enumerate() {
        let step = i as u64 + 1;
        let scalars = optimizer.scalars(step, 0.1 * step as f64);
        let mut views: Vec<&mut [f64]> = states.iter_mut().map(|s| s.as_mut_slice()).collect();
        Reference.update(&expr, &scalars, None, &mut p, &[*g], &mut views);
        out.push(p[0]);
    }
    out
}

fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() <= 1e-12 * y.abs().max(1.0), "{a:?} {b:?}");
    }
}

/// Adam from its closed form: m_t = (1−β1)·Σ β1^(t−i)·g_i and the same for v. `wd` coupled, `keep` decoupled.
fn adam_closed_form(beta1: f64, beta2: f64, eps: f64, coupled: f64, decoupled: f64) -> Vec<f64> {
    let mut p = 0.7;
    let mut seen: Vec<f64> = Vec::new();
    let mut out = Vec::new();
    for (i, grad) in GRADS.iter().enumerate() {
        let t = i as i32 + 1;
        let lr = 0.1 * f64::from(t);
        seen.push(grad + coupled * p);
        p -= lr * decoupled * p;
        let average = |beta: f64, f: fn(f64) -> f64| {
            let sum: f64 =
                seen.iter().enumerate().map(|(j, &g)| libm::pow(beta, f64::from(t - 1) - j as f64) * f(g)).sum();
            sum * (1.0 - beta) / (1.0 - libm::pow(beta, f64::from(t)))
        };
        p -= lr * average(beta1, |g| g) / (average(beta2, |g| g * g).sqrt() + eps);
        out.push(p);
    }
    out
}

#[test]
fn adam_is_its_closed_form() {
    close(&trajectory("adam", &[]), &adam_closed_form(0.9, 0.999, 1e-8, 0.0, 0.0));
    let given = [("beta1", 0.5), ("beta2", 0.8), ("eps", 0.25), ("weight_decay", 0.3)];
    close(&trajectory("adam", &given), &adam_closed_form(0.5, 0.8, 0.25, 0.3, 0.0));
}

#[test]
fn adamw_is_its_closed_form() {
    close(&trajectory("adamw", &[]), &adam_closed_form(0.9, 0.999, 1e-8, 0.0, 0.01));
    let given = [("beta1", 0.0), ("beta2", 0.5), ("weight_decay", 0.4)];
    close(&trajectory("adamw", &given), &adam_closed_form(0.0, 0.5, 1e-8, 0.0, 0.4));
}

#[test]
fn adam_and_adamw_agree_without_decay() {
    assert_eq!(trajectory("adam", &[]), trajectory("adamw", &[("weight_decay", 0.0)]));
}

#[test]
fn adams_first_step_is_the_rate_in_size() {
    let p = trajectory("adam", &[("eps", 0.0)])[0];
    assert!((p - 0.6).abs() < 1e-15, "{p}");
}

#[test]
fn sgd_is_its_closed_form() {
    for (momentum, decay) in [(0.0, 0.0), (0.9, 0.0), (0.0, 0.5), (0.7, 0.1)] {
        let mut p: f64 = 0.7;
        let mut seen: Vec<f64> = Vec::new();
        let mut expected = Vec::new();
        for (i, grad) in GRADS.iter().enumerate() {
            seen.push(grad + decay * p);
            let velocity: f64 = seen.iter().rev().enumerate().map(|(age, g)| libm::pow(momentum, age as f64) * g).sum();
            p -= 0.1 * (i + 1) as f64 * velocity;
            expected.push(p);
        }
        close(&trajectory("sgd", &[("momentum", momentum), ("weight_decay", decay)]), &expected);
    }
    assert_eq!(build("sgd", &[]).expr().states, 0);
    assert_eq!(build("sgd", &[("momentum", 0.9)]).expr().states, 1);
}

#[test]
fn every_optimizer_gives_one_scalar_a_name_and_defaults_in_range() {
    for entry in OPTIMIZERS {
        for def in entry.params {
            let (ParamKind::Real { min, max }, Preset::Real(x)) = (def.kind, def.default) else {
                panic!("{} {}", entry.name, def.name)
            };
            assert!(min <= x && x <= max, "{} {}", entry.name, def.name);
        }
        for given in [vec![], vec![("weight_decay", 0.1)]] {
            let optimizer = build(entry.name, &given);
            for step in [1, 2, 1000, 10_000_000] {
                let scalars = optimizer.scalars(step, 1e-3);
                assert_eq!(scalars.len(), optimizer.expr().scalars.len(), "{}", entry.name);
                assert!(scalars.iter().all(|x| x.is_finite()), "{} {scalars:?}", entry.name);
            }
        }
    }
}

#[test]
fn names_are_unique_and_sorted() {
    assert!(OPTIMIZERS.windows(2).all(|w| w[0].name < w[1].name));
}
