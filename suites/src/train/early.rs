//! How a run begins: what devices that do not share bits are compared by.

use super::member::Member;
use crate::record::{Measured, Point};
use crate::registry::Invalid;
use crate::run::{Run, Start};
use serde::{Deserialize, Serialize};

/// Steps of the early window: as many as rounding takes to grow from products to losses, and few enough that it has not
/// grown into another trajectory.
pub const EARLY_STEPS: usize = 8;

/// The early window of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Early {
    /// blake3 of the learning rate (f64) and the optimizer's host scalars (f32) of every step, hexadecimal.
    pub scalars: String,
    /// Learning rates as they were recorded.
    pub lr: Vec<Option<f64>>,
    /// Training losses, nats/token.
    pub train_loss: Vec<Option<f64>>,
    /// Global gradient norms before clipping.
    pub grad_norm: Vec<Option<f64>>,
    /// Norms of the updates that were measured.
    pub update_norm: Vec<Option<f64>>,
}

impl Early {
    /// The beginning of a run's whole curves.
    ///
    /// # Errors
    /// A recipe that cannot be built.
    pub fn of(run: &Run, measured: &Measured) -> Result<Self, Invalid> {
        let first = |name: &str| {
            let points = measured.curves.get(name).map_or(&[][..], Vec::as_slice);
            points.iter().filter(|p| in_window(p)).map(|p| p.value).collect()
        };
        Ok(Self {
            scalars: scalars(run)?,
            lr: first("lr"),
            train_loss: first("train_loss"),
            grad_norm: first("grad_norm"),
            update_norm: first("update_norm"),
        })
    }
}

fn in_window(point: &Point) -> bool {
    (1..=EARLY_STEPS as u64).contains(&point.step)
}

/// The hash of what the host computes for every step of a run, by the code that computes it in training.
fn scalars(run: &Run) -> Result<String, Invalid> {
    let before = match &run.start {
        Start::Checkpoint { step, optimizer_state: true, .. } => *step,
        Start::Checkpoint { .. } | Start::Fresh => 0,
    };
    let host = Member::host(run)?;
    let (mut hasher, mut scalars) = (blake3::Hasher::new(), Vec::new());
    for step in 1..=run.recipe.train.size("steps") as u64 {
        let lr = host.scalars(before, step, &mut scalars);
        hasher.update(&lr.to_bits().to_le_bytes());
        for scalar in &scalars {
            hasher.update(&(*scalar as f32).to_bits().to_le_bytes());
        }
    }
    Ok(hasher.finalize().to_hex()[..16].to_string())
}
