//! The final metrics and curves that a run can have, by name: what a definition's `show` and claims are checked against,
//! and which of them are 0/1. A test runs small recipes and holds these lists to what the trainer measures.

use super::spaced;
use crate::fits::accounting::Convention;
use crate::models::BOUND_MEASURES;
use crate::registry::Params;

/// Names that a recipe's parts add to what every run of its length has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The task's validation sets: see [`crate::tasks::TaskBuilder::set_names`].
    pub sets: &'static [&'static str],
    /// What the model measures beside the loss: see [`crate::models::Model::measures`].
    pub measures: &'static [&'static str],
}

/// Curves of every step.
pub(super) const STEP_CURVES: [&str; 3] = ["grad_norm", "lr", "train_loss"];
/// Curves of every evaluation: two norms, then the loss.
pub(super) const EVAL_CURVES: [&str; 3] = ["param_norm", "update_norm", "val_loss"];

/// After training.
const FINAL: [&str; 7] =
    ["val_loss", "capped_loss", "stall_gap", "stalled", "diverged", "unigram_entropy", "entropy_rate"];
/// Of them, 0 or 1 a run.
const FLAGS: [&str; 2] = ["stalled", "diverged"];
/// Of a run without steps.
const INITIAL: [&str; 1] = ["init.val_loss"];
/// Of the probe `signal`, under `init.` and `end.`; `{l}` is a layer, counted from 1.
const SIGNAL: [&str; 9] = [
    "grad_norm.ffn_out.last",
    "hidden_scale.mean",
    "hidden_scale.min",
    "hidden_scale.max",
    "hidden_over_lower.min",
    "hidden_over_upper.max",
    "hidden_excess.max",
    "grad_norm.ffn_out.{l}",
    "hidden_scale.{l}",
];
/// Of bounds at initialisation, beside the model's measures; `{l}` is a hidden layer, counted from 1.
const BOUNDS: [&str; 3] = ["width_growth", "width_gain.{l}", "width_gain_over_theory.{l}"];
/// Of a model that is measured and not trained.
const JACOBIAN: [&str; 2] = ["jacobian_norm", "jacobian_over_theory"];

/// Of the probe `isoflop`; `{l}` is a number of tokens.
const LOSS_AT: &str = "loss_at.{l}";

/// Of the adaptive rate alone, in runs without steps; `{l}` is a step of the rate.
const RATE: [&str; 14] = [
    "ema_var.{l}",
    "sma_var.{l}",
    "theory_var.{l}",
    "first_order_over_theory.{l}",
    "rho.{l}",
    "rectification.{l}",
    "rectified_var.{l}",
    "ema_over_theory.{l}",
    "sma_over_theory.{l}",
    "theory_fall.min",
    "rectified_steps",
    "rectified_from",
    "half_rectified_from",
    "most_rectified_from",
];

/// Whether a metric is 0 or 1 in every run, so that a table counts it.
pub fn is_flag(metric: &str) -> bool {
    FLAGS.contains(&metric)
}

/// Whether a metric is a share or a ratio's shortfall, whose scale is 1 and not its own value.
pub fn is_of_one(metric: &str) -> bool {
    BOUND_MEASURES.contains(&metric.rsplit('.').next().unwrap_or(metric))
}

/// Whether a measure is a share of errors, which a diverged run has as chance does.
pub(super) fn is_error(measure: &str) -> bool {
    measure.ends_with("_error")
}

/// The curve, and the final metric, of a task's named validation set.
pub(super) fn set_curve(set: &str) -> String {
    format!("{set}_val_loss")
}

/// The loss after so many training tokens, of the probe `isoflop`.
pub fn loss_metric(tokens: u64) -> String {
    format!("loss_at.{tokens}")
}

/// The tokens of a [`loss_metric`].
pub fn tokens_of(metric: &str) -> Option<u64> {
    metric.strip_prefix("loss_at.")?.parse().ok()
}

/// The size that a count of FLOPs speaks of, of the probe `isoflop`: FLOPs a token over 6.
pub fn size_metric(counting: Convention) -> String {
    format!("size.{}", counting.name())
}

/// The metrics that runs with these `train` parameters can have, per-layer ones with `{l}`; `named` are those of the model and the
/// task. Which of them a run has depends on its model and its task's data too.
pub fn names(train: &Params, named: Named) -> Vec<String> {
    let trained = train.int("steps") > 0;
    let always: &[&str] = if trained { &FINAL } else { &INITIAL };
    let mut names: Vec<String> = always.iter().map(ToString::to_string).collect();
    if trained {
        names.extend(named.sets.iter().map(|set| set_curve(set)));
        names.extend(named.measures.iter().map(ToString::to_string));
    } else if !named.measures.is_empty() {
        names.extend(named.measures.iter().chain(&BOUNDS).map(|name| format!("init.{name}")));
    }
    if train.text("probe") == "signal" {
        let prefixes: &[&str] = if trained { &["init", "end"] } else { &["init"] };
        names.extend(prefixes.iter().flat_map(|prefix| SIGNAL.map(|name| format!("{prefix}.{name}"))));
    }
    if train.text("probe") == "gradients" && trained {
        names.push("small_gradients.{l}".into());
    }
    if spaced::is_on(train) && trained {
        names.push(LOSS_AT.into());
        names.extend(Convention::ALL.map(size_metric));
    }
    names.extend(JACOBIAN.map(String::from));
    if !trained {
        names.extend(RATE.map(String::from));
    }
    names
}

/// The curves of such runs; none where nothing is trained.
pub fn curves(train: &Params, named: Named) -> Vec<String> {
    let of_sets = named.sets.iter().map(|set| set_curve(set));
    let of_model = named.measures.iter().map(ToString::to_string);
    let counted = (train.text("probe") == "gradients").then_some("gradient_bin.{l}");
    let curves = STEP_CURVES.into_iter().chain(EVAL_CURVES).chain(counted).map(String::from);
    let curves = curves.chain(of_sets).chain(of_model);
    if train.int("steps") > 0 { curves.collect() } else { Vec::new() }
}

/// The step of a curve's first point; `None` where such runs have no such curve. A run that `started` from a checkpoint
/// has its losses at step 0.
pub fn first_point(train: &Params, named: Named, curve: &str, started: bool) -> Option<u64> {
    let known = curves(train, named).iter().any(|name| name == curve);
    let is_loss = !STEP_CURVES.contains(&curve) && !EVAL_CURVES[..2].contains(&curve);
    let (steps, every) = (train.size("steps") as u64, train.size("eval_every") as u64);
    let spaced = spaced::beside(train).min();
    known.then_some(match every {
        _ if started && is_loss => 0,
        _ if STEP_CURVES.contains(&curve) => 1,
        0 if spaced.is_some() => spaced.unwrap_or(steps),
        0 => steps,
        every => every.min(steps).min(spaced.unwrap_or(steps)),
    })
}

/// `name` with a layer's number as `{l}`.
pub fn pattern(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((front, number)) if number.parse::<u64>().is_ok_and(|l| l > 0 && number == l.to_string()) => {
            format!("{front}.{{l}}")
        }
        _ => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_become_a_pattern_and_nothing_else_does() {
        let cases = [
            ("init.hidden_scale.12", "init.hidden_scale.{l}"),
            ("init.hidden_scale.0", "init.hidden_scale.0"),
            ("init.hidden_scale.01", "init.hidden_scale.01"),
            ("init.hidden_scale.max", "init.hidden_scale.max"),
            ("val_loss", "val_loss"),
        ];
        for (name, expected) in cases {
            assert_eq!(pattern(name), expected);
        }
    }
}
