//! Whole training steps: the CPU session's bits, alone and in a cohort, in every thread order.

use crate::emulator::{Emulator, Order};
use crate::model::{Model, Shape, on_cpu};
use crate::support::compare;
use preheat_kernels::cuda::{CudaSession, Sources, device_bytes};
use preheat_kernels::ops::Activation;
use std::sync::Arc;

pub(crate) const PRE_LN: Shape = Shape {
    runs: 1,
    batch: 2,
    seq: 5,
    heads: 2,
    head_dim: 6,
    vocab: 11,
    pre_ln: true,
    causal: true,
    activation: Activation::GeluTanh,
    dropout: 0.25,
    smoothing: 0.1,
    clip: Some(0.5),
};

const POST_LN: Shape = Shape {
    batch: 1,
    seq: 33,
    heads: 1,
    head_dim: 8,
    vocab: 37,
    pre_ln: false,
    causal: false,
    activation: Activation::Relu,
    dropout: 0.0,
    smoothing: 0.0,
    clip: None,
    ..PRE_LN
};

fn on_cuda(model: &Model, order: Order) -> CudaSession<Emulator> {
    let exec = Emulator::new(&Sources::of(&model.program), order).unwrap_or_else(|e| panic!("{e}"));
    CudaSession::new(Arc::clone(&model.program), exec).unwrap_or_else(|e| panic!("{e}"))
}

/// `steps` steps and evaluations of both sessions; all bits of all runs are compared after each.
fn check_steps(shape: Shape, seeds: &[u64], steps: u32, order: Order) {
    let model = Model::new(shape);
    let (mut cpu, mut cuda) = (on_cpu(&model), on_cuda(&model, order));
    for (r, &seed) in seeds.iter().enumerate() {
        model.begin(&mut cpu, r, seed);
        model.begin(&mut cuda, r, seed);
    }
    let mut losses = Vec::new();
    for step in 0..steps {
        model.train(&mut cpu, seeds, step);
        model.train(&mut cuda, seeds, step);
        for r in 0..seeds.len() {
            let expect = model.outcome(&mut cpu, r);
            compare(&format!("{order:?} {shape:?} step {step} run {r}"), &model.outcome(&mut cuda, r), &expect);
            losses.push(expect[0][0]);
        }
        let expect = model.evaluate(&mut cpu);
        compare(&format!("{order:?} {shape:?} evaluation {step}"), &model.evaluate(&mut cuda), &expect);
    }
    assert!(losses.iter().all(|l| l.is_finite()) && losses.windows(2).any(|l| l[0] != l[1]), "it trains: {losses:?}");
}

tests! {
    steps_of_a_pre_ln_model_have_the_cpus_bits {
        for order in Order::ALL {
            check_steps(PRE_LN, &[5], 3, order);
        }
    }
    steps_of_a_post_ln_model_have_the_cpus_bits {
        for order in Order::ALL {
            check_steps(POST_LN, &[6], 2, order);
        }
    }
    steps_with_other_activations_and_without_clipping_have_the_cpus_bits {
        for activation in [Activation::GeluErf, Activation::Tanh, Activation::Silu] {
            // No gradient is as long as this.
            check_steps(Shape { activation, clip: Some(1e6), ..PRE_LN }, &[7], 2, Order::Shuffled);
        }
    }
    a_cohort_has_the_cpus_bits {
        check_steps(Shape { runs: 3, ..PRE_LN }, &[5, 9, 12], 3, Order::Reverse);
    }
    a_run_alone_and_in_a_cohort_has_the_same_bits {
        let seeds = [5, 9, 12];
        let together = Model::new(Shape { runs: 3, ..PRE_LN });
        let mut cohort = on_cuda(&together, Order::Forward);
        for (r, &seed) in seeds.iter().enumerate() {
            together.begin(&mut cohort, r, seed);
        }
        (0..3).for_each(|step| together.train(&mut cohort, &seeds, step));
        let alone = Model::new(PRE_LN);
        let outcomes: Vec<_> = seeds.iter().enumerate().map(|(r, &seed)| {
            let mut session = on_cuda(&alone, Order::Shuffled);
            alone.begin(&mut session, 0, seed);
            (0..3).for_each(|step| alone.train(&mut session, &[seed], step));
            let outcome = alone.outcome(&mut session, 0);
            compare(&format!("run {r}"), &together.outcome(&mut cohort, r), &outcome);
            outcome
        }).collect();
        assert_ne!(outcomes[0], outcomes[1], "runs differ by their seeds");
    }
    an_inactive_run_is_left_as_it_is {
        let seeds = [5, 9, 12];
        let model = Model::new(Shape { runs: 3, ..PRE_LN });
        let (mut cpu, mut cuda) = (on_cpu(&model), on_cuda(&model, Order::Forward));
        for (r, &seed) in seeds.iter().enumerate() {
            model.begin(&mut cpu, r, seed);
            model.begin(&mut cuda, r, seed);
        }
        model.train(&mut cuda, &seeds, 0);
        model.train(&mut cpu, &seeds, 0);
        cuda.set_active(1, false).expect("it is told");
        cpu.set_active(1, false);
        // Activations, roots among them, share space with other runs'; all else is the run's own.
        let before = model.outcome(&mut cuda, 1).split_off(model.scalars.len());
        // A token without a row of its own: no one looks.
        cuda.tokens_mut(model.tokens, 1).fill(u32::MAX);
        for step in 1..3 {
            model.train(&mut cuda, &seeds, step);
            model.train(&mut cpu, &seeds, step);
        }
        compare("the run that idled", &model.outcome(&mut cuda, 1).split_off(model.scalars.len()), &before);
        compare("the run after it", &model.outcome(&mut cuda, 2), &model.outcome(&mut cpu, 2));
        cuda.set_active(1, true).expect("it is told");
        cpu.set_active(1, true);
        model.train(&mut cuda, &seeds, 3);
        model.train(&mut cpu, &seeds, 3);
        compare("the run once it goes on", &model.outcome(&mut cuda, 1), &model.outcome(&mut cpu, 1));
    }
    a_diverged_run_harms_no_other {
        let model = Model::new(Shape { runs: 2, ..PRE_LN });
        let (mut cpu, mut cuda) = (on_cpu(&model), on_cuda(&model, Order::Forward));
        for r in 0..2 {
            model.begin(&mut cpu, r, 5);
            model.begin(&mut cuda, r, 5);
        }
        let mut broken = cuda.get(model.params[0], 0).expect("it is there");
        broken.fill(f32::NAN);
        cuda.set(model.params[0], 0, &broken).expect("it is there");
        for step in 0..2 {
            model.train(&mut cuda, &[5, 5], step);
            model.train(&mut cpu, &[5, 5], step);
        }
        let loss = cuda.output(model.train, model.loss, 0).expect("it ran");
        assert!(loss[0].is_nan(), "{loss:?}");
        compare("the other run", &model.outcome(&mut cuda, 1), &model.outcome(&mut cpu, 1));
    }
    launches_do_not_change_from_step_to_step {
        let model = Model::new(PRE_LN);
        let mut session = on_cuda(&model, Order::Forward);
        model.begin(&mut session, 0, 3);
        model.train(&mut session, &[3], 0);
        let first = session.exec().launches;
        model.train(&mut session, &[3], 1);
        assert_eq!(session.exec().launches, 2 * first);
    }
    states_and_flat_parameters_are_written_and_read {
        let model = Model::new(Shape { runs: 2, ..PRE_LN });
        let mut session = on_cuda(&model, Order::Forward);
        let len = session.flat_params(0).expect("it is there").len();
        let values = |from: usize| (0..len).map(|i| (i + from) as f32).collect::<Vec<_>>();
        session.set_flat_params(1, &values(1)).expect("it is there");
        session.set_optimizer_state(1, 0, &values(2)).expect("it is there");
        assert_eq!(session.flat_params(1), Ok(values(1)));
        assert_eq!(session.optimizer_state(1, 0), Ok(values(2)));
        assert_eq!(session.flat_params(0), Ok(vec![0.0; len]));
        assert_eq!(session.optimizer_state(0, 0), Ok(vec![0.0; len]));
        assert_eq!(session.get(model.params[0], 1).expect("it is there")[..3], [1.0, 2.0, 3.0]);
        assert!(device_bytes(&model.program) >= 4 * 2 * 4 * len);
    }
    a_token_without_a_row_is_named {
        let model = Model::new(PRE_LN);
        let mut session = on_cuda(&model, Order::Forward);
        session.tokens_mut(model.tokens, 0)[3] = 11;
        let run = std::panic::AssertUnwindSafe(|| session.run(model.evaluate));
        let panic = std::panic::catch_unwind(run).expect_err("no kernel may see it");
        assert_eq!(panic.downcast_ref::<String>().map(String::as_str), Some("token 11 of run 0 has no row among 11"));
    }
}
