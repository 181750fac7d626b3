//! What a trainer asks of a device: memory for the runs of a program, and its replay. Nothing of its insides.

use crate::cpu::Cpu;
use crate::graph::{EntryId, Program, Session, TensorId, Watch};
use crate::ops::Ops;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A device that could not do what was asked: out of memory, lost, a kernel that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceError {
    /// One line.
    pub line: String,
    /// Nothing works on the device any more in this process: whatever is asked next would fail too.
    pub lost: bool,
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for DeviceError {}

/// Where numbers are computed.
pub trait Device: Send + Sync {
    /// Zeroed memory for all runs of `program`.
    ///
    /// # Errors
    /// Too little memory; then the line says what was asked for and, on a GPU, what is free.
    fn session(&self, program: &Arc<Program>) -> Result<Box<dyn Replay>, DeviceError>;

    /// Σ x² on the host, with the bits of [`Ops::sum_squares`].
    fn sum_squares(&self, x: &[f32]) -> f32;
}

/// A place of a run's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A parameter, gradient, state or input.
    Tensor(TensorId),
    /// A root of an entry after it ran, valid until another entry runs.
    Output(EntryId, TensorId),
    /// The flat parameter buffer, padding included.
    Params,
    /// An optimizer state, laid out as the flat parameters.
    OptimizerState(usize),
}

/// The memory of R runs of one program, and what replays its entries for all active ones. A run's bits depend neither
/// on R nor on the others.
pub trait Replay {
    /// What is replayed.
    fn program(&self) -> &Program;
    /// The host scalars of the next step of run `r`: the graph's own, then the optimizer's.
    fn set_scalars(&mut self, r: usize, scalars: &[f32]);
    /// Seed and counter of the per-step randomness of run `r`.
    fn set_randomness(&mut self, r: usize, seed: u64, step: u32);
    /// An inactive run idles: its memory is left as it is.
    fn set_active(&mut self, r: usize, active: bool);
    /// Two token tensors of run `r`, for writing before an entry runs.
    fn two_tokens_mut(&mut self, a: TensorId, b: TensorId, r: usize) -> (&mut [u32], &mut [u32]);
    /// Runs an entry for all active runs.
    ///
    /// # Errors
    /// The device failed.
    fn run(&mut self, entry: EntryId) -> Result<(), DeviceError>;
    /// [`Self::run`], telling `done` each op. A device that replays an entry as a whole tells nothing.
    ///
    /// # Errors
    /// The device failed.
    fn run_watched(&mut self, entry: EntryId, done: Watch<'_>) -> Result<(), DeviceError> {
        let _ = done;
        self.run(entry)
    }
    /// Times that [`Self::run_kept`] may be called before [`Self::take_kept`]: 1 where numbers are at hand at once.
    fn room(&self) -> usize {
        1
    }
    /// [`Self::run_watched`], and keeps the only element of two of the entry's roots of each run. A run with one that is
    /// not finite may idle from the next entry on.
    ///
    /// # Errors
    /// The device failed.
    fn run_kept(&mut self, entry: EntryId, roots: [TensorId; 2], done: Watch<'_>) -> Result<(), DeviceError> {
        let _ = roots;
        self.run_watched(entry, done)
    }
    /// Appends what [`Self::run_kept`] kept to `out`, the oldest first: R numbers of the first root, R of the second. Those
    /// of an inactive run mean nothing.
    ///
    /// # Errors
    /// The device failed.
    fn take_kept(&mut self, entry: EntryId, roots: [TensorId; 2], out: &mut Vec<f32>) -> Result<(), DeviceError> {
        for root in roots {
            let start = out.len();
            out.resize(start + self.program().runs(), 0.0);
            self.read_each(entry, root, &mut out[start..])?;
        }
        Ok(())
    }
    /// What lies at a place of run `r`.
    ///
    /// # Errors
    /// The device failed.
    fn read(&self, place: Place, r: usize) -> Result<Cow<'_, [f32]>, DeviceError>;
    /// The only element of root `id` of `entry`, of every run: `out` is \[R\]. That of an inactive run means nothing.
    ///
    /// # Errors
    /// The device failed.
    fn read_each(&self, entry: EntryId, id: TensorId, out: &mut [f32]) -> Result<(), DeviceError>;
    /// Overwrites what lies at a place of run `r`.
    ///
    /// # Errors
    /// The device failed.
    fn write(&mut self, place: Place, r: usize, values: &[f32]) -> Result<(), DeviceError>;
}

/// Least rows of a micro-batch on a CPU, and the most bytes that its values may take then; the first that fit are taken.
/// Values should lie near. Fewer rows cost, since weights and their gradients are read anew for each micro-batch; where
/// values lie far whatever is done, more rows are better.
const MICRO_BATCHES: [(usize, usize); 3] = [(512, 16 << 20), (256, 32 << 20), (1024, usize::MAX)];

/// The program in the micro-batches that suit a CPU.
fn near(program: &Program) -> Program {
    MICRO_BATCHES
        .into_iter()
        .map(|(rows, bytes)| (program.in_micro_batches_of(rows), bytes))
        .find_map(|(program, bytes)| (program.value_bytes() <= bytes).then_some(program))
        .expect("the last takes any number of bytes")
}

impl Device for Cpu {
    fn session(&self, program: &Arc<Program>) -> Result<Box<dyn Replay>, DeviceError> {
        Session::try_new(Arc::new(near(program)), *self).map(|session| Box::new(session) as Box<dyn Replay>).map_err(
            |bytes| DeviceError {
                line: format!("there is no memory for its {:.1} GB", bytes as f64 / 1e9),
                lost: false,
            },
        )
    }
    fn sum_squares(&self, x: &[f32]) -> f32 {
        Ops::sum_squares(self, x)
    }
}

impl<K: Ops<f32>> Replay for Session<f32, K> {
    fn program(&self) -> &Program {
        self.program()
    }
    fn set_scalars(&mut self, r: usize, scalars: &[f32]) {
        self.set_scalars(r, scalars.iter().copied());
    }
    fn set_randomness(&mut self, r: usize, seed: u64, step: u32) {
        self.set_randomness(r, seed, step);
    }
    fn set_active(&mut self, r: usize, active: bool) {
        self.set_active(r, active);
    }
    fn two_tokens_mut(&mut self, a: TensorId, b: TensorId, r: usize) -> (&mut [u32], &mut [u32]) {
        self.two_tokens_mut(a, b, r)
    }
    fn run(&mut self, entry: EntryId) -> Result<(), DeviceError> {
        self.run(entry);
        Ok(())
    }
    fn run_watched(&mut self, entry: EntryId, done: Watch<'_>) -> Result<(), DeviceError> {
        self.run_watched(entry, done);
        Ok(())
    }
    fn read(&self, place: Place, r: usize) -> Result<Cow<'_, [f32]>, DeviceError> {
        Ok(Cow::Borrowed(match place {
            Place::Tensor(id) => self.get(id, r),
            Place::Output(entry, id) => self.output(entry, id, r),
            Place::Params => self.flat_params(r),
            Place::OptimizerState(s) => self.optimizer_state(s, r),
        }))
    }
    fn read_each(&self, entry: EntryId, id: TensorId, out: &mut [f32]) -> Result<(), DeviceError> {
        for (r, value) in out.iter_mut().enumerate() {
            *value = self.output(entry, id, r)[0];
        }
        Ok(())
    }
    fn write(&mut self, place: Place, r: usize, values: &[f32]) -> Result<(), DeviceError> {
        let target = match place {
            Place::Tensor(id) => self.get_mut(id, r),
            Place::Params => self.flat_params_mut(r),
            Place::OptimizerState(s) => self.optimizer_state_mut(s, r),
            Place::Output(..) => panic!("what an entry computed is not written"),
        };
        target.copy_from_slice(values);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::ops::{Activation, Attention};

    /// Micro-batches of a training step over 2,048 rows: attention, and `layers` layers of `width`.
    fn micro_batches(layers: usize, width: usize) -> usize {
        let shape = Attention { batch: 32, heads: 1, seq: 64, head_dim: 16, causal: true };
        let mut graph = Graph::new();
        let (tokens, targets) = (graph.tokens("tokens", 2048), graph.tokens("targets", 2048));
        let table = graph.param("table", &[8, 48]);
        let qkv = graph.embedding(tokens, table, None).unwrap();
        let mut x = graph.attention(qkv, shape).unwrap();
        for layer in 0..layers {
            let w = graph.param(&layer.to_string(), &[graph.tensor(x).width(), width]);
            let y = graph.linear(x, w, None, None).unwrap();
            x = graph.activation(Activation::GeluTanh, y);
        }
        let (loss, _) = graph.cross_entropy(x, targets, 0.0).unwrap();
        let grads = graph.backward(loss, &[]);
        let params: Vec<TensorId> = graph.params().collect();
        let roots: Vec<TensorId> = params.into_iter().map(|p| grads.get(p).unwrap()).collect();
        near(&graph.compile(1, &[("train", &roots)])).micro_batches
    }

    #[test]
    fn micro_batches_are_as_large_as_lets_values_lie_near() {
        // Two values a layer are 4, 96 and 192 KiB a row: 512 rows of the first take 2 MiB, 256 of the others 24 and 48.
        assert_eq!(micro_batches(2, 256), 2048 / 512);
        assert_eq!(micro_batches(6, 2048), 2048 / 256);
        assert_eq!(micro_batches(12, 2048), 2048 / 1024);
    }
}
