//! What a run in progress holds, by name, for those who replay it elsewhere.

use super::trainer::mean_loss;
use super::{Compiled, Trainer};
use crate::record::{Outcome, Point};
use preheat_kernels::graph::TensorId;
use std::collections::BTreeMap;

/// A tensor of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Named<'t> {
    /// The parameter's name, e.g. `block.0.ffn.w_in`.
    pub name: &'t str,
    /// Row-major shape.
    pub shape: &'t [usize],
    /// The elements.
    pub values: &'t [f32],
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
        let Some(net) = &self.net else { return Vec::new() };
        let graph = net.compiled.program.graph();
        let of = |state, param| {
            let described = graph.tensor(param);
            let values = net.session.optimizer_state_of(state, param, 0);
            Named { name: &described.name, shape: &described.shape, values }
        };
        let states = 0..net.compiled.program.optimizer_states();
        states.map(|state| graph.params().map(|param| of(state, param)).collect()).collect()
    }

    /// Steps that the optimizer had done before the run's first: those of the run whose state it took.
    pub const fn optimizer_steps(&self) -> u64 {
        self.optimizer_steps
    }

    /// Differentiates the training loss of the first validation batch, as the probe `signal` does, and changes no
    /// parameter: what a run without steps has for a gradient.
    pub fn validation_gradients(&mut self) -> Vec<Named<'_>> {
        self.differentiate_validation();
        self.gradients()
    }

    /// Mean loss over the validation set at the parameters as they are now, nats/token, without label smoothing.
    /// `None` for a run without a network.
    pub fn validation_loss(&mut self) -> Option<f64> {
        Some(mean_loss(self.net.as_mut()?, self.task.validation()))
    }

    /// The curves so far; see [`crate::record::Measured::curves`].
    pub const fn curves(&self) -> &BTreeMap<String, Vec<Point>> {
        &self.curves
    }

    /// How the run ended, where it ended before its last step.
    pub const fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    fn named(&self, tensor: impl Fn(&Compiled, TensorId) -> TensorId) -> Vec<Named<'_>> {
        let Some(net) = &self.net else { return Vec::new() };
        let graph = net.compiled.program.graph();
        let view = |param| {
            let described = graph.tensor(param);
            let values = net.session.get(tensor(&net.compiled, param), 0);
            Named { name: &described.name, shape: &described.shape, values }
        };
        graph.params().map(view).collect()
    }
}
