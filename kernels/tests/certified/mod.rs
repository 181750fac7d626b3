//! Layers of a small certified network: a clean stream, and bounds that share its batch statistics.

use preheat_kernels::graph::{BoundedLayer, Graph, ShapeError, TensorId};
use preheat_kernels::ops::{Activation, Patches};

/// What a layer computes side by side.
#[derive(Clone, Copy)]
pub(crate) struct Streams {
    pub(crate) clean: TensorId,
    pub(crate) centre: TensorId,
    pub(crate) radius: TensorId,
}

impl Streams {
    /// [`Graph::patches`] of each.
    pub(crate) fn patches(self, g: &mut Graph, shape: Patches) -> Result<Self, ShapeError> {
        self.map(|x| g.patches(x, shape))
    }
    /// [`Graph::reshape`] of each.
    pub(crate) fn reshape(self, g: &mut Graph, shape: &[usize]) -> Result<Self, ShapeError> {
        self.map(|x| g.reshape(x, shape))
    }
    fn map(self, mut f: impl FnMut(TensorId) -> Result<TensorId, ShapeError>) -> Result<Self, ShapeError> {
        Ok(Self { clean: f(self.clean)?, centre: f(self.centre)?, radius: f(self.radius)? })
    }
}

/// The parameters of an affine layer with batch normalisation.
#[derive(Clone, Copy)]
pub(crate) struct Layer {
    w: TensorId,
    bias: TensorId,
    gamma: TensorId,
    beta: TensorId,
}

impl Layer {
    pub(crate) fn new(g: &mut Graph, name: &str, inputs: usize, outputs: usize) -> Self {
        Self {
            w: g.param(&format!("{name} w"), &[inputs, outputs]),
            bias: g.param(&format!("{name} bias"), &[outputs]),
            gamma: g.param(&format!("{name} gamma"), &[outputs]),
            beta: g.param(&format!("{name} beta"), &[outputs]),
        }
    }
    /// What the layer makes of its inputs before ReLU, by the clean stream's batch statistics, and of a point among them.
    pub(crate) fn affine(
        self,
        g: &mut Graph,
        x: Streams,
        point: Option<TensorId>,
    ) -> Result<(Streams, Option<TensorId>), ShapeError> {
        self.bounded(g, x, point).map(|(streams, point, _)| (streams, point))
    }
    /// The same, and what linear bounds need to know of the layer.
    pub(crate) fn bounded(
        self,
        g: &mut Graph,
        x: Streams,
        point: Option<TensorId>,
    ) -> Result<(Streams, Option<TensorId>, BoundedLayer), ShapeError> {
        let clean = g.linear(x.clean, self.w, Some(self.bias), None)?;
        let centre = g.linear(x.centre, self.w, Some(self.bias), None)?;
        let size = g.activation(Activation::Abs, self.w);
        let radius = g.linear(x.radius, size, None, None)?;
        let (mean, var) = g.column_moments(clean);
        let rstd = g.rstd(var, 1e-3);
        let scale = g.mul(self.gamma, rstd)?;
        let size = g.activation(Activation::Abs, scale);
        let normed = [mean, scale, self.beta];
        let streams = Streams {
            clean: g.column_affine(clean, normed)?,
            centre: g.column_affine(centre, normed)?,
            radius: g.column_scale(radius, size)?,
        };
        let point = match point {
            None => None,
            Some(point) => {
                let y = g.linear(point, self.w, Some(self.bias), None)?;
                Some(g.column_affine(y, normed)?)
            }
        };
        let interval = [streams.centre, streams.radius];
        Ok((streams, point, BoundedLayer { w: self.w, scale: Some(scale), interval }))
    }
}

/// ReLU of each.
pub(crate) fn relu(g: &mut Graph, x: Streams) -> Result<Streams, ShapeError> {
    let clean = g.activation(Activation::Relu, x.clean);
    let (centre, radius) = g.interval_relu(x.centre, x.radius)?;
    Ok(Streams { clean, centre, radius })
}
