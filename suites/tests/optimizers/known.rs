//! What is known of single steps of the optimizers that look at whole tensors.

use crate::rig::{Rig, Shape};
use crate::support::{numbers, optimizer, spec};
use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::reference::Reference;
use preheat_suites::registry::Scalar;

fn real(x: f64) -> Scalar {
    Scalar::Real(x)
}

/// The parameters after each of `steps` steps in f64.
fn trajectory(
    name: &str,
    given: &[(&str, Scalar)],
    shapes: &[Shape<'_>],
    lr: f64,
    initial: &[f64],
    steps: &[Vec<f64>],
) -> Vec<Vec<f64>> {
    let mut rig = Rig::new(optimizer(&spec(name, given)), shapes, None, Reference, initial);
    let step = |(i, grads): (usize, &Vec<f64>)| {
        rig.step(i as u64 + 1, lr, grads);
        rig.values()
    };
    steps.iter().enumerate().map(step).collect()
}

fn reals(seed: u64, n: usize) -> Vec<f64> {
    numbers(seed, n).into_iter().map(f64::from).collect()
}

fn norm(x: impl IntoIterator<Item = f64>) -> f64 {
    x.into_iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn close(a: f64, b: f64) {
    assert!((a / b - 1.0).abs() < 1e-12, "{a} {b}");
}

#[test]
fn lambs_step_has_the_parameters_norm() {
    let shapes: [Shape<'_>; 3] = [("w", &[4, 5]), ("b", &[7]), ("zero", &[3])];
    let mut initial = reals(1, 30);
    initial[27..].fill(0.0);
    let given = [("weight_decay", real(0.0)), ("eps", real(0.0))];
    let grads = vec![reals(2, 30), reals(3, 30)];
    let after = &trajectory("lamb", &given, &shapes, 0.1, &initial, &grads)[0];
    for range in [0..20, 20..27] {
        let step = norm(range.clone().map(|i| after[i] - initial[i]));
        close(step, 0.1 * norm(initial[range].iter().copied()));
    }
    // No ratio where the parameters are 0: Adam's first step, the rate along the sign.
    (27..30).for_each(|i| close(after[i], -0.1 * grads[0][i].signum()));
    // And none where the direction is 0.
    let still = trajectory("lamb", &[("weight_decay", real(0.0))], &shapes, 0.1, &initial, &[vec![0.0; 30]]);
    assert_eq!(still[0], initial);
}

/// Each tensor is divided by its own norm: the size of one tensor's gradients neither shows in its step nor in another's.
#[test]
fn novograd_and_lamb_do_not_see_a_tensors_scale() {
    let shapes: [Shape<'_>; 2] = [("w", &[4, 5]), ("b", &[7])];
    let initial = reals(1, 27);
    let steps: Vec<Vec<f64>> = (2..6).map(|seed| reals(seed, 27)).collect();
    let scaled: Vec<Vec<f64>> = steps
        .iter()
        .map(|g| g.iter().enumerate().map(|(i, g)| if i < 20 { 1024.0 * g } else { *g }).collect())
        .collect();
    for name in ["novograd", "lamb"] {
        let given = [("eps", real(0.0)), ("weight_decay", real(0.1))];
        let of = |steps: &[Vec<f64>]| trajectory(name, &given, &shapes, 0.1, &initial, steps);
        assert_eq!(of(&steps), of(&scaled), "{name}");
    }
}

#[test]
fn novograd_divides_by_the_running_norm() {
    let (initial, steps) = (reals(1, 7), [reals(2, 7), reals(3, 7)]);
    let given = [("beta1", real(0.5)), ("beta2", real(0.75)), ("eps", real(0.0)), ("weight_decay", real(0.2))];
    let found = trajectory("novograd", &given, &[("b", &[7])], 0.1, &initial, &steps);
    let square = |g: &[f64]| g.iter().map(|g| g * g).sum::<f64>();
    let v = [square(&steps[0]), 0.75 * square(&steps[0]) + 0.25 * square(&steps[1])];
    for i in 0..7 {
        let first = steps[0][i] / v[0].sqrt() + 0.2 * initial[i];
        let p = initial[i] - 0.1 * first;
        assert!((found[0][i] - p).abs() < 1e-15);
        let second = 0.5 * first + steps[1][i] / v[1].sqrt() + 0.2 * p;
        assert!((found[1][i] - (p - 0.1 * second)).abs() < 1e-15);
    }
}

/// Where g² is a column times a row, the factors say all: the first direction is the sign of g, as with the full V.
#[test]
fn adafactor_is_exact_on_squares_of_rank_one() {
    let (rows, cols) = (5, 7);
    let (a, b) = (reals(2, rows), reals(3, cols));
    let grads: Vec<f64> = (0..rows * cols).map(|i| a[i / cols] * b[i % cols]).collect();
    let initial = reals(1, rows * cols);
    let rms = norm(initial.iter().copied()) / 35f64.sqrt();
    for (relative, rate) in [(true, 0.01 * rms), (false, 0.01)] {
        let given = [("relative_step", Scalar::Flag(relative))];
        let matrix =
            trajectory("adafactor", &given, &[("w", &[rows, cols])], 0.01, &initial, std::slice::from_ref(&grads));
        let vector =
            trajectory("adafactor", &given, &[("b", &[rows * cols])], 0.01, &initial, std::slice::from_ref(&grads));
        for (i, (m, v)) in matrix[0].iter().zip(&vector[0]).enumerate() {
            assert!((m - (initial[i] - rate * grads[i].signum())).abs() < 1e-14, "{m}");
            assert!((m - v).abs() < 1e-14);
        }
    }
}

#[test]
fn adafactor_clips_its_direction_and_bounds_its_rate() {
    let initial = reals(1, 6);
    // One large gradient after small ones: its direction is far above the threshold and is cut to it.
    let steps: Vec<Vec<f64>> = (1..=9).map(|t| vec![if t == 9 { 1e3 } else { 1.0 }; 6]).collect();
    let found = trajectory("adafactor", &[("clip_threshold", real(0.5))], &[("b", &[6])], 10.0, &initial, &steps);
    let mut before = initial.clone();
    for (t, after) in (1..).zip(&found) {
        let size = norm(before.iter().copied()) / 6f64.sqrt();
        let step = norm(after.iter().zip(&before).map(|(a, b)| a - b)) / 6f64.sqrt();
        close(step, 0.5 * size.max(1e-3) / f64::from(t).sqrt());
        before.clone_from(after);
    }
}

/// X after five iterations: its singular values, seen by X·Xᵀ on test vectors, lie between 0.6 and 1.3.
#[test]
fn muons_step_is_nearly_orthogonal_whatever_the_gradients_scale() {
    let initial = vec![0.0; 24];
    for (shape, scale) in [([4usize, 6], 1.5f64.sqrt()), ([6, 4], 1.0)] {
        let [rows, cols] = shape;
        let shapes: [Shape<'_>; 1] = [("hidden", &shape)];
        let after = trajectory("muon", &[], &shapes, 1.0, &initial, &[reals(5, 24)]).remove(0);
        let x = |i: usize, j: usize| -after[i * cols + j] / scale;
        // ‖xᵀ·v‖ of the shorter side's unit vectors and their mixtures.
        let short = rows.min(cols);
        for seed in 0..50 {
            let v = reals(seed + 10, short);
            let along = |k: usize| (0..short).map(|i| v[i] * if rows <= cols { x(i, k) } else { x(k, i) }).sum::<f64>();
            let gain = norm((0..rows.max(cols)).map(along)) / norm(v.iter().copied());
            assert!((0.6..1.3).contains(&gain), "{shape:?}: {gain}");
        }
        let large: Vec<f64> = reals(5, 24).iter().map(|g| g * 1024.0).collect();
        assert_eq!(trajectory("muon", &[], &shapes, 1.0, &initial, &[large])[0], after);
    }
}

#[test]
fn muon_of_a_transposed_matrix_is_transposed() {
    let transposed = |x: &[f64]| -> Vec<f64> { (0..24).map(|i| x[(i % 4) * 6 + i / 4]).collect() };
    let (initial, steps) = (reals(1, 24), [reals(2, 24), reals(3, 24)]);
    let given = [("scale", Scalar::Text("match-rms".into())), ("weight_decay", real(0.1))];
    let wide = trajectory("muon", &given, &[("hidden", &[4, 6])], 0.1, &initial, &steps);
    let turned = steps.each_ref().map(|g| transposed(g));
    let tall = trajectory("muon", &given, &[("hidden", &[6, 4])], 0.1, &transposed(&initial), &turned);
    for (wide, tall) in wide.iter().zip(&tall) {
        assert!(transposed(wide).iter().zip(tall).all(|(a, b)| (a - b).abs() < 1e-13));
    }
}

/// What is no hidden matrix takes AdamW's step, bit for bit.
#[test]
fn muons_fallback_is_adamw() {
    let shapes: [Shape<'_>; 2] = [("table", &[5, 3]), ("bias", &[9])];
    let (cpu, initial) = (Cpu::new(Simd::detect()), numbers(1, 24));
    let adam = [("beta1", real(0.8)), ("beta2", real(0.95)), ("eps", real(1e-6)), ("weight_decay", real(0.2))];
    let muon = [
        ("adam_beta1", real(0.8)),
        ("adam_beta2", real(0.95)),
        ("adam_eps", real(1e-6)),
        ("weight_decay", real(0.2)),
        ("adam_lr_ratio", real(0.5)),
    ];
    let mut adam = Rig::new(optimizer(&spec("adamw", &adam)), &shapes, Some(1.0), cpu, &initial);
    let mut muon = Rig::new(optimizer(&spec("muon", &muon)), &shapes, Some(1.0), cpu, &initial);
    for step in 1..=5 {
        adam.step(step, 0.05, &numbers(1 + step, 24));
        muon.step(step, 0.1, &numbers(1 + step, 24));
        assert_eq!(adam.values(), muon.values(), "step {step}");
    }
}
