//! Whole steps of small certified networks on the emulated device: the reference's bits, alone and in a cohort.

use crate::emulator::{Emulator, Order};
use preheat_kernels::conformance::certified_cases;
use preheat_kernels::cuda::{CudaReplay, CudaSession, Sources};
use preheat_kernels::device::{Device, DeviceError, Replay};
use preheat_kernels::graph::{Graph, Program};
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
    a_target_without_a_class_is_named {
        let mut g = Graph::new();
        let ([centre, radius], targets) = (["c", "r"].map(|name| g.input(name, &[4, 3])), g.tokens("y", 4));
        let (w, dm) = (g.param("w", &[3, 5]), g.input("dm", &[4, 5]));
        let worst = g.worst_margins([centre, radius], w, None, targets).expect("shapes fit");
        let rate = g.errors(worst, targets).expect("shapes fit");
        let gradient = g.backward_from(worst, dm, &[radius]).get(radius).expect("it depends on the radii");
        // Of each op, an entry with no other that reads targets.
        let logits = g.input("logits", &[4, 5]);
        let alone = g.errors(logits, targets).expect("shapes fit");
        let entries = [("margins", &[worst][..]), ("gradient", &[gradient]), ("errors", &[alone]), ("all", &[rate])];
        let program = Arc::new(g.compile(1, &entries));
        let exec = Emulator::new(&Sources::of(&program), Order::Forward).expect("it compiles");
        let mut session = CudaSession::new(Arc::clone(&program), exec).expect("there is memory");
        for (name, _) in entries {
            let entry = program.entry(name).expect("a name");
            session.tokens_mut(targets, 0)[3] = 4;
            session.run(entry).expect("the last class");
            session.tokens_mut(targets, 0)[3] = 5;
            let run = std::panic::AssertUnwindSafe(|| session.run(entry));
            let panic = std::panic::catch_unwind(run).expect_err("no kernel may see it");
            let words = panic.downcast_ref::<String>().map(String::as_str);
            assert_eq!(words, Some("token 5 of run 0 has no row among 5"), "{name}");
        }
    }
}
