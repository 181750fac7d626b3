//! The CUDA device as a trainer sees it.

use super::blas::Blas;
use super::gemm::MathMode;
use super::gpu::{Algorithms, Gpu, GpuExec};
use super::session::RING;
use super::{CudaError, CudaSession, Exec, Sources};
use crate::cpu::Cpu;
use crate::device::{Device, DeviceError, Place, Replay};
use crate::graph::{EntryId, Program, TensorId, Watch};
use crate::ops::Ops;
use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::{Arc, PoisonError};

/// Who multiplies.
#[derive(Clone, Copy)]
pub enum Math {
    /// The project's kernels, with the reference's bits.
    Exact,
    /// cuBLAS.
    Fast(Blas, MathMode),
}

/// A GPU.
pub struct Cuda {
    gpu: Arc<Gpu>,
    host: Cpu,
    records: bool,
    math: Math,
    algorithms: Algorithms,
}

impl Cuda {
    /// Trains on `gpu`; `host` computes what is measured on the host. Without `records`, an entry's kernels are
    /// launched one by one instead of as one recorded graph: slower, with the same bits.
    pub fn new(gpu: Arc<Gpu>, host: Cpu, records: bool, math: Math) -> Self {
        Self { gpu, host, records, math, algorithms: Algorithms::default() }
    }
    /// Who multiplies.
    pub fn math(&self) -> Math {
        self.math
    }
    /// How products were computed so far, in words, each once; empty in exact math.
    pub fn algorithms(&self) -> Vec<String> {
        self.algorithms.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
    /// The GPU.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }
    /// What computes on the host.
    pub fn host(&self) -> Cpu {
        self.host
    }
}

impl Device for Cuda {
    fn session(&self, program: &Arc<Program>) -> Result<Box<dyn Replay>, DeviceError> {
        let exec = GpuExec::new(Arc::clone(&self.gpu), &Sources::of(program), self.records)?;
        let exec = match self.math {
            Math::Exact => exec,
            Math::Fast(blas, mode) => exec.multiplying(blas, mode, Arc::clone(&self.algorithms))?,
        };
        Ok(Box::new(CudaReplay::new(CudaSession::new(Arc::clone(program), exec)?)))
    }
    fn sum_squares(&self, x: &[f32]) -> f32 {
        Ops::sum_squares(&self.host, x)
    }
}

impl From<CudaError> for DeviceError {
    fn from(e: CudaError) -> Self {
        let lost = matches!(e, CudaError::Lost { .. });
        // A compiler's log has many lines, and a failed run has one.
        let text = e.to_string();
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        Self { line: lines.join(" | "), lost }
    }
}

/// A session behind the interface of all devices. What is read is a copy.
pub struct CudaReplay<E: Exec> {
    program: Arc<Program>,
    /// A copy from the device goes through the device, which takes it for itself.
    session: RefCell<CudaSession<E>>,
    /// What went wrong where nobody could be told; the next entry tells it.
    failed: Option<CudaError>,
}

impl<E: Exec> CudaReplay<E> {
    /// The session, which is replayed no other way.
    pub fn new(session: CudaSession<E>) -> Self {
        Self { program: Arc::clone(session.program()), session: RefCell::new(session), failed: None }
    }
}

impl<E: Exec> Replay for CudaReplay<E> {
    fn program(&self) -> &Program {
        &self.program
    }
    fn set_scalars(&mut self, r: usize, scalars: &[f32]) {
        self.session.get_mut().set_scalars(r, scalars.iter().copied());
    }
    fn set_randomness(&mut self, r: usize, seed: u64, step: u32) {
        self.session.get_mut().set_randomness(r, seed, step);
    }
    fn set_active(&mut self, r: usize, active: bool) {
        let done = self.session.get_mut().set_active(r, active);
        self.failed = self.failed.take().or(done.err());
    }
    fn two_tokens_mut(&mut self, a: TensorId, b: TensorId, r: usize) -> (&mut [u32], &mut [u32]) {
        self.session.get_mut().two_tokens_mut(a, b, r)
    }
    fn run(&mut self, entry: EntryId) -> Result<(), DeviceError> {
        self.failed.take().map_or(Ok(()), Err)?;
        Ok(self.session.get_mut().run(entry)?)
    }
    fn room(&self) -> usize {
        RING
    }
    fn run_kept(&mut self, entry: EntryId, roots: [TensorId; 2], _: Watch<'_>) -> Result<(), DeviceError> {
        self.failed.take().map_or(Ok(()), Err)?;
        Ok(self.session.get_mut().run_kept(entry, roots)?)
    }
    fn take_kept(&mut self, _: EntryId, _: [TensorId; 2], out: &mut Vec<f32>) -> Result<(), DeviceError> {
        Ok(self.session.get_mut().take_kept(out)?)
    }
    fn read(&self, place: Place, r: usize) -> Result<Cow<'_, [f32]>, DeviceError> {
        let mut session = self.session.borrow_mut();
        Ok(Cow::Owned(match place {
            Place::Tensor(id) => session.get(id, r)?,
            Place::Output(entry, id) => session.output(entry, id, r)?,
            Place::Params => session.flat_params(r)?,
            Place::OptimizerState(s) => session.optimizer_state(s, r)?,
        }))
    }
    fn read_each(&self, entry: EntryId, id: TensorId, out: &mut [f32]) -> Result<(), DeviceError> {
        let all = self.session.borrow_mut().outputs(entry, id)?;
        for (value, values) in out.iter_mut().zip(all) {
            *value = values[0];
        }
        Ok(())
    }
    fn write(&mut self, place: Place, r: usize, values: &[f32]) -> Result<(), DeviceError> {
        let session = self.session.get_mut();
        match place {
            Place::Tensor(id) => session.set(id, r, values)?,
            Place::Params => session.set_flat_params(r, values)?,
            Place::OptimizerState(s) => session.set_optimizer_state(s, r, values)?,
            Place::Output(..) => panic!("what an entry computed is not written"),
        }
        Ok(())
    }
}
