//! LAMB (You et al. 2020, Algorithm 2).
//!
//! m, v and their corrections as in `adam`;  u = m̂/(√v̂ + ε) + weight_decay·p;  p ← p − lr·(‖p‖/‖u‖)·u
//!
//! A layer of the paper is one parameter tensor here. As printed, both corrections are applied (t counted from 1), ε is
//! added to the bias-corrected root, and the decay passes through the ratio. Deviations: φ is the identity, without the
//! paper's bounds; the ratio is 1 where one of the norms is 0, as in the authors' code, where the algorithm as printed
//! would leave a tensor of zeros at zero for ever. The authors' code leaves biases and LayerNorm parameters without decay and
//! ratio; the algorithm as printed does not, nor does this.

use super::Optimizer;
use super::adam::{BETA1, BETA2, EPS, Moments};
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};
use preheat_kernels::graph::{Given, TensorUpdate, Update};
use preheat_kernels::update::{UpdateBuilder, UpdateExpr};

pub(super) const ENTRY: Entry<Box<dyn Optimizer>> = Entry {
    name: "lamb",
    doc: "Adam's direction, each tensor's step scaled by its parameters' norm",
    params: &[
        BETA1,
        BETA2,
        ParamDef { default: Preset::Real(1e-6), ..EPS },
        ParamDef {
            name: "weight_decay",
            doc: "times the parameter, added to the direction before its norm is taken",
            kind: ParamKind::Real { min: 0.0, max: 1e3 },
            default: Preset::Real(0.01),
        },
    ],
    build,
};

struct Lamb {
    moments: Moments,
    weight_decay: f64,
}

fn build(params: &Params) -> Result<Box<dyn Optimizer>, Invalid> {
    Ok(Box::new(Lamb { moments: Moments::new(params), weight_decay: params.real("weight_decay") }))
}

/// Moves the moments and leaves the direction u in the third state. The parameter stays.
fn direction() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (p, g, decay) = (b.param(), b.grad(), b.scalar("weight_decay"));
    let ([m, v], scale) = Moments::moved(&mut b, g);
    let correction = b.scalar("correction1");
    let m_hat = b.div(m, correction);
    let adam = b.div(m_hat, scale);
    let u = b.fma(decay, p, adam);
    b.finish(p, vec![m, v, u])
}

/// −lr·‖p‖/‖u‖ from ‖p‖² (the gradient) and ‖u‖² (state 0).
fn step_size() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (pp, uu, minus_lr, one) = (b.grad(), b.state(0), b.scalar("minus_lr"), b.constant(1.0));
    let (p, u) = (b.sqrt(pp), b.sqrt(uu));
    let (some_p, some_u) = (b.sign(p), b.sign(u));
    let both = b.mul(some_p, some_u);
    // 1/1 where a norm is 0; elsewhere both terms are exact.
    let neither = b.sub(one, both);
    let over = b.fma(both, p, neither);
    let under = b.fma(both, u, neither);
    let ratio = b.div(over, under);
    let size = b.mul(minus_lr, ratio);
    b.finish(size, vec![uu])
}

/// p + step·u, u standing for the gradient.
fn along() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (step, p, u) = (b.scalar("step"), b.param(), b.grad());
    let p = b.fma(step, u, p);
    b.finish(p, vec![])
}

fn stages(t: &mut TensorUpdate<'_>) {
    let (p, g) = (t.param(), t.grad());
    let (m, v, u) = (t.moment_like_param("m"), t.moment_like_param("v"), t.temp_like_param());
    t.map(direction(), p, g, &[m, v, u], &[]);
    let (pp, uu, step) = (t.graph().sum_squares(p), t.graph().sum_squares(u), t.temp(&[1]));
    t.map(step_size(), step, pp, &[uu], &[]);
    t.map(along(), p, u, &[], &[("step", Given::Tensor(step))]);
}

impl Optimizer for Lamb {
    fn update(&self) -> Update {
        let scalars = [
            "weight_decay",
            "one_minus_beta1",
            "beta2",
            "one_minus_beta2",
            "correction1",
            "root_correction2",
            "eps",
            "minus_lr",
        ];
        Update::per_tensor(&scalars, stages)
    }

    fn write_scalars(&self, step: u64, lr: f64, out: &mut Vec<f64>) {
        let [weight1, beta2, weight2, root, eps, _] = self.moments.scalars(step, lr);
        out.extend([self.weight_decay, weight1, beta2, weight2, self.moments.correction1(step), root, eps, -lr]);
    }

    fn second_moment_decay(&self) -> Option<f64> {
        Some(self.moments.beta2())
    }
}
