//! Adafactor (Shazeer & Stern 2018, Algorithms 4 and 5), as PyTorch's `Adafactor` computes it.
//!
//! w = t^beta2_decay (t from 1), the weight of the new second moment, 1 − β̂2_t of the paper; no bias correction.
//! matrix [n,k]: R ← R + w·(row means of g² − R);  C ← C + w·(column means of g² − C);  V = R·Cᵀ/max(mean R, eps1)
//! vector:       V ← V + w·(g² − V)
//! u = g/√max(V, eps1²);  û = u/max(1, RMS(u)/clip_threshold)
//! α = max(eps2, RMS(p))·min(lr, 1/√t) with relative_step, else lr;  p ← (1 − lr·weight_decay)·p − α·û
//!
//! Deviations from the paper, all PyTorch's: the paper adds eps1 = 1e-30 to g², here it bounds V from below; the
//! schedule's rate stands for its 10⁻² in min(10⁻², 1/√t); decay, which the paper lacks, is decoupled and multiplied by
//! lr, not α. There is no first moment. A tensor with more than two axes is seen as a matrix, its leading axes merged.

use super::Optimizer;
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};
use preheat_kernels::graph::{Given, TensorId, TensorUpdate, Update};
use preheat_kernels::update::{UpdateBuilder, UpdateExpr};

pub(super) const ENTRY: Entry<Box<dyn Optimizer>> = Entry {
    name: "adafactor",
    doc: "second moments of rows and columns only, and steps relative to the parameters' size",
    params: &[
        ParamDef {
            name: "beta2_decay",
            doc: "exponent c of the weight t^c of step t's squares in the second moment",
            kind: ParamKind::Real { min: -10.0, max: 0.0 },
            default: Preset::Real(-0.8),
        },
        ParamDef {
            name: "eps1",
            doc: "lower bound of the root of the second moment, in units of the gradient",
            kind: ParamKind::Real { min: f64::MIN_POSITIVE, max: 1e3 },
            default: Preset::Real(1.192_092_895_507_812_5e-7),
        },
        ParamDef {
            name: "eps2",
            doc: "lower bound of the parameters' root mean square in a relative step",
            kind: ParamKind::Real { min: 0.0, max: 1e3 },
            default: Preset::Real(1e-3),
        },
        ParamDef {
            name: "clip_threshold",
            doc: "largest root mean square of a tensor's direction",
            kind: ParamKind::Real { min: f64::MIN_POSITIVE, max: 1e6 },
            default: Preset::Real(1.0),
        },
        ParamDef {
            name: "relative_step",
            doc: "whether steps are relative to the parameters' root mean square, at rates of at most 1/sqrt(step)",
            kind: ParamKind::Flag,
            default: Preset::Flag(true),
        },
        super::adamw::DECAY,
    ],
    build,
};

#[derive(Clone, Copy)]
struct Adafactor {
    beta2_decay: f64,
    eps1: f64,
    eps2: f64,
    clip_threshold: f64,
    relative_step: bool,
    weight_decay: f64,
}

fn build(params: &Params) -> Result<Box<dyn Optimizer>, Invalid> {
    let [beta2_decay, eps1, eps2, clip_threshold, weight_decay] =
        ["beta2_decay", "eps1", "eps2", "clip_threshold", "weight_decay"].map(|key| params.real(key));
    let relative_step = params.flag("relative_step");
    Ok(Box::new(Adafactor { beta2_decay, eps1, eps2, clip_threshold, relative_step, weight_decay }))
}

fn squares() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let g = b.grad();
    let squared = b.mul(g, g);
    b.finish(squared, vec![])
}

/// A running mean that takes `sum`/n.
fn running_mean() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (weight, n, mean, sum) = (b.scalar("weight"), b.scalar("n"), b.param(), b.grad());
    let new = b.div(sum, n);
    let towards = b.sub(new, mean);
    let mean = b.fma(weight, towards, mean);
    b.finish(mean, vec![])
}

/// max(sum/n, eps1).
fn bounded_mean() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (n, eps1, sum) = (b.scalar("n"), b.scalar("eps1"), b.grad());
    let mean = b.div(sum, n);
    let mean = b.max(mean, eps1);
    b.finish(mean, vec![])
}

/// From V·mean to u, in place.
fn factored_direction() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (v, g, mean, least) = (b.param(), b.grad(), b.scalar("mean"), b.scalar("eps1_squared"));
    let v = b.div(v, mean);
    let v = b.max(v, least);
    let root = b.sqrt(v);
    let u = b.div(g, root);
    b.finish(u, vec![])
}

/// Moves V of a vector; state 0 becomes u.
fn full_direction() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (weight, least, v, g) = (b.scalar("weight"), b.scalar("eps1_squared"), b.param(), b.grad());
    let squared = b.mul(g, g);
    let towards = b.sub(squared, v);
    let v = b.fma(weight, towards, v);
    let bounded = b.max(v, least);
    let root = b.sqrt(bounded);
    let u = b.div(g, root);
    b.finish(v, vec![u])
}

/// −α/max(1, RMS(u)/clip_threshold) from Σp² (the gradient) and Σu² (state 0).
fn step_size(relative: bool) -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (pp, uu, n) = (b.grad(), b.state(0), b.scalar("n"));
    let (minus_rate, threshold, one) = (b.scalar("minus_rate"), b.scalar("clip_threshold"), b.constant(1.0));
    let mut rms = |sum| {
        let mean = b.div(sum, n);
        b.sqrt(mean)
    };
    let (p, u) = (rms(pp), rms(uu));
    let minus_alpha = if relative {
        let least = b.scalar("eps2");
        let p = b.max(p, least);
        b.mul(minus_rate, p)
    } else {
        minus_rate
    };
    let excess = b.div(u, threshold);
    let excess = b.max(excess, one);
    let size = b.div(minus_alpha, excess);
    b.finish(size, vec![uu])
}

/// keep·p + step·u, u standing for the gradient.
fn decayed_along() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (keep, step, p, u) = (b.scalar("keep"), b.scalar("step"), b.param(), b.grad());
    let p = b.mul(keep, p);
    let p = b.fma(step, u, p);
    b.finish(p, vec![])
}

/// u of a matrix.
fn factored(t: &mut TensorUpdate<'_>) -> TensorId {
    let (rows, cols) = t.shape();
    let (row_means, column_means) = (t.moment("row means", &[rows, 1]), t.moment("column means", &[1, cols]));
    let (g, squared) = (t.grad(), t.temp_like_param());
    t.map(squares(), squared, g, &[], &[]);
    let (of_rows, of_columns) = (t.graph().row_sum(squared), t.graph().column_sum(squared));
    t.map(running_mean(), row_means, of_rows, &[], &[("n", Given::Number(cols as f64))]);
    t.map(running_mean(), column_means, of_columns, &[], &[("n", Given::Number(rows as f64))]);
    let (sum, mean) = (t.graph().column_sum(row_means), t.temp(&[1]));
    t.map(bounded_mean(), mean, sum, &[], &[("n", Given::Number(rows as f64))]);
    let u = t.graph().linear(row_means, column_means, None, None).expect("a column times a row");
    t.map(factored_direction(), u, g, &[], &[("mean", Given::Tensor(mean))]);
    u
}

/// u of a vector.
fn full(t: &mut TensorUpdate<'_>) -> TensorId {
    let (v, g, u) = (t.moment_like_param("v"), t.grad(), t.temp_like_param());
    t.map(full_direction(), v, g, &[u], &[]);
    u
}

impl Optimizer for Adafactor {
    fn update(&self) -> Update {
        let relative = self.relative_step;
        let scalars = ["weight", "eps1", "eps1_squared", "eps2", "clip_threshold", "minus_rate", "keep"];
        Update::per_tensor(&scalars, move |t| {
            let u = if t.is_matrix() { factored(t) } else { full(t) };
            let (p, step) = (t.param(), t.temp(&[1]));
            let (pp, uu) = (t.graph().sum_squares(p), t.graph().sum_squares(u));
            let (rows, cols) = t.shape();
            t.map(step_size(relative), step, pp, &[uu], &[("n", Given::Number((rows * cols) as f64))]);
            t.map(decayed_along(), p, u, &[], &[("step", Given::Tensor(step))]);
        })
    }

    fn write_scalars(&self, step: u64, lr: f64, out: &mut Vec<f64>) {
        let t = step as f64;
        let rate = if self.relative_step { lr.min(1.0 / t.sqrt()) } else { lr };
        let weight = libm::pow(t, self.beta2_decay);
        let keep = 1.0 - lr * self.weight_decay;
        out.extend([weight, self.eps1, self.eps1 * self.eps1, self.eps2, self.clip_threshold, -rate, keep]);
    }
}
