//! Losses and gradient norms wait on the device, and a run that diverges stops there by itself.

use crate::emulator::{Emulator, Order};
use crate::model::{Model, Shape, on_cpu};
use crate::support::compare;
use preheat_kernels::cuda::{CudaSession, Sources};
use preheat_kernels::ops::Activation;
use std::sync::Arc;

const MODEL: Shape = Shape {
    runs: 3,
    batch: 1,
    seq: 3,
    heads: 1,
    head_dim: 4,
    vocab: 7,
    pre_ln: true,
    causal: true,
    activation: Activation::Relu,
    dropout: 0.0,
    smoothing: 0.0,
    clip: None,
};
const SEEDS: [u64; 3] = [5, 9, 12];

fn on_cuda(model: &Model) -> CudaSession<Emulator> {
    let exec = Emulator::new(&Sources::of(&model.program), Order::Shuffled).unwrap_or_else(|e| panic!("{e}"));
    let mut session = CudaSession::new(Arc::clone(&model.program), exec).unwrap_or_else(|e| panic!("{e}"));
    SEEDS.iter().enumerate().for_each(|(r, seed)| model.begin(&mut session, r, *seed));
    session
}

tests! {
    kept_numbers_are_those_of_every_step_however_late_they_are_taken {
        let model = Model::new(MODEL);
        let (mut cpu, mut cuda) = (on_cpu(&model), on_cuda(&model));
        SEEDS.iter().enumerate().for_each(|(r, seed)| model.begin(&mut cpu, r, *seed));
        let roots = [model.scalars[0], model.scalars[1]];
        let (mut expect, mut got) = (Vec::new(), Vec::new());
        // More steps than the ring has rows, taken before it is full, when it is and long after.
        for step in 0..40 {
            model.train(&mut cpu, &SEEDS, step);
            expect.extend(roots.iter().flat_map(|root| (0..3).map(|r| cpu.output(model.train, *root, r)[0])));
            model.prepare(&mut cuda, &SEEDS, step);
            cuda.run_kept(model.train, roots).expect("it runs");
            if step == 4 {
                cuda.take_kept(&mut got).expect("they are there");
            }
        }
        cuda.take_kept(&mut got).expect("they are there");
        compare("losses and norms", &vec![got.clone()], &vec![expect]);
        let before = got.len();
        cuda.take_kept(&mut got).expect("nothing is new");
        assert_eq!(got.len(), before);
    }
    a_run_that_diverges_stops_on_the_device {
        let model = Model::new(MODEL);
        let (mut cpu, mut cuda) = (on_cpu(&model), on_cuda(&model));
        SEEDS.iter().enumerate().for_each(|(r, seed)| model.begin(&mut cpu, r, *seed));
        let roots = [model.scalars[0], model.scalars[1]];
        for step in 0..6 {
            if step == 2 {
                let broken = vec![f32::NAN; 4];
                let gamma = model.program.graph().param_named("first ln1 gamma").expect("a parameter");
                cpu.get_mut(gamma, 1).copy_from_slice(&broken);
                cuda.set(gamma, 1, &broken).expect("it is written");
            }
            model.train(&mut cpu, &SEEDS, step);
            // The host's way: the step that diverges is done, and none after it.
            cpu.set_active(1, step < 2);
            model.prepare(&mut cuda, &SEEDS, step);
            cuda.run_kept(model.train, roots).expect("it runs");
        }
        assert!(cuda.is_active(1), "the host does not know yet");
        let mut kept = Vec::new();
        cuda.take_kept(&mut kept).expect("they are there");
        assert!(!cuda.is_active(1) && cuda.is_active(0) && cuda.is_active(2));
        let of_run = |r: usize| kept.chunks_exact(6).map(|row| row[r]).collect::<Vec<f32>>();
        assert!(of_run(1)[1].is_finite() && of_run(1)[2].is_nan(), "{:?}", of_run(1));
        assert!(of_run(0).iter().chain(&of_run(2)).all(|x| x.is_finite()));
        let own = model.scalars.len();
        for r in 0..3 {
            let (cuda, cpu) = (model.outcome(&mut cuda, r).split_off(own), model.outcome(&mut cpu, r).split_off(own));
            compare(&format!("run {r}"), &cuda, &cpu);
        }
    }
    a_flag_that_changes_reads_what_is_kept_first {
        let model = Model::new(MODEL);
        let mut cuda = on_cuda(&model);
        let roots = [model.scalars[0], model.scalars[1]];
        let gamma = model.program.graph().param_named("first ln1 gamma").expect("a parameter");
        cuda.set(gamma, 1, &[f32::NAN; 4]).expect("it is written");
        model.prepare(&mut cuda, &SEEDS, 0);
        cuda.run_kept(model.train, roots).expect("it runs");
        // It would otherwise send a flag that the device has put out.
        cuda.set_active(0, false).expect("it is told");
        assert!(!cuda.is_active(1));
        let before = cuda.flat_params(2).expect("it is there");
        model.prepare(&mut cuda, &SEEDS, 1);
        cuda.run_kept(model.train, roots).expect("it runs");
        let mut kept = Vec::new();
        cuda.take_kept(&mut kept).expect("they are there");
        assert_eq!(kept.len(), 12);
        assert_ne!(cuda.flat_params(2).expect("it is there"), before);
    }
}
