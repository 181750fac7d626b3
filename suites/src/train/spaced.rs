//! The probe `isoflop`: a run evaluated at steps that halve, so that it answers for many budgets, and the sizes that counts
//! of FLOPs speak of.
//!
//! With a constant rate the run up to a step is the run of that length, so one run gives a point of every isoFLOP curve.
//! Evaluations come after ⌈steps·2^(−j/2)⌉ steps for j = 0 to [`HALF_OCTAVES`]: budgets that double fall on them.

use super::metrics::{loss_metric, size_metric};
use crate::fits::accounting::Convention;
use crate::models::Model;
use crate::record::Point;
use crate::registry::Params;

/// Evaluations before the last one, each a factor √2 earlier than the next: the first is at 1/128 of the steps.
pub const HALF_OCTAVES: u32 = 14;

/// Whether runs with these `train` parameters have the probe.
pub fn is_on(train: &Params) -> bool {
    train.text("probe") == "isoflop"
}

/// The steps that are evaluated after, ascending, each once; none without the probe.
pub fn of(train: &Params) -> Vec<u64> {
    let steps = train.size("steps") as u64;
    if !is_on(train) || steps == 0 {
        return Vec::new();
    }
    let at = |half_octaves: u32| {
        let halves = 1_u64 << (half_octaves / 2);
        let whole =
            if half_octaves.is_multiple_of(2) { steps as f64 } else { steps as f64 * std::f64::consts::FRAC_1_SQRT_2 };
        (whole / halves as f64).ceil() as u64
    };
    let mut all: Vec<u64> = (0..=HALF_OCTAVES).rev().map(at).collect();
    all.dedup();
    all
}

/// Those that are evaluated for the probe alone.
pub(super) fn beside(train: &Params) -> impl Iterator<Item = u64> {
    let (steps, every) = (train.size("steps") as u64, train.size("eval_every") as u64);
    of(train).into_iter().filter(move |step| *step < steps && (every == 0 || !step.is_multiple_of(every)))
}

/// Losses by training tokens.
pub(super) fn losses(curve: &[Point], steps: &[u64], tokens_a_step: u64) -> impl Iterator<Item = (String, f64)> {
    let known = curve.iter().filter(|p| steps.contains(&p.step));
    known.filter_map(move |p| Some((loss_metric(p.step * tokens_a_step), p.value?)))
}

/// The model's size by every count of FLOPs; none of a model that has no such count.
pub(super) fn sizes(model: &dyn Model, vocab: usize, seq: usize) -> impl Iterator<Item = (String, f64)> {
    let shape = model.counted(vocab, seq);
    shape.into_iter().flat_map(|shape| Convention::ALL.map(|count| (size_metric(count), count.size(&shape))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Scalar;

    fn train(steps: i64, every: i64, probe: &str) -> Params {
        let whole = [("steps", steps), ("eval_every", every)].map(|(k, v)| (k.to_string(), Scalar::Int(v)));
        Params(whole.into_iter().chain([("probe".to_string(), Scalar::Text(probe.into()))]).collect())
    }

    #[test]
    fn every_second_step_halves_the_next_but_one() {
        let steps = of(&train(1280, 0, "isoflop"));
        assert_eq!(steps.len(), 15);
        assert_eq!((steps[0], steps[14]), (10, 1280));
        assert!(steps.iter().step_by(2).eq(&[10, 20, 40, 80, 160, 320, 640, 1280]));
        assert_eq!(steps[13], 906, "1280/√2 is 905.1");
        assert_eq!(of(&train(5, 0, "isoflop")), [1, 2, 3, 4, 5]);
        assert!(of(&train(0, 0, "isoflop")).is_empty());
        assert!(of(&train(1280, 0, "none")).is_empty());
    }

    #[test]
    fn regular_evaluations_are_not_counted_twice() {
        assert_eq!(beside(&train(8, 0, "isoflop")).collect::<Vec<_>>(), [1, 2, 3, 4, 6]);
        assert_eq!(beside(&train(8, 2, "isoflop")).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(beside(&train(8, 2, "signal")).count(), 0);
    }
}
