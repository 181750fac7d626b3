//! The best rate, batch and β₂ of each size in a sweep, and the power laws through them (Porian et al. 2024, Fig. 3).
//!
//! For each size and batch the loss at a rate is the lowest over β₂; the best rate lies at the lowest point of a local
//! cubic in ln rate. The best batch lies at the lowest point over ln batch of those losses, and the rate is read there.
//! Where one batch was tried, it is that one. An optimum at the edge of its grid is a fault of the grid: it is named, and
//! the size is left out of the law.

use super::curve::Curve;
use super::local::Local;
use super::reading::Reading;
use crate::stats::least_squares::{least_squares_slope, r_squared};
use std::collections::BTreeMap;

/// One run of a sweep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// Parameters.
    pub params: f64,
    /// Peak rate.
    pub rate: f64,
    /// Batch, in any unit.
    pub batch: f64,
    /// β₂.
    pub beta2: f64,
    /// Loss, nats a token.
    pub loss: f64,
}

/// What is tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Knob {
    /// The peak learning rate.
    Rate,
    /// The batch.
    Batch,
    /// 1 − β₂ of the run with the lowest loss: a value of the grid.
    Beta2,
}

/// The best of one size.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Tuned {
    /// Parameters.
    pub params: f64,
    /// The best rate.
    pub rate: Result<f64, String>,
    /// The best batch; the only one where there is one.
    pub batch: Result<f64, String>,
    /// The best β₂ of those that were tried.
    pub beta2: Result<f64, String>,
    /// The lowest loss of a run, nats a token.
    pub loss: f64,
}

/// A power law of what is best over the size.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct TuningLaw {
    /// The exponent.
    pub exponent: f64,
    /// The value at one parameter.
    pub coefficient: f64,
    /// R² in logarithms.
    pub r2: f64,
    /// Sizes that take part.
    pub n: usize,
}

impl Tuned {
    /// The value of a knob, for its law: 1 − β₂ for β₂.
    ///
    /// # Errors
    /// Which edge of the grid it is at.
    pub fn of(&self, knob: Knob) -> Result<f64, String> {
        match knob {
            Knob::Rate => self.rate.clone(),
            Knob::Batch => self.batch.clone(),
            Knob::Beta2 => self.beta2.clone().map(|beta2| 1.0 - beta2),
        }
    }
}

/// The best of every size, rising.
pub fn tuned(trials: &[Trial]) -> Vec<Tuned> {
    let mut sizes: BTreeMap<u64, Vec<Trial>> = BTreeMap::new();
    for trial in trials.iter().filter(|t| t.loss.is_finite()) {
        sizes.entry(trial.params.to_bits()).or_default().push(*trial);
    }
    sizes.into_values().map(|trials| size(&trials)).collect()
}

fn size(trials: &[Trial]) -> Tuned {
    let mut batches: BTreeMap<u64, Vec<Trial>> = BTreeMap::new();
    trials.iter().for_each(|t| batches.entry(t.batch.to_bits()).or_default().push(*t));
    let of_batch: Vec<(f64, Lowest)> = batches
        .into_values()
        .map(|trials| (trials[0].batch, lowest(trials.iter().map(|t| (t.rate, t.loss)), "rate")))
        .collect();
    let best = trials.iter().min_by(|a, b| a.loss.total_cmp(&b.loss)).expect("a size has trials");
    let at_best = of_batch.iter().find(|(batch, _)| *batch == best.batch).map(|(_, found)| found.clone());
    let at_best = at_best.expect("the best trial has a batch");
    let found: Vec<(f64, f64, f64)> = of_batch
        .iter()
        .filter_map(|(batch, found)| found.clone().ok().map(|(rate, loss)| (*batch, rate, loss)))
        .collect();
    let batch = match (&of_batch[..], &at_best) {
        ([(only, _)], _) => Ok(*only),
        (_, Err(why)) => Err(why.clone()),
        _ => lowest(found.iter().map(|(batch, _, loss)| (*batch, *loss)), "batch").map(|(batch, _)| batch),
    };
    let rates = Reading::over(found.iter().map(|(batch, rate, _)| [*batch, *rate]));
    let read = batch.as_ref().ok().and_then(|batch| rates.as_ref()?.at(*batch));
    let rate = match (read, at_best) {
        (Some(rate), _) => Ok(rate),
        (None, found) => found.map(|(rate, _)| rate),
    };
    Tuned { params: best.params, rate, batch, beta2: beta2(trials, best), loss: best.loss }
}

/// The grid's β₂ with the lowest loss; more than one must have been tried.
fn beta2(trials: &[Trial], best: &Trial) -> Result<f64, String> {
    if trials.iter().any(|t| t.beta2 != best.beta2) { Ok(best.beta2) } else { Err("one beta2 was tried".into()) }
}

/// A place and the loss there, or why there is none.
type Lowest = Result<(f64, f64), String>;

/// Where the least loss lies over a knob's values, and that loss; of runs at one value the lowest counts.
fn lowest(points: impl Iterator<Item = (f64, f64)>, knob: &str) -> Lowest {
    let points = points.map(|(value, loss)| super::curve::Point { flops: 1.0, params: value, tokens: 1.0, loss });
    let curve = Curve::of(&points.collect::<Vec<_>>(), super::curve::Axis::Params);
    if curve.x.len() < super::isoflop::FEWEST_SIZES {
        return Err(format!("{} values of the {knob}; at least 3 are needed", curve.x.len()));
    }
    let found = Local::over(&curve.x).lowest(&curve.loss).map(|(at, loss)| (libm::exp(at), loss));
    found.ok_or_else(|| match curve.lowest() {
        0 => format!("the best {knob} is at the lower edge of its grid"),
        last if last + 1 == curve.x.len() => format!("the best {knob} is at the upper edge of its grid"),
        _ => format!("there is no best {knob} inside its grid"),
    })
}

/// The law of a knob over the sizes whose optimum lies inside the grid.
///
/// # Errors
/// Fewer than three such sizes, with the first fault.
pub fn law(sizes: &[Tuned], knob: Knob) -> Result<TuningLaw, String> {
    let found = sizes.iter().map(|tuned| Ok((libm::log(tuned.params), libm::log(tuned.of(knob)?))));
    let (inside, faults): (Vec<_>, Vec<_>) = found.partition(|one: &Result<_, String>| one.is_ok());
    let (x, y): (Vec<f64>, Vec<f64>) = inside.into_iter().flatten().unzip();
    let slope = least_squares_slope(&x, &y).filter(|_| x.len() >= 3).ok_or_else(|| {
        let fault = faults.into_iter().find_map(Result::err).map(|why| format!(": {why}")).unwrap_or_default();
        format!("{} of {} sizes have an optimum inside; at least 3 are needed{fault}", x.len(), sizes.len())
    })?;
    let n = x.len();
    let mean = |v: &[f64]| v.iter().sum::<f64>() / n as f64;
    Ok(TuningLaw {
        exponent: slope,
        coefficient: libm::exp(mean(&y) - slope * mean(&x)),
        r2: r_squared(&x, &y).unwrap_or(1.0),
        n,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::assert_close;

    /// Sizes whose best rate is 3.7·N^−0.36 and whose best batch is 0.00037·N^0.703, on parabolas in logarithms.
    fn sweep(rates: &[f64], batches: &[f64]) -> Vec<Trial> {
        let mut trials = Vec::new();
        for params in [2e7, 4e7, 8e7, 1.2e8] {
            let (rate_at, batch_at) = (3.7 * libm::pow(params, -0.36), 0.00037 * libm::pow(params, 0.703));
            for rate in rates {
                for batch in batches {
                    for beta2 in [0.95, 0.99, 0.999] {
                        let off = |a: f64, b: f64| libm::log(a / b) * libm::log(a / b);
                        let loss = 3.0 + 0.1 * off(*rate, rate_at) + 0.05 * off(*batch, batch_at);
                        let loss = loss + 0.01 * (beta2 - 0.99_f64).abs();
                        trials.push(Trial { params, rate: *rate, batch: *batch, beta2, loss });
                    }
                }
            }
        }
        trials
    }

    #[test]
    fn known_laws_are_found_again() {
        let all = tuned(&sweep(&[1e-3, 3e-3, 9e-3, 2.7e-2], &[16.0, 32.0, 64.0, 128.0, 256.0, 512.0]));
        let rate = law(&all, Knob::Rate).unwrap();
        assert_close(rate.exponent, -0.36, 1e-6);
        assert_close(rate.coefficient, 3.7, 1e-4);
        let batch = law(&all, Knob::Batch).unwrap();
        assert_close(batch.exponent, 0.703, 1e-6);
        assert_eq!((rate.n, batch.n), (4, 4));
        assert!(all.iter().all(|size| size.beta2 == Ok(0.99)));
        assert_close(law(&all, Knob::Beta2).unwrap().coefficient, 0.01, 1e-9);
    }

    #[test]
    fn an_optimum_at_an_edge_is_a_fault_and_leaves_the_size_out() {
        let all = tuned(&sweep(&[1e-3, 3e-3, 5e-3], &[64.0]));
        let faults: Vec<_> = all.iter().filter_map(|size| size.rate.clone().err()).collect();
        assert!(faults.iter().all(|why| why == "the best rate is at the upper edge of its grid"), "{faults:?}");
        assert!(faults.len() > 1);
        assert!(law(&all, Knob::Rate).unwrap_err().contains("upper edge"));
        assert!(all.iter().all(|size| size.batch == Ok(64.0)));
        let few = tuned(&sweep(&[1e-3, 3e-3], &[64.0]));
        assert!(few[0].rate.clone().unwrap_err().starts_with("2 values of the rate"));
    }
}
