//! A ReLU network trained on its certified loss: interval bounds of what an adversary within ε of the image can reach
//! (Gowal et al. 2018, IBP), with the short warm-up of Shi et al. 2021: initialisation, batch norm, two regularisers.
//!
//! The hidden layers are 3×3 convolutions, then dense layers, each followed by batch norm (where asked for) and ReLU. The first
//! two convolutions have `conv_channels` channels; the third has stride 2, and from it on there are twice as many: five of 64,
//! then one dense layer of 512, is the paper's CNN-7. The loss is cross-entropy of the worst margins, the last layer merged with
//! the comparison of classes, plus λ·(L_tightness + L_relu) as far as asked for.
//!
//! At step s, counted from 0, ε follows auto_LiRPA's smoothed schedule and λ = `lambda0`·(1 − ε/`eps`). Unlike there, ε
//! is never below 1e-12: bounds are kept as centre and radius, so the loss then is plain cross-entropy and the regularisers'
//! ratios are those of the limit. A layer has a bias, 0 at first, where no batch norm follows. Images are in \[0, 1\] and not normalised.
//!
//! With `bounds: crown-ibp` the training loss is that of margins which are κ·CROWN + (1 − κ)·IBP, κ = 1 − ε/`eps`, 0 below 1e-5:
//! linear bounds taken back through the dense layers, whose ReLUs' intervals are IBP's (Zhang et al. 2020). What is measured
//! stays pure IBP.

mod measure;
mod network;

pub(crate) use measure::NAMES as BOUND_MEASURES;

use super::{Built, Model, Shape};
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};
use crate::tasks::Asks;
use network::Builder;
use preheat_kernels::graph::ShapeError;
use std::collections::BTreeMap;

const fn def(name: &'static str, doc: &'static str, kind: ParamKind, default: Preset) -> ParamDef {
    ParamDef { name, doc, kind, default }
}
const fn size(name: &'static str, doc: &'static str, default: Preset) -> ParamDef {
    def(name, doc, ParamKind::Int { min: 1, max: 65_536 }, default)
}
const LAYERS: ParamKind = ParamKind::Int { min: 0, max: 1024 };
const fn flag(name: &'static str, doc: &'static str) -> ParamDef {
    def(name, doc, ParamKind::Flag, Preset::Flag(false))
}

pub(super) const ENTRY: Entry<Box<dyn Model>> = Entry {
    name: "certified",
    doc: "ReLU network trained on interval bounds of its worst case",
    params: &[
        def("conv_layers", "3×3 convolutions", LAYERS, Preset::Int(0)),
        size("conv_channels", "of the first two convolutions; twice as many from the third on", Preset::Int(16)),
        size("channels", "of the image", Preset::Int(1)),
        def("layers", "hidden dense layers", LAYERS, Preset::Int(1)),
        size("width", "of a hidden dense layer", Preset::Int(128)),
        def(
            "init",
            "weights at initialisation, n inputs a unit: ibp is N(0, 2π/n²) and leaves the last layer as uniform has it; uniform is \
             U(±1/√n), PyTorch's default; xavier is Glorot's uniform; kaiming is N(0, 2/n)",
            ParamKind::Choice(&["ibp", "uniform", "xavier", "kaiming"]),
            Preset::Text("uniform"),
        ),
        def(
            "batch_norm",
            "after which hidden layers, with the statistics of the clean batch",
            ParamKind::Choice(&["none", "conv", "full"]),
            Preset::Text("none"),
        ),
        def(
            "bounds",
            "of the training loss: crown-ibp mixes linear bounds in, with weight 1 at eps 0 and 0 at its value",
            ParamKind::Choice(&["ibp", "crown-ibp"]),
            Preset::Text("ibp"),
        ),
        flag("tightness", "L_tightness: bounds may be at most 1/tau times as wide as the input's"),
        flag("relu_balance", "L_relu: active and inactive units within a factor tau of each other"),
        def(
            "lambda0",
            "weight of the regularisers at eps 0",
            ParamKind::Real { min: 0.0, max: 1e3 },
            Preset::Real(0.5),
        ),
        def("tau", "ratio from which a regulariser is 0", ParamKind::Real { min: 1e-3, max: 1.0 }, Preset::Real(0.5)),
        def(
            "eps",
            "radius to certify, l_inf, pixels in [0, 1]",
            ParamKind::Real { min: 1e-6, max: 1.0 },
            Preset::Required,
        ),
        def(
            "clean_steps",
            "steps at eps 0 before the warm-up",
            ParamKind::Int { min: 0, max: 10_000_000 },
            Preset::Int(0),
        ),
        def(
            "eps_warmup_steps",
            "steps in which eps rises to its value",
            ParamKind::Int { min: 0, max: 10_000_000 },
            Preset::Int(0),
        ),
    ],
    build: |p: &Params| Ok(Box::new(Certified::new(p)?)),
};

/// Where auto_LiRPA's smoothed schedule turns from a power to a line, and the power.
const MID: f64 = 0.25;
const POWER: f64 = 4.0;
/// The least ε.
const LEAST_EPS: f64 = 1e-12;
/// The least weight of linear bounds.
const LEAST_SHARE: f64 = 1e-5;

/// The model's hyper-parameters.
#[derive(Clone, Debug)]
pub(super) struct Certified {
    conv_layers: usize,
    conv_channels: usize,
    channels: usize,
    layers: usize,
    width: usize,
    init: Start,
    batch_norm: BatchNorm,
    bounds: Bounds,
    tightness: bool,
    relu_balance: bool,
    lambda0: f64,
    tau: f64,
    eps: f64,
    clean_steps: f64,
    eps_warmup_steps: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Ibp,
    Uniform,
    Xavier,
    Kaiming,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BatchNorm {
    None,
    Conv,
    Full,
}

/// What bounds the margins of the training loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bounds {
    Ibp,
    CrownIbp,
}

/// A hidden layer's sizes: `inputs` a unit, `units` (channels of a convolution), `places` where they are computed in one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layer {
    inputs: usize,
    units: usize,
    places: usize,
    /// Side, channels and stride of the image that is convolved.
    conv: Option<[usize; 3]>,
}

/// Side of a window.
const KERNEL: usize = 3;

impl Certified {
    fn new(p: &Params) -> Result<Self, Invalid> {
        let model = Self {
            conv_layers: p.size("conv_layers"),
            conv_channels: p.size("conv_channels"),
            channels: p.size("channels"),
            layers: p.size("layers"),
            width: p.size("width"),
            init: match p.text("init") {
                "ibp" => Start::Ibp,
                "xavier" => Start::Xavier,
                "kaiming" => Start::Kaiming,
                _ => Start::Uniform,
            },
            batch_norm: match p.text("batch_norm") {
                "conv" => BatchNorm::Conv,
                "full" => BatchNorm::Full,
                _ => BatchNorm::None,
            },
            bounds: if p.text("bounds") == "crown-ibp" { Bounds::CrownIbp } else { Bounds::Ibp },
            tightness: p.flag("tightness"),
            relu_balance: p.flag("relu_balance"),
            lambda0: p.real("lambda0"),
            tau: p.real("tau"),
            eps: p.real("eps"),
            clean_steps: p.int("clean_steps") as f64,
            eps_warmup_steps: p.int("eps_warmup_steps") as f64,
        };
        if model.conv_layers + model.layers == 0 {
            return Err(Invalid::new("layers", "is 0 without convolutions; allowed: at least one hidden layer"));
        }
        if model.batch_norm == BatchNorm::Conv && model.conv_layers == 0 {
            return Err(Invalid::new("batch_norm", "is conv without convolutions; allowed: none, full"));
        }
        if model.bounds == Bounds::CrownIbp && model.conv_layers > 0 {
            return Err(Invalid::new("bounds", "is crown-ibp with convolutions; allowed: ibp"));
        }
        Ok(model)
    }

    /// The hidden layers for images of `pixels` numbers; `None` where those are no square.
    fn hidden(&self, pixels: usize) -> Option<Vec<Layer>> {
        let side = (pixels / self.channels).isqrt();
        (side * side * self.channels == pixels).then(|| self.layers_from(side).collect())
    }

    /// The hidden layers for square images, which it allocates no room for.
    fn layers_from(&self, side: usize) -> impl Iterator<Item = Layer> + '_ {
        // What a layer gets: an image's side and channels, or a row of 1×1.
        let first = (side, self.channels);
        (0..self.conv_layers + self.layers).scan(first, |(side, channels), i| {
            let layer = if i < self.conv_layers {
                let (units, stride) = (self.conv_channels * if i < 2 { 1 } else { 2 }, if i == 2 { 2 } else { 1 });
                let conv = Some([*side, *channels, stride]);
                *side = side.div_ceil(stride);
                Layer { inputs: KERNEL * KERNEL * *channels, units, places: *side * *side, conv }
            } else {
                let inputs = *side * *side * *channels;
                *side = 1;
                Layer { inputs, units: self.width, places: 1, conv: None }
            };
            *channels = layer.units;
            Some(layer)
        })
    }

    /// Inputs of the last layer.
    fn last_inputs(hidden: &[Layer]) -> usize {
        hidden.last().map_or(0, |layer| layer.units * layer.places)
    }

    fn has_norm(&self, layer: &Layer) -> bool {
        match self.batch_norm {
            BatchNorm::None => false,
            BatchNorm::Conv => layer.conv.is_some(),
            BatchNorm::Full => true,
        }
    }

    /// ε after `s` steps: 0, then a·(s − T0)^4 up to a quarter of the warm-up, then a line to the whole.
    fn eps_at(&self, s: f64) -> f64 {
        let (start, end) = (self.clean_steps, self.clean_steps + self.eps_warmup_steps);
        let middle = start + (MID * (end - start)).floor();
        let (power, line) = (middle - start, end - middle);
        if s >= end {
            self.eps
        } else if s <= start {
            0.0
        } else {
            let slope = libm::pow(power, POWER - 1.0);
            let a = self.eps / (line * POWER * slope + power * slope);
            // Where the warm-up is too short for a power there is the line alone.
            let at_middle = if power > 0.0 { a * libm::pow(power, POWER) } else { 0.0 };
            if s < middle {
                a * libm::pow(s - start, POWER)
            } else {
                (at_middle + (self.eps - at_middle) * ((s - middle) / line)).min(self.eps)
            }
        }
    }

    /// λ at this ε.
    fn lambda_at(&self, eps: f64) -> f64 {
        self.lambda0 * (1.0 - eps / self.eps)
    }

    /// The weight of linear bounds at this ε.
    fn linear_share_at(&self, eps: f64) -> f64 {
        let share = (self.eps - eps) / self.eps;
        if share < LEAST_SHARE { 0.0 } else { share }
    }

    /// Floating point operations an image and step of linear bounds: a row a class back through each layer, no gradient of
    /// the classes' contrasts; the logits that they start from.
    fn linear_flops(hidden: &[Layer], classes: usize) -> f64 {
        let layers: usize = hidden.iter().map(|layer| 6 * classes * layer.inputs * layer.units).sum();
        (layers + (4 * classes + 6) * classes * Self::last_inputs(hidden)) as f64
    }

    const fn is_regularised(&self) -> bool {
        self.lambda0 > 0.0 && (self.tightness || self.relu_balance)
    }
}

impl Model for Certified {
    fn parameters(&self, classes: usize, pixels: usize) -> u64 {
        let hidden = self.hidden(pixels).unwrap_or_default();
        let of = |layer: &Layer| layer.units * (layer.inputs + if self.has_norm(layer) { 2 } else { 1 });
        let all: usize = hidden.iter().map(of).sum();
        (all + classes * (Self::last_inputs(&hidden) + 1)) as u64
    }

    fn step_flops(&self, batch: usize, classes: usize, pixels: usize) -> f64 {
        let hidden = self.hidden(pixels).unwrap_or_default();
        // A layer's clean stream is there where a batch norm at or behind it needs its statistics.
        let clean_layers = hidden.iter().rposition(|layer| self.has_norm(layer)).map_or(0, |last| last + 1);
        let of = |(i, layer): (usize, &Layer)| {
            let streams = if i < clean_layers { 3 } else { 2 };
            // No gradient of the image.
            let passes = if i == 0 { 2 } else { 3 };
            (2 * passes * streams * layer.places * layer.inputs * layer.units) as f64
        };
        let last = (6 * Self::last_inputs(&hidden) * (classes + classes * classes)) as f64;
        let linear = if self.bounds == Bounds::CrownIbp { Self::linear_flops(&hidden, classes) } else { 0.0 };
        batch as f64 * (hidden.iter().enumerate().map(of).sum::<f64>() + last + linear)
    }

    fn answers(&self) -> Option<Asks> {
        Some(Asks::Label)
    }

    fn has_signal(&self) -> bool {
        false
    }

    fn build(&self, shape: &Shape) -> Result<Built, ShapeError> {
        if shape.targets != 1 {
            return Err(ShapeError("certified needs a task with a label an image; allowed: images".into()));
        }
        let hidden = self.hidden(shape.seq).ok_or_else(|| {
            let (pixels, channels) = (shape.seq, self.channels);
            ShapeError(format!("{pixels} numbers an image are no square of {channels} channels"))
        })?;
        Builder::new(self, *shape, hidden).network().map(|n| Built::Network(Box::new(n)))
    }

    fn scalars(&self) -> &'static [&'static str] {
        match self.bounds {
            Bounds::Ibp => &["eps", "lambda"],
            Bounds::CrownIbp => &["eps", "lambda", "linear_share"],
        }
    }

    fn write_scalars(&self, step: u64, out: &mut Vec<f64>) {
        let eps = self.eps_at((step - 1) as f64);
        out.extend([eps.max(LEAST_EPS), self.lambda_at(eps)]);
        if self.bounds == Bounds::CrownIbp {
            out.push(self.linear_share_at(eps));
        }
    }

    fn measures(&self) -> &'static [&'static str] {
        &measure::NAMES
    }

    fn measure(&self, [batch, pixels]: [usize; 2], means: &[f64], out: &mut Vec<f64>) {
        let side = (pixels / self.channels).isqrt();
        measure::all(self.tau, self.layers_from(side), batch, means, out);
    }

    fn initial(&self, [batch, pixels]: [usize; 2], means: &[f64]) -> BTreeMap<String, f64> {
        measure::gains(self, &self.hidden(pixels).unwrap_or_default(), batch, means)
    }
}

#[cfg(test)]
mod tests;
