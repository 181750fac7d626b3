//! One run of a cohort: what it is and what was measured of it.

use super::digest::Digest;
use super::metrics::{EVAL_CURVES, STEP_CURVES, is_error, set_curve};
use super::{STALL_MARGIN, checkpoint, probe, spaced};
use crate::models::{MODELS, Model};
use crate::optimizers::{OPTIMIZERS, Optimizer};
use crate::record::{Measured, Outcome, Point};
use crate::registry::{Invalid, build};
use crate::run::Run;
use crate::schedules::{SCHEDULES, Schedule};
use crate::tasks::Task;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the host computes for a step.
pub(super) struct Host {
    model: Box<dyn Model>,
    optimizer: Box<dyn Optimizer>,
    schedule: Box<dyn Schedule>,
    steps: u64,
}

impl Host {
    /// The learning rate of a step (counted from 1), and the host scalars of it in `out`: the model's, then the optimizer's,
    /// which had done `before` steps before the run's first.
    pub(super) fn scalars(&self, before: u64, step: u64, out: &mut Vec<f64>) -> f64 {
        let lr = self.schedule.lr(step, self.steps);
        out.clear();
        self.model.write_scalars(step, out);
        self.optimizer.write_scalars(before + step, lr, out);
        lr
    }
}

/// One run in progress, without its numbers on the device.
pub(super) struct Member {
    pub(super) run: Run,
    pub(super) task: Arc<dyn Task>,
    host: Host,
    /// Steps completed.
    pub(super) step: u64,
    /// Steps that the optimizer had done before the first: those of the run whose state it took.
    pub(super) optimizer_steps: u64,
    /// Curves of the task's named validation sets.
    pub(super) sets: Vec<String>,
    /// Steps that the probe `isoflop` evaluates after; none without it.
    spaced: Vec<u64>,
    pub(super) outcome: Option<Outcome>,
    pub(super) curves: BTreeMap<String, Vec<Point>>,
    pub(super) metrics: BTreeMap<String, f64>,
    /// Parameters before the step, where the update's norm is wanted.
    pub(super) before: Vec<f32>,
}

impl Member {
    /// A run at its start. Errors name the recipe's key.
    pub(super) fn new(run: &Run, task: Arc<dyn Task>) -> Result<Self, Invalid> {
        Ok(Self {
            host: Self::host(run)?,
            run: run.clone(),
            spaced: spaced::of(&run.recipe.train),
            sets: task.named_sets().iter().map(|set| set_curve(set.name)).collect(),
            task,
            step: 0,
            optimizer_steps: 0,
            outcome: None,
            curves: BTreeMap::new(),
            metrics: BTreeMap::new(),
            before: Vec::new(),
        })
    }

    /// What the host computes for the steps of `run`.
    pub(super) fn host(run: &Run) -> Result<Host, Invalid> {
        Ok(Host {
            model: build("model", MODELS, &run.recipe.model)?,
            optimizer: build("optimizer", OPTIMIZERS, &run.recipe.optimizer)?,
            schedule: build("schedule", SCHEDULES, &run.recipe.schedule)?,
            steps: run.recipe.train.size("steps") as u64,
        })
    }
    pub(super) fn model(&self) -> &dyn Model {
        &*self.host.model
    }
    pub(super) fn optimizer(&self) -> &dyn Optimizer {
        &*self.host.optimizer
    }
    pub(super) fn steps(&self) -> u64 {
        self.run.recipe.train.size("steps") as u64
    }
    fn eval_every(&self) -> u64 {
        self.run.recipe.train.size("eval_every") as u64
    }
    /// Whether steps remain.
    pub(super) fn is_running(&self) -> bool {
        self.is_running_after(0)
    }
    /// Whether steps remain after `ahead` more, as far as it is known.
    pub(super) fn is_running_after(&self, ahead: u64) -> bool {
        self.outcome.is_none() && self.step + ahead < self.steps()
    }
    /// Whether the step after `ahead` more is followed by an evaluation.
    pub(super) fn is_due(&self, ahead: u64) -> bool {
        let step = self.step + ahead + 1;
        let regular = self.eval_every() > 0 && step.is_multiple_of(self.eval_every());
        regular || step == self.steps() || self.spaced.contains(&step)
    }

    pub(super) fn counts_gradients(&self) -> bool {
        self.run.recipe.train.text("probe") == "gradients"
    }
    /// Whether the gradients of the step just done are counted.
    pub(super) fn counts_step(&self) -> bool {
        self.counts_gradients() && self.outcome.is_none() && self.step <= probe::COUNTED_STEPS
    }

    /// Room for every point, so that a step allocates nothing.
    pub(super) fn prepare_curves(&mut self) {
        let steps = self.steps() as usize;
        // Multiples of `eval_every`, the last step, the start; spaced steps.
        let evals = self.steps().checked_div(self.eval_every()).unwrap_or(0) as usize + 2 + self.spaced.len();
        let all = STEP_CURVES.map(|c| (c, steps)).into_iter().chain(EVAL_CURVES.map(|c| (c, evals)));
        let all = all.chain(self.sets.iter().map(|set| (set.as_str(), evals)));
        let all = all.chain(self.model().measures().iter().map(|name| (*name, evals)));
        let counted = self.counts_gradients().then(probe::bin_curves).into_iter().flatten();
        let all = all.chain(counted.map(|c| (c, probe::COUNTED_STEPS as usize)));
        self.curves = all.map(|(name, room)| (name.to_string(), Vec::with_capacity(room))).collect();
    }

    pub(super) fn record(&mut self, curve: &str, value: f64) {
        push(&mut self.curves, curve, self.step, value);
    }
    /// The loss on the task's named set `set`.
    pub(super) fn record_set(&mut self, set: usize, value: f64) {
        push(&mut self.curves, &self.sets[set], self.step, value);
    }

    /// Records what the model measures beside the loss, from the means of an evaluation. `room` is overwritten.
    pub(super) fn record_measures(&mut self, means: &[f64], room: &mut Vec<f64>) {
        self.measure(means, room);
        for (name, value) in self.model().measures().iter().zip(&*room) {
            push(&mut self.curves, name, self.step, *value);
        }
    }

    /// The numbers of [`Model::measures`] in `out`.
    fn measure(&self, means: &[f64], out: &mut Vec<f64>) {
        out.clear();
        self.model().measure(self.sizes(), means, out);
    }

    /// Sequences of a batch and tokens of a sequence.
    fn sizes(&self) -> [usize; 2] {
        [self.run.recipe.train.size("batch"), self.task.seq()]
    }

    /// What an evaluation says of a run without steps.
    pub(super) fn initial_metrics(&mut self, loss: f64, means: &[f64]) {
        let mut numbers = Vec::new();
        self.measure(means, &mut numbers);
        let names = self.model().measures().iter().map(ToString::to_string);
        let more = names.zip(numbers).chain(self.model().initial(self.sizes(), means));
        let all: Vec<(String, f64)> = std::iter::once(("val_loss".to_string(), loss)).chain(more).collect();
        self.metrics.extend(all.into_iter().map(|(name, value)| (format!("init.{name}"), value)));
    }

    /// The learning rate of the step after `ahead` more, and the host scalars of it in `out`.
    pub(super) fn scalars(&self, ahead: u64, out: &mut Vec<f64>) -> f64 {
        self.host.scalars(self.optimizer_steps, self.step + ahead + 1, out)
    }

    /// Takes a step's results.
    pub(super) fn stepped(&mut self, lr: f64, loss: f64, grad_norm: f64) {
        self.step += 1;
        self.record("train_loss", loss);
        self.record("grad_norm", grad_norm);
        self.record("lr", lr);
        if !(loss.is_finite() && grad_norm.is_finite()) {
            self.outcome = Some(Outcome::Diverged { step: self.step });
        }
    }

    pub(super) fn head(&self, buffers: Vec<usize>) -> checkpoint::Head {
        checkpoint::Head {
            run: self.run.id(),
            step: self.step,
            optimizer_steps: self.optimizer_steps,
            outcome: self.outcome.clone(),
            curves: self.curves.clone(),
            metrics: self.metrics.clone(),
            buffers,
        }
    }

    /// Takes what a checkpoint of the same run says.
    pub(super) fn resume(&mut self, head: checkpoint::Head) -> Result<(), String> {
        self.prepare_curves();
        for (name, points) in head.curves {
            self.curves.get_mut(&name).ok_or("a checkpoint with an unknown curve")?.extend(points);
        }
        (self.step, self.optimizer_steps) = (head.step, head.optimizer_steps);
        (self.outcome, self.metrics) = (head.outcome, head.metrics);
        Ok(())
    }

    /// A loss that is not finite after the last step is divergence, though no further step shows it.
    pub(super) fn look_back(&mut self) {
        let losses = std::iter::once("val_loss").chain(self.sets.iter().map(String::as_str));
        let mut last = losses.filter_map(|curve| self.curves[curve].last());
        if self.outcome.is_none() && last.any(|point| point.step == self.step && point.value.is_none()) {
            self.outcome = Some(Outcome::Diverged { step: self.step });
        }
    }

    /// A diverged run counts as one that learned nothing: at least the unigram entropy.
    pub(super) fn final_metrics(&mut self) {
        let validation = self.task.validation();
        let diverged = self.outcome.is_some();
        let last = |curve: &str, unigram: f64| final_loss(&self.curves[curve], diverged, unigram);
        let val_loss = last("val_loss", validation.unigram_entropy);
        for (curve, set) in self.sets.iter().zip(self.task.named_sets()) {
            let set = set.set.as_ref().unwrap_or(validation);
            self.metrics.insert(curve.clone(), last(curve, set.unigram_entropy));
        }
        for name in self.model().measures() {
            let measured = self.curves[*name].last().and_then(|p| p.value);
            // A diverged run is right no more often than chance.
            let chance = (diverged && is_error(name)).then(|| 1.0 - 1.0 / self.task.vocab() as f64);
            let value = measured.into_iter().chain(chance).reduce(f64::max);
            self.metrics.extend(value.map(|value| (name.to_string(), value)));
        }
        let mut put = |name: &str, value: f64| self.metrics.insert(name.to_string(), value);
        put("val_loss", val_loss);
        put("diverged", f64::from(u8::from(diverged)));
        put("unigram_entropy", validation.unigram_entropy);
        for (name, value) in beside(val_loss, validation.unigram_entropy) {
            put(name, value);
        }
        if let Some(rate) = validation.entropy_rate {
            put("entropy_rate", rate);
        }
        if self.counts_gradients() {
            self.metrics.extend(probe::small_gradients(&self.curves));
        }
        if !self.spaced.is_empty() {
            let (vocab, seq) = (self.task.vocab(), self.task.seq());
            self.metrics.extend(spaced::sizes(&*self.host.model, vocab, seq));
            let a_step = self.run.recipe.train.size("batch") * seq;
            self.metrics.extend(spaced::losses(&self.curves["val_loss"], &self.spaced, a_step as u64));
        }
    }

    /// What was measured. `params` hands each final parameter to the digest.
    pub(super) fn measured<E>(self, params: impl FnOnce(&mut Digest) -> Result<(), E>) -> Result<Measured, E> {
        let outcome = self.outcome.unwrap_or(Outcome::Finished);
        let mut digest = Digest::new(&outcome);
        params(&mut digest)?;
        let digest = digest.finish(&self.curves, &self.metrics);
        Ok(Measured { outcome, curves: self.curves, metrics: self.metrics, digest })
    }
}

fn push(curves: &mut BTreeMap<String, Vec<Point>>, curve: &str, step: u64, value: f64) {
    let point = Point { step, value: Some(value).filter(|v| v.is_finite()) };
    curves.get_mut(curve).expect("a known curve").push(point);
}

/// The last finite loss of a curve; of a run that `diverged` at least the unigram entropy.
fn final_loss(points: &[Point], diverged: bool, unigram_entropy: f64) -> f64 {
    match points.iter().rev().find_map(|p| p.value) {
        Some(v) if !diverged => v,
        other => other.unwrap_or(0.0).max(unigram_entropy),
    }
}

/// What a final loss says beside the unigram entropy.
fn beside(val_loss: f64, unigram_entropy: f64) -> [(&'static str, f64); 3] {
    let stalls_above = unigram_entropy - STALL_MARGIN;
    [
        ("stalled", f64::from(u8::from(val_loss > stalls_above))),
        ("stall_gap", val_loss - stalls_above),
        // What is left to learn below the unigram entropy, never negative: a stall counts as a stall.
        ("capped_loss", val_loss.min(unigram_entropy)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_diverged_counts_as_one_that_learned_nothing() {
        let points = |values: &[Option<f64>]| -> Vec<Point> {
            values.iter().enumerate().map(|(i, value)| Point { step: i as u64, value: *value }).collect()
        };
        for (values, diverged, expected) in [
            (&[Some(5.0), Some(2.0)][..], false, 2.0),
            (&[Some(5.0), Some(2.0)], true, 3.0),
            (&[Some(2.0), Some(5.0), None], true, 5.0),
            (&[None], true, 3.0),
            (&[], true, 3.0),
        ] {
            assert_eq!(final_loss(&points(values), diverged, 3.0), expected, "{values:?} {diverged}");
        }
    }

    #[test]
    fn a_loss_stalls_within_the_margin_below_the_unigram_entropy() {
        let of = |loss: f64| beside(loss, 3.0).map(|(_, value)| value);
        let below = 3.0 - STALL_MARGIN;
        assert_eq!(of(3.5), [1.0, 3.5 - below, 3.0]);
        assert_eq!(of(2.9), [1.0, 2.9 - below, 2.9]);
        assert_eq!(of(below), [0.0, 0.0, below]);
        assert_eq!(of(2.0)[0], 0.0);
    }
}
