//! The kernels as a device of one run's [`Ops`]: each op uploads its operands, launches and downloads.
//!
//! The run lies second in a cohort of two. The first is not active, and its outputs must stay as they were. Operands
//! end where memory ends.

mod bounds;
mod linear_bounds;

use crate::emulator::{Emulator, Order};
use preheat_kernels::cuda::launch::{self, Begin, Cohort, EntropyGradient, TileEdge, UpdateOperands};
use preheat_kernels::cuda::{DeviceAddress, Exec, Launch, Operand, Scalar, Sources, Work};
use preheat_kernels::ops::{Activation, Attention, CrossEntropy, MatMul, Ops, Start};
use preheat_kernels::update::UpdateExpr;
use std::sync::{Mutex, OnceLock, PoisonError};

/// A device of a thread order.
pub(crate) struct Device {
    exec: Mutex<Emulator>,
    /// Tiles of all products; `None` leaves the choice to the launch.
    pub(crate) tile: Option<TileEdge>,
}

impl Device {
    /// With kernels for `updates`.
    pub(crate) fn new<'a>(order: Order, updates: impl IntoIterator<Item = &'a UpdateExpr>) -> Self {
        Self::with(&Sources::new(updates), order)
    }
    /// With the kernels of some sources.
    pub(crate) fn with(sources: &Sources, order: Order) -> Self {
        let exec = Emulator::new(sources, order).unwrap_or_else(|e| panic!("{e}"));
        Self { exec: Mutex::new(exec), tile: None }
    }
    /// One without updates, made once.
    pub(crate) fn shared(order: Order) -> &'static Self {
        static DEVICES: [OnceLock<Device>; 3] = [const { OnceLock::new() }; 3];
        DEVICES[order as usize].get_or_init(|| Self::new(order, []))
    }
    /// One op: `body` uploads and launches.
    fn op<R>(&self, body: impl FnOnce(&mut Call<'_>) -> R) -> R {
        let mut exec = self.exec.lock().unwrap_or_else(PoisonError::into_inner);
        let mut call =
            Call { cohort: Cohort { runs: 2, active: DeviceAddress::NONE }, buffers: Vec::new(), exec: &mut exec };
        call.cohort.active = call.words(&[0, 1]);
        let result = body(&mut call);
        for buffer in call.buffers {
            call.exec.free(buffer);
        }
        result
    }
}

/// An op under way.
struct Call<'a> {
    cohort: Cohort,
    buffers: Vec<DeviceAddress>,
    exec: &'a mut Emulator,
}

/// What the inactive run's outputs hold.
const UNTOUCHED: u32 = 0x1234_5678;

impl Call<'_> {
    fn words(&mut self, words: &[u32]) -> DeviceAddress {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let at = self.exec.alloc(bytes.len()).expect("there is memory");
        self.exec.upload(at, &bytes).expect("it was allocated");
        self.buffers.push(at);
        at
    }
    /// A buffer of both runs.
    fn ids(&mut self, words: &[u32]) -> Operand {
        let both: Vec<u32> = std::iter::repeat_n(UNTOUCHED, words.len()).chain(words.iter().copied()).collect();
        Operand { at: self.words(&both), run_stride: words.len() as u64 }
    }
    fn numbers(&mut self, x: &[f32]) -> Operand {
        self.ids(&x.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
    }
    fn optional(&mut self, x: Option<&[f32]>) -> Operand {
        x.map_or(Operand::ABSENT, |x| self.numbers(x))
    }
    fn launch(&mut self, launches: &[Launch]) {
        let work: Vec<Work> = launches.iter().cloned().map(Work::from).collect();
        // SAFETY: the arguments were made for these kernels from operands that are as long as the shapes say.
        unsafe { self.exec.replay(0, &work) }.unwrap_or_else(|e| panic!("{e}"));
    }
    /// Reads an output back.
    fn read(&mut self, from: Operand, to: &mut [f32]) {
        let mut bytes = vec![0; 8 * to.len()];
        self.exec.download(from.at, &mut bytes).expect("it was allocated");
        let words: Vec<u32> = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let (idle, run) = words.split_at(to.len());
        assert!(idle.iter().all(|w| *w == UNTOUCHED), "a run that is not active was written");
        for (to, word) in to.iter_mut().zip(run) {
            *to = f32::from_bits(*word);
        }
    }
}

impl Ops<f32> for Device {
    fn matmul(
        &self,
        mm: &MatMul,
        a: &[f32],
        b: &[f32],
        start: Start<'_, f32>,
        residual: Option<&[f32]>,
        c: &mut [f32],
    ) {
        self.op(|call| {
            let operands = [call.numbers(a), call.numbers(b), call.numbers(c)];
            let begin = match start {
                Start::Zero => Begin::Zero,
                Start::Accumulate => Begin::Accumulate,
                Start::Bias(bias) => Begin::Bias(call.numbers(bias)),
            };
            // It has the layout of C, and its run's stride.
            let residual = call.optional(residual.map(|r| &r[..c.len()]));
            let launch = match self.tile {
                Some(tile) => launch::matmul_in_tiles(&call.cohort, mm, operands, begin, residual, tile),
                None => launch::matmul(&call.cohort, mm, operands, begin, residual),
            };
            call.launch(&[launch]);
            call.read(operands[2], c);
        });
    }

    fn layer_norm(
        &self,
        width: usize,
        eps: f64,
        x: &[f32],
        gamma: &[f32],
        beta: &[f32],
        y: &mut [f32],
        mean: &mut [f32],
        rstd: &mut [f32],
    ) {
        self.op(|call| {
            let outputs = [call.numbers(y), call.numbers(mean), call.numbers(rstd)];
            let operands =
                [call.numbers(x), call.numbers(gamma), call.numbers(beta), outputs[0], outputs[1], outputs[2]];
            call.launch(&[launch::layer_norm(&call.cohort, [x.len() / width, width], eps as f32, operands)]);
            call.read(outputs[0], y);
            call.read(outputs[1], mean);
            call.read(outputs[2], rstd);
        });
    }
    fn layer_norm_dx(
        &self,
        width: usize,
        x: &[f32],
        gamma: &[f32],
        mean: &[f32],
        rstd: &[f32],
        dy: &[f32],
        add: Option<&[f32]>,
        dx: &mut [f32],
    ) {
        self.op(|call| {
            let inputs = [x, gamma, mean, rstd, dy].map(|x| call.numbers(x));
            let [x_at, gamma, mean, rstd, dy] = inputs;
            let (add, out) = (call.optional(add), call.numbers(dx));
            let operands = [x_at, gamma, mean, rstd, dy, add, out];
            call.launch(&[launch::layer_norm_dx(&call.cohort, [x.len() / width, width], operands)]);
            call.read(out, dx);
        });
    }
    fn layer_norm_dparams(
        &self,
        width: usize,
        x: &[f32],
        mean: &[f32],
        rstd: &[f32],
        dy: &[f32],
        dgamma: &mut [f32],
        dbeta: &mut [f32],
    ) {
        self.op(|call| {
            let [x_at, mean, rstd, dy] = [x, mean, rstd, dy].map(|x| call.numbers(x));
            let (gamma, beta) = (call.numbers(dgamma), call.numbers(dbeta));
            let operands = [x_at, mean, rstd, dy, gamma, beta];
            call.launch(&[launch::layer_norm_dparams(&call.cohort, [x.len() / width, width], operands)]);
            call.read(gamma, dgamma);
            call.read(beta, dbeta);
        });
    }

    fn attention(&self, shape: &Attention, qkv: &[f32], out: &mut [f32], probs: &mut [f32]) {
        self.op(|call| {
            let operands = [call.numbers(qkv), call.numbers(out), call.numbers(probs)];
            call.launch(&launch::attention(&call.cohort, shape, operands));
            call.read(operands[1], out);
            call.read(operands[2], probs);
        });
    }
    fn attention_backward(
        &self,
        shape: &Attention,
        qkv: &[f32],
        probs: &[f32],
        dout: &[f32],
        dqkv: &mut [f32],
        _scratch: &mut [f32],
    ) {
        self.op(|call| {
            let scratch = call.numbers(&vec![f32::NAN; shape.probs_len()]);
            let operands = [call.numbers(qkv), call.numbers(probs), call.numbers(dout), call.numbers(dqkv), scratch];
            call.launch(&launch::attention_backward(&call.cohort, shape, operands));
            call.read(operands[3], dqkv);
        });
    }

    fn activation(&self, f: Activation, x: &[f32], y: &mut [f32]) {
        self.op(|call| {
            let (x, out) = (call.numbers(x), call.numbers(y));
            call.launch(&[launch::activation(&call.cohort, y.len(), f, x, out)]);
            call.read(out, y);
        });
    }
    fn activation_backward(&self, f: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        self.op(|call| {
            let operands = [call.numbers(x), call.numbers(dy), call.numbers(dx)];
            call.launch(&[launch::activation_backward(&call.cohort, dx.len(), f, operands)]);
            call.read(operands[2], dx);
        });
    }

    fn embedding(&self, width: usize, tokens: &[u32], table: &[f32], positions: Option<&[f32]>, x: &mut [f32]) {
        self.op(|call| {
            let sequence = positions.map_or(0, |p| p.len() / width);
            let operands = [call.ids(tokens), call.numbers(table), call.optional(positions), call.numbers(x)];
            call.launch(&[launch::embedding(&call.cohort, [tokens.len(), width, sequence], operands)]);
            call.read(operands[3], x);
        });
    }
    fn embedding_backward(&self, width: usize, tokens: &[u32], dx: &[f32], dtable: &mut [f32]) {
        self.op(|call| {
            let operands = [call.ids(tokens), call.numbers(dx), call.numbers(dtable)];
            let shape = [tokens.len(), width, dtable.len() / width];
            call.launch(&[launch::embedding_backward(&call.cohort, shape, operands)]);
            call.read(operands[2], dtable);
        });
    }
    fn column_sum(&self, width: usize, x: &[f32], out: &mut [f32]) {
        self.op(|call| {
            let (x_at, to) = (call.numbers(x), call.numbers(out));
            call.launch(&[launch::column_sum(&call.cohort, [x.len() / width, width], x_at, to)]);
            call.read(to, out);
        });
    }

    fn cross_entropy(
        &self,
        shape: &CrossEntropy,
        logits: &[f32],
        targets: &[u32],
        losses: &mut [f32],
        lse: &mut [f32],
    ) {
        self.op(|call| {
            let operands = [call.numbers(logits), call.ids(targets), call.numbers(losses), call.numbers(lse)];
            call.launch(&[launch::cross_entropy(&call.cohort, shape, operands)]);
            call.read(operands[2], losses);
            call.read(operands[3], lse);
        });
    }
    fn cross_entropy_backward(
        &self,
        shape: &CrossEntropy,
        logits: &[f32],
        targets: &[u32],
        lse: &[f32],
        scale: f32,
        dlogits: &mut [f32],
    ) {
        self.op(|call| {
            let operands = EntropyGradient {
                logits: call.numbers(logits),
                targets: call.ids(targets),
                lse: call.numbers(lse),
                dloss: call.numbers(&[scale]),
                dlogits: call.numbers(dlogits),
            };
            call.launch(&[launch::cross_entropy_backward(&call.cohort, shape, 1, operands)]);
            call.read(operands.dlogits, dlogits);
        });
    }

    fn add(&self, a: &[f32], b: &[f32], out: &mut [f32]) {
        self.op(|call| {
            let (a, b, to) = (call.numbers(a), call.numbers(b), call.numbers(out));
            call.launch(&[launch::add(&call.cohort, out.len(), a, b, to)]);
            call.read(to, out);
        });
    }
    fn mul(&self, a: &[f32], b: &[f32], out: &mut [f32]) {
        self.op(|call| {
            let (a, b, to) = (call.numbers(a), call.numbers(b), call.numbers(out));
            call.launch(&[launch::mul(&call.cohort, out.len(), a, b, to)]);
            call.read(to, out);
        });
    }
    fn scale(&self, s: f32, a: &[f32], out: &mut [f32]) {
        self.op(|call| {
            let (a, to) = (call.numbers(a), call.numbers(out));
            call.launch(&[launch::scale(&call.cohort, out.len(), s, a, to)]);
            call.read(to, out);
        });
    }
    fn sum(&self, x: &[f32]) -> f32 {
        self.op(|call| {
            let (x_at, to, mut sum) = (call.numbers(x), call.numbers(&[9.0]), [0.0]);
            call.launch(&[launch::mean(&call.cohort, x.len(), 1, x_at, to)]);
            call.read(to, &mut sum);
            sum[0]
        })
    }
    fn sum_squares(&self, x: &[f32]) -> f32 {
        self.op(|call| {
            let scratch = call.numbers(&vec![9.0; launch::block_count(x.len())]);
            let (x_at, to, mut sum) = (call.numbers(x), call.numbers(&[9.0]), [0.0]);
            call.launch(&launch::sum_squares(&call.cohort, x.len(), false, [x_at, scratch, to]));
            call.read(to, &mut sum);
            sum[0]
        })
    }
    fn update(
        &self,
        expr: &UpdateExpr,
        scalars: &[f32],
        grad_scale: Option<f32>,
        param: &mut [f32],
        grad: &[f32],
        states: &mut [&mut [f32]],
    ) {
        self.op(|call| {
            // The kernel divides the largest norm by the norm: with 1 as the norm the quotient is the scale.
            assert!(grad_scale.is_none_or(|s| s < 1.0), "a gradient is clipped where its norm is larger");
            let (to, grad) = (call.numbers(param), call.numbers(grad));
            let (norm, scalars_at) = (call.numbers(&[1.0]), call.numbers(scalars));
            let n = param.len();
            // State s of run r at (s·runs + r)·n, as a program lays them out.
            let kept: Vec<_> =
                states.iter().flat_map(|s| vec![f32::from_bits(UNTOUCHED); n].into_iter().chain(s.to_vec())).collect();
            let kept_at = call.words(&kept.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
            let state = |s: usize| Operand { at: kept_at, run_stride: n as u64 }.offset(2 * n * s);
            // The first as one number for all runs.
            let at = |(i, x): (usize, &f32)| if i == 0 { Scalar::number(*x) } else { Scalar::at(scalars_at.offset(i)) };
            let scalars: Vec<_> = scalars.iter().enumerate().map(at).collect();
            let states_at: Vec<_> = (0..states.len()).map(state).collect();
            let operands = UpdateOperands { param: to, grad, norm, states: &states_at, scalars: &scalars };
            call.launch(&[launch::update(&call.cohort, n, expr, grad_scale, operands)]);
            call.read(to, param);
            for (s, out) in states.iter_mut().enumerate() {
                call.read(state(s), out);
            }
        });
    }
}
