//! Whole steps of small certified networks on the emulated device: the reference's bits, alone and in a cohort.

use crate::emulator::{Emulator, Order};
use preheat_kernels::conformance::certified_cases;
use preheat_kernels::cuda::{CudaReplay, CudaSession, Sources};
use preheat_kernels::device::{Device, DeviceError, Replay};
use preheat_kernels::graph::Program;
use preheat_kernels::ops::Ops;
use preheat_kernels::reference::Reference;
use std::sync::Arc;

/// The emulator as a trainer sees a device.
struct Emulated(Order);

impl Device for Emulated {
    fn session(&self, program: &Arc<Program>) -> Result<Box<dyn Replay>, DeviceError> {
        let exec = Emulator::new(&Sources::of(program), self.0)?;
        Ok(Box::new(CudaReplay::new(CudaSession::new(Arc::clone(program), exec)?)))
    }
    fn sum_squares(&self, x: &[f32]) -> f32 {
        Ops::sum_squares(&Reference, x)
    }
}

tests! {
    steps_of_certified_networks_have_the_references_bits {
        for order in Order::ALL {
            for case in certified_cases() {
                assert_eq!(case.differences(&Emulated(order)), Ok(vec![]), "{order:?} {case:?}");
            }
        }
    }
    a_certified_run_has_the_same_bits_alone_and_in_a_cohort {
        // The reference's runs know nothing of each other.
        for case in certified_cases().into_iter().take(3) {
            for runs in [1, 3] {
                assert_eq!(case.differences_of(runs, &Emulated(Order::Shuffled)), Ok(vec![]), "{runs} runs {case:?}");
            }
        }
    }
}
