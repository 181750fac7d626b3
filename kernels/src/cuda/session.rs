//! A cohort of runs on a device: replays entries of a [`Program`] as lists of work. The methods are those of
//! [`crate::graph::Session`]; what lies on the device is copied.

use super::control::Control;
use super::launch;
use super::program::{Layout, scalar_count, scratch_len};
use super::{CudaError, DeviceAddress, Exec, Operand, Work};
use crate::graph::{EntryId, Op, Program, Slot, Step, TensorId};
use std::ops::Range;
use std::sync::Arc;

/// Parameters, states and activations of R runs on a device.
pub struct CudaSession<E: Exec> {
    program: Arc<Program>,
    exec: E,
    arena: DeviceAddress,
    /// Device addresses to give back, in order of allocation.
    buffers: Vec<DeviceAddress>,
    control: Control,
    control_at: DeviceAddress,
    tokens: Vec<u32>,
    tokens_at: DeviceAddress,
    tokens_changed: bool,
    /// The work of each entry, then of entries that keep numbers: of entry e at E + e, empty until it is asked for.
    work: Vec<Vec<Work>>,
    ring: DeviceAddress,
    /// Rows that the ring holds now.
    rows: usize,
    /// Rows that were read from it and not taken yet.
    taken: Vec<f32>,
}

/// Rows of the ring: steps whose numbers wait on the device.
pub(super) const RING: usize = 16;

/// Bytes of device memory that a session of this program takes.
pub fn device_bytes(program: &Program) -> usize {
    let control = Control::new(program.runs, scalar_count(program)).words().len();
    let ring = 2 * RING * program.runs;
    4 * (program.arena_len + program.tokens_len + control + program.runs * scratch_len(program) + ring)
}

impl<E: Exec> CudaSession<E> {
    /// Zeroed memory for the program on `exec`, which has the kernels of [`super::Sources::of`] this program.
    ///
    /// # Errors
    /// No memory.
    pub fn new(program: Arc<Program>, mut exec: E) -> Result<Self, CudaError> {
        let control = Control::new(program.runs, scalar_count(&program));
        let scratch_len = scratch_len(&program);
        let ring = 2 * RING * program.runs;
        let sizes = [program.arena_len, program.tokens_len, control.words().len(), program.runs * scratch_len, ring];
        let mut buffers = Vec::new();
        for elements in sizes {
            match exec.alloc(4 * elements.max(4)) {
                Ok(at) => buffers.push(at),
                Err(e) => {
                    buffers.into_iter().for_each(|at| exec.free(at));
                    return Err(e);
                }
            }
        }
        let (arena, tokens_at, control_at) = (buffers[0], buffers[1], buffers[2]);
        let layout = Layout {
            program: &program,
            cohort: control.cohort(control_at),
            random: control.random(control_at),
            arena,
            tokens: tokens_at,
            scalars: control.scalars(control_at),
            scratch: Operand { at: buffers[3], run_stride: scratch_len as u64 },
            multiplies: exec.multiplies(),
        };
        let mut work: Vec<Vec<Work>> = program.entries.iter().map(|e| layout.work(&e.steps)).collect();
        work.resize(2 * program.entries.len(), Vec::new());
        let (ring, rows, taken) = (buffers[4], 0, Vec::with_capacity(ring));
        let tokens = vec![0; program.tokens_len];
        let tokens_changed = true;
        Ok(Self {
            program,
            exec,
            arena,
            buffers,
            control,
            control_at,
            tokens,
            tokens_at,
            tokens_changed,
            work,
            ring,
            rows,
            taken,
        })
    }
    /// What is replayed.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }
    /// The device.
    pub fn exec(&self) -> &E {
        &self.exec
    }
    /// The device, for what only it offers.
    pub fn exec_mut(&mut self) -> &mut E {
        &mut self.exec
    }

    /// The host scalars of the next step of run `r`: the graph's own, then the optimizer's.
    pub fn set_scalars(&mut self, r: usize, scalars: impl IntoIterator<Item = f32>) {
        self.control.set_scalars(r, scalars);
    }
    /// Seed and counter of per-step randomness.
    pub fn set_randomness(&mut self, r: usize, seed: u64, step: u32) {
        self.control.set_randomness(r, seed, step);
    }
    /// An inactive run idles: its parameters, gradients, states and inputs are left as they are. Its activations share
    /// space with those of other runs.
    ///
    /// # Errors
    /// Those of the device, where numbers that it keeps must be read first: it may have put the run out by itself.
    pub fn set_active(&mut self, r: usize, active: bool) -> Result<(), CudaError> {
        if self.control.is_active(r) != active {
            self.fetch()?;
        }
        self.control.set_active(r, active);
        Ok(())
    }
    /// Whether run `r` takes part.
    pub fn is_active(&self, r: usize) -> bool {
        self.control.is_active(r)
    }

    /// Token ids of run `r`, for writing; they reach the device when an entry runs.
    pub fn tokens_mut(&mut self, id: TensorId, r: usize) -> &mut [u32] {
        self.tokens_changed = true;
        let range = range(self.program.tokens[&id], r);
        &mut self.tokens[range]
    }
    /// Two token tensors of run `r`, for writing.
    pub fn two_tokens_mut(&mut self, a: TensorId, b: TensorId, r: usize) -> (&mut [u32], &mut [u32]) {
        self.tokens_changed = true;
        let (a, b) = (range(self.program.tokens[&a], r), range(self.program.tokens[&b], r));
        let [a, b] = self.tokens.get_disjoint_mut([a, b]).expect("two tensors do not overlap");
        (a, b)
    }

    /// A parameter, gradient, state or input of run `r`.
    ///
    /// # Errors
    /// Those of the device, also of work before.
    pub fn get(&mut self, id: TensorId, r: usize) -> Result<Vec<f32>, CudaError> {
        self.download(range(self.program.place(id, None), r))
    }
    /// Writes a parameter, gradient, state or input of run `r`.
    ///
    /// # Errors
    /// Those of the device, also of work before.
    ///
    /// # Panics
    /// Where `x` has another length.
    pub fn set(&mut self, id: TensorId, r: usize, x: &[f32]) -> Result<(), CudaError> {
        self.upload(range(self.program.place(id, None), r), x)
    }
    /// A root of `entry` after it ran, valid until another entry runs.
    ///
    /// # Errors
    /// Those of the device, also of work before.
    pub fn output(&mut self, entry: EntryId, id: TensorId, r: usize) -> Result<Vec<f32>, CudaError> {
        self.download(range(self.program.place(id, Some(entry)), r))
    }
    /// The same of all runs, in one copy.
    ///
    /// # Errors
    /// Those of the device, also of work before.
    pub fn outputs(&mut self, entry: EntryId, id: TensorId) -> Result<Vec<Vec<f32>>, CudaError> {
        let slot = self.program.place(id, Some(entry));
        let last = range(slot, self.program.runs - 1);
        let all = self.download(slot.offset..last.end)?;
        Ok((0..self.program.runs).map(|r| all[r * slot.run_stride..][..slot.len].to_vec()).collect())
    }
    /// The flat parameter buffer of run `r`, padding included.
    ///
    /// # Errors
    /// Those of the device, also of work before.
    pub fn flat_params(&mut self, r: usize) -> Result<Vec<f32>, CudaError> {
        self.download(self.flat_range(self.program.param_base, r))
    }
    /// Writes the flat parameter buffer of run `r`.
    ///
    /// # Errors
    /// Those of the device, also of work before.
    ///
    /// # Panics
    /// Where `x` has another length.
    pub fn set_flat_params(&mut self, r: usize, x: &[f32]) -> Result<(), CudaError> {
        self.upload(self.flat_range(self.program.param_base, r), x)
    }
    /// Optimizer state `s` of run `r`, laid out as the flat parameters.
    ///
    /// # Errors
    /// Those of the device, also of work before.
    pub fn optimizer_state(&mut self, s: usize, r: usize) -> Result<Vec<f32>, CudaError> {
        self.download(self.state_range(s, r))
    }
    /// Writes optimizer state `s` of run `r`.
    ///
    /// # Errors
    /// Those of the device, also of work before.
    ///
    /// # Panics
    /// Where `x` has another length.
    pub fn set_optimizer_state(&mut self, s: usize, r: usize, x: &[f32]) -> Result<(), CudaError> {
        self.upload(self.state_range(s, r), x)
    }
    fn flat_range(&self, base: usize, r: usize) -> Range<usize> {
        let len = self.program.flat_len;
        assert!(r < self.program.runs, "run {r} of {}", self.program.runs);
        base + r * len..base + (r + 1) * len
    }
    fn state_range(&self, s: usize, r: usize) -> Range<usize> {
        assert!(s < self.program.optimizer_states, "optimizer state {s}");
        self.flat_range(self.program.state_base + s * self.program.runs * self.program.flat_len, r)
    }

    fn download(&mut self, elements: Range<usize>) -> Result<Vec<f32>, CudaError> {
        let mut x = vec![0.0_f32; elements.len()];
        // SAFETY: any bytes are numbers.
        let bytes = unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr().cast::<u8>(), size_of_val(&*x)) };
        self.exec.download(self.arena.offset(4 * elements.start as u64), bytes)?;
        Ok(x)
    }
    fn upload(&mut self, elements: Range<usize>, x: &[f32]) -> Result<(), CudaError> {
        assert_eq!(elements.len(), x.len(), "as many numbers as the tensor has");
        // SAFETY: numbers are plain bytes.
        let bytes = unsafe { std::slice::from_raw_parts(x.as_ptr().cast::<u8>(), size_of_val(x)) };
        self.exec.upload(self.arena.offset(4 * elements.start as u64), bytes)
    }

    /// Runs an entry for all active runs. It may still be under way when this returns.
    ///
    /// # Errors
    /// Those of the device, also of work before.
    ///
    /// # Panics
    /// Where an active run's token has no row in a table that the entry looks it up in.
    pub fn run(&mut self, entry: EntryId) -> Result<(), CudaError> {
        self.replay(entry, entry.0)
    }

    /// [`Self::run`], and keeps the only element of two roots of each run until [`Self::take_kept`]. A run with one that
    /// is not finite idles from the next entry on.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub fn run_kept(&mut self, entry: EntryId, roots: [TensorId; 2]) -> Result<(), CudaError> {
        if self.rows == RING {
            self.fetch()?;
        }
        let id = self.program.entries.len() + entry.0;
        if self.work[id].is_empty() {
            let at = |slot: Slot| Operand { at: self.arena, run_stride: slot.run_stride as u64 }.offset(slot.offset);
            let numbers = roots.map(|root| at(self.program.place(root, Some(entry))));
            let (cohort, row) = (self.control.cohort(self.control_at), self.control.row(self.control_at));
            let keep = launch::keep(&cohort, numbers, self.ring, row);
            self.work[id] = self.work[entry.0].iter().cloned().chain([keep.into()]).collect();
        }
        self.control.set_row(self.rows);
        self.replay(entry, id)?;
        self.rows += 1;
        Ok(())
    }

    /// Appends what was kept to `out`, the oldest first: R numbers of the first root, R of the second, for each step. Those
    /// of an idle run mean nothing.
    ///
    /// # Errors
    /// Those of the device, also of work before.
    pub fn take_kept(&mut self, out: &mut Vec<f32>) -> Result<(), CudaError> {
        self.fetch()?;
        out.append(&mut self.taken);
        Ok(())
    }

    /// Reads the ring, and learns which runs the device put out.
    fn fetch(&mut self) -> Result<(), CudaError> {
        let (rows, runs, before) = (std::mem::take(&mut self.rows), self.program.runs, self.taken.len());
        if rows == 0 {
            return Ok(());
        }
        self.taken.resize(before + 2 * runs * rows, 0.0);
        let (ring, fresh) = (self.ring, &mut self.taken[before..]);
        // SAFETY: any bytes are numbers.
        let bytes = unsafe { std::slice::from_raw_parts_mut(fresh.as_mut_ptr().cast::<u8>(), size_of_val(fresh)) };
        self.exec.download(ring, bytes)?;
        for row in self.taken[before..].chunks_exact(2 * runs) {
            for r in (0..runs).filter(|r| !(row[*r].is_finite() && row[runs + r].is_finite())) {
                // What an idle run's place holds is old, and it is out already.
                self.control.put_out(r);
            }
        }
        Ok(())
    }

    /// The work at place `id`, which is that of `entry` and maybe more.
    fn replay(&mut self, entry: EntryId, id: usize) -> Result<(), CudaError> {
        let flags = self.control.flags();
        if std::mem::take(&mut self.control.flags_changed) {
            self.exec.upload(self.control_at, bytes_of(&self.control.words()[..flags]))?;
        }
        if std::mem::take(&mut self.control.changed) {
            let rest = self.control_at.offset(4 * flags as u64);
            self.exec.upload(rest, bytes_of(&self.control.words()[flags..]))?;
        }
        if std::mem::take(&mut self.tokens_changed) && !self.tokens.is_empty() {
            self.exec.upload(self.tokens_at, bytes_of(&self.tokens))?;
        }
        for step in &self.program.entries[entry.0].steps {
            self.check_tokens(step);
        }
        // SAFETY: the arguments were made for these kernels from the program's own plan, whose slots lie inside the
        // buffers; tokens were checked.
        unsafe { self.exec.replay(id, &self.work[id]) }
    }

    /// A kernel would read what lies behind the table.
    fn check_tokens(&self, step: &Step) {
        let (tokens, rows) = match &step.op {
            Op::Embedding { .. } => (step.inputs[0], step.inputs[1].len / step.inputs[1].width),
            Op::CrossEntropy { .. } | Op::CrossEntropyBackward { .. } | Op::MarginsBackward | Op::Errors => {
                (step.inputs[1], step.inputs[0].width)
            }
            Op::Margins => (step.inputs[2], step.inputs[0].width),
            Op::Contrasts => (step.inputs[0], step.outputs[0].width),
            _ => return,
        };
        for r in (0..self.program.runs).filter(|r| self.control.is_active(*r)) {
            let largest = self.tokens[range(tokens, r)].iter().max().copied().unwrap_or(0);
            assert!((largest as usize) < rows, "token {largest} of run {r} has no row among {rows}");
        }
    }
}

impl<E: Exec> Drop for CudaSession<E> {
    fn drop(&mut self) {
        for at in self.buffers.drain(..) {
            self.exec.free(at);
        }
    }
}

fn range(slot: Slot, r: usize) -> Range<usize> {
    let start = slot.offset + r * slot.run_stride;
    start..start + slot.len
}

fn bytes_of(words: &[u32]) -> &[u8] {
    // SAFETY: words are plain bytes.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<u8>(), size_of_val(words)) }
}
