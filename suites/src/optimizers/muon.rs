//! Muon (Jordan et al. 2024), in the form of PyTorch's `Muon`: momentum, made orthogonal.
//!
//! Hidden matrices [n,k]: B ← B + (1−μ)·(g − B);  G = g + μ·(B − g) with nesterov, else B;  X_0 = G/max(‖G‖, eps)
//! five times: A = X·Xᵀ, X ← a·X + (b·A + c·A²)·X with (a, b, c) = (3.4445, −4.7750, 2.0315); where n > k from the other
//! side, with A = Xᵀ·X.  p ← (1 − lr·weight_decay)·p − lr·s·X
//! s = √max(1, output width/input width) (`original`) or 0.2·√max(n, k) (`match-rms`, Liu et al. 2025).
//!
//! Everything else (vectors, tables of embeddings, and the head whose products are logits) takes AdamW's step at
//! `adam_lr_ratio` times the rate, with adam_beta1, adam_beta2, adam_eps and the same weight decay: the fallback that
//! Jordan et al. recommend. A tied head is a table.
//!
//! Deviation: Jordan et al. and PyTorch iterate in bfloat16, this in f32, so X differs from theirs in the third digit. Our
//! weights are stored [input, output], PyTorch's the other way round; the iteration does not mind. B starts at 0 and has no
//! bias correction; t counts from 1 in the fallback.

use super::Optimizer;
use super::adam::Moments;
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};
use preheat_kernels::graph::{Given, TensorId, TensorUpdate, Update};
use preheat_kernels::update::{UpdateBuilder, UpdateExpr};

/// Newton–Schulz coefficients a, b, c and the number of iterations.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];
const ITERATIONS: usize = 5;

const fn real(name: &'static str, doc: &'static str, max: f64, default: f64) -> ParamDef {
    ParamDef { name, doc, kind: ParamKind::Real { min: 0.0, max }, default: Preset::Real(default) }
}

pub(super) const ENTRY: Entry<Box<dyn Optimizer>> = Entry {
    name: "muon",
    doc: "orthogonal steps of hidden matrices; AdamW for vectors, embeddings and the head; weight decay is decoupled",
    params: &[
        real("momentum", "share of the velocity kept from one step to the next", 0.999_999, 0.95),
        ParamDef {
            name: "nesterov",
            doc: "whether a step looks ahead by another share of the velocity",
            kind: ParamKind::Flag,
            default: Preset::Flag(true),
        },
        ParamDef {
            name: "scale",
            doc: "of a matrix's step: original (root of output over input width, at least 1) or match-rms (0.2 times the root of the \
                  larger width, the size of Adam's steps)",
            kind: ParamKind::Choice(&["original", "match-rms"]),
            default: Preset::Text("original"),
        },
        real("eps", "lower bound of the norm that the iteration starts from", 1e3, 1e-7),
        real("adam_lr_ratio", "rate of the fallback over that of the matrices", 1e6, 1.0),
        real("adam_beta1", "decay of the fallback's first moment", 0.999_999, 0.9),
        real("adam_beta2", "decay of the fallback's second moment", 0.999_999_9, 0.999),
        real("adam_eps", "added to the bias-corrected root of the fallback's second moment", 1e3, 1e-8),
        super::adamw::DECAY,
    ],
    build,
};

struct Muon {
    momentum: f64,
    nesterov: bool,
    match_rms: bool,
    eps: f64,
    adam_lr_ratio: f64,
    adam: Moments,
    weight_decay: f64,
}

fn build(params: &Params) -> Result<Box<dyn Optimizer>, Invalid> {
    let [beta1, beta2, eps] = ["adam_beta1", "adam_beta2", "adam_eps"].map(|key| params.real(key));
    Ok(Box::new(Muon {
        momentum: params.real("momentum"),
        nesterov: params.flag("nesterov"),
        match_rms: params.text("scale") == "match-rms",
        eps: params.real("eps"),
        adam_lr_ratio: params.real("adam_lr_ratio"),
        adam: Moments::of(beta1, beta2, eps),
        weight_decay: params.real("weight_decay"),
    }))
}

/// Moves the velocity B; state 0 becomes G.
fn velocity(nesterov: bool) -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (weight, v, g) = (b.scalar("one_minus_momentum"), b.param(), b.grad());
    let towards = b.sub(g, v);
    let v = b.fma(weight, towards, v);
    if !nesterov {
        return b.finish(v, vec![v]);
    }
    let momentum = b.scalar("momentum");
    let ahead = b.sub(v, g);
    let ahead = b.fma(momentum, ahead, g);
    b.finish(v, vec![ahead])
}

/// max(√sum, eps).
fn bounded_norm() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (eps, sum) = (b.scalar("norm_eps"), b.grad());
    let norm = b.sqrt(sum);
    let norm = b.max(norm, eps);
    b.finish(norm, vec![])
}

fn divided() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (g, norm) = (b.grad(), b.scalar("norm"));
    let x = b.div(g, norm);
    b.finish(x, vec![])
}

/// b·A + c·A², A² the parameter and A the gradient.
fn polynomial() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (once, twice, square, gram) = (b.scalar("b"), b.scalar("c"), b.param(), b.grad());
    let square = b.mul(twice, square);
    let sum = b.fma(once, gram, square);
    b.finish(sum, vec![])
}

/// keep·p − lr·s·x, x standing for the gradient.
fn scaled_along() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (keep, minus_lr, scale, p, x) =
        (b.scalar("keep"), b.scalar("minus_lr"), b.scalar("scale"), b.param(), b.grad());
    let p = b.mul(keep, p);
    let step = b.mul(scale, x);
    let p = b.fma(minus_lr, step, p);
    b.finish(p, vec![])
}

/// One Newton–Schulz iteration.
fn iterate(t: &mut TensorUpdate<'_>, x: TensorId) -> TensorId {
    const FITS: &str = "the shapes of an iteration fit";
    let [a, b, c] = COEFFICIENTS;
    let (rows, cols) = t.shape();
    let graph = t.graph();
    let gram = graph.gram(x);
    let square = graph.linear(gram, gram, None, None).expect(FITS);
    t.map(polynomial(), square, gram, &[], &[("b", Given::Number(b)), ("c", Given::Number(c))]);
    let graph = t.graph();
    let scaled = graph.scale(a, x);
    let (left, right) = if rows <= cols { (square, x) } else { (x, square) };
    graph.linear(left, right, None, Some(scaled)).expect(FITS)
}

fn matrix(t: &mut TensorUpdate<'_>, nesterov: bool, match_rms: bool) {
    let (rows, cols) = t.shape();
    let (p, g, velocity_of, ahead) = (t.param(), t.grad(), t.moment_like_param("velocity"), t.temp(&[rows, cols]));
    t.map(velocity(nesterov), velocity_of, g, &[ahead], &[]);
    let (sum, norm, mut x) = (t.graph().sum_squares(ahead), t.temp(&[1]), t.temp(&[rows, cols]));
    t.map(bounded_norm(), norm, sum, &[], &[]);
    t.map(divided(), x, ahead, &[], &[("norm", Given::Tensor(norm))]);
    for _ in 0..ITERATIONS {
        x = iterate(t, x);
    }
    let (input, output) = (rows as f64, cols as f64);
    let scale = if match_rms { 0.2 * input.max(output).sqrt() } else { (output / input).max(1.0).sqrt() };
    t.map(scaled_along(), p, x, &[], &[("scale", Given::Number(scale))]);
}

fn fallback(t: &mut TensorUpdate<'_>) {
    let (p, g) = (t.param(), t.grad());
    let (m, v) = (t.moment_like_param("m"), t.moment_like_param("v"));
    t.map(super::adamw::step("adam_keep"), p, g, &[m, v], &[]);
}

impl Optimizer for Muon {
    fn update(&self) -> Update {
        let (nesterov, match_rms) = (self.nesterov, self.match_rms);
        let matrices = ["one_minus_momentum", "momentum", "norm_eps", "keep", "minus_lr"];
        let others =
            ["adam_keep", "one_minus_beta1", "beta2", "one_minus_beta2", "root_correction2", "eps", "minus_step_size"];
        Update::per_tensor(&[&matrices[..], &others].concat(), move |t| match t.is_hidden_matrix() {
            true => matrix(t, nesterov, match_rms),
            false => fallback(t),
        })
    }

    fn write_scalars(&self, step: u64, lr: f64, out: &mut Vec<f64>) {
        let adam_lr = lr * self.adam_lr_ratio;
        out.extend([1.0 - self.momentum, self.momentum, self.eps, 1.0 - lr * self.weight_decay, -lr]);
        out.push(1.0 - adam_lr * self.weight_decay);
        out.extend(self.adam.scalars(step, adam_lr));
    }
}
