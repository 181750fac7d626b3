//! One run in progress on one device.

use super::checkpoint::{self, Head};
use super::metrics::{EVAL_CURVES, STEP_CURVES};
use super::{Compiled, STALL_MARGIN, digest, initialise, probe};
use crate::models::{Built, MODELS, Shape};
use crate::optimizers::{OPTIMIZERS, Optimizer};
use crate::record::{Measured, Outcome, Point};
use crate::registry::{Invalid, build};
use crate::run::Run;
use crate::schedules::{SCHEDULES, Schedule};
use crate::tasks::Task;
use preheat_kernels::cpu::Cpu;
use preheat_kernels::graph::{Role, Session, TensorId};
use preheat_kernels::ops::Ops;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a step reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More steps remain.
    Running,
    /// The run is over: finished or diverged.
    Done,
}

/// One run in progress on one device.
pub struct Trainer {
    run: Run,
    pub(super) task: Arc<dyn Task>,
    device: Cpu,
    /// `None` for a run that has nothing to train.
    pub(super) net: Option<Net>,
    step: u64,
    pub(super) outcome: Option<Outcome>,
    pub(super) curves: BTreeMap<String, Vec<Point>>,
    metrics: BTreeMap<String, f64>,
}

/// The network and what drives it.
pub(super) struct Net {
    pub(super) compiled: Compiled,
    pub(super) session: Session<f32, Cpu>,
    optimizer: Box<dyn Optimizer>,
    schedule: Box<dyn Schedule>,
    /// Tensors that a checkpoint keeps beside the flat buffers: the optimizer's moments, the model's states.
    kept: [Vec<TensorId>; 2],
    /// Parameters before the step, where the update's norm is wanted.
    before: Vec<f32>,
    /// The optimizer's host scalars of a step.
    scalars: Vec<f64>,
}

impl Trainer {
    /// Builds the graph, plans memory, initialises parameters and measures at initialisation.
    /// Errors name the recipe's key, e.g. `model.heads`.
    pub fn new(run: &Run, task: Arc<dyn Task>, device: Cpu) -> Result<Self, Invalid> {
        let train = &run.recipe.train;
        let model = build("model", MODELS, &run.recipe.model)?;
        let optimizer = build("optimizer", OPTIMIZERS, &run.recipe.optimizer)?;
        let schedule = build("schedule", SCHEDULES, &run.recipe.schedule)?;
        let (batch, label_smoothing) = (train.size("batch"), train.real("label_smoothing"));
        let shape = Shape { batch, seq: task.seq(), vocab: task.vocab(), label_smoothing };
        if !task.validation().inputs.len().is_multiple_of(shape.rows()) {
            return Err(Invalid::new("train.eval_sequences", format!("is not a multiple of batch {batch}")));
        }
        let built = model.build(&shape).map_err(|e| Invalid::new("model", e.to_string()))?;
        let mut trainer = Self {
            run: run.clone(),
            task,
            device,
            net: None,
            step: 0,
            outcome: None,
            curves: BTreeMap::new(),
            metrics: BTreeMap::new(),
        };
        match built {
            Built::NormJacobian(jacobian) => trainer.metrics = jacobian.measure(run.seed, device),
            Built::AdaptiveRate(rate) => trainer.metrics = rate.measure(run.seed),
            Built::Network(network) => {
                let clip = Some(train.real("clip")).filter(|c| *c > 0.0);
                let compiled = Compiled::new(*network, optimizer.update(), clip, 1);
                let mut session = Session::new(Arc::clone(&compiled.program), device);
                initialise(&mut session, &compiled.init, 0, run.seed);
                let kept = [Role::Moment, Role::State].map(|role| compiled.program.graph().tensors_with(role));
                let before = vec![0.0; session.flat_params(0).len()];
                let scalars = Vec::new();
                trainer.net = Some(Net { compiled, session, optimizer, schedule, kept, before, scalars });
                trainer.prepare_curves();
                trainer.probe("init");
            }
        }
        Ok(trainer)
    }

    /// Room for every point, so that a step allocates nothing.
    fn prepare_curves(&mut self) {
        let (steps, evals) =
            (self.steps() as usize, self.steps().checked_div(self.eval_every()).unwrap_or(0) as usize + 1);
        let all = STEP_CURVES.map(|c| (c, steps)).into_iter().chain(EVAL_CURVES.map(|c| (c, evals)));
        let counted = self.counts_gradients().then(probe::bin_curves).into_iter().flatten();
        let all = all.chain(counted.map(|c| (c, probe::COUNTED_STEPS as usize)));
        self.curves = all.map(|(name, room)| (name.to_string(), Vec::with_capacity(room))).collect();
    }

    fn counts_gradients(&self) -> bool {
        self.run.recipe.train.text("probe") == "gradients"
    }

    /// Steps completed.
    pub fn step(&self) -> u64 {
        self.step
    }
    /// Steps in all.
    pub fn steps(&self) -> u64 {
        self.run.recipe.train.size("steps") as u64
    }
    fn eval_every(&self) -> u64 {
        self.run.recipe.train.size("eval_every") as u64
    }
    /// Whether nothing remains to be trained.
    pub fn is_done(&self) -> bool {
        self.outcome.is_some() || self.step >= self.steps() || self.net.is_none()
    }
    /// Floating point operations of a step's matrix products.
    pub fn step_flops(&self) -> u64 {
        self.net.as_ref().map_or(0, |n| n.compiled.program.gemm_flops(n.compiled.train))
    }

    /// Trains one step, and evaluates where it is due.
    pub fn advance(&mut self) -> Progress {
        if self.is_done() {
            return Progress::Done;
        }
        let (steps, step) = (self.steps(), self.step + 1);
        let due = self.eval_every() > 0 && step % self.eval_every() == 0 || step == steps;
        let net = self.net.as_mut().expect("a run that is not done has a network");
        let Net { compiled: c, session, optimizer, schedule, before, scalars, .. } = net;
        if due {
            before.copy_from_slice(session.flat_params(0));
        }
        let lr = schedule.lr(step, steps);
        scalars.clear();
        optimizer.write_scalars(step, lr, scalars);
        session.set_scalars(0, scalars.iter().map(|s| *s as f32));
        session.set_randomness(0, self.run.seed, step as u32);
        fill_tokens(session, c, |inputs, targets| self.task.batch(self.run.data_seed, step - 1, inputs, targets));
        session.run(c.train);
        let loss = f64::from(session.output(c.train, c.loss, 0)[0]);
        let grad_norm = f64::from(session.output(c.train, c.grad_norm, 0)[0]);
        self.step = step;
        self.record("train_loss", loss);
        self.record("grad_norm", grad_norm);
        self.record("lr", lr);
        if !(loss.is_finite() && grad_norm.is_finite()) {
            self.outcome = Some(Outcome::Diverged { step });
            return Progress::Done;
        }
        if self.counts_gradients() && step <= probe::COUNTED_STEPS {
            self.count_gradients();
        }
        if due {
            self.evaluate();
        }
        if self.step < steps { Progress::Running } else { Progress::Done }
    }

    fn record(&mut self, curve: &str, value: f64) {
        let point = Point { step: self.step, value: Some(value).filter(|v| v.is_finite()) };
        self.curves.get_mut(curve).expect("a known curve").push(point);
    }

    fn count_gradients(&mut self) {
        let net = self.net.as_ref().expect("a network");
        let shares = probe::bin_shares(&net.compiled, &net.session);
        for (name, share) in probe::bin_curves().zip(shares) {
            self.record(name, share);
        }
    }

    /// Validation loss and the norms of parameters and of the last update.
    fn evaluate(&mut self) {
        let device = self.device;
        let net = self.net.as_mut().expect("a network");
        let after = net.session.flat_params(0);
        let param_norm = device.sum_squares(after).sqrt();
        for (b, a) in net.before.iter_mut().zip(after) {
            *b = a - *b;
        }
        let update_norm = device.sum_squares(&net.before).sqrt();
        let val_loss = validation_loss(net, &*self.task);
        self.record("param_norm", f64::from(param_norm));
        self.record("update_norm", f64::from(update_norm));
        self.record("val_loss", val_loss);
    }

    fn probe(&mut self, prefix: &str) {
        if self.run.recipe.train.text("probe") != "signal" {
            return;
        }
        self.differentiate_validation();
        let net = self.net.as_ref().expect("a network");
        self.metrics.extend(probe::signal(&net.compiled, &net.session, prefix));
    }

    /// Forward and backward on the first validation batch, no update.
    pub(super) fn differentiate_validation(&mut self) {
        let Some(net) = self.net.as_mut() else { return };
        let rows = net.session.tokens_mut(net.compiled.inputs, 0).len();
        let validation = self.task.validation();
        fill_tokens(&mut net.session, &net.compiled, |inputs, targets| {
            inputs.copy_from_slice(&validation.inputs[..rows]);
            targets.copy_from_slice(&validation.targets[..rows]);
        });
        net.session.run(net.compiled.gradients);
    }

    /// Everything needed to go on with the same bits: parameters, states, step, curves. Opaque bytes with
    /// a length-checked layout; the lab adds its own checksum.
    pub fn checkpoint(&self) -> Vec<u8> {
        let buffers: Vec<&[f32]> = self.net.as_ref().map_or(Vec::new(), Net::buffers);
        let head = Head {
            run: self.run.id(),
            step: self.step,
            outcome: self.outcome.clone(),
            curves: self.curves.clone(),
            metrics: self.metrics.clone(),
            buffers: buffers.iter().map(|b| b.len()).collect(),
        };
        checkpoint::encode(&head, buffers.into_iter())
    }

    /// Goes on from [`Self::checkpoint`] of the same run. An error is one line; the trainer is then unusable.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (head, buffers) = checkpoint::decode(bytes)?;
        if head.run != self.run.id() {
            return Err(format!("a checkpoint of run {}", head.run));
        }
        self.net.as_mut().ok_or("a run without steps has no checkpoint")?.load(&head.buffers, buffers, true)?;
        self.prepare_curves();
        for (name, points) in head.curves {
            self.curves.get_mut(&name).ok_or("a checkpoint with an unknown curve")?.extend(points);
        }
        (self.step, self.outcome, self.metrics) = (head.step, head.outcome, head.metrics);
        Ok(())
    }

    /// Starts from another run's checkpoint: its parameters and, where `optimizer_state`, its moments; the
    /// step counter and the curves start anew.
    pub fn start_from(&mut self, bytes: &[u8], optimizer_state: bool) -> Result<(), String> {
        let (head, buffers) = checkpoint::decode(bytes)?;
        let net = self.net.as_mut().ok_or("a run without a network cannot start from a checkpoint")?;
        net.load(&head.buffers, buffers, optimizer_state)?;
        self.metrics.clear();
        self.probe("init");
        Ok(())
    }

    /// Final evaluation, metrics and digest.
    pub fn finish(mut self) -> Measured {
        if self.net.is_some() {
            if self.steps() == 0 {
                let loss = self.init_loss();
                self.metrics.extend(loss);
            } else {
                if self.outcome.is_none() {
                    self.probe("end");
                }
                self.final_metrics();
                if self.counts_gradients() {
                    self.metrics.extend(probe::small_gradients(&self.curves));
                }
            }
        }
        let outcome = self.outcome.clone().unwrap_or(Outcome::Finished);
        let params = self.net.as_ref().map_or(Vec::new(), |n| {
            let graph = n.compiled.program.graph();
            graph.params().map(|p| n.session.get(p, 0)).collect()
        });
        let digest = digest::digest(&outcome, params.into_iter(), &self.curves, &self.metrics);
        Measured { outcome, curves: self.curves, metrics: self.metrics, digest }
    }

    fn init_loss(&mut self) -> Option<(String, f64)> {
        let net = self.net.as_mut()?;
        Some(("init.val_loss".to_string(), validation_loss(net, &*self.task)))
    }

    /// A diverged run counts as one that learned nothing: at least the unigram entropy.
    fn final_metrics(&mut self) {
        let validation = self.task.validation();
        let last = self.curves["val_loss"].iter().rev().find_map(|p| p.value);
        let diverged = self.outcome.is_some();
        let val_loss = match last {
            Some(v) if !diverged => v,
            other => other.unwrap_or(0.0).max(validation.unigram_entropy),
        };
        let stalled = val_loss > validation.unigram_entropy - STALL_MARGIN;
        let mut put = |name: &str, value: f64| self.metrics.insert(name.to_string(), value);
        put("val_loss", val_loss);
        put("diverged", f64::from(u8::from(diverged)));
        put("stalled", f64::from(u8::from(stalled)));
        put("stall_gap", val_loss - (validation.unigram_entropy - STALL_MARGIN));
        put("unigram_entropy", validation.unigram_entropy);
        // What is left to learn below the unigram entropy, never negative: a stall counts as a stall.
        put("capped_loss", val_loss.min(validation.unigram_entropy));
        if let Some(rate) = validation.entropy_rate {
            put("entropy_rate", rate);
        }
    }
}

fn fill_tokens(session: &mut Session<f32, Cpu>, c: &Compiled, fill: impl FnOnce(&mut [u32], &mut [u32])) {
    let (inputs, targets) = session.two_tokens_mut(c.inputs, c.targets, 0);
    fill(inputs, targets);
}

/// Mean over the validation set, nats/token.
pub(super) fn validation_loss(net: &mut Net, task: &dyn Task) -> f64 {
    let Net { compiled: c, session, .. } = net;
    let rows = session.tokens_mut(c.inputs, 0).len();
    let validation = task.validation();
    let mut sum = 0.0;
    let batches = validation.inputs.len() / rows;
    for (inputs, targets) in validation.inputs.chunks_exact(rows).zip(validation.targets.chunks_exact(rows)) {
        fill_tokens(session, c, |i, t| {
            i.copy_from_slice(inputs);
            t.copy_from_slice(targets);
        });
        session.run(c.evaluate);
        sum += f64::from(session.output(c.evaluate, c.eval_loss, 0)[0]);
    }
    sum / batches as f64
}

impl Net {
    /// The flat parameters, the optimizer's states, its moments of tensors, then the graph's states.
    fn buffers(&self) -> Vec<&[f32]> {
        let optimizer = (0..self.compiled.program.optimizer_states()).map(|s| self.session.optimizer_state(s, 0));
        let kept = self.kept.iter().flatten().map(|s| self.session.get(*s, 0));
        std::iter::once(self.session.flat_params(0)).chain(optimizer).chain(kept).collect()
    }

    fn load(&mut self, lengths: &[usize], bytes: &[u8], optimizer_state: bool) -> Result<(), String> {
        let own: Vec<usize> = self.buffers().iter().map(|b| b.len()).collect();
        let optimizer = self.compiled.program.optimizer_states();
        let [moments, states] = self.kept.clone();
        if own.first() != lengths.first() || optimizer_state && own != lengths || lengths.len() < 1 + states.len() {
            return Err("a checkpoint of another model or optimizer".into());
        }
        let mut rest = checkpoint::read_buffer(bytes, self.session.flat_params_mut(0))?;
        if optimizer_state {
            for s in 0..optimizer {
                rest = checkpoint::read_buffer(rest, self.session.optimizer_state_mut(s, 0))?;
            }
            for id in moments {
                rest = checkpoint::read_buffer(rest, self.session.get_mut(id, 0))?;
            }
        } else {
            let skipped: usize = lengths[1..lengths.len() - states.len()].iter().map(|n| n * 4).sum();
            rest = rest.get(skipped..).ok_or("a truncated checkpoint")?;
        }
        for id in states {
            rest = checkpoint::read_buffer(rest, self.session.get_mut(id, 0))?;
        }
        if rest.is_empty() { Ok(()) } else { Err("a checkpoint of another model".into()) }
    }
}
