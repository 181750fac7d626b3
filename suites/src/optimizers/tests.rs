//! Each optimizer against its closed form in f64.

use super::*;
use crate::registry::{ParamKind, Params, Preset, Scalar};
use preheat_kernels::ops::Ops;
use preheat_kernels::reference::Reference;
use preheat_kernels::update::UpdateExpr;

const GRADS: [f64; 5] = [0.3, -1.7, 0.0, 2.5, -1e-3];

fn params(entry: &Entry<Box<dyn Optimizer>>, given: &[(&str, f64)]) -> Params {
    let mut out = Params::default();
    for def in entry.params {
        let value = match def.default {
            Preset::Real(x) => Scalar::Real(x),
            Preset::Int(x) => Scalar::Int(x),
            Preset::Text(x) => Scalar::Text(x.into()),
            Preset::Flag(x) => Scalar::Flag(x),
            Preset::Required => panic!("{} has no default", def.name),
        };
        out.0.insert(def.name.into(), value);
    }
    for (key, x) in given {
        let value = out.0.get_mut(*key).unwrap_or_else(|| panic!("{key} is not declared"));
        *value = if matches!(value, Scalar::Int(_)) { Scalar::Int(*x as i64) } else { Scalar::Real(*x) };
    }
    out
}

fn build(name: &str, given: &[(&str, f64)]) -> Box<dyn Optimizer> {
    let entry = OPTIMIZERS.iter().find(|e| e.name == name).expect("registered");
    (entry.build)(&params(entry, given)).expect("valid")
}

/// The expression of an elementwise optimizer.
fn expr(optimizer: &dyn Optimizer) -> UpdateExpr {
    match optimizer.update() {
        Update::Elementwise(expr) => expr,
        Update::PerTensor(_) => panic!("an elementwise optimizer"),
    }
}

/// The parameter after each of `GRADS`, by the reference device in f64; the rate is 0.1·t.
fn trajectory(name: &str, given: &[(&str, f64)]) -> Vec<f64> {
    let optimizer = build(name, given);
    let expr = expr(&*optimizer);
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
    assert_eq!(expr(&*build("sgd", &[])).states, 0);
    assert_eq!(expr(&*build("sgd", &[("momentum", 0.9)])).states, 1);
}

/// The exponential averages (m, v) of the gradients to step t, each a sum over its own past, from steps `from` on for m.
fn averages(beta1: f64, beta2: f64, t: usize, from: usize) -> (f64, f64) {
    let sum = |beta: f64, from: usize, f: fn(f64) -> f64| -> f64 {
        (from..t).map(|i| (1.0 - beta) * libm::pow(beta, (t - 1 - i) as f64) * f(GRADS[i])).sum()
    };
    (sum(beta1, from, |g| g), sum(beta2, 0, |g| g * g))
}

#[test]
fn adam_2k_freezes_all_but_the_second_moment() {
    assert_eq!(trajectory("adam-2k", &[("freeze_steps", 0.0)]), trajectory("adamw", &[("weight_decay", 0.0)]));
    let given = [("freeze_steps", 2.0), ("beta2", 0.9), ("weight_decay", 0.2)];
    let mut p = 0.7;
    let expected: Vec<f64> = (1..=GRADS.len())
        .map(|t| {
            let (m, v) = averages(0.9, 0.9, t, 2);
            let (lr, correction) = (0.1 * t as f64, |beta: f64| 1.0 - libm::pow(beta, t as f64));
            if t > 2 {
                p -= lr * 0.2 * p;
                p -= lr * (m / correction(0.9)) / ((v / correction(0.9)).sqrt() + 1e-8);
            }
            p
        })
        .collect();
    close(&trajectory("adam-2k", &given), &expected);
    // What rests, rests exactly, also where 0/0 or 0·∞ lurks.
    let optimizer = build("adam-2k", &[("eps", 0.0), ("weight_decay", 0.5)]);
    let (mut p, mut m, mut v) = ([0.7f32, -0.3, 1e-40], [0.0f32; 3], [0.0f32; 3]);
    let scalars: Vec<f32> = optimizer.scalars(1, 0.1).into_iter().map(|x| x as f32).collect();
    Reference.update(&expr(&*optimizer), &scalars, None, &mut p, &[0.0, 1e30, 1.0], &mut [&mut m, &mut v]);
    assert_eq!((p, m), ([0.7, -0.3, 1e-40], [0.0; 3]));
    assert_eq!((v[0], v[1]), (0.0, f32::INFINITY));
}

#[test]
fn gi_adam_starts_its_second_moment_at_the_first_gradient() {
    let (beta1, beta2): (f64, f64) = (0.9, 0.999);
    let mut p = 0.7;
    let expected: Vec<f64> = (1..=GRADS.len())
        .map(|t| {
            let (m, v) = averages(beta1, beta2, t, 0);
            let left = libm::pow(beta2, t as f64);
            let v = v + left * GRADS[0] * GRADS[0];
            let m_hat = m / (1.0 - libm::pow(beta1, t as f64));
            p -= 0.1 * t as f64 * m_hat / ((v / (1.0 - left)).sqrt() + 1e-8);
            p
        })
        .collect();
    close(&trajectory("gi-adam", &[]), &expected);
    // Its first step is the rate times √(1−β2).
    assert!((0.7 - trajectory("gi-adam", &[("eps", 0.0)])[0] - 0.1 * (1.0 - beta2).sqrt()).abs() < 1e-15);
}

#[test]
fn lion_is_its_closed_form() {
    let (beta1, beta2, decay) = (0.9, 0.99, 0.3);
    let mut p = 0.7;
    let expected: Vec<f64> = (1..=GRADS.len())
        .map(|t| {
            let (m, _) = averages(beta2, 0.0, t - 1, 0);
            let c = beta1 * m + (1.0 - beta1) * GRADS[t - 1];
            let lr = 0.1 * t as f64;
            p = (1.0 - lr * decay) * p - lr * c.signum();
            p
        })
        .collect();
    close(&trajectory("lion", &[("weight_decay", decay)]), &expected);
}

#[test]
fn radam_of_every_variant_is_its_closed_form() {
    let (beta1, beta2, eps, decay) = (0.9, 0.99, 1e-3, 0.2);
    for (variant, first, skips) in [("paper", 5, false), ("code", 6, false), ("package", 6, true)] {
        let entry = OPTIMIZERS.iter().find(|e| e.name == "radam").expect("registered");
        let mut params = params(entry, &[("beta2", beta2), ("eps", eps), ("weight_decay", decay)]);
        params.0.insert("variant".into(), Scalar::Text(variant.into()));
        let optimizer = (entry.build)(&params).expect("valid");
        let (mut p, mut m, mut v) = ([0.7f64], [0.0f64], [0.0f64]);
        let (mut expected, mut m_own, mut v_own) = (0.7f64, 0.0, 0.0);
        for t in 1..=10i32 {
            let (g, lr, tf) = (GRADS[t as usize % 5] + 0.1, 0.01 * f64::from(t), f64::from(t));
            let scalars = optimizer.scalars(t as u64, lr);
            Reference.update(&expr(&*optimizer), &scalars, None, &mut p, &[g], &mut [&mut m, &mut v]);
            (m_own, v_own) = (beta1 * m_own + (1.0 - beta1) * g, beta2 * v_own + (1.0 - beta2) * g * g);
            let (c1, c2) = (1.0 - libm::pow(beta1, tf), 1.0 - libm::pow(beta2, tf));
            let rho_inf = 2.0 / (1.0 - beta2) - 1.0;
            let rho = rho_inf - 2.0 * tf * (1.0 - c2) / c2;
            let r = ((rho - 4.0) * (rho - 2.0) * rho_inf / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho)).sqrt();
            if t >= first {
                expected = expected * (1.0 - lr * decay) - lr * r * m_own / c1 * c2.sqrt() / (v_own.sqrt() + eps);
            } else if !skips {
                expected = expected * (1.0 - lr * decay) - lr * m_own / c1;
            }
            assert!((p[0] - expected).abs() <= 1e-12, "{variant}, step {t}: {} {expected}", p[0]);
        }
    }
}

/// A step that is not rectified does not look at v, whatever it holds.
#[test]
fn radams_fallback_is_exact_beside_an_infinite_second_moment() {
    let optimizer = build("radam", &[]);
    let scalars: Vec<f32> = optimizer.scalars(1, 0.5).into_iter().map(|x| x as f32).collect();
    let (mut p, mut m, mut v) = ([1.0f32, 1.0], [0.0f32; 2], [0.0f32; 2]);
    Reference.update(&expr(&*optimizer), &scalars, None, &mut p, &[1e30, 0.25], &mut [&mut m, &mut v]);
    assert_eq!(v[0], f32::INFINITY);
    assert_eq!(p[1], 0.875, "lr·m̂ = 0.5·0.25");
    assert!((p[0] / -5e29 - 1.0).abs() < 1e-6, "{}", p[0]);
}

#[test]
fn every_optimizer_gives_one_scalar_a_name_and_defaults_in_range() {
    for entry in OPTIMIZERS {
        for def in entry.params {
            let fits = match (def.kind, def.default) {
                (ParamKind::Real { min, max }, Preset::Real(x)) => min <= x && x <= max,
                (ParamKind::Int { min, max }, Preset::Int(x)) => min <= x && x <= max,
                (ParamKind::Choice(words), Preset::Text(word)) => words.contains(&word),
                (ParamKind::Flag, Preset::Flag(_)) => true,
                _ => false,
            };
            assert!(fits, "{} {}", entry.name, def.name);
        }
        for given in [vec![], vec![("weight_decay", 0.1)]] {
            let optimizer = build(entry.name, &given);
            for step in [1, 2, 1000, 10_000_000] {
                let scalars = optimizer.scalars(step, 1e-3);
                assert_eq!(scalars.len(), optimizer.update().scalars().len(), "{}", entry.name);
                assert!(scalars.iter().all(|x| x.is_finite()), "{} {scalars:?}", entry.name);
            }
        }
    }
}

#[test]
fn names_are_unique_and_sorted() {
    assert!(OPTIMIZERS.windows(2).all(|w| w[0].name < w[1].name));
}
