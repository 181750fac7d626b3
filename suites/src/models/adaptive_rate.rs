//! Adam's adaptive rate alone, on Gaussian gradients: its variance by simulation beside the theory (Liu et al. 2020, §3.2, §4, §5.3).
//!
//! ψ_t = √((1−β2^t)/v_t), v the moving average of g², g ~ N(mean, 1) independent. In place of the moving average the
//! theory takes the plain one of ρ squares, so ψ² ~ Scale-inv-χ²(ρ, 1), with ρ = ρ_t of `optimizers/radam.rs`. Both are
//! measured. The variance is infinite where ρ ≤ 2 and the theory is stated for ρ > 4, so nothing is measured before step 5.

use super::{Built, Model, Shape};
use crate::optimizers::{lengths, rectification};
use crate::registry::{Entry, ParamDef, ParamKind, Params, Preset};
use crate::stats::beta::ln_beta;
use preheat_kernels::graph::ShapeError;
use preheat_kernels::rng::Stream;
use std::collections::BTreeMap;
use std::f64::consts::{LN_2, PI};

pub(super) const ENTRY: Entry<Box<dyn Model>> = Entry {
    name: "adaptive-rate",
    doc: "Adam's adaptive rate alone: its variance on Gaussian gradients, simulated and in theory",
    params: &[
        ParamDef {
            name: "beta2",
            doc: "decay of the second moment",
            kind: ParamKind::Real { min: 0.0, max: 0.999_999_9 },
            default: Preset::Real(0.999),
        },
        ParamDef {
            name: "mean",
            doc: "mean of the gradients, whose standard deviation is 1",
            kind: ParamKind::Real { min: -1e3, max: 1e3 },
            default: Preset::Real(0.0),
        },
        ParamDef {
            name: "trajectories",
            doc: "independent sequences of gradients",
            kind: ParamKind::Int { min: 2, max: 10_000_000 },
            default: Preset::Int(5000),
        },
        ParamDef {
            name: "horizon",
            doc: "gradients of a sequence",
            kind: ParamKind::Int { min: 5, max: 1_000_000 },
            default: Preset::Int(6000),
        },
    ],
    build: |p: &Params| {
        let (beta2, mean) = (p.real("beta2"), p.real("mean"));
        let (trajectories, horizon) = (p.int("trajectories") as u32, p.size("horizon"));
        Ok(Box::new(AdaptiveRate { beta2, mean, trajectories, horizon }))
    },
};

/// Steps at which the rate is measured, up to the horizon.
const STEPS: [usize; 15] = [5, 6, 8, 10, 16, 20, 32, 64, 100, 256, 500, 512, 1000, 2000, 5000];
/// Degrees of freedom over which the theory's variance is compared with the next.
const FREEDOMS: std::ops::Range<u32> = 5..500;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct AdaptiveRate {
    beta2: f64,
    mean: f64,
    trajectories: u32,
    horizon: usize,
}

impl Model for AdaptiveRate {
    fn parameters(&self, _: usize, _: usize) -> u64 {
        0
    }
    fn step_flops(&self, _: usize, _: usize, _: usize) -> f64 {
        0.0
    }
    fn build(&self, _: &Shape) -> Result<Built, ShapeError> {
        Ok(Built::AdaptiveRate(*self))
    }
}

/// Var\[ψ\] for ψ² ~ Scale-inv-χ²(ρ, 1), ρ > 4 (eq. 2). A difference of two numbers near 1: good to 1e-11 up to ρ = 2000.
fn variance(rho: f64) -> f64 {
    let half = (rho - 1.0) / 2.0;
    let ln_squared_mean = libm::log(rho / PI) + (2.0 * rho - 5.0) * LN_2 + 2.0 * ln_beta(half, half);
    rho / (rho - 2.0) - libm::exp(ln_squared_mean)
}

/// Its first-order form (eq. 5), ρ > 4.
fn first_order(rho: f64) -> f64 {
    rho / (2.0 * (rho - 2.0) * (rho - 4.0))
}

/// Mean and squared deviations of a sample as it grows (Welford 1962).
#[derive(Clone, Copy, Default)]
struct Sample {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Sample {
    fn add(&mut self, x: f64) {
        self.n += 1.0;
        let off = x - self.mean;
        self.mean += off / self.n;
        self.squares += off * (x - self.mean);
    }
    /// Unbiased.
    fn variance(&self) -> f64 {
        self.squares / (self.n - 1.0)
    }
}

/// ψ at one step over all trajectories, with the moving average and with the plain one.
#[derive(Clone, Copy, Default)]
struct AtStep {
    ema: Sample,
    sma: Sample,
}

impl AdaptiveRate {
    /// At each stated step t: `ema_var`, `sma_var` (simulated), `theory_var` (eq. 2 at ρ = t), `first_order_over_theory`
    /// (eq. 5 over it), `rho` (ρ_t), and where the paper rectifies `rectification` (r_t), `rectified_var` (r_t²·Var). Where the
    /// gradients' mean is 0, `ema_over_theory` (at ρ_t) and `sma_over_theory` (at t) too. Over ρ, `theory_fall.min`: the smallest
    /// ratio of the theory's variance to the next. Over steps to the horizon, `rectified_steps` and the first step with r_t
    /// (`rectified_from`), with r_t ≥ 0.5 and with r_t ≥ 0.9.
    pub fn measure(&self, seed: u64) -> BTreeMap<String, f64> {
        let mut out = BTreeMap::new();
        for (t, AtStep { ema, sma }) in self.simulate(seed) {
            let (steps, (_, rho)) = (t as f64, lengths(self.beta2, t as f64));
            let mut put = |name: &str, value: f64| out.insert(format!("{name}.{t}"), value);
            put("ema_var", ema.variance());
            put("sma_var", sma.variance());
            put("theory_var", variance(steps));
            put("first_order_over_theory", first_order(steps) / variance(steps));
            put("rho", rho);
            if let Some(r) = rectification(self.beta2, steps) {
                put("rectification", r);
                put("rectified_var", r * r * ema.variance());
            }
            if self.mean == 0.0 {
                put("sma_over_theory", sma.variance() / variance(steps));
                if rho > 4.0 {
                    put("ema_over_theory", ema.variance() / variance(rho));
                }
            }
        }
        let falls = FREEDOMS.map(|rho| variance(f64::from(rho)) / variance(f64::from(rho + 1)));
        out.insert("theory_fall.min".into(), falls.fold(f64::INFINITY, f64::min));
        self.count_rectified(&mut out);
        out
    }

    fn count_rectified(&self, out: &mut BTreeMap<String, f64>) {
        let rectified: Vec<(usize, f64)> =
            (1..=self.horizon).filter_map(|t| Some((t, rectification(self.beta2, t as f64)?))).collect();
        out.insert("rectified_steps".into(), rectified.len() as f64);
        for (name, least) in [("rectified_from", 0.0), ("half_rectified_from", 0.5), ("most_rectified_from", 0.9)] {
            if let Some((t, _)) = rectified.iter().find(|(_, r)| *r >= least) {
                out.insert(name.into(), *t as f64);
            }
        }
    }

    /// The stated steps with ψ over all trajectories. A gradient is a function of seed, trajectory and step alone.
    fn simulate(&self, seed: u64) -> Vec<(usize, AtStep)> {
        let stated = STEPS.into_iter().filter(|t| *t <= self.horizon);
        let mut at: Vec<(usize, AtStep)> = stated.map(|t| (t, AtStep::default())).collect();
        let last = at.last().map_or(0, |(t, _)| *t);
        let log_beta2 = libm::log1p(-(1.0 - self.beta2));
        let corrections: Vec<f64> = at.iter().map(|(t, _)| -libm::expm1(*t as f64 * log_beta2)).collect();
        let mut noise = vec![0.0f32; last];
        for trajectory in 0..self.trajectories {
            Stream::new(seed, 0).fill_normal(trajectory, &mut noise);
            let (mut average, mut sum, mut from) = (0.0, 0.0, 0);
            for ((t, psi), correction) in at.iter_mut().zip(&corrections) {
                for z in &noise[from..*t] {
                    let g = self.mean + f64::from(*z);
                    average = self.beta2 * average + (1.0 - self.beta2) * (g * g);
                    sum += g * g;
                }
                from = *t;
                psi.ema.add((correction / average).sqrt());
                psi.sma.add((*t as f64 / sum).sqrt());
            }
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(beta2: f64, mean: f64, trajectories: u32, horizon: usize) -> AdaptiveRate {
        AdaptiveRate { beta2, mean, trajectories, horizon }
    }

    /// (E\[ψ\])² = ρ/2·(Γ((ρ−1)/2)/Γ(ρ/2))² without Γ: from ρ to ρ + 2 it takes the factor (ρ+2)/ρ·((ρ−1)/ρ)².
    fn by_recurrence(rho: u32) -> f64 {
        // Γ(2)/Γ(5/2) = 4/(3√π) and Γ(5/2)/Γ(3) = 3√π/8.
        let (mut at, mut squared_mean) =
            if rho % 2 == 1 { (5.0, 2.5 * 16.0 / (9.0 * PI)) } else { (6.0, 3.0 * 9.0 * PI / 64.0) };
        while at < f64::from(rho) {
            let gammas: f64 = (at - 1.0) / at;
            squared_mean *= (at + 2.0) / at * gammas * gammas;
            at += 2.0;
        }
        at / (at - 2.0) - squared_mean
    }

    #[test]
    fn the_variance_is_that_of_the_closed_form() {
        for rho in 5..=2000 {
            let (ours, exact) = (variance(f64::from(rho)), by_recurrence(rho));
            assert!((ours - exact).abs() < 2e-11, "{rho}: {ours} {exact}");
        }
        assert!((variance(5.0) - (5.0 / 3.0 - 40.0 / (9.0 * PI))).abs() < 1e-14);
    }

    #[test]
    fn the_variance_falls_and_its_first_order_form_overstates_it_at_small_rho() {
        assert!((variance(5.0) / variance(500.0) - 250.0).abs() < 1.0);
        for (rho, ratio) in [(5.0, 3.31), (6.0, 2.15), (10.0, 1.38), (20.0, 1.14), (100.0, 1.02)] {
            assert!((first_order(rho) / variance(rho) - ratio).abs() < 0.006, "{rho}");
        }
        let metrics = rate(0.999, 0.0, 2, 6).measure(1);
        assert!(metrics["theory_fall.min"] > 1.0);
    }

    #[test]
    fn simulation_agrees_with_theory_where_the_mean_is_zero() {
        let metrics = rate(0.999, 0.0, 40_000, 100).measure(3);
        for t in [6, 10, 20, 100] {
            let ratio = metrics[&format!("sma_over_theory.{t}")];
            assert!((ratio - 1.0).abs() < 0.1, "{t}: {ratio}");
        }
        assert!(!rate(0.999, 0.1, 2, 100).measure(3).contains_key("sma_over_theory.20"));
    }

    /// Streams are counted: more trajectories or a longer horizon leave the earlier values as they are.
    #[test]
    fn a_longer_horizon_changes_nothing_before_it() {
        let (short, long) = (rate(0.99, 0.5, 50, 20).measure(2), rate(0.99, 0.5, 50, 600).measure(2));
        for t in [5, 6, 8, 10, 16, 20] {
            for name in ["ema_var", "sma_var", "rectified_var"] {
                let name = format!("{name}.{t}");
                assert_eq!(short[&name].to_bits(), long[&name].to_bits(), "{name}");
            }
        }
        assert_ne!(short["ema_var.20"], rate(0.99, 0.5, 50, 20).measure(4)["ema_var.20"]);
    }

    #[test]
    fn nothing_is_measured_where_the_variance_is_infinite() {
        for name in rate(0.999, 0.0, 3, 64).measure(1).keys() {
            let step = name.rsplit_once('.').and_then(|(_, t)| t.parse::<usize>().ok());
            assert!(step.is_none_or(|t| t >= 5), "{name}");
        }
    }

    /// R13, and the steps of the table of r_t.
    #[test]
    fn rectified_steps_are_the_optimizers() {
        for (beta2, count) in [(0.5, 0.0), (0.6, 0.0), (0.999, 5996.0)] {
            let metrics = rate(beta2, 0.0, 2, 6000).measure(1);
            assert_eq!(metrics["rectified_steps"], count, "{beta2}");
            assert_eq!(metrics.contains_key("rectification.100"), count > 0.0);
        }
        let metrics = rate(0.99, 0.0, 2, 1000).measure(1);
        let from = ["rectified_from", "half_rectified_from", "most_rectified_from"].map(|name| metrics[name]);
        assert_eq!(from, [5.0, 61.0, 277.0]);
        assert!((metrics["rectification.100"] - 0.63412).abs() < 1e-5);
    }
}
