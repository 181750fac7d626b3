//! Schedules, sizes and measures against numbers worked out by hand.

use super::*;

fn model(edit: impl Fn(&mut Certified)) -> Certified {
    let mut model = Certified {
        conv_layers: 0,
        conv_channels: 64,
        channels: 3,
        layers: 1,
        width: 512,
        init: Start::Ibp,
        batch_norm: BatchNorm::Full,
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
    measure::all(&m, &hidden, 4, &means, &mut out);
    assert_eq!(out, [0.25, 0.75, (0.5 - 0.2) / 0.5, 0.5, 0.25, 0.5]);
    let gains = measure::gains(&m, &hidden, 4, &means);
    assert_eq!(gains["width_gain.1"], 5.0);
    let theory = 4.0 * hidden[0].mean_size(Start::Ibp);
    assert!((gains["width_gain_over_theory.1"] - 5.0 / theory).abs() < 1e-12);
    assert_eq!(gains["width_growth"], 1.0);
}
