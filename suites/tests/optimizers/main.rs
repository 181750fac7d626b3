//! Every registered optimizer: equal bits on every instruction set, resumed and not; what is known of its steps.

mod bits;
mod known;
#[path = "../rig/mod.rs"]
mod rig;
mod support;
