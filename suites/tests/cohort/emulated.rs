//! The same trainer on the CUDA kernels, which the host emulator of `kernels/tests/cuda` runs: a cohort there has the
//! bits that each run has alone on the CPU.

#[expect(dead_code, reason = "the kernels' own tests use all of it")]
#[path = "../../../kernels/tests/cuda/emulator/mod.rs"]
mod emulator;
#[expect(unreachable_pub, reason = "it is also a crate")]
#[path = "../../../tests/support/lib.rs"]
mod support;

use crate::{alone, assert_same, carried_out, cohort, cpu, mixed, shapes};
use emulator::{Emulator, Order, has_compiler};
use preheat_kernels::conformance::cases;
use preheat_kernels::cuda::{CudaReplay, CudaSession, Sources};
use preheat_kernels::device::{Device, DeviceError, Replay};
use preheat_kernels::graph::Program;
use preheat_kernels::ops::Ops;
use preheat_suites::record::Outcome;
use std::sync::Arc;

struct Emulated(Order);

impl Device for Emulated {
    fn session(&self, program: &Arc<Program>) -> Result<Box<dyn Replay>, DeviceError> {
        let exec = Emulator::new(&Sources::of(program), self.0)?;
        Ok(Box::new(CudaReplay::new(CudaSession::new(Arc::clone(program), exec)?)))
    }
    fn sum_squares(&self, x: &[f32]) -> f32 {
        Ops::sum_squares(&cpu(), x)
    }
}

fn there(test: &str) -> bool {
    let there = has_compiler();
    if !there {
        support::skip(test, "g++");
    }
    there
}

#[test]
fn the_kernels_conform() {
    if there("the_kernels_conform") {
        for (case, order) in cases().iter().zip([Order::Forward, Order::Reverse, Order::Shuffled].into_iter().cycle()) {
            assert_eq!(case.differences(&Emulated(order)), Ok(vec![]), "{order:?} {case:?}");
        }
    }
}

#[test]
fn a_mixed_cohort_on_cuda_kernels_has_the_cpus_bits() {
    if !there("a_mixed_cohort_on_cuda_kernels_has_the_cpus_bits") {
        return;
    }
    let runs = mixed();
    let together = carried_out(cohort(&runs, Arc::new(Emulated(Order::Shuffled))));
    assert!(together.iter().any(|m| matches!(m.outcome, Outcome::Diverged { .. })), "one rate is absurd");
    for (run, measured) in runs.iter().zip(&together) {
        assert_same(measured, &alone(run), &run.canonical());
    }
}

#[test]
fn a_checkpoint_goes_from_cuda_to_the_cpu_and_back() {
    if !there("a_checkpoint_goes_from_cuda_to_the_cpu_and_back") {
        return;
    }
    let runs = &mixed()[..2];
    let devices: [Arc<dyn Device>; 2] = [Arc::new(Emulated(Order::Reverse)), Arc::new(cpu())];
    for (first, second) in [(0, 1), (1, 0)] {
        let mut begun = cohort(runs, Arc::clone(&devices[first]));
        begun.advance().unwrap();
        let mut rest = cohort(&runs[..1], Arc::clone(&devices[second]));
        rest.restore(0, &begun.checkpoint(0).unwrap()).unwrap();
        assert_eq!(rest.step(0), 1);
        assert_same(&carried_out(rest)[0], &alone(&runs[0]), "resumed on the other");
    }
}

#[test]
fn what_is_measured_and_not_trained_has_the_cpus_bits() {
    if !there("what_is_measured_and_not_trained_has_the_cpus_bits") {
        return;
    }
    let still = shapes().into_iter().find(|runs| runs[0].recipe.model.name == "layer-norm").expect("a Jacobian");
    let measured = carried_out(cohort(&still[..1], Arc::new(Emulated(Order::Forward))));
    assert_same(&measured[0], &alone(&still[0]), "the Jacobian of layer normalisation");
}
