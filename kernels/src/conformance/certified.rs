//! Small certified networks: a convolution and a layer with batch normalisation, a clean stream and bounds beside it,
//! penalties of the bounds, worst margins by intervals and by linear bounds, running statistics.

use super::{Built, FIT, Seen, every_instruction};
use crate::graph::{BoundedLayer, Graph, TensorId};
use crate::ops::{Activation, IntervalPenalty, Patches};

/// Sizes of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Certified {
    images: Patches,
    /// Outputs of the convolution.
    channels: usize,
    /// Units of the layer.
    width: usize,
    classes: usize,
    tau: f64,
    tightness: bool,
    balance: bool,
}

/// What a layer computes side by side.
#[derive(Clone, Copy)]
struct Streams {
    clean: TensorId,
    centre: TensorId,
    radius: TensorId,
}

impl Streams {
    fn map(self, mut f: impl FnMut(TensorId) -> TensorId) -> Self {
        Self { clean: f(self.clean), centre: f(self.centre), radius: f(self.radius) }
    }
}

/// The graph while it is built.
struct Building {
    g: Graph,
    /// The input's mean radius.
    first: TensorId,
    values: Vec<TensorId>,
    states: Vec<TensorId>,
    penalties: Vec<TensorId>,
}

impl Certified {
    /// Sizes and the scale of the initial numbers: one pixel, primes, whole fours of channels, windows that overlap and
    /// that leave gaps, denormal and large numbers.
    pub(super) fn all() -> Vec<(Self, f32)> {
        let images = |[batch, height, width, channels]: [usize; 4], [kernel, stride, padding]: [usize; 3]| Patches {
            batch,
            height,
            width,
            channels,
            kernel,
            stride,
            padding,
        };
        let case = |images: Patches, [channels, width, classes]: [usize; 3], [tightness, balance]: [bool; 2], scale| {
            (Self { images, channels, width, classes, tau: 0.7, tightness, balance }, scale)
        };
        let small = images([3, 5, 4, 3], [3, 2, 1]);
        vec![
            case(images([1, 1, 1, 1], [1, 1, 0]), [1, 1, 2], [true, true], 0.5),
            case(small, [7, 13, 5], [true, true], 0.5),
            case(images([17, 6, 7, 4], [4, 2, 1]), [8, 33, 10], [true, true], 0.2),
            case(images([5, 7, 5, 1], [2, 3, 0]), [5, 31, 3], [true, false], 0.5),
            case(images([33, 4, 4, 2], [3, 1, 1]), [4, 12, 7], [false, true], 1.0),
            case(small, [7, 13, 5], [true, true], 1e-39),
            case(small, [7, 13, 5], [true, true], 1e12),
        ]
    }

    pub(super) fn build(&self, runs: usize) -> Built {
        let (mut g, n) = (Graph::new(), self.images.batch);
        let (bytes, targets) = (g.tokens("bytes", n * self.images.image_len()), g.tokens("targets", n));
        let (eps, share) = (g.host_scalar(0), g.host_scalar(1));
        let clean = g.pixels(bytes, &[n, self.images.image_len()]).expect(FIT);
        let (centre, radius) = g.input_box(clean, eps, [0.0, 1.0]).expect(FIT);
        let first = g.mean(radius);
        let values = vec![clean, centre, radius, first];
        let mut b = Building { g, first, values, states: Vec::new(), penalties: Vec::new() };
        let x = Streams { clean, centre, radius }.map(|x| b.g.patches(x, self.images).expect(FIT));
        let (x, _) = b.layer(self, "convolution", x, self.channels);
        let flat = [n, self.images.rows() / n * self.channels];
        let x = x.map(|x| b.g.reshape(x, &flat).expect(FIT));
        let between = x.radius;
        let (x, layer) = b.layer(self, "layer", x, self.width);
        let (w, bias) = (b.g.param("head", &[self.width, self.classes]), b.g.param("head bias", &[self.classes]));
        let worst = b.g.worst_margins([x.centre, x.radius], w, Some(bias), targets).expect(FIT);
        let logits = b.g.linear(x.clean, w, Some(bias), None).expect(FIT);
        let z = b.g.linear(x.centre, w, Some(bias), None).expect(FIT);
        let linear = b.g.linear_margins(between, &[layer], [z, w], targets).expect(FIT);
        let mixed = b.g.mix(share, worst, linear).expect(FIT);
        let (robust, _) = b.g.cross_entropy(mixed, targets, 0.0).expect(FIT);
        let (natural, _) = b.g.cross_entropy(logits, targets, 0.0).expect(FIT);
        let rates = [worst, logits].map(|x| b.g.errors(x, targets).expect(FIT));
        let loss = b.loss([robust, natural], share);
        b.g.backward(loss, &[]);
        let norm = b.g.grad_norm();
        let done = b.g.update(norm, every_instruction(), Some(1e-2));
        b.values.extend([worst, linear, mixed, logits, robust, natural, loss, norm].into_iter().chain(rates));
        let tokens = [(bytes, 256), (targets, self.classes)];
        Built::new(b.g, runs, Seen { tokens, values: b.values, states: b.states, inputs: Vec::new(), done })
    }
}

impl Building {
    /// An affine map, batch normalisation by the clean stream's statistics, a penalty, ReLU.
    fn layer(&mut self, network: &Certified, name: &str, x: Streams, outputs: usize) -> (Streams, BoundedLayer) {
        let g = &mut self.g;
        let w = g.param(name, &[g.tensor(x.clean).width(), outputs]);
        let [bias, gamma, beta] = ["bias", "gamma", "beta"].map(|part| g.param(&format!("{name} {part}"), &[outputs]));
        let size = g.activation(Activation::Abs, w);
        let clean = g.linear(x.clean, w, Some(bias), None).expect(FIT);
        let centre = g.linear(x.centre, w, Some(bias), None).expect(FIT);
        let radius = g.linear(x.radius, size, None, None).expect(FIT);
        let (mean, var) = g.column_moments(clean);
        for (moment, what) in [(mean, "mean"), (var, "variance")] {
            let running = g.state(&format!("{name} running {what}"), &[outputs]);
            g.ema(running, moment, 0.1).expect(FIT);
            self.states.push(running);
        }
        let rstd = g.rstd(var, 1e-3);
        let scale = g.mul(gamma, rstd).expect(FIT);
        let size = g.activation(Activation::Abs, scale);
        let [clean, centre] = [clean, centre].map(|x| g.column_affine(x, [mean, scale, beta]).expect(FIT));
        let radius = g.column_scale(radius, size).expect(FIT);
        // The width is the tensor's.
        let Certified { tau, tightness, balance, .. } = *network;
        let penalty = IntervalPenalty { width: 0, tau, tightness, balance };
        let (penalty, sums) = g.interval_penalty(centre, radius, self.first, penalty).expect(FIT);
        let (c_out, r_out) = g.interval_relu(centre, radius).expect(FIT);
        let active = g.activation(Activation::Relu, clean);
        self.values.extend([mean, var, rstd, clean, centre, radius, penalty, sums, c_out, r_out]);
        self.penalties.push(penalty);
        let layer = BoundedLayer { w, scale: Some(scale), interval: [centre, radius] };
        (Streams { clean: active, centre: c_out, radius: r_out }, layer)
    }

    /// robust + `share`·natural + `share`·Σ penalties.
    fn loss(&mut self, [robust, natural]: [TensorId; 2], share: TensorId) -> TensorId {
        let more: Vec<TensorId> = [natural].into_iter().chain(self.penalties.iter().copied()).collect();
        more.into_iter().fold(robust, |loss, x| {
            let weighted = self.g.mul(x, share).expect(FIT);
            self.g.add(loss, weighted).expect(FIT)
        })
    }
}
