//! Adam (Kingma & Ba 2015, Algorithm 1).
//!
//! g ← grad + weight_decay·p;  m ← β1·m + (1−β1)·g;  v ← β2·v + (1−β2)·g²
//! p ← p − lr/(1−β1^t) · m / (√v/√(1−β2^t) + ε),  t counted from 1
//!
//! ε stands outside the root and is added to the *bias-corrected* √v̂: Algorithm 1 as printed, and PyTorch.
//! (The paper's faster variant at the end of section 2 adds ε̂ to the uncorrected √v: not this.)
//! Weight decay is not in the paper; as in PyTorch's `Adam` it is coupled, added to the gradient, so it passes
//! through both moments. Both moments start at 0. m is formed as m + (1−β1)·(g − m), PyTorch's `lerp`.
//!
//! Adam-eps (Liu et al. 2020, section 3.1) is this with `eps: 1e-4`.

use super::Optimizer;
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};
use preheat_kernels::graph::Update;
use preheat_kernels::update::{Reg, UpdateBuilder};

pub(super) const BETA1: ParamDef = ParamDef {
    name: "beta1",
    doc: "decay of the first moment",
    kind: ParamKind::Real { min: 0.0, max: 0.999_999 },
    default: Preset::Real(0.9),
};
pub(super) const BETA2: ParamDef = ParamDef {
    name: "beta2",
    doc: "decay of the second moment",
    kind: ParamKind::Real { min: 0.0, max: 0.999_999_9 },
    default: Preset::Real(0.999),
};
pub(super) const EPS: ParamDef = ParamDef {
    name: "eps",
    doc: "added to the bias-corrected root of the second moment, in units of the gradient",
    kind: ParamKind::Real { min: 0.0, max: 1e3 },
    default: Preset::Real(1e-8),
};

pub(super) const ENTRY: Entry<Box<dyn Optimizer>> = Entry {
    name: "adam",
    doc: "Adam with bias correction; weight decay is coupled",
    params: &[
        BETA1,
        BETA2,
        EPS,
        ParamDef {
            name: "weight_decay",
            doc: "times the parameter, added to the gradient",
            kind: ParamKind::Real { min: 0.0, max: 1e3 },
            default: Preset::Real(0.0),
        },
    ],
    build,
};

/// The coefficients of the two moments and their expression, shared with the variants of Adam.
#[derive(Clone, Copy)]
pub(super) struct Moments {
    beta1: f64,
    beta2: f64,
    eps: f64,
}

impl Moments {
    pub(super) fn new(params: &Params) -> Self {
        Self { beta1: params.real("beta1"), beta2: params.real("beta2"), eps: params.real("eps") }
    }

    pub(super) const fn of(beta1: f64, beta2: f64, eps: f64) -> Self {
        Self { beta1, beta2, eps }
    }

    pub(super) const fn beta2(&self) -> f64 {
        self.beta2
    }

    /// Moves `p` along the gradient `g`: the new parameter and the new states (m, v). Declares its six
    /// scalars in the order of [`Self::scalars`].
    pub(super) fn step(b: &mut UpdateBuilder, p: Reg, g: Reg) -> (Reg, Vec<Reg>) {
        let ([m, v], scale) = Self::moved(b, g);
        let minus_step = b.scalar("minus_step_size");
        let direction = b.div(m, scale);
        (b.fma(minus_step, direction, p), vec![m, v])
    }

    /// The new moments [m, v], and √v̂ + ε. Declares the first five scalars of [`Self::scalars`].
    pub(super) fn moved(b: &mut UpdateBuilder, g: Reg) -> ([Reg; 2], Reg) {
        let [m, v] = Self::averages(b, g);
        let (root, eps) = (b.scalar("root_correction2"), b.scalar("eps"));
        let scale = b.sqrt(v);
        let scale = b.div(scale, root);
        let scale = b.add(scale, eps);
        ([m, v], scale)
    }

    /// The new moments [m, v]. Declares the first three scalars of [`Self::scalars`].
    pub(super) fn averages(b: &mut UpdateBuilder, g: Reg) -> [Reg; 2] {
        let (weight1, beta2, weight2) = (b.scalar("one_minus_beta1"), b.scalar("beta2"), b.scalar("one_minus_beta2"));
        let (m, v) = (b.state(0), b.state(1));
        let towards = b.sub(g, m);
        let m = b.fma(weight1, towards, m);
        let kept = b.mul(beta2, v);
        let squared = b.mul(g, g);
        [m, b.fma(weight2, squared, kept)]
    }

    /// 1 − β1^t, the first moment's bias correction.
    pub(super) fn correction1(&self, step: u64) -> f64 {
        1.0 - libm::pow(self.beta1, step as f64)
    }

    pub(super) fn scalars(&self, step: u64, lr: f64) -> [f64; 6] {
        let correction2 = 1.0 - libm::pow(self.beta2, step as f64);
        [1.0 - self.beta1, self.beta2, 1.0 - self.beta2, correction2.sqrt(), self.eps, -lr / self.correction1(step)]
    }
}

struct Adam {
    moments: Moments,
    weight_decay: f64,
}

fn build(params: &Params) -> Result<Box<dyn Optimizer>, Invalid> {
    Ok(Box::new(Adam { moments: Moments::new(params), weight_decay: params.real("weight_decay") }))
}

impl Optimizer for Adam {
    fn update(&self) -> Update {
        let mut b = UpdateBuilder::new();
        let p = b.param();
        let mut g = b.grad();
        if self.weight_decay != 0.0 {
            let decay = b.scalar("weight_decay");
            g = b.fma(decay, p, g);
        }
        let (p, states) = Moments::step(&mut b, p, g);
        b.finish(p, states).into()
    }

    fn write_scalars(&self, step: u64, lr: f64, out: &mut Vec<f64>) {
        out.extend((self.weight_decay != 0.0).then_some(self.weight_decay));
        out.extend(self.moments.scalars(step, lr));
    }

    fn second_moment_decay(&self) -> Option<f64> {
        Some(self.moments.beta2())
    }
}
