//! What a run in progress holds, by name, for those who replay it elsewhere.

use super::net::Net;
use super::trainer::CPU;
use super::{Compiled, Trainer};
use crate::record::{Outcome, Point};
use preheat_kernels::device::Place;
use preheat_kernels::graph::{Role, TensorId};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A tensor of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Named<'t> {
    /// The parameter's name, e.g. `block.0.ffn.w_in`, or a moment's, `v of block.0.ffn.w_in`.
    pub name: &'t str,
    /// Row-major shape.
    pub shape: &'t [usize],
    /// The elements.
    pub values: Cow<'t, [f32]>,
}

impl Trainer {
    /// All parameters as they are now, in order of declaration. Empty for a run without a network.
    pub fn parameters(&self) -> Vec<Named<'_>> {
        self.named(|_, param| param)
    }

    /// The gradient of the last loss that was differentiated, before clipping, under the parameters' names: after
    /// [`Self::advance`] that of the step, after [`Self::validation_gradients`] that of the first validation batch.
    pub fn gradients(&self) -> Vec<Named<'_>> {
        self.named(|c, param| c.program.graph().grad_of(param).expect("every parameter has a gradient"))
    }

    /// The optimizer's states as they are now, each under the parameters' names: Adam's two moments, SGD's momentum.
    pub fn optimizer_states(&self) -> Vec<Vec<Named<'_>>> {
        let Some(net) = &self.0.net else { return Vec::new() };
        let graph = net.compiled.program.graph();
        let of = |state, param| {
            let described = graph.tensor(param);
            let all = net.session.read(Place::OptimizerState(state), 0).expect(CPU);
            let values = Cow::Owned(all[net.compiled.program.flat_range(param)].to_vec());
            Named { name: &described.name, shape: &described.shape, values }
        };
        let states = 0..net.compiled.program.optimizer_states();
        states.map(|state| graph.params().map(|param| of(state, param)).collect()).collect()
    }

    /// What an optimizer of stages keeps of each parameter as it is now, e.g. Muon's momentum `m of block.0.ffn.w_in`. Empty
    /// for an elementwise one.
    pub fn optimizer_moments(&self) -> Vec<Named<'_>> {
        let Some(net) = &self.0.net else { return Vec::new() };
        net.compiled.program.graph().tensors_with(Role::Moment).into_iter().map(|id| view(net, id, id)).collect()
    }

    /// Steps that the optimizer had done before the run's first: those of the run whose state it took.
    pub fn optimizer_steps(&self) -> u64 {
        self.0.members[0].optimizer_steps
    }

    /// Differentiates the training loss of the first validation batch, as the probe `signal` does, and changes no
    /// parameter: what a run without steps has for a gradient.
    pub fn validation_gradients(&mut self) -> Vec<Named<'_>> {
        self.0.differentiate_validation(&[true]).expect(CPU);
        self.gradients()
    }

    /// Mean loss over the validation set at the parameters as they are now, nats/token, without label smoothing.
    /// `None` for a run without a network.
    pub fn validation_loss(&mut self) -> Option<f64> {
        self.0.validation_losses().expect(CPU).map(|losses| losses[0])
    }

    /// The curves so far; see [`crate::record::Measured::curves`].
    pub fn curves(&self) -> &BTreeMap<String, Vec<Point>> {
        &self.0.members[0].curves
    }

    /// How the run ended, where it ended before its last step.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.0.members[0].outcome.as_ref()
    }

    fn named(&self, tensor: impl Fn(&Compiled, TensorId) -> TensorId) -> Vec<Named<'_>> {
        let Some(net) = &self.0.net else { return Vec::new() };
        net.compiled.program.graph().params().map(|param| view(net, param, tensor(&net.compiled, param))).collect()
    }
}

/// The elements of `tensor` under the name and shape of `named`.
fn view(net: &Net, named: TensorId, tensor: TensorId) -> Named<'_> {
    let described = net.compiled.program.graph().tensor(named);
    let values = net.session.read(Place::Tensor(tensor), 0).expect(CPU);
    Named { name: &described.name, shape: &described.shape, values }
}
