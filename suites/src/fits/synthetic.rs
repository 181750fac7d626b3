//! Tables with a known law, for the tests of the fits.

use super::curve::Point;
use preheat_kernels::rng::Stream;

/// L = E + A/N^α + B/D^β.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truth {
    pub(crate) e: f64,
    pub(crate) a: f64,
    pub(crate) b: f64,
    pub(crate) alpha: f64,
    pub(crate) beta: f64,
}

/// As Besiroglu et al. 2024 print it.
pub(crate) const BESIROGLU: Truth = Truth { e: 1.8172, a: 482.01, b: 2085.43, alpha: 0.3478, beta: 0.3658 };
/// As Hoffmann et al. 2022 print it.
pub(crate) const HOFFMANN: Truth = Truth { e: 1.69, a: 406.4, b: 410.7, alpha: 0.34, beta: 0.28 };

impl Truth {
    pub(crate) fn loss(&self, params: f64, tokens: f64) -> f64 {
        self.e + self.a * libm::pow(params, -self.alpha) + self.b * libm::pow(tokens, -self.beta)
    }

    /// β/(α + β).
    pub(crate) fn exponent(&self) -> f64 {
        self.beta / (self.alpha + self.beta)
    }

    /// N* at `flops` = 6·N·D, in closed form.
    pub(crate) fn optimum(&self, flops: f64) -> f64 {
        let g = libm::pow(self.alpha * self.a / (self.beta * self.b), 1.0 / (self.alpha + self.beta));
        g * libm::pow(flops / 6.0, self.exponent())
    }
}

/// Twelve budgets, a factor 2 apart, each with eleven sizes a factor 1.45 apart about its own optimum, not centred
/// on it; losses with the noise `sigma`, nats a token.
pub(crate) fn grid(truth: &Truth, sigma: f64, seed: u64) -> Vec<Point> {
    let mut points = Vec::new();
    for budget in 0..12_u32 {
        let flops = 1.25e16 * f64::from(1_u32 << budget);
        let mut normals = [0.0f32; 11];
        Stream::new(seed, 77).fill_normal(budget, &mut normals);
        let place = 4.6 + 0.8 * f64::from(Stream::new(seed, 78).uniform(budget, 0));
        for (i, normal) in normals.into_iter().enumerate() {
            let params = truth.optimum(flops) * libm::pow(1.45, i as f64 - place);
            let tokens = flops / (6.0 * params);
            let loss = truth.loss(params, tokens) + sigma * f64::from(normal);
            points.push(Point { flops, params, tokens, loss });
        }
    }
    points
}
