//! A network on a device: a cohort's numbers, read and written run by run.

use super::{Compiled, ResumeError, checkpoint, initial};
use crate::tasks::Validation;
use preheat_kernels::device::{DeviceError, Place, Replay};
use preheat_kernels::graph::{Role, TensorId, Watch};
use std::borrow::Cow;

/// The network and the memory of all runs.
pub(super) struct Net {
    pub(super) compiled: Compiled,
    pub(super) session: Box<dyn Replay>,
    /// Tensors that a checkpoint keeps beside the flat buffers: the optimizer's moments, the model's states.
    kept: [Vec<TensorId>; 2],
    /// One value of each run, as the device has it.
    values: Vec<f32>,
    /// Elements of [`Compiled::measured`] in all, and their means of each run over the last validation set.
    measured_len: usize,
    measured: Vec<f64>,
}

impl Net {
    pub(super) fn new(compiled: Compiled, session: Box<dyn Replay>) -> Self {
        let kept = [Role::Moment, Role::State].map(|role| compiled.program.graph().tensors_with(role));
        let values = vec![0.0; compiled.program.runs()];
        let measured_len = compiled.measured.iter().map(|id| compiled.program.graph().tensor(*id).len()).sum();
        let measured = vec![0.0; measured_len * compiled.program.runs()];
        Self { compiled, session, kept, values, measured_len, measured }
    }

    /// The initial values of run `r`.
    pub(super) fn initialise(&mut self, r: usize, seed: u64) -> Result<(), DeviceError> {
        for (id, values) in initial(self.compiled.program.graph(), &self.compiled.init, seed) {
            self.session.write(Place::Tensor(id), r, &values)?;
        }
        Ok(())
    }

    /// Lets the runs in `who` take part in what follows, and the others idle.
    pub(super) fn activate(&mut self, who: &[bool]) {
        who.iter().enumerate().for_each(|(r, active)| self.session.set_active(r, *active));
    }

    /// Writes a batch of run `r`: `fill` gets inputs and targets.
    pub(super) fn fill_tokens(&mut self, r: usize, fill: impl FnOnce(&mut [u32], &mut [u32])) {
        let (inputs, targets) = self.session.two_tokens_mut(self.compiled.inputs, self.compiled.targets, r);
        fill(inputs, targets);
    }

    /// Batch `index` of a validation set for run `r`.
    fn fill_validation(&mut self, r: usize, validation: &Validation, index: usize) {
        self.fill_tokens(r, |inputs, targets| {
            let (rows, labels) = (inputs.len(), targets.len());
            inputs.copy_from_slice(&validation.inputs[index * rows..][..rows]);
            targets.copy_from_slice(&validation.targets[index * labels..][..labels]);
        });
    }

    /// Runs `train` for the active runs; their losses and gradient norms are kept.
    pub(super) fn train(&mut self, done: Watch<'_>) -> Result<(), DeviceError> {
        let Compiled { train, loss, grad_norm, .. } = self.compiled;
        self.session.run_kept(train, [loss, grad_norm], done)
    }

    /// Losses and gradient norms since the last time, the oldest step first: R losses, then R norms, for each.
    pub(super) fn take(&mut self, out: &mut Vec<f32>) -> Result<(), DeviceError> {
        let Compiled { train, loss, grad_norm, .. } = self.compiled;
        out.clear();
        self.session.take_kept(train, [loss, grad_norm], out)
    }

    /// Forward and backward on the first validation batch of the active runs, no update.
    pub(super) fn differentiate_validation<'t>(
        &mut self,
        sets: impl Iterator<Item = (usize, &'t Validation)>,
    ) -> Result<(), DeviceError> {
        for (r, set) in sets {
            self.fill_validation(r, set, 0);
        }
        self.session.run(self.compiled.gradients)
    }

    /// Mean loss over a validation set, nats/token, of the active runs, which `sets` names; the sets are of one
    /// size. Where a run is not named, `out` is left as it is.
    pub(super) fn mean_losses<'t>(
        &mut self,
        sets: impl Iterator<Item = (usize, &'t Validation)> + Clone,
        out: &mut [f64],
    ) -> Result<(), DeviceError> {
        let rows = self.compiled.program.graph().tensor(self.compiled.inputs).len();
        let Some((_, first)) = sets.clone().next() else { return Ok(()) };
        let batches = first.inputs.len() / rows;
        sets.clone().for_each(|(r, _)| {
            out[r] = 0.0;
            self.measured[r * self.measured_len..][..self.measured_len].fill(0.0);
        });
        for index in 0..batches {
            sets.clone().for_each(|(r, set)| self.fill_validation(r, set, index));
            let Compiled { evaluate, eval_loss, .. } = self.compiled;
            self.session.run(evaluate)?;
            self.session.read_each(evaluate, eval_loss, &mut self.values)?;
            sets.clone().for_each(|(r, _)| out[r] += f64::from(self.values[r]));
            sets.clone().try_for_each(|(r, _)| self.add_measured(r, 1.0 / batches as f64))?;
        }
        sets.for_each(|(r, _)| out[r] /= batches as f64);
        Ok(())
    }

    /// Adds what the evaluation of run `r` measured, times `weight`.
    fn add_measured(&mut self, r: usize, weight: f64) -> Result<(), DeviceError> {
        let Self { compiled, session, measured_len, measured, .. } = self;
        let mut sums = measured[r * *measured_len..][..*measured_len].iter_mut();
        for id in &compiled.measured {
            let values = session.read(Place::Output(compiled.evaluate, *id), r)?;
            values.iter().zip(&mut sums).for_each(|(x, sum)| *sum += weight * f64::from(*x));
        }
        Ok(())
    }

    /// The means of [`Compiled::measured`] of run `r` over the validation set of the last [`Self::mean_losses`].
    pub(super) fn measured(&self, r: usize) -> &[f64] {
        &self.measured[r * self.measured_len..][..self.measured_len]
    }

    /// The flat parameters, padding included, of run `r`.
    pub(super) fn params(&self, r: usize) -> Result<Cow<'_, [f32]>, DeviceError> {
        self.session.read(Place::Params, r)
    }

    /// What a checkpoint keeps, with its elements: the flat parameters; the optimizer's states and its moments of
    /// tensors; the model's states.
    fn places(&self) -> [Vec<(Place, usize)>; 3] {
        let program = &self.compiled.program;
        let flat = program.flat_len();
        let tensor = |id: &TensorId| (Place::Tensor(*id), program.graph().tensor(*id).len());
        let states = (0..program.optimizer_states()).map(|s| (Place::OptimizerState(s), flat));
        let optimizer = states.chain(self.kept[0].iter().map(tensor)).collect();
        [vec![(Place::Params, flat)], optimizer, self.kept[1].iter().map(tensor).collect()]
    }

    /// Elements of each buffer of a checkpoint.
    pub(super) fn lengths(&self) -> Vec<usize> {
        self.places().iter().flatten().map(|(_, len)| *len).collect()
    }

    /// Appends the buffers of run `r` to a checkpoint.
    pub(super) fn save(&self, r: usize, out: &mut Vec<u8>) -> Result<(), DeviceError> {
        for (place, _) in self.places().into_iter().flatten() {
            checkpoint::push_buffer(out, &self.session.read(place, r)?);
        }
        Ok(())
    }

    /// Takes the buffers of a checkpoint for run `r`; without `optimizer_state`, the optimizer's are left out.
    pub(super) fn load(
        &mut self,
        r: usize,
        lengths: &[usize],
        bytes: &[u8],
        optimizer_state: bool,
    ) -> Result<(), ResumeError> {
        let own = self.lengths();
        let [params, optimizer, states] = self.places();
        if own.first() != lengths.first() || optimizer_state && own != lengths || lengths.len() < 1 + states.len() {
            return Err("a checkpoint of another model or optimizer".into());
        }
        let mut rest = self.take_buffers(r, &params, bytes)?;
        if optimizer_state {
            rest = self.take_buffers(r, &optimizer, rest)?;
        } else {
            let skipped: usize = lengths[1..lengths.len() - states.len()].iter().map(|n| n * 4).sum();
            rest = rest.get(skipped..).ok_or("a truncated checkpoint")?;
        }
        rest = self.take_buffers(r, &states, rest)?;
        if rest.is_empty() { Ok(()) } else { Err("a checkpoint of another model".into()) }
    }

    /// Overwrites `places` of run `r`, and returns the bytes that follow.
    fn take_buffers<'b>(
        &mut self,
        r: usize,
        places: &[(Place, usize)],
        mut bytes: &'b [u8],
    ) -> Result<&'b [u8], ResumeError> {
        for (place, len) in places {
            let (values, rest) = checkpoint::take_buffer(bytes, *len)?;
            self.session.write(*place, r, &values)?;
            bytes = rest;
        }
        Ok(bytes)
    }
}
