//! `warmup_steps: untuned`: the number of steps comes from the optimizer of the same recipe.

use super::error::DefinitionError;
use super::reader::Placed;
use super::resolve::Resolved;
use super::section::{Schedule, Section};
use crate::optimizers::Optimizer;
use crate::registry::Scalar;
use crate::schedules::{UNTUNED, untuned_warmup};
use std::borrow::Cow;

/// Whether a value is the word.
pub(crate) fn is_untuned(value: &Scalar) -> bool {
    matches!(value, Scalar::Text(word) if word == UNTUNED)
}

/// The schedule as written, with the word replaced by 2/(1−β2).
pub(crate) fn settle<'s>(
    schedule: &'s Section<Schedule>,
    optimizer: &Resolved<Box<dyn Optimizer>>,
) -> Result<Cow<'s, Section<Schedule>>, DefinitionError> {
    let Some(written) = schedule.values.0.iter().find(|v| is_untuned(&v.value.value)) else {
        return Ok(Cow::Borrowed(schedule));
    };
    let place = written.value.place.clone();
    let Some(beta2) = optimizer.built.second_moment_decay() else {
        let message =
            format!("is `{UNTUNED}`, and optimizer `{}` has no second moment to take it from", optimizer.spec.name);
        return Err(DefinitionError::at(&place, message).allowed("a number of steps, or an optimizer such as adam"));
    };
    let mut settled = schedule.clone();
    settled.values.set(written.name.clone(), Placed { value: Scalar::Int(untuned_warmup(beta2)), place });
    Ok(Cow::Owned(settled))
}
