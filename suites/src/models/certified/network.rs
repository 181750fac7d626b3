//! The graph: clean images, centres and radii side by side.

use super::{Bounds, Certified, KERNEL, Layer, Start};
use crate::models::{Init, Network, Shape};
use preheat_kernels::graph::{BoundedLayer, Graph, ShapeError, TensorId};
use preheat_kernels::ops::{Activation, IntervalPenalty, Patches};

/// Added to variances, and the weight of a new batch in the running statistics: PyTorch's.
const EPS: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// A weight with its bias.
#[derive(Clone, Copy)]
struct Affine {
    w: TensorId,
    /// |w|.
    size: TensorId,
    /// Absent before a batch norm, whose shift takes its place.
    bias: Option<TensorId>,
}

/// Batch norm's parameters and running statistics.
#[derive(Clone, Copy)]
struct Norm {
    gamma: TensorId,
    /// |γ|.
    size: TensorId,
    beta: TensorId,
    running_mean: TensorId,
    running_var: TensorId,
}

/// What flows through the network.
#[derive(Clone, Copy)]
struct Streams {
    /// The image itself; in training only as far as batch norm needs it.
    clean: TensorId,
    centre: TensorId,
    radius: TensorId,
}

/// What came of the hidden layers.
struct Passed {
    streams: Streams,
    /// Of the image.
    radius: TensorId,
    /// As linear bounds go back through them.
    layers: Vec<BoundedLayer>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Statistics of the batch.
    Train,
    /// Running statistics; everything is measured.
    Evaluate,
}

pub(super) struct Builder<'m> {
    model: &'m Certified,
    shape: Shape,
    hidden: Vec<Layer>,
    graph: Graph,
    init: Vec<(TensorId, Init)>,
    states: Vec<TensorId>,
}

impl<'m> Builder<'m> {
    pub(super) fn new(model: &'m Certified, shape: Shape, hidden: Vec<Layer>) -> Self {
        Self { model, shape, hidden, graph: Graph::new(), init: Vec::new(), states: Vec::new() }
    }

    pub(super) fn network(mut self) -> Result<Network, ShapeError> {
        let (batch, pixels) = (self.shape.batch, self.shape.seq);
        let inputs = self.graph.tokens("inputs", batch * pixels);
        let targets = self.graph.tokens("targets", batch);
        let layers: Vec<(Affine, Option<Norm>)> = (0..self.hidden.len()).map(|i| self.layer(i)).collect();
        let last = self.last();
        let image = self.graph.pixels(inputs, &[batch, pixels])?;
        let [eps, lambda] = [0, 1].map(|i| self.graph.host_scalar(i));
        let certified_eps = self.graph.input("eps", &[1]);
        self.init.push((certified_eps, Init::Constant(self.model.eps as f32)));

        let mut penalties = Vec::new();
        let passed = self.pass(Mode::Train, image, eps, &layers, &mut penalties)?;
        let margins = self.margins(&passed, last, targets)?;
        let (robust, _) = self.graph.cross_entropy(margins, targets, self.shape.label_smoothing)?;
        let loss = self.regularised(robust, lambda, &penalties)?;

        let mut sums = Vec::new();
        let Passed { streams, .. } = self.pass(Mode::Evaluate, image, certified_eps, &layers, &mut sums)?;
        let logits = self.graph.linear(streams.clean, last.w, last.bias, None)?;
        let margins = self.graph.worst_margins([streams.centre, streams.radius], last.w, last.bias, targets)?;
        let (eval_loss, _) = self.graph.cross_entropy(margins, targets, 0.0)?;
        let mut measured = vec![self.graph.errors(logits, targets)?, self.graph.errors(margins, targets)?];
        measured.extend(sums);
        let Self { graph, init, states, .. } = self;
        let (hidden, ffn_out) = (Vec::new(), Vec::new());
        Ok(Network { graph, inputs, targets, loss, eval_loss, hidden, ffn_out, init, states, measured })
    }

    /// The worst margins of the training loss.
    fn margins(&mut self, passed: &Passed, last: Affine, targets: TensorId) -> Result<TensorId, ShapeError> {
        let Passed { streams: Streams { centre, radius, .. }, layers, .. } = passed;
        let intervals = self.graph.worst_margins([*centre, *radius], last.w, last.bias, targets)?;
        if self.model.bounds == Bounds::Ibp {
            return Ok(intervals);
        }
        let share = self.graph.host_scalar(2);
        let logits = self.graph.linear(*centre, last.w, last.bias, None)?;
        let linear = self.graph.linear_margins(passed.radius, layers, [logits, last.w], targets)?;
        self.graph.mix(share, intervals, linear)
    }

    fn param(&mut self, name: &str, shape: &[usize], init: Init) -> TensorId {
        let id = self.graph.param(name, shape);
        self.init.push((id, init));
        id
    }

    fn affine(&mut self, name: &str, [inputs, units]: [usize; 2], init: Init, has_bias: bool) -> Affine {
        let w = self.param(&format!("{name}.w"), &[inputs, units], init);
        let bias = has_bias.then(|| self.param(&format!("{name}.b"), &[units], Init::Constant(0.0)));
        Affine { w, size: self.graph.activation(Activation::Abs, w), bias }
    }

    fn layer(&mut self, i: usize) -> (Affine, Option<Norm>) {
        let layer = self.hidden[i];
        let name = format!("layer.{i}");
        let has_norm = self.model.has_norm(&layer);
        let affine = self.affine(&name, [layer.inputs, layer.units], self.model.init.of(&layer), !has_norm);
        let norm = has_norm.then(|| {
            let mut param = |part: &str, x| self.param(&format!("{name}.{part}"), &[layer.units], Init::Constant(x));
            let (gamma, beta) = (param("gamma", 1.0), param("beta", 0.0));
            let size = self.graph.activation(Activation::Abs, gamma);
            let [running_mean, running_var] = [("mean", 0.0), ("var", 1.0)].map(|(part, x)| {
                let id = self.graph.state(&format!("{name}.running_{part}"), &[layer.units]);
                self.init.push((id, Init::Constant(x)));
                id
            });
            Norm { gamma, size, beta, running_mean, running_var }
        });
        (affine, norm)
    }

    /// The classifier, which the IBP initialisation leaves as it is.
    fn last(&mut self) -> Affine {
        let sizes = [Certified::last_inputs(&self.hidden), self.shape.vocab];
        let start = if self.model.init == Start::Ibp { Start::Uniform } else { self.model.init };
        let layer = Layer { inputs: sizes[0], units: sizes[1], places: 1, conv: None };
        self.affine("last", sizes, start.of(&layer), true)
    }

    /// Through the hidden layers. `seen` gets a layer's penalty in training, where there is one, and its sums in evaluation.
    fn pass(
        &mut self,
        mode: Mode,
        image: TensorId,
        eps: TensorId,
        layers: &[(Affine, Option<Norm>)],
        seen: &mut Vec<TensorId>,
    ) -> Result<Passed, ShapeError> {
        let (centre, radius) = self.graph.input_box(image, eps, [0.0, 1.0])?;
        let first = self.graph.mean(radius);
        if mode == Mode::Evaluate {
            seen.push(first);
        }
        let (mut streams, mut bounded, input_radius) = (Streams { clean: image, centre, radius }, Vec::new(), radius);
        for (i, (affine, norm)) in layers.iter().enumerate() {
            streams = self.multiply(i, streams, *affine)?;
            let mut scale = None;
            if let Some(norm) = norm {
                let normalised = self.normalise(mode, streams, *norm)?;
                (streams, scale) = (normalised.0, Some(normalised.1));
            }
            let Streams { clean, centre, radius } = streams;
            bounded.push(BoundedLayer { w: affine.w, scale, interval: [centre, radius] });
            let (tightness, balance) = (self.model.tightness, self.model.relu_balance);
            let penalty = IntervalPenalty { width: 0, tau: self.model.tau, tightness, balance };
            if mode == Mode::Evaluate || self.model.is_regularised() {
                let (value, sums) = self.graph.interval_penalty(centre, radius, first, penalty)?;
                seen.push(if mode == Mode::Evaluate { sums } else { value });
            }
            let (centre, radius) = self.graph.interval_relu(centre, radius)?;
            streams = Streams { clean: self.graph.activation(Activation::Relu, clean), centre, radius };
        }
        Ok(Passed { streams, radius: input_radius, layers: bounded })
    }

    /// A layer's product. Centres move with the weights, radii with their size.
    fn multiply(&mut self, i: usize, streams: Streams, affine: Affine) -> Result<Streams, ShapeError> {
        let mut of = |x: TensorId, w: TensorId, bias: Option<TensorId>| {
            let rows = self.rows(i, x)?;
            self.graph.linear(rows, w, bias, None)
        };
        Ok(Streams {
            clean: of(streams.clean, affine.w, affine.bias)?,
            centre: of(streams.centre, affine.w, affine.bias)?,
            radius: of(streams.radius, affine.size, None)?,
        })
    }

    /// What layer `i` multiplies: windows of the image, or the image as a row.
    fn rows(&mut self, i: usize, x: TensorId) -> Result<TensorId, ShapeError> {
        let (layer, batch) = (self.hidden[i], self.shape.batch);
        match layer.conv {
            Some([side, channels, stride]) => {
                let patches =
                    Patches { batch, height: side, width: side, channels, kernel: KERNEL, stride, padding: 1 };
                self.graph.patches(x, patches)
            }
            None if self.graph.tensor(x).width() != layer.inputs => self.graph.reshape(x, &[batch, layer.inputs]),
            None => Ok(x),
        }
    }

    /// The streams, and what each unit was multiplied by.
    fn normalise(&mut self, mode: Mode, streams: Streams, norm: Norm) -> Result<(Streams, TensorId), ShapeError> {
        let (mean, var) = match mode {
            Mode::Train => {
                let (mean, var) = self.graph.column_moments(streams.clean);
                let rows = self.graph.tensor(streams.clean).rows() as f64;
                let unbiased = self.graph.scale(rows / (rows - 1.0).max(1.0), var);
                self.graph.ema(norm.running_mean, mean, MOMENTUM)?;
                self.graph.ema(norm.running_var, unbiased, MOMENTUM)?;
                self.states.extend([norm.running_mean, norm.running_var]);
                (mean, var)
            }
            Mode::Evaluate => (norm.running_mean, norm.running_var),
        };
        let rstd = self.graph.rstd(var, EPS);
        let (scale, size) = (self.graph.mul(norm.gamma, rstd)?, self.graph.mul(norm.size, rstd)?);
        let parts = [mean, scale, norm.beta];
        let streams = Streams {
            clean: self.graph.column_affine(streams.clean, parts)?,
            centre: self.graph.column_affine(streams.centre, parts)?,
            radius: self.graph.column_scale(streams.radius, size)?,
        };
        Ok((streams, scale))
    }

    /// robust + λ/m·Σ penalties over the m hidden layers.
    fn regularised(
        &mut self,
        robust: TensorId,
        lambda: TensorId,
        penalties: &[TensorId],
    ) -> Result<TensorId, ShapeError> {
        let Some((first, rest)) = penalties.split_first() else { return Ok(robust) };
        let total = rest.iter().try_fold(*first, |sum, penalty| self.graph.add(sum, *penalty))?;
        let mean = self.graph.scale(1.0 / penalties.len() as f64, total);
        let weighted = self.graph.mul(lambda, mean)?;
        self.graph.add(robust, weighted)
    }
}

impl Start {
    fn of(self, layer: &Layer) -> Init {
        let n = layer.inputs as f64;
        match self {
            Self::Ibp => Init::Normal(libm::sqrt(2.0 * std::f64::consts::PI) / n),
            Self::Uniform => Init::Uniform(1.0 / n.sqrt()),
            Self::Xavier => Init::Uniform((6.0 / (n + layer.fan_out())).sqrt()),
            Self::Kaiming => Init::Normal((2.0 / n).sqrt()),
        }
    }
}

impl Layer {
    /// Units that an input reaches, as Glorot counts them: a window's places for each channel.
    fn fan_out(&self) -> f64 {
        (self.units * if self.conv.is_some() { KERNEL * KERNEL } else { 1 }) as f64
    }

    /// E|w| of what [`Start::of`] draws.
    pub(super) fn mean_size(&self, start: Start) -> f64 {
        match start.of(self) {
            Init::Normal(std) => (2.0 / std::f64::consts::PI).sqrt() * std,
            Init::Uniform(bound) => bound / 2.0,
            other => unreachable!("{other:?} is no weight's"),
        }
    }
}
