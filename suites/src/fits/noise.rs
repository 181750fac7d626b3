//! How much a loss would differ under another seed: given as a model, or estimated from the curves.

use super::curve::Curve;

/// The noise of a loss L: σ is `low` at or below the loss `from`, `high` at or above `to`, a straight line in log-log
/// between (Porian et al. 2024, `configs.py`).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// σ of small losses, nats a token.
    pub low: f64,
    /// σ of large losses, nats a token.
    pub high: f64,
    /// The loss up to which σ is `low`, nats a token.
    pub from: f64,
    /// The loss from which σ is `high`, nats a token.
    pub to: f64,
}

/// How a [`Noise`] is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading {
    /// As the authors' code does: thresholds that are meant for L are compared with ln L, so that σ is `low` for every
    /// loss below e^`from` (20 nats at 3).
    Coded,
    /// As it is meant.
    Intended,
}

impl Noise {
    /// The thresholds of RefinedWeb, where none are given.
    pub const THRESHOLDS: [f64; 2] = [3.0, 7.0];

    /// The same σ for every loss.
    pub const fn constant(sigma: f64) -> Self {
        let [from, to] = Self::THRESHOLDS;
        Self { low: sigma, high: sigma, from, to }
    }

    /// Whether both readings are the same.
    pub fn is_constant(&self) -> bool {
        self.low == self.high
    }

    /// σ at `loss`, nats a token.
    pub fn sigma(&self, loss: f64, reading: Reading) -> f64 {
        let ln_loss = libm::log(loss);
        let (compared, from, to) = match reading {
            Reading::Coded => (ln_loss, self.from, self.to),
            Reading::Intended => (ln_loss, libm::log(self.from), libm::log(self.to)),
        };
        if compared <= from {
            return self.low;
        }
        if compared >= to {
            return self.high;
        }
        // The code's interpolation does compare ln L with ln of the thresholds.
        let (from, to) = (libm::log(self.from), libm::log(self.to));
        let share = ((ln_loss - from) / (to - from)).clamp(0.0, 1.0);
        libm::exp(libm::log(self.low) + share * (libm::log(self.high) - libm::log(self.low)))
    }
}

/// Sizes of the windows that [`estimate`] looks at: a cubic takes four of the five values, one is left for noise.
const WINDOW: usize = 5;

/// σ of the losses from the curves' own roughness: in each window of five sizes that holds the curve's lowest loss, what
/// a cubic leaves is noise. Curves with four sizes give what a parabola leaves. `None` where no curve has four sizes.
///
/// A curve that bends more sharply than a cubic counts as noise too, so on real curves σ is an upper estimate.
pub fn estimate(curves: &[Curve]) -> Option<f64> {
    let (mut sum, mut n) = (0.0, 0_usize);
    for curve in curves {
        let (k, lowest) = (curve.x.len(), curve.lowest());
        let window = WINDOW.min(k);
        if window < 4 {
            continue;
        }
        for start in lowest.saturating_sub(window - 1)..=lowest.min(k - window) {
            let places = &curve.x[start..start + window];
            let rough = divided_difference(places);
            let size: f64 = rough.iter().map(|r| r * r).sum();
            let left: f64 = rough.iter().zip(&curve.loss[start..]).map(|(r, y)| r * y).sum();
            sum += left * left / size;
            n += 1;
        }
    }
    (n > 0).then(|| (sum / n as f64).sqrt())
}

/// Factors of the highest divided difference over `x`: it vanishes on every polynomial of degree below len − 1.
fn divided_difference(x: &[f64]) -> Vec<f64> {
    let factor = |i: usize| {
        let product: f64 = x.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, other)| x[i] - other).product();
        1.0 / product
    };
    (0..x.len()).map(factor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::assert_close;
    use preheat_kernels::rng::Stream;

    const REFINED_WEB: Noise = Noise { low: 0.002, high: 0.05, from: 3.0, to: 7.0 };

    #[test]
    fn the_code_compares_logarithms_and_stays_low() {
        for loss in [2.0, 3.0, 4.7, 7.0, 12.0, 20.0] {
            assert_eq!(REFINED_WEB.sigma(loss, Reading::Coded), 0.002, "{loss}");
        }
        // e^3 is 20.09: from there the code's own interpolation is past its end.
        assert_eq!(REFINED_WEB.sigma(20.1, Reading::Coded), 0.05);
        assert_eq!(REFINED_WEB.sigma(1e9, Reading::Coded), 0.05);
    }

    #[test]
    fn what_is_meant_is_a_ramp() {
        let sigma = |loss| REFINED_WEB.sigma(loss, Reading::Intended);
        assert_eq!([sigma(2.5), sigma(3.0), sigma(7.0), sigma(9.0)], [0.002, 0.002, 0.05, 0.05]);
        // Halfway in ln L, between geometric means.
        assert_close(sigma(21.0_f64.sqrt()), (0.002_f64 * 0.05).sqrt(), 1e-12);
        let constant = Noise::constant(0.01);
        assert!(constant.is_constant() && !REFINED_WEB.is_constant());
        for reading in [Reading::Coded, Reading::Intended] {
            assert_close(constant.sigma(4.7, reading), 0.01, 1e-14);
        }
    }

    #[test]
    fn the_estimate_is_blind_to_cubics_and_sees_noise() {
        let x: Vec<f64> = [0.0, 0.4, 0.7, 1.2, 1.5, 2.1, 2.4].to_vec();
        let cubic = |x: f64| 4.0 - 1.1 * x + 0.6 * x * x - 0.02 * x * x * x;
        let smooth = Curve { x: x.clone(), loss: x.iter().map(|x| cubic(*x)).collect() };
        assert!(estimate(std::slice::from_ref(&smooth)).unwrap() < 1e-12);
        let noisy: Vec<Curve> = (0..400)
            .map(|step| {
                let mut z = vec![0.0f32; x.len()];
                Stream::new(4, 4).fill_normal(step, &mut z);
                let loss = smooth.loss.iter().zip(z).map(|(y, z)| y + 0.01 * f64::from(z)).collect();
                Curve { x: x.clone(), loss }
            })
            .collect();
        let sigma = estimate(&noisy).unwrap();
        assert!((sigma / 0.01 - 1.0).abs() < 0.06, "{sigma}");
        assert_eq!(estimate(&[Curve { x: x[..3].to_vec(), loss: smooth.loss[..3].to_vec() }]), None);
        assert_eq!(estimate(&[]), None);
    }
}
