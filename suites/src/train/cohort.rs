//! Runs of one shape in progress on one device, step by step together. Each has the bits that it has alone.

use super::checkpoint;
use super::member::Member;
use super::net::Net;
use super::{Compiled, probe};
use crate::models::{Built, MODELS, Shape};
use crate::optimizers::{OPTIMIZERS, Optimizer};
use crate::record::Measured;
use crate::registry::{Invalid, Spec, build};
use crate::run::Run;
use crate::tasks::{Task, Validation};
use preheat_kernels::device::{Device, DeviceError, Place};
use preheat_kernels::graph::{Program, Watch};
use std::sync::Arc;

/// Why a cohort could not be started.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StartError {
    /// A recipe that cannot be built.
    #[error(transparent)]
    Recipe(#[from] Invalid),
    /// The device: too little memory, mostly.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Why a run does not go on from a checkpoint, or start from one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ResumeError {
    /// The checkpoint is damaged, or another run's or model's. One line.
    #[error("{0}")]
    Checkpoint(String),
    /// The device, whatever the checkpoint is.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl From<String> for ResumeError {
    fn from(line: String) -> Self {
        Self::Checkpoint(line)
    }
}

impl From<&str> for ResumeError {
    fn from(line: &str) -> Self {
        Self::Checkpoint(line.into())
    }
}

/// Runs of one shape in progress.
pub struct Cohort {
    device: Arc<dyn Device>,
    pub(super) members: Vec<Member>,
    /// `None` for runs that have nothing to train.
    pub(super) net: Option<Net>,
    room: Room,
    /// Steps that were given to the device and whose numbers were not taken yet.
    ahead: usize,
}

/// Numbers of a step, one of each run, so that a step allocates nothing.
#[derive(Default)]
struct Room {
    scalars: Vec<f64>,
    rounded: Vec<f32>,
    /// Runs that take part in a step.
    running: Vec<bool>,
    /// Runs that are evaluated after it.
    due: Vec<bool>,
    /// Learning rates of the steps ahead: R a step.
    lr: Vec<f64>,
    /// What the device kept of the steps ahead.
    kept: Vec<f32>,
    loss: Vec<f64>,
    /// Runs that a named validation set is measured for, and their losses.
    named: Vec<bool>,
    set_loss: Vec<f64>,
    /// What a model measures beside the loss.
    measures: Vec<f64>,
}

/// Text that is equal for runs that can form a cohort: model, `train` section, the task's sizes, and the graph with the
/// optimizer's part. Seeds, rates, schedules and coefficients may differ.
///
/// # Errors
/// A recipe that cannot be built.
pub fn shape(run: &Run, task: &dyn Task) -> Result<String, Invalid> {
    let train = Spec { name: "train".into(), params: run.recipe.train.clone() };
    let (vocab, seq, validation) = (task.vocab(), task.seq(), task.validation().inputs.len());
    let sets: Vec<&str> = task.named_sets().iter().map(|set| set.name).collect();
    let graph = program(run, task, 1)?.map(|program| {
        let nodes = format!("{:?}", program.graph().nodes());
        blake3::hash(nodes.as_bytes()).to_hex()
    });
    let graph = graph.as_deref().unwrap_or("none").to_string();
    Ok(format!("{}\n{train}\n{vocab} {seq} {validation} {sets:?}\n{graph}", run.recipe.model))
}

impl Cohort {
    /// Builds the graph, plans memory, initialises parameters and measures at initialisation.
    ///
    /// # Errors
    /// Those of a recipe name its key, e.g. `model.heads`; or the device's.
    ///
    /// # Panics
    /// No run, or runs of several shapes.
    pub fn new(runs: &[(&Run, Arc<dyn Task>)], device: Arc<dyn Device>) -> Result<Self, StartError> {
        let members = runs.iter().map(|(run, task)| Member::new(run, Arc::clone(task)));
        let members: Vec<Member> = members.collect::<Result<_, _>>()?;
        if members.len() != 1 {
            let shapes = members.iter().map(|m| shape(&m.run, &*m.task)).collect::<Result<Vec<_>, _>>()?;
            assert!(shapes.iter().all(|s| *s == shapes[0]), "runs of one shape");
        }
        let mut cohort = Self { device, members, net: None, room: Room::default(), ahead: 0 };
        match cohort.build()? {
            Built::Network(network) => {
                let first = &cohort.members[0];
                let clip = Some(first.run.recipe.train.real("clip")).filter(|c| *c > 0.0);
                let compiled = Compiled::new(*network, first.optimizer().update(), clip, cohort.len());
                cohort.place(compiled)?;
            }
            Built::NormJacobian(first) => {
                let seed = cohort.members[0].run.seed;
                cohort.members[0].metrics = first.measure(seed, &*cohort.device)?;
                // Each is measured alone: there is no step that they could share.
                for r in 1..cohort.len() {
                    if let Built::NormJacobian(jacobian) = cohort.build()? {
                        let seed = cohort.members[r].run.seed;
                        cohort.members[r].metrics = jacobian.measure(seed, &*cohort.device)?;
                    }
                }
            }
            // A function of the seed alone, without a device.
            Built::AdaptiveRate(rate) => {
                for member in &mut cohort.members {
                    member.metrics = rate.measure(member.run.seed);
                }
            }
        }
        Ok(cohort)
    }

    /// What the model of all runs is.
    fn build(&self) -> Result<Built, Invalid> {
        built(&self.members[0].run, &*self.members[0].task)
    }

    fn place(&mut self, compiled: Compiled) -> Result<(), DeviceError> {
        let (runs, flat) = (self.len(), compiled.program.flat_len());
        let session = self.device.session(&compiled.program)?;
        let mut net = Net::new(compiled, session);
        for (r, member) in self.members.iter_mut().enumerate() {
            net.initialise(r, member.run.seed)?;
            member.before = vec![0.0; flat];
            member.prepare_curves();
        }
        self.net = Some(net);
        let (flags, values) = (vec![false; runs], vec![0.0; runs]);
        let (running, due, named) = (flags.clone(), flags.clone(), flags);
        let ahead = self.room();
        let (lr, kept) = (vec![0.0; ahead * runs], Vec::with_capacity(2 * ahead * runs));
        let (loss, set_loss) = (values.clone(), values);
        let measures = Vec::with_capacity(self.members[0].model().measures().len());
        self.room = Room { running, due, lr, kept, loss, named, set_loss, measures, ..Room::default() };
        self.probe("init", &vec![true; runs])
    }

    /// Runs R.
    pub fn len(&self) -> usize {
        self.members.len()
    }
    /// Never: a cohort has a run.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
    /// Steps that run `r` completed, those included that the device was given and has not answered for.
    pub fn step(&self, r: usize) -> u64 {
        self.members[r].step + if self.ahead > 0 && self.room.running[r] { self.ahead as u64 } else { 0 }
    }
    /// Steps of each run in all.
    pub fn steps(&self) -> u64 {
        self.members[0].steps()
    }
    /// Whether nothing of run `r` remains to be trained.
    pub fn is_done(&self, r: usize) -> bool {
        self.net.is_none() || !self.members[r].is_running_after(self.step(r) - self.members[r].step)
    }
    /// Floating point operations of one run's step, its matrix products.
    pub fn step_flops(&self) -> u64 {
        self.net.as_ref().map_or(0, |n| n.compiled.program.gemm_flops(n.compiled.train))
    }

    /// Trains one step of every run that has steps left, and evaluates where it is due.
    ///
    /// # Errors
    /// The device failed; the cohort is then unusable.
    pub fn advance(&mut self) -> Result<(), DeviceError> {
        self.advance_watched(&mut |_, _| ())
    }

    /// [`Self::advance`], telling `done` each op of the training step, where the device replays it op by op.
    ///
    /// # Errors
    /// As there.
    pub fn advance_watched(&mut self, done: Watch<'_>) -> Result<(), DeviceError> {
        if self.ahead > 0 && (0..self.len()).any(|r| self.room.running[r] == self.is_done(r)) {
            // Another run ends here: who takes part may change only where it is known who still does.
            self.settle()?;
        }
        let (runs, ahead) = (self.len(), self.ahead as u64);
        let Some(net) = &mut self.net else { return Ok(()) };
        let Room { scalars, rounded, running, due, lr, .. } = &mut self.room;
        let lr = &mut lr[self.ahead * runs..][..runs];
        for (r, member) in self.members.iter_mut().enumerate() {
            running[r] = if ahead > 0 { running[r] } else { member.is_running() };
            due[r] = running[r] && member.is_due(ahead);
            net.session.set_active(r, running[r]);
            if !running[r] {
                continue;
            }
            if due[r] {
                member.before.copy_from_slice(&net.params(r)?);
            }
            lr[r] = member.scalars(ahead, scalars);
            rounded.clear();
            rounded.extend(scalars.iter().map(|s| *s as f32));
            net.session.set_scalars(r, rounded);
            let step = member.step + ahead;
            net.session.set_randomness(r, member.run.seed, (step + 1) as u32);
            net.fill_tokens(r, |inputs, targets| {
                member.task.batch(member.run.data_seed, step, inputs, targets);
            });
        }
        if !running.contains(&true) {
            return Ok(());
        }
        net.train(done)?;
        self.ahead += 1;
        let full = self.ahead == net.session.room();
        if full || due.contains(&true) || self.members.iter().any(Member::counts_gradients) {
            self.settle()?;
            for (r, member) in self.members.iter().enumerate() {
                self.room.due[r] &= member.outcome.is_none();
            }
            self.count_gradients()?;
            self.evaluate()?;
        }
        Ok(())
    }

    /// Steps that the device may be given before it answers: [`Self::advance`] returns before they are done.
    pub fn room(&self) -> usize {
        self.net.as_ref().map_or(1, |net| net.session.room())
    }

    /// Waits for the steps that the device was given, and takes their numbers. A run that diverged among them ends there.
    ///
    /// # Errors
    /// The device failed; the cohort is then unusable.
    pub fn settle(&mut self) -> Result<(), DeviceError> {
        let Some(net) = self.net.as_mut().filter(|_| self.ahead > 0) else { return Ok(()) };
        let (runs, Room { running, lr, kept, .. }) = (self.members.len(), &mut self.room);
        net.take(kept)?;
        for (rates, numbers) in lr.chunks_exact(runs).zip(kept.chunks_exact(2 * runs)) {
            for (r, member) in self.members.iter_mut().enumerate().filter(|(r, _)| running[*r]) {
                if member.outcome.is_none() {
                    member.stepped(rates[r], f64::from(numbers[r]), f64::from(numbers[runs + r]));
                }
            }
        }
        self.ahead = 0;
        Ok(())
    }

    /// The probe `gradients` of the runs that took part in the step.
    fn count_gradients(&mut self) -> Result<(), DeviceError> {
        let Some(net) = &self.net else { return Ok(()) };
        for (r, member) in self.members.iter_mut().enumerate().filter(|(r, _)| self.room.running[*r]) {
            if member.counts_step() {
                let shares = probe::bin_shares(&net.compiled, &*net.session, r)?;
                probe::bin_curves().zip(shares).for_each(|(name, share)| member.record(name, share));
            }
        }
        Ok(())
    }

    /// Validation losses and the norms of parameters and of the last update, of the runs that are due.
    fn evaluate(&mut self) -> Result<(), DeviceError> {
        let Some(net) = &self.net else { return Ok(()) };
        let due = &self.room.due;
        if !due.contains(&true) {
            return Ok(());
        }
        for (r, member) in self.members.iter_mut().enumerate().filter(|(r, _)| due[*r]) {
            let after = net.params(r)?;
            let param_norm = self.device.sum_squares(&after).sqrt();
            for (b, a) in member.before.iter_mut().zip(&*after) {
                *b = a - *b;
            }
            let update_norm = self.device.sum_squares(&member.before).sqrt();
            member.record("param_norm", f64::from(param_norm));
            member.record("update_norm", f64::from(update_norm));
        }
        self.measure_losses()
    }

    /// The losses of the runs that are due, on the validation set and on those that their tasks name.
    fn measure_losses(&mut self) -> Result<(), DeviceError> {
        let Some(net) = &mut self.net else { return Ok(()) };
        let Room { due, loss, named, set_loss, measures, .. } = &mut self.room;
        net.activate(due);
        net.mean_losses(own_sets(&self.members, due), loss)?;
        for (r, member) in self.members.iter_mut().enumerate().filter(|(r, _)| due[*r]) {
            member.record("val_loss", loss[r]);
            member.record_measures(net.measured(r), measures);
        }
        for set in 0..self.members[0].sets.len() {
            let of = |r: usize| self.members[r].task.named_sets()[set].set.as_ref();
            named.iter_mut().enumerate().for_each(|(r, is)| *is = due[r] && of(r).is_some());
            if named.contains(&true) {
                net.activate(named);
                net.mean_losses((0..named.len()).filter(|r| named[*r]).filter_map(|r| Some((r, of(r)?))), set_loss)?;
            }
            // A named set that is the task's own has been measured.
            for (r, member) in self.members.iter_mut().enumerate().filter(|(r, _)| due[*r]) {
                member.record_set(set, if named[r] { set_loss[r] } else { loss[r] });
            }
        }
        Ok(())
    }

    /// The probe of the runs in `who`, where their recipe has one.
    fn probe(&mut self, prefix: &str, who: &[bool]) -> Result<(), DeviceError> {
        if self.members[0].run.recipe.train.text("probe") != "signal" || !who.contains(&true) {
            return Ok(());
        }
        self.differentiate_validation(who)?;
        let Some(net) = &self.net else { return Ok(()) };
        for (r, member) in self.members.iter_mut().enumerate().filter(|(r, _)| who[*r]) {
            member.metrics.extend(probe::signal(&net.compiled, &*net.session, r, prefix)?);
        }
        Ok(())
    }

    /// Forward and backward on the first validation batch of the runs in `who`, no update.
    pub(super) fn differentiate_validation(&mut self, who: &[bool]) -> Result<(), DeviceError> {
        let Some(net) = &mut self.net else { return Ok(()) };
        net.activate(who);
        let Room { scalars, rounded, .. } = &mut self.room;
        for (r, member) in self.members.iter().enumerate().filter(|(r, _)| who[*r]) {
            member.scalars(0, scalars);
            rounded.clear();
            rounded.extend(scalars.iter().map(|s| *s as f32));
            net.session.set_scalars(r, rounded);
        }
        net.differentiate_validation(own_sets(&self.members, who))
    }

    /// Mean loss of each run over its validation set, nats/token. `None` for runs without a network.
    pub(super) fn validation_losses(&mut self) -> Result<Option<Vec<f64>>, DeviceError> {
        let Some(net) = &mut self.net else { return Ok(None) };
        let (who, mut losses) = (vec![true; self.members.len()], vec![0.0; self.members.len()]);
        net.activate(&who);
        net.mean_losses(own_sets(&self.members, &who), &mut losses)?;
        Ok(Some(losses))
    }

    /// Everything that run `r` needs to go on with the same bits: parameters, states, step, curves. Opaque bytes with
    /// a length-checked layout; the lab adds its own checksum. A checkpoint does not know of the cohort.
    ///
    /// # Errors
    /// The device failed.
    pub fn checkpoint(&mut self, r: usize) -> Result<Vec<u8>, DeviceError> {
        self.settle()?;
        self.settled_checkpoint(r)
    }

    /// [`Self::checkpoint`] on a device that answers for each step at once.
    pub(super) fn settled_checkpoint(&self, r: usize) -> Result<Vec<u8>, DeviceError> {
        let lengths = self.net.as_ref().map_or(Vec::new(), Net::lengths);
        let mut out = checkpoint::encode(&self.members[r].head(lengths));
        if let Some(net) = &self.net {
            net.save(r, &mut out)?;
        }
        Ok(out)
    }

    /// Run `r` goes on from [`Self::checkpoint`] of the same run.
    ///
    /// # Errors
    /// What does not fit; the run is then unusable.
    pub fn restore(&mut self, r: usize, bytes: &[u8]) -> Result<(), ResumeError> {
        let (head, buffers) = checkpoint::decode(bytes)?;
        if head.run != self.members[r].run.id() {
            return Err(format!("a checkpoint of run {}", head.run).into());
        }
        let net = self.net.as_mut().ok_or("a run without steps has no checkpoint")?;
        net.load(r, &head.buffers, buffers, true)?;
        Ok(self.members[r].resume(head)?)
    }

    /// Run `r` starts from another run's checkpoint: its parameters and, where `optimizer_state`, its optimizer's states
    /// and count of steps (bias corrections go on); the run's own steps and curves start anew. The losses at the start
    /// stand in the curves at step 0.
    ///
    /// # Errors
    /// What does not fit; the run is then unusable.
    pub fn start_from(&mut self, r: usize, bytes: &[u8], optimizer_state: bool) -> Result<(), ResumeError> {
        let (head, buffers) = checkpoint::decode(bytes)?;
        let net = self.net.as_mut().ok_or("a run without a network cannot start from a checkpoint")?;
        net.load(r, &head.buffers, buffers, optimizer_state)?;
        let member = &mut self.members[r];
        member.optimizer_steps = if optimizer_state { head.optimizer_steps + head.step } else { 0 };
        member.metrics.clear();
        if member.steps() > 0 {
            member.prepare_curves();
            (0..self.room.due.len()).for_each(|other| self.room.due[other] = other == r);
            self.measure_losses()?;
        }
        let who: Vec<bool> = (0..self.len()).map(|other| other == r).collect();
        Ok(self.probe("init", &who)?)
    }

    /// Final evaluations, metrics and digests, in the order of the runs.
    ///
    /// # Errors
    /// The device failed.
    pub fn finish(mut self) -> Result<Vec<Measured>, DeviceError> {
        self.settle()?;
        if self.net.is_some() {
            if self.steps() == 0 {
                let losses = self.validation_losses()?.unwrap_or_default();
                let net = self.net.as_ref().expect("there is one");
                for (r, (member, loss)) in self.members.iter_mut().zip(losses).enumerate() {
                    member.initial_metrics(loss, net.measured(r));
                }
            } else {
                self.members.iter_mut().for_each(Member::look_back);
                let sound: Vec<bool> = self.members.iter().map(|m| m.outcome.is_none()).collect();
                self.probe("end", &sound)?;
                self.members.iter_mut().for_each(Member::final_metrics);
            }
        }
        let net = self.net;
        let measured = self.members.into_iter().enumerate().map(|(r, member)| {
            member.measured(|digest| {
                let Some(Net { compiled, session, .. }) = &net else { return Ok(()) };
                let params = compiled.program.graph().params();
                for p in params {
                    digest.param(&session.read(Place::Tensor(p), r)?);
                }
                Ok(())
            })
        });
        measured.collect()
    }
}

/// The tasks' own validation sets of the runs in `who`, with the runs' places.
fn own_sets<'m>(members: &'m [Member], who: &'m [bool]) -> impl Iterator<Item = (usize, &'m Validation)> + Clone {
    members.iter().enumerate().filter(|(r, _)| who[*r]).map(|(r, member)| (r, member.task.validation()))
}

/// The program that `runs` runs of this recipe replay; `None` for a model that is measured and not trained.
///
/// # Errors
/// A recipe that cannot be built.
pub fn program(run: &Run, task: &dyn Task, runs: usize) -> Result<Option<Arc<Program>>, Invalid> {
    let optimizer: Box<dyn Optimizer> = build("optimizer", OPTIMIZERS, &run.recipe.optimizer)?;
    Ok(match built(run, task)? {
        Built::Network(network) => {
            let clip = Some(run.recipe.train.real("clip")).filter(|c| *c > 0.0);
            Some(Compiled::new(*network, optimizer.update(), clip, runs).program)
        }
        Built::NormJacobian(_) | Built::AdaptiveRate(_) => None,
    })
}

/// What the model of a run is.
fn built(run: &Run, task: &dyn Task) -> Result<Built, Invalid> {
    let train = &run.recipe.train;
    let model = build("model", MODELS, &run.recipe.model)?;
    let (batch, label_smoothing) = (train.size("batch"), train.real("label_smoothing"));
    let (seq, vocab, targets) = (task.seq(), task.vocab(), task.targets());
    let shape = Shape { batch, seq, vocab, targets, label_smoothing };
    if !task.validation().inputs.len().is_multiple_of(shape.rows()) {
        return Err(Invalid::new("train.eval_sequences", format!("is not a multiple of batch {batch}")));
    }
    model.build(&shape).map_err(|e| Invalid::new("model", e.to_string()))
}
