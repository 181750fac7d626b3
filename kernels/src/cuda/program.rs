//! A program's entries as lists of work, made once: whatever changes from step to step lies in device memory.

mod bounds;
mod linear_bounds;

use super::launch::{self, Begin, Cohort, EntropyGradient, Randomness, UpdateOperands, block_count};
use super::{DeviceAddress, Launch, Operand, Scalar, Work, gemm};
use crate::graph::{Op, Program, ScalarSource, Slot, Step};
use crate::ops::{CrossEntropy, MatMul};

/// Where a program's memory lies on a device.
pub(super) struct Layout<'p> {
    pub(super) program: &'p Program,
    pub(super) cohort: Cohort,
    pub(super) random: Randomness,
    pub(super) arena: DeviceAddress,
    pub(super) tokens: DeviceAddress,
    pub(super) scalars: Operand,
    /// [`scratch_len`] elements a run, used within one op.
    pub(super) scratch: Operand,
    /// The device computes products by itself.
    pub(super) multiplies: bool,
}

/// Elements of a run that some op needs while it runs, beyond the program's arena.
pub(super) fn scratch_len(program: &Program) -> usize {
    let of_step = |step: &Step| match &step.op {
        // The CPU goes head by head; here all heads are computed at once.
        Op::AttentionBackward(shape) => shape.probs_len(),
        Op::GradNorm => block_count(program.flat_len),
        Op::SumSquares => block_count(step.inputs[0].len),
        _ => bounds::scratch_len(step),
    };
    program.entries.iter().flat_map(|e| &e.steps).map(of_step).max().unwrap_or(0)
}

/// How many host scalars there must be for this one.
fn host_scalars(source: &ScalarSource) -> usize {
    match source {
        ScalarSource::Host(i) => i + 1,
        ScalarSource::Input(_) | ScalarSource::Number(_) => 0,
    }
}

/// Host scalars that the graph reads, and those that the program's updates read, at most.
pub(super) fn scalar_count(program: &Program) -> usize {
    let of_step = |step: &Step| match &step.op {
        Op::Update { expr, .. } => expr.scalars.len(),
        Op::Map { scalars, .. } => scalars.iter().map(host_scalars).max().unwrap_or(0),
        _ => 0,
    };
    program.own_scalars + program.entries.iter().flat_map(|e| &e.steps).map(of_step).max().unwrap_or(0)
}

impl Layout<'_> {
    /// The work of an entry's steps.
    pub(super) fn work(&self, steps: &[Step]) -> Vec<Work> {
        let of_step = |step: &Step| {
            let products = if self.multiplies { self.products(step) } else { None };
            products.unwrap_or_else(|| self.step(step).into_iter().map(Work::from).collect())
        };
        steps.iter().flat_map(of_step).collect()
    }

    /// What a step with matrix products is on a device that computes them by itself; `None` for other steps. An idle
    /// run's products are computed with the others: what they write is no parameter and no state.
    fn products(&self, step: &Step) -> Option<Vec<Work>> {
        let (cohort, o) = (&self.cohort, Operands { layout: self, step });
        match &step.op {
            Op::Linear { .. }
            | Op::LinearDx { .. }
            | Op::LinearDw
            | Op::LinearTied
            | Op::LinearTiedDx { .. }
            | Op::LinearTiedDw => {
                let Multiplied { mm, operands, begin, residual } = self.multiplied(step);
                Some(vec![Work::Product(gemm::linear(cohort.runs, &mm, operands, begin, residual))])
            }
            Op::Attention(shape) => {
                Some(launch::attention_by_products(cohort, shape, [o.input(0), o.output(0), o.output(1)]).into())
            }
            Op::AttentionBackward(shape) => {
                let operands = [o.input(0), o.input(1), o.input(2), o.output(0), self.scratch];
                Some(launch::attention_backward_by_products(cohort, shape, operands).into())
            }
            _ => None,
        }
    }

    fn operand(&self, slot: Slot) -> Operand {
        Operand { at: self.arena, run_stride: slot.run_stride as u64 }.offset(slot.offset)
    }
    fn token_operand(&self, slot: Slot) -> Operand {
        Operand { at: self.tokens, run_stride: slot.run_stride as u64 }.offset(slot.offset)
    }
    /// One of the buffers laid out as the flat parameters.
    fn flat(&self, base: usize) -> Operand {
        Operand { at: self.arena, run_stride: self.program.flat_len as u64 }.offset(base)
    }

    fn step(&self, step: &Step) -> Vec<Launch> {
        let (cohort, o) = (&self.cohort, Operands { layout: self, step });
        let count = step.outputs[0].len;
        match &step.op {
            Op::Linear { .. }
            | Op::LinearDx { .. }
            | Op::LinearDw
            | Op::LinearTied
            | Op::LinearTiedDx { .. }
            | Op::LinearTiedDw => vec![self.product(step)],
            Op::LayerNorm { .. } | Op::LayerNormDx { .. } | Op::LayerNormDparams => vec![self.norm(step)],
            Op::Attention(shape) => launch::attention(cohort, shape, [o.input(0), o.output(0), o.output(1)]).into(),
            Op::AttentionBackward(shape) => {
                let operands = [o.input(0), o.input(1), o.input(2), o.output(0), self.scratch];
                launch::attention_backward(cohort, shape, operands).into()
            }
            Op::Activation(f) => vec![launch::activation(cohort, count, *f, o.input(0), o.output(0))],
            Op::ActivationBackward(f) => {
                vec![launch::activation_backward(cohort, count, *f, [o.input(0), o.input(1), o.output(0)])]
            }
            Op::Embedding { .. } | Op::EmbeddingBackward => vec![self.embedding(step)],
            Op::ColumnSum => {
                let shape = [step.inputs[0].len / count, count];
                vec![launch::column_sum(cohort, shape, o.input(0), o.output(0))]
            }
            Op::CrossEntropy { .. } | Op::CrossEntropyBackward { .. } => self.cross_entropy(step),
            Op::Add => vec![launch::add(cohort, count, o.input(0), o.input(1), o.output(0))],
            Op::Mul => vec![launch::mul(cohort, count, o.input(0), o.input(1), o.output(0))],
            Op::Scale(s) => vec![launch::scale(cohort, count, *s as f32, o.input(0), o.output(0))],
            Op::Dropout { rate, stream } => {
                let operands = [o.input(0), o.output(0), o.output(1)];
                vec![launch::dropout(cohort, count, *rate, *stream, self.random, operands)]
            }
            Op::Ones => vec![launch::fill(cohort, count, 1.0, o.output(0))],
            Op::SumSquares => {
                let operands = [o.input(0), self.scratch, o.output(0)];
                launch::sum_squares(cohort, step.inputs[0].len, false, operands).into()
            }
            Op::GradNorm => {
                let operands = [self.flat(self.program.grad_base), self.scratch, o.output(0)];
                launch::sum_squares(cohort, self.program.flat_len, true, operands).into()
            }
            Op::Ema { rate } => vec![launch::ema(cohort, count, *rate as f32, o.input(1), o.output(0))],
            Op::RowSum => {
                let width = step.inputs[0].width;
                vec![launch::row_sum(cohort, [step.inputs[0].len / width, width], o.input(0), o.output(0))]
            }
            Op::Map { .. } => vec![self.map(step)],
            Op::Update { .. } => vec![self.update(step)],
            _ => self.bounds(step),
        }
    }

    /// The optimizer's host scalar `i` of each run. The graph's own stand before them.
    fn host_scalar(&self, i: usize) -> Scalar {
        Scalar::at(self.scalars.offset(self.program.own_scalars + i))
    }

    /// An optimizer's step on the flat parameters.
    fn update(&self, step: &Step) -> Launch {
        let Op::Update { expr, clip } = &step.op else { unreachable!("not an update") };
        let (p, o) = (self.program, Operands { layout: self, step });
        let states: Vec<_> = (0..expr.states).map(|s| self.flat(p.state_base + s * p.runs * p.flat_len)).collect();
        let scalars: Vec<_> = (0..expr.scalars.len()).map(|i| self.host_scalar(i)).collect();
        let (param, grad, norm) = (self.flat(p.param_base), self.flat(p.grad_base), o.input(0));
        let operands = UpdateOperands { param, grad, norm, states: &states, scalars: &scalars };
        launch::update(&self.cohort, p.flat_len, expr, clip.map(|c| c as f32), operands)
    }

    /// One stage of an optimizer on one tensor.
    fn map(&self, step: &Step) -> Launch {
        let Op::Map { expr, scalars, clip } = &step.op else { unreachable!("not a map") };
        let o = Operands { layout: self, step };
        let states: Vec<_> = (0..expr.states).map(|s| o.output(1 + s)).collect();
        let scalars: Vec<_> = scalars
            .iter()
            .map(|source| match *source {
                ScalarSource::Host(i) => self.host_scalar(i),
                ScalarSource::Input(i) => Scalar::at(o.input(i)),
                ScalarSource::Number(x) => Scalar::number(x as f32),
            })
            .collect();
        let norm = if clip.is_some() { o.input(1) } else { Operand::ABSENT };
        let operands =
            UpdateOperands { param: o.output(0), grad: o.input(0), norm, states: &states, scalars: &scalars };
        launch::update(&self.cohort, step.outputs[0].len, expr, clip.map(|c| c as f32), operands)
    }

    fn product(&self, step: &Step) -> Launch {
        let Multiplied { mm, operands, begin, residual } = self.multiplied(step);
        launch::matmul(&self.cohort, &mm, operands, begin, residual)
    }

    /// The products of a linear layer, forward and backward.
    fn multiplied(&self, step: &Step) -> Multiplied {
        let o = Operands { layout: self, step };
        let (a, b, c) = (o.input(0), o.input(1), o.output(0));
        let (first, second, out) = (step.inputs[0].width, step.inputs[1].width, step.outputs[0].width);
        let rows = step.inputs[0].len / first;
        let added = |present: bool, at: usize| if present { o.input(at) } else { Operand::ABSENT };
        let (mm, operands, begin, residual) = match &step.op {
            Op::Linear { bias, residual } => {
                let begin = if *bias { Begin::Bias(o.input(2)) } else { Begin::Zero };
                let residual = added(*residual, 2 + usize::from(*bias));
                (MatMul::nn(rows, out, first), [a, b, c], begin, residual)
            }
            Op::LinearDx { add } => (MatMul::nt(rows, out, first), [a, b, c], Begin::Zero, added(*add, 2)),
            Op::LinearDw => (MatMul::tn(first, second, rows), [a, b, c], Begin::Zero, Operand::ABSENT),
            Op::LinearTied => (MatMul::nt(rows, out, first), [a, b, c], Begin::Zero, Operand::ABSENT),
            Op::LinearTiedDx { add } => (MatMul::nn(rows, out, first), [a, b, c], Begin::Zero, added(*add, 2)),
            // dw[M,K] = dyᵀ·x: the operands change places.
            Op::LinearTiedDw => (MatMul::tn(second, first, rows), [b, a, c], Begin::Zero, Operand::ABSENT),
            _ => unreachable!("not a product"),
        };
        Multiplied { mm, operands, begin, residual }
    }

    fn norm(&self, step: &Step) -> Launch {
        let (cohort, o) = (&self.cohort, Operands { layout: self, step });
        let width = step.inputs[0].width;
        let shape = [step.inputs[0].len / width, width];
        match &step.op {
            Op::LayerNorm { eps } => {
                let operands = [o.input(0), o.input(1), o.input(2), o.output(0), o.output(1), o.output(2)];
                launch::layer_norm(cohort, shape, *eps as f32, operands)
            }
            Op::LayerNormDx { add } => {
                let add = if *add { o.input(5) } else { Operand::ABSENT };
                let inputs = [o.input(0), o.input(1), o.input(2), o.input(3), o.input(4)];
                let [x, gamma, mean, rstd, dy] = inputs;
                launch::layer_norm_dx(cohort, shape, [x, gamma, mean, rstd, dy, add, o.output(0)])
            }
            Op::LayerNormDparams => {
                let operands = [o.input(0), o.input(1), o.input(2), o.input(3), o.output(0), o.output(1)];
                launch::layer_norm_dparams(cohort, shape, operands)
            }
            _ => unreachable!("not a norm"),
        }
    }

    fn embedding(&self, step: &Step) -> Launch {
        let (cohort, o) = (&self.cohort, Operands { layout: self, step });
        let (tokens, rows) = (o.token_input(0), step.inputs[0].len);
        match &step.op {
            Op::Embedding { positions } => {
                let width = step.inputs[1].width;
                let sequence = if *positions { step.inputs[2].len / width } else { 0 };
                let positions = if *positions { o.input(2) } else { Operand::ABSENT };
                launch::embedding(cohort, [rows, width, sequence], [tokens, o.input(1), positions, o.output(0)])
            }
            Op::EmbeddingBackward => {
                let width = step.inputs[1].width;
                let vocab = step.outputs[0].len / width;
                launch::embedding_backward(cohort, [rows, width, vocab], [tokens, o.input(1), o.output(0)])
            }
            _ => unreachable!("not an embedding"),
        }
    }

    fn cross_entropy(&self, step: &Step) -> Vec<Launch> {
        let (cohort, o) = (&self.cohort, Operands { layout: self, step });
        let (vocab, targets) = (step.inputs[0].width, o.token_input(1));
        let rows = step.inputs[0].len / vocab;
        match &step.op {
            Op::CrossEntropy { smoothing } => {
                let shape = CrossEntropy { rows, vocab, smoothing: *smoothing };
                let operands = [o.input(0), targets, o.output(1), o.output(2)];
                let losses = launch::cross_entropy(cohort, &shape, operands);
                vec![losses, launch::mean(cohort, rows, rows, o.output(1), o.output(0))]
            }
            Op::CrossEntropyBackward { smoothing } => {
                let shape = CrossEntropy { rows, vocab, smoothing: *smoothing };
                let (logits, lse, dloss, dlogits) = (o.input(0), o.input(2), o.input(3), o.output(0));
                let operands = EntropyGradient { logits, targets, lse, dloss, dlogits };
                vec![launch::cross_entropy_backward(cohort, &shape, rows, operands)]
            }
            _ => unreachable!("not a cross-entropy"),
        }
    }
}

/// A product of a linear layer: C = begin + A·B (+ residual).
struct Multiplied {
    mm: MatMul,
    operands: [Operand; 3],
    begin: Begin,
    residual: Operand,
}

/// The operands of one step.
struct Operands<'a> {
    layout: &'a Layout<'a>,
    step: &'a Step,
}

impl Operands<'_> {
    fn input(&self, i: usize) -> Operand {
        self.layout.operand(self.step.inputs[i])
    }
    fn token_input(&self, i: usize) -> Operand {
        self.layout.token_operand(self.step.inputs[i])
    }
    fn output(&self, i: usize) -> Operand {
        self.layout.operand(self.step.outputs[i])
    }
}
