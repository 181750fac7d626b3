//! Every backward against central finite differences of the forward, both the reference in f64. The fast
//! paths have the reference's bits in f32, so this covers them too.

use preheat_kernels::ops::{Activation, Attention, CrossEntropy, Ops};
use preheat_kernels::reference::Reference;

use crate::support::Inputs;

pub(crate) fn ordinary(inputs: &mut Inputs, n: usize) -> Vec<f64> {
    inputs.ordinary(n).into_iter().map(f64::from).collect()
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Compares `gradient` with the differences of `f` at `x`, relative to the largest derivative.
#[track_caller]
pub(crate) fn check(what: &str, x: &[f64], gradient: &[f64], f: impl Fn(&[f64]) -> f64) {
    assert_eq!(x.len(), gradient.len());
    let largest = gradient.iter().fold(0.0_f64, |m, g| m.max(g.abs()));
    assert!(largest > 0.0, "{what}: all zero");
    let h = 1e-5;
    let mut at = x.to_vec();
    for (i, &g) in gradient.iter().enumerate() {
        at[i] = x[i] + h;
        let up = f(&at);
        at[i] = x[i] - h;
        let numeric = (up - f(&at)) / (2.0 * h);
        at[i] = x[i];
        assert!((g - numeric).abs() <= 1e-6 * largest, "{what}[{i}]: {g:e}, but the difference is {numeric:e}");
    }
}

#[test]
fn activations() {
    let inputs = &mut Inputs::new(1);
    let (x, dy) = (ordinary(inputs, 67), ordinary(inputs, 67));
    assert!(x.iter().all(|x| x.abs() > 1e-4), "ReLU has no derivative at 0");
    for f in Activation::ALL {
        let mut dx = vec![9.0; 67];
        Reference.activation_backward(f, &x, &dy, &mut dx);
        check(&format!("{f:?}"), &x, &dx, |x| {
            let mut y = vec![9.0; 67];
            Reference.activation(f, x, &mut y);
            dot(&y, &dy)
        });
    }
}

#[test]
fn layer_norm() {
    for (rows, width) in [(1, 33), (3, 5), (35, 2)] {
        let (inputs, n) = (&mut Inputs::new(width as u64), rows * width);
        let [x, dy, add] = [(); 3].map(|()| ordinary(inputs, n));
        let (gamma, beta) = (ordinary(inputs, width), ordinary(inputs, width));
        let forward = |x: &[f64], gamma: &[f64], beta: &[f64]| {
            let (mut y, mut mean, mut rstd) = (vec![9.0; n], vec![9.0; rows], vec![9.0; rows]);
            Reference.layer_norm(width, 1e-3, x, gamma, beta, &mut y, &mut mean, &mut rstd);
            (y, mean, rstd)
        };
        let (_, mean, rstd) = forward(&x, &gamma, &beta);
        let (mut dx, mut dgamma, mut dbeta) = (vec![9.0; n], vec![9.0; width], vec![9.0; width]);
        Reference.layer_norm_dparams(width, &x, &mean, &rstd, &dy, &mut dgamma, &mut dbeta);
        check("dgamma", &gamma, &dgamma, |gamma| dot(&forward(&x, gamma, &beta).0, &dy));
        check("dbeta", &beta, &dbeta, |beta| dot(&forward(&x, &gamma, beta).0, &dy));
        Reference.layer_norm_dx(width, &x, &gamma, &mean, &rstd, &dy, None, &mut dx);
        check("dx", &x, &dx, |x| dot(&forward(x, &gamma, &beta).0, &dy));
        // The residual stream's gradient is that of a term add·x.
        Reference.layer_norm_dx(width, &x, &gamma, &mean, &rstd, &dy, Some(&add), &mut dx);
        check("dx + add", &x, &dx, |x| dot(&forward(x, &gamma, &beta).0, &dy) + dot(&add, x));
    }
}

#[test]
fn cross_entropy() {
    for smoothing in [0.0, 0.1] {
        let shape = CrossEntropy { rows: 5, vocab: 35, smoothing };
        let inputs = &mut Inputs::new(3);
        let (x, targets) = (ordinary(inputs, 5 * 35), inputs.tokens(5, 35));
        let forward = |x: &[f64]| {
            let (mut losses, mut lse) = (vec![9.0; 5], vec![9.0; 5]);
            Reference.cross_entropy(&shape, x, &targets, &mut losses, &mut lse);
            (losses, lse)
        };
        let (scale, mut dx) = (0.2, vec![9.0; 5 * 35]);
        Reference.cross_entropy_backward(&shape, &x, &targets, &forward(&x).1, scale, &mut dx);
        check("dlogits", &x, &dx, |x| forward(x).0.iter().sum::<f64>() * scale);
    }
}

#[test]
fn embedding() {
    let inputs = &mut Inputs::new(4);
    let tokens = inputs.tokens(20, 6);
    let (table, positions, dx) = (ordinary(inputs, 6 * 3), ordinary(inputs, 5 * 3), ordinary(inputs, 20 * 3));
    let mut dtable = vec![9.0; 6 * 3];
    Reference.embedding_backward(3, &tokens, &dx, &mut dtable);
    check("dtable", &table, &dtable, |table| {
        let mut x = vec![9.0; 20 * 3];
        Reference.embedding(3, &tokens, table, Some(&positions), &mut x);
        dot(&x, &dx)
    });
}

#[test]
fn column_sums_are_the_gradient_of_a_bias() {
    let inputs = &mut Inputs::new(6);
    let (bias, dy) = (ordinary(inputs, 3), ordinary(inputs, 40 * 3));
    let mut dbias = vec![9.0; 3];
    Reference.column_sum(3, &dy, &mut dbias);
    check("dbias", &bias, &dbias, |bias| dy.chunks(3).map(|dy| dot(bias, dy)).sum());
}

#[test]
fn attention() {
    for causal in [false, true] {
        let shape = Attention { batch: 2, seq: 5, heads: 2, head_dim: 3, causal };
        let n = shape.batch * shape.seq * shape.width();
        let inputs = &mut Inputs::new(5);
        let (qkv, dout) = (ordinary(inputs, 3 * n), ordinary(inputs, n));
        let forward = |qkv: &[f64]| {
            let (mut out, mut probs) = (vec![9.0; n], vec![f64::NAN; shape.probs_len()]);
            Reference.attention(&shape, qkv, &mut out, &mut probs);
            (out, probs)
        };
        let (mut dqkv, mut scratch) = (vec![9.0; 3 * n], vec![f64::NAN; 25]);
        Reference.attention_backward(&shape, &qkv, &forward(&qkv).1, &dout, &mut dqkv, &mut scratch);
        check("dqkv", &qkv, &dqkv, |qkv| dot(&forward(qkv).0, &dout));
    }
}
