//! A device that works ahead is timed in stretches that end when it has answered.

use super::steps;
use crate::perf::shape::{OptimizerArg, Placement, StepShape};
use crate::perf::step::Budget;
use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::device::{Device, DeviceError, Place, Replay};
use preheat_kernels::graph::{EntryId, Program, TensorId, Watch};
use preheat_suites::train::Cohort;
use std::borrow::Cow;
use std::sync::{Arc, Mutex};

const ROOM: usize = 4;

/// A CPU that answers for up to [`ROOM`] steps at once, and tells what it was asked: `s` a step, `w` an answer.
struct Ahead {
    cpu: Cpu,
    asked: Arc<Mutex<String>>,
}

struct AheadReplay {
    inner: Box<dyn Replay>,
    kept: Vec<f32>,
    asked: Arc<Mutex<String>>,
}

impl Device for Ahead {
    fn session(&self, program: &Arc<Program>) -> Result<Box<dyn Replay>, DeviceError> {
        let inner = self.cpu.session(program)?;
        Ok(Box::new(AheadReplay { inner, kept: Vec::new(), asked: Arc::clone(&self.asked) }))
    }
    fn sum_squares(&self, x: &[f32]) -> f32 {
        Device::sum_squares(&self.cpu, x)
    }
}

impl Replay for AheadReplay {
    fn program(&self) -> &Program {
        self.inner.program()
    }
    fn set_scalars(&mut self, r: usize, scalars: &[f32]) {
        self.inner.set_scalars(r, scalars);
    }
    fn set_randomness(&mut self, r: usize, seed: u64, step: u32) {
        self.inner.set_randomness(r, seed, step);
    }
    fn set_active(&mut self, r: usize, active: bool) {
        self.inner.set_active(r, active);
    }
    fn two_tokens_mut(&mut self, a: TensorId, b: TensorId, r: usize) -> (&mut [u32], &mut [u32]) {
        self.inner.two_tokens_mut(a, b, r)
    }
    fn run(&mut self, entry: EntryId) -> Result<(), DeviceError> {
        self.inner.run(entry)
    }
    fn room(&self) -> usize {
        ROOM
    }
    fn run_kept(&mut self, entry: EntryId, roots: [TensorId; 2], done: Watch<'_>) -> Result<(), DeviceError> {
        self.asked.lock().unwrap().push('s');
        self.inner.run_watched(entry, done)?;
        self.inner.take_kept(entry, roots, &mut self.kept)
    }
    fn take_kept(&mut self, _: EntryId, _: [TensorId; 2], out: &mut Vec<f32>) -> Result<(), DeviceError> {
        self.asked.lock().unwrap().push('w');
        out.append(&mut self.kept);
        Ok(())
    }
    fn read(&self, place: Place, r: usize) -> Result<Cow<'_, [f32]>, DeviceError> {
        self.inner.read(place, r)
    }
    fn read_each(&self, entry: EntryId, id: TensorId, out: &mut [f32]) -> Result<(), DeviceError> {
        self.inner.read_each(entry, id, out)
    }
    fn write(&mut self, place: Place, r: usize, values: &[f32]) -> Result<(), DeviceError> {
        self.inner.write(place, r, values)
    }
}

#[test]
fn every_stretch_ends_with_the_device_s_answer() {
    let (placement, optimizer) = (Placement::PreLn, OptimizerArg::Adamw);
    let shape = StepShape { layers: 1, width: 8, heads: 2, seq: 5, batch: 3, vocab: 16, placement, optimizer };
    let timed = shape.timed().unwrap();
    let asked = Arc::new(Mutex::new(String::new()));
    let device = Ahead { cpu: Cpu::new(Simd::detect()), asked: Arc::clone(&asked) };
    let members = [(&timed.run, Arc::clone(&timed.task))];
    let mut trained = Cohort::new(&members, Arc::new(device)).unwrap();
    let (times, count) = steps(&mut trained, Budget::Steps(3)).unwrap();
    assert_eq!((times.len(), count, trained.step(0)), (3, 12, 16));
    assert_eq!(*asked.lock().unwrap(), "ssssw".repeat(4), "a stretch to warm up, and three");
}
