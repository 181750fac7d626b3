//! A cohort of runs over one arena: replays entries of a [`Program`] on a device's [`Ops`].

use super::plan::{Slot, Step};
use super::{EntryId, Op, Part, Program, ScalarSource, TensorId, bounds};
use crate::aligned::Aligned;
use crate::ops::{CrossEntropy, MOST_LATER, MatMul, Ops, Start};
use crate::real::Real;
use crate::rng::Stream;
use crate::update::UpdateExpr;
use std::sync::Arc;

/// States an update expression may have.
const MAX_STATES: usize = 8;
/// Scalars an expression of a map may have.
const MAX_SCALARS: usize = 32;

/// Is told the name of each op that was executed, and the floating point operations of its matrix products.
pub type Watch<'a> = &'a mut dyn FnMut(&'static str, u64);

/// Parameters, states and activations of R runs, and the device that computes them.
pub struct Session<T: Real, K: Ops<T>> {
    program: Arc<Program>,
    ops: K,
    arena: Aligned<T>,
    tokens: Aligned<u32>,
    /// Host scalars \[R\]: the graph's own, then the optimizer's.
    scalars: Vec<Vec<T>>,
    /// Seed of each run's per-step randomness.
    seeds: Vec<u64>,
    /// Counter of each run's per-step randomness.
    steps: Vec<u32>,
    active: Vec<bool>,
}

impl<T: Real, K: Ops<T>> Session<T, K> {
    /// A zeroed arena for the program. The process ends where there is no memory for it.
    pub fn new(program: Arc<Program>, ops: K) -> Self {
        let (arena, tokens) = (Aligned::zeroed(program.arena_len), Aligned::zeroed(program.tokens_len));
        Self::over(program, ops, arena, tokens)
    }

    /// The same; the error is the bytes that were asked for, where there is no memory for them.
    ///
    /// # Errors
    /// Too little memory.
    pub fn try_new(program: Arc<Program>, ops: K) -> Result<Self, usize> {
        let bytes = program.arena_len.saturating_mul(size_of::<T>());
        let arena = Aligned::try_zeroed(program.arena_len).ok_or(bytes)?;
        let tokens = Aligned::try_zeroed(program.tokens_len).ok_or(bytes)?;
        Ok(Self::over(program, ops, arena, tokens))
    }

    fn over(program: Arc<Program>, ops: K, arena: Aligned<T>, tokens: Aligned<u32>) -> Self {
        let runs = program.runs;
        Self {
            arena,
            tokens,
            scalars: vec![Vec::new(); runs],
            seeds: vec![0; runs],
            steps: vec![0; runs],
            active: vec![true; runs],
            program,
            ops,
        }
    }
    /// What is replayed.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }
    /// The host scalars of the next step of run `r`: the graph's own, then the optimizer's.
    pub fn set_scalars(&mut self, r: usize, scalars: impl IntoIterator<Item = T>) {
        self.scalars[r].clear();
        self.scalars[r].extend(scalars);
    }
    /// Seed and counter of per-step randomness.
    pub fn set_randomness(&mut self, r: usize, seed: u64, step: u32) {
        self.seeds[r] = seed;
        self.steps[r] = step;
    }
    /// An inactive run idles: its memory is left as it is.
    pub fn set_active(&mut self, r: usize, active: bool) {
        self.active[r] = active;
    }

    fn range(slot: Slot, r: usize) -> std::ops::Range<usize> {
        let start = slot.offset + r * slot.run_stride;
        start..start + slot.len
    }
    /// A parameter, gradient, state or input of run `r`.
    pub fn get(&self, id: TensorId, r: usize) -> &[T] {
        &self.arena[Self::range(self.program.place(id, None), r)]
    }
    /// The same, for writing.
    pub fn get_mut(&mut self, id: TensorId, r: usize) -> &mut [T] {
        let range = Self::range(self.program.place(id, None), r);
        &mut self.arena[range]
    }
    /// A root of `entry` after it ran, valid until another entry runs.
    pub fn output(&self, entry: EntryId, id: TensorId, r: usize) -> &[T] {
        &self.arena[Self::range(self.program.place(id, Some(entry)), r)]
    }
    /// Token ids of run `r`, for writing.
    pub fn tokens_mut(&mut self, id: TensorId, r: usize) -> &mut [u32] {
        let range = Self::range(self.program.tokens[&id], r);
        &mut self.tokens[range]
    }
    /// Two token tensors of run `r`, for writing.
    pub fn two_tokens_mut(&mut self, a: TensorId, b: TensorId, r: usize) -> (&mut [u32], &mut [u32]) {
        let (a, b) = (Self::range(self.program.tokens[&a], r), Self::range(self.program.tokens[&b], r));
        let [a, b] = self.tokens.get_disjoint_mut([a, b]).expect("two tensors do not overlap");
        (a, b)
    }
    /// The flat parameter buffer of run `r`, for writing.
    pub fn flat_params_mut(&mut self, r: usize) -> &mut [T] {
        let (len, base) = (self.program.flat_len, self.program.param_base);
        &mut self.arena[base + r * len..base + (r + 1) * len]
    }
    /// The flat parameter buffer of run `r`, padding included.
    pub fn flat_params(&self, r: usize) -> &[T] {
        let (len, base) = (self.program.flat_len, self.program.param_base);
        &self.arena[base + r * len..base + (r + 1) * len]
    }
    /// Optimizer state `s` of run `r`, laid out as the flat parameters.
    pub fn optimizer_state(&self, s: usize, r: usize) -> &[T] {
        let range = self.state_range(s, r);
        &self.arena[range]
    }
    /// The same, for writing.
    pub fn optimizer_state_mut(&mut self, s: usize, r: usize) -> &mut [T] {
        let range = self.state_range(s, r);
        &mut self.arena[range]
    }
    fn state_range(&self, s: usize, r: usize) -> std::ops::Range<usize> {
        assert!(s < self.program.optimizer_states, "optimizer state {s}");
        let start = self.program.state_base + (s * self.program.runs + r) * self.program.flat_len;
        start..start + self.program.flat_len
    }

    /// Runs an entry for all active runs.
    pub fn run(&mut self, entry: EntryId) {
        self.run_watched(entry, &mut |_, _| ());
    }
    /// [`Self::run`], telling `done` each op that was executed and the floating point operations of its matrix
    /// products, for one run.
    pub fn run_watched(&mut self, entry: EntryId, done: Watch<'_>) {
        let program = Arc::clone(&self.program);
        let entry = &program.entries[entry.0];
        let (before, after) = (&entry.steps[..entry.repeated.start], &entry.steps[entry.repeated.end..]);
        self.execute_all(before, 0, done);
        for micro_batch in 0..program.micro_batches {
            self.execute_all(&entry.steps[entry.repeated.clone()], micro_batch, done);
        }
        self.execute_all(after, 0, done);
    }

    /// Each step for all active runs before the next one: a value's space is that of all runs, and may have been another's.
    fn execute_all(&mut self, steps: &[Step], micro_batch: usize, done: Watch<'_>) {
        for step in steps {
            for r in 0..self.active.len() {
                if self.active[r] {
                    self.execute(step, r, micro_batch);
                    done(step.op.name(), step.gemm_flops);
                }
            }
        }
    }

    fn execute(&mut self, step: &Step, r: usize, micro_batch: usize) {
        let micro_batches = self.program.micro_batches;
        let (base, tokens) = (self.arena.as_mut_ptr(), self.tokens.as_ptr());
        let operands = Operands { base, tokens, step, r, micro_batch, micro_batches };
        match &step.op {
            Op::Update { expr, clip } => self.update(expr, *clip, operands),
            Op::Map { expr, scalars, clip } => {
                map(&self.ops, expr, scalars, *clip, &self.scalars[r][self.program.own_scalars..], &operands);
            }
            Op::HostScalar(i) => operands.output(0)[0] = self.scalars[r][*i],
            Op::GradNorm => {
                let start = self.program.grad_base + r * self.program.flat_len;
                let squares = self.ops.sum_squares(&self.arena[start..start + self.program.flat_len]);
                operands.output(0)[0] = squares.sqrt();
            }
            Op::Dropout { rate, stream } => {
                dropout(*rate, Stream::new(self.seeds[r], *stream), self.steps[r], operands)
            }
            _ => compute(&self.ops, operands),
        }
    }

    fn update(&mut self, expr: &UpdateExpr, clip: Option<f64>, operands: Operands<'_, T>) {
        let (len, r, runs) = (self.program.flat_len, operands.r, self.program.runs);
        let scale = clip_scale(clip, || operands.input(0)[0]);
        let at = |start: usize| start + r * len;
        // SAFETY: parameters, gradients and each state are disjoint ranges of the arena, borrowed uniquely.
        unsafe {
            let base = operands.base;
            let param = std::slice::from_raw_parts_mut(base.add(at(self.program.param_base)), len);
            let grad = std::slice::from_raw_parts(base.add(at(self.program.grad_base)), len);
            let mut states: [&mut [T]; MAX_STATES] = Default::default();
            assert!(expr.states <= MAX_STATES, "an update has at most {MAX_STATES} states");
            for (s, state) in states.iter_mut().enumerate().take(expr.states) {
                let start = at(self.program.state_base + s * runs * len);
                *state = std::slice::from_raw_parts_mut(base.add(start), len);
            }
            let scalars = &self.scalars[r][self.program.own_scalars..];
            self.ops.update(expr, scalars, scale, param, grad, &mut states[..expr.states]);
        }
    }
}

/// The operands of one step of one run, as slices of the arena.
pub(super) struct Operands<'s, T> {
    base: *mut T,
    tokens: *const u32,
    pub(super) step: &'s Step,
    r: usize,
    micro_batch: usize,
    micro_batches: usize,
}

impl<'s, T: Real> Operands<'s, T> {
    fn start(&self, slot: Slot) -> usize {
        slot.offset + self.r * slot.run_stride + self.micro_batch * slot.micro_stride
    }
    pub(super) fn input(&self, i: usize) -> &'s [T] {
        self.slice(self.step.inputs[i])
    }
    fn slice(&self, slot: Slot) -> &'s [T] {
        // SAFETY: the plan keeps slots inside the arena; inputs are not written while a step runs, save for
        // `Ema` and `Map`, which do not read what they change through here.
        unsafe { std::slice::from_raw_parts(self.base.add(self.start(slot)), slot.len) }
    }
    pub(super) fn token_input(&self, i: usize) -> &'s [u32] {
        let slot = self.step.inputs[i];
        // SAFETY: as above, in the token buffer.
        unsafe { std::slice::from_raw_parts(self.tokens.add(self.start(slot)), slot.len) }
    }
    pub(super) fn width(&self, i: usize) -> usize {
        self.step.inputs[i].width
    }
    pub(super) fn output(&self, i: usize) -> &'s mut [T] {
        let slot = self.step.outputs[i];
        // SAFETY: the plan gives live tensors disjoint slots, and each output is asked for once.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(self.start(slot)), slot.len) }
    }
}

/// What a gradient is multiplied by so that its norm is at most `clip`.
fn clip_scale<T: Real>(clip: Option<f64>, norm: impl Fn() -> T) -> Option<T> {
    clip.map(T::from_f64).filter(|c| norm() > *c).map(|c| c / norm())
}

/// One stage of an optimizer on one tensor.
fn map<T: Real, K: Ops<T>>(
    ops: &K,
    expr: &UpdateExpr,
    sources: &[ScalarSource],
    clip: Option<f64>,
    host: &[T],
    o: &Operands<'_, T>,
) {
    let mut scalars = [T::ZERO; MAX_SCALARS];
    for (scalar, source) in scalars[..sources.len()].iter_mut().zip(sources) {
        *scalar = match *source {
            ScalarSource::Host(i) => host[i],
            ScalarSource::Input(i) => o.input(i)[0],
            ScalarSource::Number(x) => T::from_f64(x),
        };
    }
    let mut states: [&mut [T]; MAX_STATES] = Default::default();
    for (s, state) in states[..expr.states].iter_mut().enumerate() {
        *state = o.output(1 + s);
    }
    let scale = clip_scale(clip, || o.input(1)[0]);
    ops.update(expr, &scalars[..sources.len()], scale, o.output(0), o.input(0), &mut states[..expr.states]);
}

fn dropout<T: Real>(rate: f64, stream: Stream, step: u32, o: Operands<'_, T>) {
    let (x, y, mask) = (o.input(0), o.output(0), o.output(1));
    let kept = T::from_f64(1.0 / (1.0 - rate));
    let first = o.micro_batch * x.len();
    for i in 0..x.len() {
        let keep = f64::from(stream.uniform(step, (first + i) as u64)) >= rate;
        mask[i] = if keep { kept } else { T::ZERO };
        y[i] = x[i] * mask[i];
    }
}

fn compute<T: Real, K: Ops<T>>(ops: &K, o: Operands<'_, T>) {
    match &o.step.op {
        op if op.is_product() => product(ops, &o),
        Op::LayerNorm { .. } | Op::LayerNormDx { .. } | Op::LayerNormDparams => norm(ops, &o),
        Op::Attention(shape) => ops.attention(shape, o.input(0), o.output(0), o.output(1)),
        Op::AttentionBackward(shape) => {
            ops.attention_backward(shape, o.input(0), o.input(1), o.input(2), o.output(0), o.output(1));
        }
        Op::Activation(f) => ops.activation(*f, o.input(0), o.output(0)),
        Op::ActivationBackward(f) => ops.activation_backward(*f, o.input(0), o.input(1), o.output(0)),
        Op::Embedding { positions } => {
            let positions = positions.then(|| o.input(2));
            ops.embedding(o.width(1), o.token_input(0), o.input(1), positions, o.output(0));
        }
        Op::EmbeddingBackward => ops.embedding_backward(o.width(1), o.token_input(0), o.input(1), o.output(0)),
        Op::RowSum => {
            for (sum, row) in o.output(0).iter_mut().zip(o.input(0).chunks_exact(o.width(0))) {
                *sum = ops.sum(row);
            }
        }
        Op::ColumnSum => {
            let out = o.output(0);
            match o.step.part {
                Part::Whole => ops.column_sum(out.len(), o.input(0), out),
                Part::Rows => ops.column_sum_rows(out.len(), o.input(0), o.micro_batch == 0, o.output(1)),
                Part::Total => ops.fold_columns(out.len(), o.output(1), out),
            }
        }
        Op::CrossEntropy { smoothing } => {
            let (loss, losses) = (o.output(0), o.output(1));
            if o.step.part != Part::Total {
                ops.cross_entropy(&entropy_shape(&o, *smoothing), o.input(0), o.token_input(1), losses, o.output(2));
            }
            if o.step.part != Part::Rows {
                loss[0] = ops.sum(losses) / T::from_f64(losses.len() as f64);
            }
        }
        Op::CrossEntropyBackward { smoothing } => {
            let shape = entropy_shape(&o, *smoothing);
            let rows = if o.step.part == Part::Rows { shape.rows * o.micro_batches } else { shape.rows };
            let scale = o.input(3)[0] / T::from_f64(rows as f64);
            ops.cross_entropy_backward(&shape, o.input(0), o.token_input(1), o.input(2), scale, o.output(0));
        }
        Op::Add => ops.add(o.input(0), o.input(1), o.output(0)),
        Op::Mul => ops.mul(o.input(0), o.input(1), o.output(0)),
        Op::Scale(s) => ops.scale(T::from_f64(*s), o.input(0), o.output(0)),
        Op::Ones => o.output(0).fill(T::ONE),
        Op::SumSquares => o.output(0)[0] = ops.sum_squares(o.input(0)),
        Op::Ema { rate } => {
            let (x, state, rate) = (o.input(1), o.output(0), T::from_f64(*rate));
            for (s, &x) in state.iter_mut().zip(x) {
                *s = rate.mul_add(x - *s, *s);
            }
        }
        Op::Update { .. } | Op::Map { .. } | Op::GradNorm | Op::Dropout { .. } | Op::HostScalar(_) => {
            unreachable!("executed by the session")
        }
        _ => bounds::compute(ops, &o),
    }
}

fn entropy_shape<T: Real>(o: &Operands<'_, T>, smoothing: f64) -> CrossEntropy {
    let vocab = o.width(0);
    CrossEntropy { rows: o.step.inputs[0].len / vocab, vocab, smoothing }
}

/// The products of a linear layer, forward and backward.
fn product<T: Real, K: Ops<T>>(ops: &K, o: &Operands<'_, T>) {
    let (a, b, c) = (o.input(0), o.input(1), o.output(0));
    let (first, second, out) = (o.width(0), o.width(1), o.step.outputs[0].width);
    let rows = a.len() / first;
    let mut later = [&[][..]; MOST_LATER];
    for (place, slot) in later.iter_mut().zip(&o.step.later) {
        *place = o.slice(*slot);
    }
    let matmul = |mm: &MatMul, a: &[T], b: &[T], start: Start<'_, T>, residual: Option<&[T]>, c: &mut [T]| {
        ops.matmul_before(mm, a, b, start, residual, c, &later);
    };
    let added = |present: bool| present.then(|| o.input(2));
    // A weight's gradient is one chain over the rows of all micro-batches.
    let onwards = if o.micro_batch == 0 { Start::Zero } else { Start::Accumulate };
    match &o.step.op {
        Op::Linear { bias, residual } => {
            let start = if *bias { Start::Bias(o.input(2)) } else { Start::Zero };
            let residual = residual.then(|| o.input(2 + usize::from(*bias)));
            matmul(&MatMul::nn(rows, out, first), a, b, start, residual, c);
        }
        Op::LinearDx { add } => matmul(&MatMul::nt(rows, out, first), a, b, Start::Zero, added(*add), c),
        Op::LinearDw => matmul(&MatMul::tn(first, second, rows), a, b, onwards, None, c),
        Op::LinearTied => matmul(&MatMul::nt(rows, out, first), a, b, Start::Zero, None, c),
        Op::LinearTiedDx { add } => matmul(&MatMul::nn(rows, out, first), a, b, Start::Zero, added(*add), c),
        // dw[M,K] = dyᵀ·x: the operands change places.
        Op::LinearTiedDw => matmul(&MatMul::tn(second, first, rows), b, a, onwards, None, c),
        _ => unreachable!("not a product"),
    }
}

fn norm<T: Real, K: Ops<T>>(ops: &K, o: &Operands<'_, T>) {
    let width = o.step.inputs.first().map_or(0, |x| x.width);
    match &o.step.op {
        Op::LayerNorm { eps } => {
            let (y, mean, rstd) = (o.output(0), o.output(1), o.output(2));
            ops.layer_norm(width, *eps, o.input(0), o.input(1), o.input(2), y, mean, rstd);
        }
        Op::LayerNormDx { add } => {
            let add = add.then(|| o.input(5));
            ops.layer_norm_dx(width, o.input(0), o.input(1), o.input(2), o.input(3), o.input(4), add, o.output(0));
        }
        Op::LayerNormDparams => norm_params(ops, o, width),
        _ => unreachable!("not a norm"),
    }
}

fn norm_params<T: Real, K: Ops<T>>(ops: &K, o: &Operands<'_, T>, width: usize) {
    if o.step.part == Part::Total {
        let (dgamma, dbeta) = (o.output(0), o.output(1));
        let (of_gamma, of_beta) = o.output(2).split_at(o.output(2).len() / 2);
        ops.fold_columns(dgamma.len(), of_gamma, dgamma);
        return ops.fold_columns(dbeta.len(), of_beta, dbeta);
    }
    let (x, mean, rstd, dy) = (o.input(0), o.input(1), o.input(2), o.input(3));
    if o.step.part == Part::Rows {
        ops.layer_norm_dparams_rows(width, x, mean, rstd, dy, o.micro_batch == 0, o.output(2));
    } else {
        ops.layer_norm_dparams(width, x, mean, rstd, dy, o.output(0), o.output(1));
    }
}
