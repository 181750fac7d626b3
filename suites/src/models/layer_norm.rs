//! Layer normalisation alone: ‖J_LN(x)‖₂ = √d/‖x − mean(x)‖ (Xiong et al. 2020, Lemma 3).

use super::{Built, Model, Shape};
use crate::registry::{Entry, ParamDef, ParamKind, Params, Preset};
use preheat_kernels::device::{Device, DeviceError, Place};
use preheat_kernels::graph::{Graph, ShapeError, TensorId};
use preheat_kernels::real::Real;
use preheat_kernels::rng::Stream;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const ENTRY: Entry<Box<dyn Model>> = Entry {
    name: "layer-norm",
    doc: "layer normalisation alone: the spectral norm of its Jacobian at a Gaussian input",
    params: &[
        ParamDef { name: "width", doc: "d", kind: ParamKind::Int { min: 3, max: 65_536 }, default: Preset::Required },
        ParamDef {
            name: "input_scale",
            doc: "standard deviation of the input's elements",
            kind: ParamKind::Real { min: 1e-2, max: 1e4 },
            default: Preset::Real(1.0),
        },
    ],
    build: |p: &Params| Ok(Box::new(LayerNorm { width: p.size("width"), scale: p.real("input_scale") })),
};

struct LayerNorm {
    width: usize,
    scale: f64,
}

impl Model for LayerNorm {
    fn parameters(&self, _: usize, _: usize) -> u64 {
        2 * self.width as u64
    }
    fn step_flops(&self, _: usize, _: usize, _: usize) -> f64 {
        0.0
    }
    fn build(&self, _: &Shape) -> Result<Built, ShapeError> {
        let (mut graph, d) = (Graph::new(), self.width);
        let (x, cotangent) = (graph.input("x", &[1, d]), graph.input("cotangent", &[1, d]));
        let (gamma, beta) = (graph.param("gamma", &[d]), graph.param("beta", &[d]));
        let y = graph.layer_norm(x, gamma, beta, 1e-5)?;
        let product = graph.backward_from(y, cotangent, &[x]).get(x).expect("y depends on x");
        Ok(Built::NormJacobian(NormJacobian { graph, x, cotangent, gamma, product, scale: self.scale }))
    }
}

/// A layer normalisation and its vector–Jacobian product.
pub struct NormJacobian {
    graph: Graph,
    x: TensorId,
    cotangent: TensorId,
    gamma: TensorId,
    product: TensorId,
    scale: f64,
}

/// Power iterations. The Jacobian is a multiple of a projection, so two would do.
const ITERATIONS: u32 = 20;

impl NormJacobian {
    /// `jacobian_norm` by power iteration on the vector–Jacobian product (the Jacobian is symmetric where
    /// γ = 1), and `jacobian_over_theory`, its ratio to √d/‖x − mean(x)‖.
    ///
    /// # Errors
    /// The device failed.
    pub fn measure(self, seed: u64, device: &dyn Device) -> Result<BTreeMap<String, f64>, DeviceError> {
        let Self { graph, x, cotangent, gamma, product, scale } = self;
        let width = graph.tensor(x).len();
        let normal = |stream| {
            let mut values = vec![0.0; width];
            Stream::new(seed, stream).fill_normal(0, &mut values);
            values
        };
        let program = Arc::new(graph.compile(1, &[("product", &[product])]));
        let entry = program.entry("product").expect("just compiled");
        let mut session = device.session(&program)?;
        let mut input = normal(0);
        for value in &mut input {
            *value *= f32::from_f64(scale);
        }
        session.write(Place::Tensor(gamma), 0, &vec![1.0; width])?;
        session.write(Place::Tensor(x), 0, &input)?;
        let mut direction = normal(1);
        let mut spectral = 0.0;
        for _ in 0..ITERATIONS {
            session.write(Place::Tensor(cotangent), 0, &direction)?;
            session.run(entry)?;
            let image = session.read(Place::Output(entry, product), 0)?;
            let after = norm(&image);
            spectral = after / norm(&direction);
            for (u, v) in direction.iter_mut().zip(&*image) {
                *u = (f64::from(*v) / after) as f32;
            }
        }
        let x = input;
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / x.len() as f64;
        let centred = x.iter().map(|&v| (f64::from(v) - mean) * (f64::from(v) - mean)).sum::<f64>().sqrt();
        let theory = (x.len() as f64).sqrt() / centred;
        Ok(BTreeMap::from([
            ("jacobian_norm".to_string(), spectral),
            ("jacobian_over_theory".to_string(), spectral / theory),
        ]))
    }
}

fn norm(x: &[f32]) -> f64 {
    x.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt()
}
