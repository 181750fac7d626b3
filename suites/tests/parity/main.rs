//! Ours against PyTorch's. The fixtures and the limits are described in `tests/parity/README.md` of the workspace.

mod certified;
mod fixture;
mod optimizers;
#[path = "../rig/mod.rs"]
mod rig;
mod transformer;
mod updates;
