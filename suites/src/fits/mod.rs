//! Compute-optimal fits of anyone's isoFLOP table: curves of equal compute, power laws through their lowest points, the
//! parametric loss, laws of rate and batch, and what a published table lets us say of its paper's claims.
//!
//! Pure functions of points: nothing here reads a file.

pub mod accounting;
mod akima;
pub mod convert;
pub mod curve;
pub mod hyper;
pub mod isoflop;
pub mod law;
mod line;
mod local;
pub mod noise;
pub mod parametric;
pub mod published;
pub mod reading;
pub mod recount;
pub mod saturating;
#[cfg(test)]
pub(crate) mod synthetic;
pub mod tuning;

/// The seed of one group's draws: groups are independent, and a group's draws do not depend on which others a table
/// holds.
pub fn seed_of(seed: u64, group: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(group.as_bytes());
    let hash = hasher.finalize();
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight bytes"))
}
