//! Schedules, sizes and measures against numbers worked out by hand.

use super::*;
use crate::train::{Compiled, initialise};
use preheat_kernels::graph::Session;
use preheat_kernels::reference::Reference;
use preheat_kernels::update::UpdateBuilder;

fn model(edit: impl Fn(&mut Certified)) -> Certified {
    let mut model = Certified {
        conv_layers: 0,
        conv_channels: 64,
        channels: 3,
        layers: 1,
        width: 512,
        init: Start::Ibp,
        batch_norm: BatchNorm::Full,
        bounds: Bounds::Ibp,
        tightness: true,
        relu_balance: true,
        lambda0: 0.5,
        tau: 0.5,
        eps: 8.0 / 255.0,
        clean_steps: 0.0,
        eps_warmup_steps: 0.0,
    };
    edit(&mut model);
    model
}

/// The paper's CNN-7 on CIFAR-10.
#[test]
fn five_convolutions_and_a_dense_layer_are_the_papers_cnn_7() {
    let cnn = model(|m| m.conv_layers = 5);
    let hidden = cnn.hidden(32 * 32 * 3).unwrap();
    let inputs: Vec<usize> = hidden.iter().map(|layer| layer.inputs).collect();
    assert_eq!(inputs, [27, 576, 576, 1152, 1152, 32768]);
    let million = cnn.parameters(10, 32 * 32 * 3) as f64 / 1e6;
    assert!((million - 17.19).abs() < 0.005, "{million}");
    // Twice as many products in a layer's gradient as forward, none for the image; three streams.
    let forward: f64 = hidden.iter().map(|l| (2 * l.places * l.inputs * l.units) as f64).sum();
    let first = (2 * hidden[0].places * hidden[0].inputs * hidden[0].units) as f64;
    let last = 2.0 * 512.0 * 110.0;
    assert_eq!(cnn.step_flops(4, 10, 32 * 32 * 3), 4.0 * (3.0 * (3.0 * forward - first) + 3.0 * last));
    assert_eq!(cnn.hidden(32 * 32), None, "no square of three channels");
}

#[test]
fn the_warmup_is_a_power_and_then_a_line() {
    let m = model(|m| (m.clean_steps, m.eps_warmup_steps) = (100.0, 400.0));
    assert_eq!([0.0, 50.0, 100.0].map(|s| m.eps_at(s)), [0.0; 3]);
    assert_eq!([500.0, 501.0, 1e6].map(|s| m.eps_at(s)), [m.eps; 3]);
    // ε_mid = ε/13 at a quarter of the warm-up.
    assert!((m.eps_at(200.0) * 13.0 / m.eps - 1.0).abs() < 1e-12);
    assert!((m.eps_at(150.0) * 16.0 / m.eps_at(200.0) - 1.0).abs() < 1e-12, "a fourth power before");
    let steps = [250.0, 350.0, 450.0].map(|s| m.eps_at(s + 50.0) - m.eps_at(s));
    assert!(steps.iter().all(|d| (d / steps[0] - 1.0).abs() < 1e-9), "a line after: {steps:?}");
    // The power's slope goes over into the line's.
    let (before, after) = (m.eps_at(200.0) - m.eps_at(199.0), m.eps_at(201.0) - m.eps_at(200.0));
    assert!((before / after - 1.0).abs() < 0.02, "{before} {after}");
    assert_eq!(m.lambda_at(m.eps_at(600.0)), 0.0);
    assert_eq!(m.lambda_at(0.0), 0.5);
}

#[test]
fn a_short_warmup_rises_and_none_jumps() {
    let none = model(|_| ());
    assert_eq!(none.eps_at(0.0), none.eps);
    for steps in 1..9 {
        let m = model(|m| m.eps_warmup_steps = f64::from(steps));
        let all: Vec<f64> = (0..=steps).map(|s| m.eps_at(f64::from(s))).collect();
        assert!(all.is_sorted() && all.iter().all(|e| e.is_finite()), "{all:?}");
        assert_eq!((all[0], all[steps as usize]), (0.0, m.eps));
    }
}

/// E|w| of each initialisation, by the paper's formulas: 2/n makes the gain behind a ReLU 1.
#[test]
fn the_ibp_initialisation_has_gain_one() {
    let layer = Layer { inputs: 32768, units: 512, places: 1, conv: None };
    let gain = |start| layer.inputs as f64 / 2.0 * layer.mean_size(start);
    assert!((gain(Start::Ibp) - 1.0).abs() < 1e-12);
    assert!((gain(Start::Uniform) - 45.254_833_995_939_04).abs() < 1e-9, "¼√n");
    assert!((gain(Start::Xavier) - 110.0).abs() < 0.05, "{}", gain(Start::Xavier));
    assert!((gain(Start::Kaiming) - 102.1).abs() < 0.05, "{}", gain(Start::Kaiming));
}

#[test]
fn scalars_are_eps_and_lambda_of_the_steps_before() {
    let m = model(|m| (m.clean_steps, m.eps_warmup_steps) = (1.0, 2.0));
    let scalars = |step| {
        let mut out = Vec::new();
        m.write_scalars(step, &mut out);
        out
    };
    assert_eq!(scalars(1), [LEAST_EPS, 0.5]);
    assert_eq!(scalars(4), [m.eps, 0.0]);
}

#[test]
fn measures_by_hand() {
    let m = model(|m| (m.width, m.channels) = (2, 1));
    let hidden = m.hidden(4).unwrap();
    // Four images of two units: mean radius 0.5, a quarter active, half inactive; means 1 : −4, squares 3 : 2.
    let means = [0.25, 0.75, 0.1, 4.0, -3.0, 2.0, 4.0, 1.0, -4.0, 3.0, 2.0];
    let mut out = Vec::new();
    measure::all(m.tau, hidden.iter().copied(), 4, &means, &mut out);
    assert_eq!(out, [0.25, 0.75, (0.5 - 0.2) / 0.5, 0.5, 0.25, 0.5]);
    let gains = measure::gains(&m, &hidden, 4, &means);
    assert_eq!(gains["width_gain.1"], 5.0);
    let theory = 4.0 * hidden[0].mean_size(Start::Ibp);
    assert!((gains["width_gain_over_theory.1"] - 5.0 / theory).abs() < 1e-12);
    assert_eq!(gains["width_growth"], 1.0);
}

const SHAPE: Shape = Shape { batch: 3, seq: 25, vocab: 4, targets: 1, label_smoothing: 0.0 };

/// Two small hidden layers.
fn dense(bounds: Bounds, batch_norm: BatchNorm) -> Certified {
    model(|m| {
        (m.layers, m.width, m.channels, m.init, m.bounds, m.batch_norm) = (2, 6, 1, Start::Uniform, bounds, batch_norm)
    })
}

fn compiled(model: &Certified) -> Compiled {
    let Ok(Built::Network(network)) = model.build(&SHAPE) else { panic!("a network") };
    let mut update = UpdateBuilder::new();
    let (p, g) = (update.param(), update.grad());
    let new = update.sub(p, g);
    Compiled::new(*network, update.finish(new, vec![]), None, 1)
}

#[test]
fn flops_of_dense_layers_are_those_of_the_graph() {
    for bounds in [Bounds::Ibp, Bounds::CrownIbp] {
        for batch_norm in [BatchNorm::None, BatchNorm::Full] {
            let model = dense(bounds, batch_norm);
            let of = compiled(&model);
            let flops = of.program.gemm_flops(of.train) as f64;
            assert_eq!(model.step_flops(SHAPE.batch, SHAPE.vocab, SHAPE.seq), flops, "{bounds:?} {batch_norm:?}");
        }
    }
}

/// The training loss and the flat parameters after one step, in f64.
fn step(model: &Certified, scalars: &[f64]) -> (f64, Vec<f64>) {
    let of = compiled(model);
    let mut session: Session<f64, Reference> = Session::new(of.program.clone(), Reference);
    initialise(&mut session, &of.init, 0, 3);
    let (inputs, targets) = session.two_tokens_mut(of.inputs, of.targets, 0);
    inputs.iter_mut().enumerate().for_each(|(i, x)| *x = (i as u32 * 37) % 256);
    targets.iter_mut().enumerate().for_each(|(i, y)| *y = i as u32);
    session.set_scalars(0, scalars.iter().copied());
    session.run(of.train);
    (session.output(of.train, of.loss, 0)[0], session.flat_params(0).to_vec())
}

#[test]
fn linear_bounds_are_mixed_in_by_their_share() {
    for batch_norm in [BatchNorm::None, BatchNorm::Full] {
        let [ibp, crown] = [Bounds::Ibp, Bounds::CrownIbp].map(|bounds| dense(bounds, batch_norm));
        let near = |a: &(f64, Vec<f64>), b: &(f64, Vec<f64>), within: f64| {
            let off = |(a, b): (&f64, &f64)| (a - b).abs();
            off((&a.0, &b.0)) <= within && a.1.iter().zip(&b.1).all(|pair| off(pair) <= within)
        };
        for eps in [LEAST_EPS, 1e-3, 0.1] {
            let intervals = step(&ibp, &[eps, 0.0]);
            assert!(near(&step(&crown, &[eps, 0.0, 0.0]), &intervals, 1e-12), "share 0 is IBP");
            let linear = step(&crown, &[eps, 0.0, 1.0]);
            assert!(linear.1.iter().all(|x| x.is_finite()));
            // Of points both are the margins themselves.
            assert_eq!(near(&linear, &intervals, 1e-9), eps == LEAST_EPS, "{eps}: {} {}", linear.0, intervals.0);
        }
    }
}

#[test]
fn the_share_of_linear_bounds_ends_with_the_warmup() {
    let m = model(|m| (m.bounds, m.eps_warmup_steps) = (Bounds::CrownIbp, 1000.0));
    let share = |step| {
        let mut out = Vec::new();
        m.write_scalars(step, &mut out);
        assert_eq!(out.len(), 3);
        out[2]
    };
    assert_eq!([share(1), share(1001), share(5000)], [1.0, 0.0, 0.0]);
    assert!((share(501) - (1.0 - m.eps_at(500.0) / m.eps)).abs() < 1e-12);
    assert_eq!(m.linear_share_at(m.eps * (1.0 - 0.9e-5)), 0.0, "too little to compute with");
}

#[test]
fn linear_bounds_of_convolutions_are_an_error_of_the_key() {
    let text = |x: &str| crate::registry::Scalar::Text(x.into());
    let mut params = Params::default();
    for def in ENTRY.params {
        let value = match def.default {
            Preset::Required => crate::registry::Scalar::Real(0.1),
            Preset::Int(x) => crate::registry::Scalar::Int(x),
            Preset::Real(x) => crate::registry::Scalar::Real(x),
            Preset::Text(x) => text(x),
            Preset::Flag(x) => crate::registry::Scalar::Flag(x),
        };
        params.0.insert(def.name.into(), value);
    }
    params.0.insert("bounds".into(), text("crown-ibp"));
    assert!((ENTRY.build)(&params).is_ok());
    params.0.insert("conv_layers".into(), crate::registry::Scalar::Int(1));
    let error = (ENTRY.build)(&params).err().unwrap();
    assert_eq!(error, Invalid::new("bounds", "is crown-ibp with convolutions; allowed: ibp"));
}
