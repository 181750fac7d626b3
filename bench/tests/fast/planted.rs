//! Errors between the host and a device: scalars that arrive as others than were sent.

use preheat_kernels::device::{Device, DeviceError, Place, Replay};
use preheat_kernels::graph::{EntryId, Program, TensorId};
use preheat_suites::train::EARLY_STEPS;
use std::borrow::Cow;
use std::sync::Arc;

/// What goes wrong. The optimizer is Adam, whose scalars are 1 − β1, β2, 1 − β2, √(1 − β2^t), ε, −lr/(1 − β1^t).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// β2 is another one, in the moment and not in its correction.
    Beta2(f32),
    /// Moments are not corrected for their start at zero.
    NoCorrection,
    /// A step takes the scalars of the one before it.
    OneStepLate,
    /// Steps after the early window are a tenth as long.
    AfterTheWindow,
}

/// A device behind a faulty line.
pub(crate) struct Planted<D> {
    pub(crate) device: D,
    pub(crate) fault: Fault,
}

impl<D: Device> Device for Planted<D> {
    fn session(&self, program: &Arc<Program>) -> Result<Box<dyn Replay>, DeviceError> {
        let inner = self.device.session(program)?;
        Ok(Box::new(Line {
            last: vec![Vec::new(); program.runs()],
            steps: vec![0; program.runs()],
            inner,
            fault: self.fault,
        }))
    }
    fn sum_squares(&self, x: &[f32]) -> f32 {
        self.device.sum_squares(x)
    }
}

struct Line {
    inner: Box<dyn Replay>,
    fault: Fault,
    /// What each run was sent before.
    last: Vec<Vec<f32>>,
    steps: Vec<i32>,
}

impl Replay for Line {
    fn program(&self) -> &Program {
        self.inner.program()
    }
    fn set_scalars(&mut self, r: usize, scalars: &[f32]) {
        let mut arrived = scalars.to_vec();
        self.steps[r] += 1;
        // Another optimizer's.
        if scalars.len() != 6 {
            return self.inner.set_scalars(r, scalars);
        }
        match self.fault {
            Fault::Beta2(beta2) => (arrived[1], arrived[2]) = (beta2, 1.0 - beta2),
            Fault::NoCorrection => {
                let correction1 = 1.0 - libm::powf(1.0 - scalars[0], self.steps[r] as f32);
                (arrived[3], arrived[5]) = (1.0, scalars[5] * correction1);
            }
            Fault::AfterTheWindow if self.steps[r] <= EARLY_STEPS as i32 => {}
            Fault::AfterTheWindow => arrived[5] *= 0.1,
            Fault::OneStepLate if self.last[r].is_empty() => {}
            Fault::OneStepLate => arrived.copy_from_slice(&self.last[r]),
        }
        self.last[r] = scalars.to_vec();
        self.inner.set_scalars(r, &arrived);
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
