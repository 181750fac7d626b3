//! Stochastic gradient descent with heavy-ball momentum (Polyak 1964; Sutskever et al. 2013, eq. 1–2).
//!
//! g ← grad + weight_decay·p;  buf ← momentum·buf + g;  p ← p − lr·buf
//!
//! As in PyTorch, and unlike Sutskever et al., the learning rate stands outside the buffer, so a change of
//! the rate acts at once on the whole velocity. The buffer starts at 0, hence buf = g at step 1 (no
//! dampening). Weight decay is added to the gradient. Without momentum there is no state.

use super::Optimizer;
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};
use preheat_kernels::graph::Update;
use preheat_kernels::update::UpdateBuilder;

pub(super) const ENTRY: Entry<Box<dyn Optimizer>> = Entry {
    name: "sgd",
    doc: "stochastic gradient descent, optionally with heavy-ball momentum",
    params: &[
        ParamDef {
            name: "momentum",
            doc: "share of the velocity kept from one step to the next; 0 keeps no velocity",
            kind: ParamKind::Real { min: 0.0, max: 0.999_999 },
            default: Preset::Real(0.0),
        },
        ParamDef {
            name: "weight_decay",
            doc: "times the parameter, added to the gradient",
            kind: ParamKind::Real { min: 0.0, max: 1e3 },
            default: Preset::Real(0.0),
        },
    ],
    build,
};

struct Sgd {
    momentum: f64,
    weight_decay: f64,
}

fn build(params: &Params) -> Result<Box<dyn Optimizer>, Invalid> {
    Ok(Box::new(Sgd { momentum: params.real("momentum"), weight_decay: params.real("weight_decay") }))
}

impl Optimizer for Sgd {
    fn update(&self) -> Update {
        let mut b = UpdateBuilder::new();
        let minus_lr = b.scalar("minus_lr");
        let p = b.param();
        let mut g = b.grad();
        if self.weight_decay != 0.0 {
            let decay = b.scalar("weight_decay");
            g = b.fma(decay, p, g);
        }
        if self.momentum == 0.0 {
            let new = b.fma(minus_lr, g, p);
            return b.finish(new, vec![]).into();
        }
        let (momentum, buffer) = (b.scalar("momentum"), b.state(0));
        let buffer = b.fma(momentum, buffer, g);
        let new = b.fma(minus_lr, buffer, p);
        b.finish(new, vec![buffer]).into()
    }

    fn write_scalars(&self, _step: u64, lr: f64, out: &mut Vec<f64>) {
        out.push(-lr);
        if self.weight_decay != 0.0 {
            out.push(self.weight_decay);
        }
        if self.momentum != 0.0 {
            out.push(self.momentum);
        }
    }
}
