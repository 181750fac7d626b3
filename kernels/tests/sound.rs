//! Interval bounds hold: no point of the box around an input leaves its bounds, and a corner reaches those of one layer.

mod certified;

use certified::{Layer, Streams, relu};
use preheat_kernels::graph::{BoundedLayer, Graph, Session, TensorId};
use preheat_kernels::ops::{Activation, Patches};
use preheat_kernels::reference::Reference;
use preheat_kernels::rng::Stream;
use proptest::prelude::*;
use std::sync::Arc;

/// A convolution, a layer and a head over small images, and how far a point strays from its image.
#[derive(Clone, Debug)]
struct Network {
    images: Patches,
    channels: usize,
    width: usize,
    classes: usize,
    eps: f64,
    /// Of the weights.
    size: f64,
    /// Points are corners of the box.
    corners: bool,
    seed: u64,
}

fn networks() -> impl Strategy<Value = Network> {
    let images = (2_usize..6, 2_usize..5, 2_usize..5, 1_usize..3, 1_usize..4, 1_usize..3, 0_usize..2);
    let rest = (1_usize..5, 1_usize..9, 2_usize..6, 0.0..0.6, 0.1..2.0, any::<bool>(), any::<u64>());
    (images, rest).prop_filter_map("no window fits", |(images, rest)| {
        let (batch, height, width, channels, kernel, stride, padding) = images;
        let images = Patches { batch, height, width, channels, kernel, stride, padding };
        let (channels, width, classes, eps, size, corners, seed) = rest;
        let fits = images.height.min(images.width) + 2 * padding >= kernel;
        fits.then_some(Network { images, channels, width, classes, eps, size, corners, seed })
    })
}

/// Uniform in \[0, 1).
fn uniform(n: usize, seed: u64, stream: u32) -> Vec<f64> {
    let stream = Stream::new(seed, stream);
    (0..n as u64).map(|i| f64::from(stream.uniform(0, i))).collect()
}

/// A point's values and the bounds that must hold them.
struct Held {
    what: &'static str,
    point: TensorId,
    centre: TensorId,
    radius: TensorId,
}

impl Network {
    fn check(&self) {
        let (mut g, n) = (Graph::new(), self.images.batch);
        let shape = [n, self.images.image_len()];
        let (clean, off, targets) = (g.input("x", &shape), g.input("off", &shape), g.tokens("targets", n));
        let eps = g.host_scalar(0);
        let (centre, radius) = g.input_box(clean, eps, [0.0, 1.0]).unwrap();
        let away = g.mul(off, radius).unwrap();
        let point = g.add(centre, away).unwrap();
        let mut x = Streams { clean, centre, radius }.patches(&mut g, self.images).unwrap();
        let mut at = g.patches(point, self.images).unwrap();
        let mut held = Vec::new();
        let flat = [n, self.images.rows() / n * self.channels];
        for (name, inputs, outputs) in [("conv", self.images.patch_len(), self.channels), ("full", flat[1], self.width)]
        {
            let layer = Layer::new(&mut g, name, inputs, outputs);
            let (before, point) = layer.affine(&mut g, x, Some(at)).unwrap();
            let point = point.expect("a point goes in");
            held.push(Held { what: name, point, centre: before.centre, radius: before.radius });
            x = relu(&mut g, before).unwrap();
            at = g.activation(Activation::Relu, point);
            held.push(Held { what: "ReLU", point: at, centre: x.centre, radius: x.radius });
            if name == "conv" {
                x = x.reshape(&mut g, &flat).unwrap();
                at = g.reshape(at, &flat).unwrap();
            }
        }
        let (w, b) = (g.param("w", &[self.width, self.classes]), g.param("b", &[self.classes]));
        let worst = g.worst_margins([x.centre, x.radius], w, Some(b), targets).unwrap();
        let logits = g.linear(at, w, Some(b), None).unwrap();
        let roots: Vec<TensorId> =
            held.iter().flat_map(|h| [h.point, h.centre, h.radius]).chain([worst, logits]).collect();
        let program = Arc::new(g.compile(1, &[("all", &roots)]));
        let all = program.entry("all").unwrap();
        let mut session = Session::<f64, _>::new(Arc::clone(&program), Reference);
        for (i, id) in program.graph().params().enumerate() {
            let values = uniform(session.get(id, 0).len(), self.seed, i as u32);
            session.get_mut(id, 0).iter_mut().zip(values).for_each(|(w, x)| *w = self.size * (2.0 * x - 1.0));
        }
        let len = shape[0] * shape[1];
        session.get_mut(clean, 0).copy_from_slice(&uniform(len, self.seed, 100));
        let off_by = |x: f64| if self.corners { (2.0 * x - 1.0).signum() } else { 2.0 * x - 1.0 };
        let away: Vec<f64> = uniform(len, self.seed, 101).into_iter().map(off_by).collect();
        session.get_mut(off, 0).copy_from_slice(&away);
        for (i, y) in session.tokens_mut(targets, 0).iter_mut().enumerate() {
            *y = (i % self.classes) as u32;
        }
        session.set_scalars(0, [self.eps]);
        session.run(all);
        let read = |id| session.output(all, id, 0);
        for h in &held {
            for ((point, c), r) in read(h.point).iter().zip(read(h.centre)).zip(read(h.radius)) {
                let rounding = 1e-12 * (1.0 + point.abs() + c.abs() + r);
                assert!((point - c).abs() <= r + rounding, "{}: {point} is not within {r} of {c}", h.what);
            }
        }
        for (i, (z, worst)) in
            read(logits).chunks_exact(self.classes).zip(read(worst).chunks_exact(self.classes)).enumerate()
        {
            let own = z[i % self.classes];
            for (z, worst) in z.iter().zip(worst) {
                let rounding = 1e-12 * (1.0 + z.abs() + own.abs() + worst.abs());
                assert!(z - own <= worst + rounding, "a margin of {} above {worst}", z - own);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_point_of_the_box_leaves_its_bounds(network in networks()) {
        network.check();
    }
}

/// The corner that a column of weights points to has the most that the bounds of that column allow.
#[test]
fn a_corner_reaches_the_bounds_of_one_layer() {
    let (n, k, v) = (3, 17, 4);
    let mut g = Graph::new();
    let (clean, point) = (g.input("x", &[n, k]), g.input("point", &[n, k]));
    let (w, b, targets, eps) = (g.param("w", &[k, v]), g.param("b", &[v]), g.tokens("targets", n), g.host_scalar(0));
    let (centre, radius) = g.input_box(clean, eps, [0.0, 1.0]).unwrap();
    let worst = g.worst_margins([centre, radius], w, Some(b), targets).unwrap();
    let size = g.activation(Activation::Abs, w);
    let (c, r) = (g.linear(centre, w, Some(b), None).unwrap(), g.linear(radius, size, None, None).unwrap());
    let logits = g.linear(point, w, Some(b), None).unwrap();
    let program = Arc::new(g.compile(1, &[("bounds", &[centre, radius, worst, c, r]), ("point", &[logits])]));
    let (bounds, at_point) = (program.entry("bounds").unwrap(), program.entry("point").unwrap());
    let mut session = Session::<f64, _>::new(Arc::clone(&program), Reference);
    session.get_mut(clean, 0).copy_from_slice(&uniform(n * k, 5, 0));
    let weights: Vec<f64> = uniform(k * v, 5, 1).into_iter().map(|x| x - 0.5).collect();
    session.get_mut(w, 0).copy_from_slice(&weights);
    session.get_mut(b, 0).copy_from_slice(&uniform(v, 5, 2));
    session.tokens_mut(targets, 0).copy_from_slice(&[2, 0, 3]);
    session.set_scalars(0, [0.2]);
    session.run(bounds);
    let [centre, radius, worst, c, r] = [centre, radius, worst, c, r].map(|id| session.output(bounds, id, 0).to_vec());
    for (i, y) in [2, 0, 3].into_iter().enumerate() {
        for j in 0..v {
            let mut logits_towards = |direction: &dyn Fn(usize) -> f64| {
                let corner = (0..k).map(|p| centre[i * k + p] + radius[i * k + p] * direction(p).signum());
                let corner: Vec<f64> = corner.collect();
                session.get_mut(point, 0)[i * k..][..k].copy_from_slice(&corner);
                session.run(at_point);
                session.output(at_point, logits, 0)[i * v..][..v].to_vec()
            };
            let z = logits_towards(&|p| weights[p * v + j] - weights[p * v + y]);
            assert!((z[j] - z[y] - worst[i * v + j]).abs() < 1e-12, "margin {i},{j}: {z:?} {worst:?}");
            let high = logits_towards(&|p| weights[p * v + j])[j];
            let low = logits_towards(&|p| -weights[p * v + j])[j];
            let (c, r) = (c[i * v + j], r[i * v + j]);
            assert!((high - (c + r)).abs() < 1e-12 && (low - (c - r)).abs() < 1e-12, "{low} {high} of {c} and {r}");
        }
    }
}

/// Dense layers with batch normalisation and a head.
#[derive(Clone, Debug)]
struct Dense {
    samples: usize,
    sizes: Vec<usize>,
    classes: usize,
    eps: f64,
    size: f64,
    corners: bool,
    seed: u64,
}

fn dense() -> impl Strategy<Value = Dense> {
    let eps = prop_oneof![Just(0.0), 1e-9..1e-3, 0.0..0.6];
    let shape = (1_usize..6, prop::collection::vec(1_usize..9, 2..5), 2_usize..6);
    (shape, eps, 0.1..2.0, any::<bool>(), any::<u64>()).prop_map(
        |((samples, sizes, classes), eps, size, corners, seed)| Dense {
            samples,
            sizes,
            classes,
            eps,
            size,
            corners,
            seed,
        },
    )
}

impl Dense {
    fn check(&self) {
        let (mut g, n) = (Graph::new(), self.samples);
        let shape = [n, self.sizes[0]];
        let (clean, off, targets) = (g.input("x", &shape), g.input("off", &shape), g.tokens("targets", n));
        let eps = g.host_scalar(0);
        let (centre, radius) = g.input_box(clean, eps, [0.0, 1.0]).unwrap();
        let away = g.mul(off, radius).unwrap();
        let mut at = g.add(centre, away).unwrap();
        let (mut x, mut layers) = (Streams { clean, centre, radius }, Vec::new());
        for pair in self.sizes.windows(2) {
            let (before, point, layer) =
                Layer::new(&mut g, "full", pair[0], pair[1]).bounded(&mut g, x, Some(at)).unwrap();
            layers.push(layer);
            x = relu(&mut g, before).unwrap();
            at = g.activation(Activation::Relu, point.expect("a point goes in"));
        }
        let (w, b) = (g.param("w", &[g.tensor(at).width(), self.classes]), g.param("b", &[self.classes]));
        let intervals = g.worst_margins([x.centre, x.radius], w, Some(b), targets).unwrap();
        let z = g.linear(x.centre, w, Some(b), None).unwrap();
        let linear = g.linear_margins(radius, &layers, [z, w], targets).unwrap();
        let logits = g.linear(at, w, Some(b), None).unwrap();
        let before = layers.iter().flat_map(|layer| layer.interval);
        let roots: Vec<TensorId> = [intervals, linear, logits].into_iter().chain(before).collect();
        let program = Arc::new(g.compile(1, &[("all", &roots)]));
        let all = program.entry("all").unwrap();
        let mut session = Session::<f64, _>::new(Arc::clone(&program), Reference);
        for (i, id) in program.graph().params().enumerate() {
            let values = uniform(session.get(id, 0).len(), self.seed, i as u32);
            session.get_mut(id, 0).iter_mut().zip(values).for_each(|(w, x)| *w = self.size * (2.0 * x - 1.0));
        }
        let len = shape[0] * shape[1];
        session.get_mut(clean, 0).copy_from_slice(&uniform(len, self.seed, 100));
        let off_by = |x: f64| if self.corners { (2.0 * x - 1.0).signum() } else { 2.0 * x - 1.0 };
        let away: Vec<f64> = uniform(len, self.seed, 101).into_iter().map(off_by).collect();
        session.get_mut(off, 0).copy_from_slice(&away);
        for (i, y) in session.tokens_mut(targets, 0).iter_mut().enumerate() {
            *y = (i % self.classes) as u32;
        }
        session.set_scalars(0, [self.eps]);
        session.run(all);
        let read = |id| session.output(all, id, 0);
        let bends = |layer: &BoundedLayer| {
            read(layer.interval[0]).iter().zip(read(layer.interval[1])).any(|(c, r)| c.abs() <= *r)
        };
        let no_bend = !layers.iter().any(bends);
        for (at, (&linear, &of_intervals)) in read(linear).iter().zip(read(intervals)).enumerate() {
            let (i, row) = (at / self.classes, &read(logits)[at / self.classes * self.classes..]);
            let (own, other) = (row[i % self.classes], row[at % self.classes]);
            let rounding = 1e-11 * (1.0 + own.abs() + other.abs() + linear.abs() + of_intervals.abs());
            assert!(other - own <= linear + rounding, "a margin of {} above {linear}", other - own);
            if self.eps == 0.0 {
                assert!((other - own - linear).abs() <= rounding, "a point's margin {} is not {linear}", other - own);
            }
            if no_bend {
                assert!(linear <= of_intervals + rounding, "{linear} is above {of_intervals} of intervals");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// Linear bounds hold, are the margins themselves for points, and where no ReLU bends no intervals are tighter.
    #[test]
    fn no_point_of_the_box_has_a_margin_above_the_linear_bound(network in dense()) {
        network.check();
    }
}
