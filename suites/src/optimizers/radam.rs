//! RAdam (Liu et al. 2020, Algorithm 2) in its published variants, and with a window of steps that are not rectified
//! (their Table 3).
//!
//! m ← β1·m + (1−β1)·g;  v ← β2·v + (1−β2)·g²;  ρ∞ = 2/(1−β2) − 1;  ρ_t = ρ∞ − 2t·β2^t/(1−β2^t), t counted from 1
//! rectified: p ← keep·p − lr·r_t·m̂·√(1−β2^t)/(√v + ε),  r_t = √((ρ_t−4)(ρ_t−2)ρ∞ / ((ρ∞−4)(ρ∞−2)ρ_t))
//! else:      p ← keep·p − lr·m̂ (momentum SGD),  m̂ = m/(1−β1^t),  keep = 1 − lr·weight_decay
//!
//! | variant   | rectified where | else |
//! |---|---|---|
//! | `paper`   | ρ_t > 4, first at step 5 for β2 from 0.9 to 0.9995 | momentum SGD |
//! | `code`    | ρ_t ≥ 5, first at step 6: what the authors ran, and PyTorch's `RAdam` (ρ_t > 5) with decoupled decay | momentum SGD |
//! | `package` | ρ_t ≥ 5: the published package's default | neither step nor decay; m and v move |
//! | `four-step` | ρ_t > 4: row 1 of Table 3 in the authors' code | as `package` |
//!
//! In the window of `unrectified_steps` steps from step s = `unrectified_from` on, r_t is 1 whatever ρ_t is: Adam's step.
//! No step before it is rectified, and after it r counts from s: r_{t−s+1}, as in the authors' code, while all bias
//! corrections count from step 1. Table 3's rows are `four-step`; `four-step` with 4 steps from 1; `paper` with 4 steps
//! from 5, whose first four steps are momentum SGD at the run's own rate (the code has 0.1, which is its run's).
//!
//! Deviations: the paper prints no ε; here it is added to the *uncorrected* √v in all variants, as in the authors'
//! code and PyTorch; that for Table 3 adds it to the corrected root, and none in the window. Weight decay is decoupled, which the paper leaves open. ρ_t is formed with `expm1`: as printed it
//! loses its digits where β2 is near 1. Where β2 ≤ 0.6, ρ∞ ≤ 4 and no step is rectified; `package` never steps where
//! β2 ≤ 2/3.

use super::Optimizer;
use super::adam::{BETA1, BETA2, Moments};
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};
use preheat_kernels::graph::Update;
use preheat_kernels::update::UpdateBuilder;

pub(super) const ENTRY: Entry<Box<dyn Optimizer>> = Entry {
    name: "radam",
    doc: "Adam whose step is rectified by the variance of its second moment; weight decay is decoupled",
    params: &[
        BETA1,
        BETA2,
        ParamDef {
            name: "eps",
            doc: "added to the root of the second moment before its bias correction, in units of the gradient",
            kind: ParamKind::Real { min: 0.0, max: 1e3 },
            default: Preset::Real(1e-8),
        },
        ParamDef {
            name: "variant",
            doc: "when a step is not rectified, and what is done then: paper (rho at most 4: momentum SGD), code (rho below 5: \
                  momentum SGD), package (rho below 5: no step) or four-step (rho at most 4: no step)",
            kind: ParamKind::Choice(&["paper", "code", "package", "four-step"]),
            default: Preset::Text("paper"),
        },
        ParamDef {
            name: "unrectified_from",
            doc: "first step of the window of Adam's steps; rectification counts from it, and no step before it is rectified",
            kind: ParamKind::Int { min: 1, max: 10_000_000 },
            default: Preset::Int(1),
        },
        ParamDef {
            name: "unrectified_steps",
            doc: "steps in the window that take Adam's step without rectification",
            kind: ParamKind::Int { min: 0, max: 10_000_000 },
            default: Preset::Int(0),
        },
        super::adamw::DECAY,
    ],
    build,
};

#[derive(Clone, Copy)]
enum Variant {
    Paper,
    Code,
    Package,
    FourStep,
}

/// Steps that take Adam's step, from the first on.
#[derive(Clone, Copy)]
struct Window {
    from: u64,
    steps: u64,
}

struct RAdam {
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    variant: Variant,
    window: Window,
}

fn build(params: &Params) -> Result<Box<dyn Optimizer>, Invalid> {
    let variant = match params.text("variant") {
        "paper" => Variant::Paper,
        "code" => Variant::Code,
        "package" => Variant::Package,
        _ => Variant::FourStep,
    };
    let window =
        Window { from: params.size("unrectified_from") as u64, steps: params.size("unrectified_steps") as u64 };
    if window.from > 1 && window.steps == 0 {
        let message = format!("is {} where unrectified_steps is 0; allowed: 1", window.from);
        return Err(Invalid::new("unrectified_from", message));
    }
    let [beta1, beta2, eps, weight_decay] = ["beta1", "beta2", "eps", "weight_decay"].map(|key| params.real(key));
    Ok(Box::new(RAdam { beta1, beta2, eps, weight_decay, variant, window }))
}

/// β2^t/(1−β2^t) without the cancellation of 1 − β2^t.
fn odds(beta2: f64, t: f64) -> f64 {
    1.0 / libm::expm1(-t * libm::log1p(-(1.0 - beta2)))
}

/// (ρ∞, ρ_t), the lengths of the approximated moving average: at the end and at step `t`.
pub(crate) fn lengths(beta2: f64, t: f64) -> (f64, f64) {
    let rho_inf = 2.0 / (1.0 - beta2) - 1.0;
    (rho_inf, rho_inf - 2.0 * t * odds(beta2, t))
}

/// r_t where ρ_t > 4, as the paper rectifies; `None` elsewhere.
pub(crate) fn rectification(beta2: f64, t: f64) -> Option<f64> {
    let (rho_inf, rho) = lengths(beta2, t);
    let ratio = (rho - 4.0) * (rho - 2.0) * rho_inf / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho);
    (rho > 4.0).then(|| ratio.sqrt())
}

impl RAdam {
    /// r_t of a step that divides by the second moment, 1 in the window; `None` of another.
    fn rectification(&self, step: u64) -> Option<f64> {
        let t = (step + 1).checked_sub(self.window.from).filter(|t| *t > 0)?;
        if t <= self.window.steps {
            return Some(1.0);
        }
        let t = t as f64;
        let rectified = match self.variant {
            Variant::Paper | Variant::FourStep => true,
            Variant::Code | Variant::Package => lengths(self.beta2, t).1 >= 5.0,
        };
        rectification(self.beta2, t).filter(|_| rectified)
    }
}

impl Optimizer for RAdam {
    fn update(&self) -> Update {
        let mut b = UpdateBuilder::new();
        let (p, g) = (b.param(), b.grad());
        let [m, v] = Moments::averages(&mut b, g);
        let (keep, eps) = (b.scalar("keep"), b.scalar("eps"));
        let (floor, ceiling, minus_step) = (b.scalar("floor"), b.scalar("ceiling"), b.scalar("minus_step_size"));
        let scale = b.sqrt(v);
        let scale = b.add(scale, eps);
        // A step that is not rectified has floor = ceiling = 1: its scale is exactly 1, also where v is infinite.
        let scale = b.max(scale, floor);
        let scale = b.min(scale, ceiling);
        let direction = b.div(m, scale);
        let p = b.mul(keep, p);
        let p = b.fma(minus_step, direction, p);
        b.finish(p, vec![m, v]).into()
    }

    fn write_scalars(&self, step: u64, lr: f64, out: &mut Vec<f64>) {
        let t = step as f64;
        let decayed = 1.0 - lr * self.weight_decay;
        let along_m = lr / (1.0 - libm::pow(self.beta1, t));
        let (keep, floor, ceiling, size) = match (self.rectification(step), self.variant) {
            (Some(r), _) => {
                let root = (-libm::expm1(t * libm::log1p(-(1.0 - self.beta2)))).sqrt();
                (decayed, 0.0, f64::from(f32::MAX), along_m * r * root)
            }
            (None, Variant::Package | Variant::FourStep) => (1.0, 1.0, 1.0, 0.0),
            (None, Variant::Paper | Variant::Code) => (decayed, 1.0, 1.0, along_m),
        };
        out.extend([1.0 - self.beta1, self.beta2, 1.0 - self.beta2, keep, self.eps, floor, ceiling, -size]);
    }

    fn second_moment_decay(&self) -> Option<f64> {
        Some(self.beta2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn radam(beta2: f64, variant: Variant) -> RAdam {
        RAdam { beta1: 0.9, beta2, eps: 1e-8, weight_decay: 0.1, variant, window: Window { from: 1, steps: 0 } }
    }

    /// The closed form in another way: β2^t by repeated multiplication, and no `expm1`.
    #[test]
    fn rectification_has_the_values_of_the_closed_form() {
        // β2, then r_t at t = 5, 6, 10, 100, 1000.
        let table = [
            (0.99, [0.05447, 0.08168, 0.15517, 0.63412, 0.99978]),
            (0.999, [0.01731, 0.02582, 0.04900, 0.21534, 0.64533]),
            (0.9995, [0.01224, 0.01826, 0.03464, 0.15282, 0.47765]),
        ];
        for (beta2, expected) in table {
            for (t, expected) in [5u32, 6, 10, 100, 1000].into_iter().zip(expected) {
                let power = (0..t).fold(1.0f64, |p, _| p * beta2);
                let rho_inf = 2.0 / (1.0 - beta2) - 1.0;
                let rho = rho_inf - 2.0 * f64::from(t) * power / (1.0 - power);
                let r = ((rho - 4.0) * (rho - 2.0) * rho_inf / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho)).sqrt();
                let ours = radam(beta2, Variant::Paper).rectification(u64::from(t)).expect("rectified");
                assert!((ours / r - 1.0).abs() < 1e-8, "{beta2} {t}: {ours} {r}");
                assert!((ours - expected).abs() < 0.6e-5, "{beta2} {t}: {ours} {expected}");
            }
        }
    }

    #[test]
    fn rectification_grows_past_a_half_and_nine_tenths_where_the_closed_form_does() {
        for (beta2, half, most) in [(0.99, 61, 277), (0.999, 556, 2737), (0.9995, 1106, 5470)] {
            let radam = radam(beta2, Variant::Paper);
            let curve: Vec<f64> = (5..6000).filter_map(|t| radam.rectification(t)).collect();
            assert!(
                curve.windows(2).all(|w| w[0] < w[1] || w[1] > 1.0 - 1e-9) && curve.iter().all(|r| *r < 1.0 + 1e-12)
            );
            let first = |limit: f64| 5 + curve.iter().position(|r| *r >= limit).expect("reached");
            assert_eq!((first(0.5), first(0.9)), (half, most), "{beta2}");
        }
    }

    #[test]
    fn first_rectified_step() {
        for beta2 in [0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.999_99, 0.999_999, 0.999_999_9] {
            for (variant, first) in
                [(Variant::Paper, 5), (Variant::Code, 6), (Variant::Package, 6), (Variant::FourStep, 5)]
            {
                let radam = radam(beta2, variant);
                let found = (1..100).find(|t| radam.rectification(*t).is_some());
                assert_eq!(found, Some(first), "{beta2}");
            }
        }
    }

    /// Claim R13: β2 ≤ 0.6 makes it momentum SGD throughout.
    #[test]
    fn never_rectified_at_small_beta2() {
        for beta2 in [0.0, 0.3, 0.5, 0.6] {
            let radam = radam(beta2, Variant::Paper);
            for step in (1..100).chain([1000, 1_000_000]) {
                assert_eq!(radam.rectification(step), None, "{beta2} {step}");
                let scalars = radam.scalars(step, 0.1);
                let along_m = -0.1 / (1.0 - libm::pow(0.9, step as f64));
                assert_eq!(scalars[3..], [1.0 - 0.1 * 0.1, 1e-8, 1.0, 1.0, along_m], "{beta2} {step}");
            }
        }
        assert!((1..1000).any(|t| radam(0.601, Variant::Paper).rectification(t).is_some()));
    }

    /// Var[ψ] falls with ρ (theorem 1 by its first-order form, eq. 5), and r_t² is its share at ρ∞.
    #[test]
    fn rectification_is_the_ratio_of_first_order_variances() {
        let variance = |rho: f64| rho / (2.0 * (rho - 2.0) * (rho - 4.0));
        for t in [5u64, 17, 300] {
            let (rho_inf, rho) = lengths(0.999, t as f64);
            let r = radam(0.999, Variant::Paper).rectification(t).expect("rectified");
            assert!((r * r / (variance(rho_inf) / variance(rho)) - 1.0).abs() < 1e-12);
        }
    }

    /// Table 3: steps 1–4 and 5–8 of its rows.
    #[test]
    fn a_window_takes_adams_steps_and_rectification_counts_from_it() {
        let rows = [(Variant::FourStep, 1, 0), (Variant::FourStep, 1, 4), (Variant::Paper, 5, 4)];
        let [skips, first, later] = rows.map(|(variant, from, steps)| {
            let window = Window { from, steps };
            RAdam { weight_decay: 0.0, window, ..radam(0.999, variant) }
        });
        let plain = radam(0.999, Variant::Paper);
        for step in 1..=12 {
            let along_m = 0.1 / (1.0 - libm::pow(0.9, step as f64));
            let root = (1.0 - libm::pow(0.999, step as f64)).sqrt();
            let r = plain.rectification(step);
            let adam = along_m * root;
            let sizes = [&skips, &first, &later].map(|radam| -radam.scalars(step, 0.1)[7]);
            let shifted = step.checked_sub(4).filter(|t| *t > 0).and_then(|t| plain.rectification(t));
            let expected = match step {
                1..=4 => [0.0, adam, along_m],
                5..=8 => [r.unwrap() * adam, r.unwrap() * adam, adam],
                _ => [r.unwrap() * adam, r.unwrap() * adam, shifted.unwrap() * adam],
            };
            for (row, (size, expected)) in sizes.iter().zip(expected).enumerate() {
                assert!((size - expected).abs() <= 1e-13 * expected, "row {row}, step {step}: {size} {expected}");
            }
            let divides = [&skips, &first, &later].map(|radam| radam.scalars(step, 0.1)[5] == 0.0);
            assert_eq!(divides, [step > 4, true, step > 4], "{step}");
        }
    }
}
