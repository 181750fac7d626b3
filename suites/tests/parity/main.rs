//! Ours against PyTorch's. The fixtures and the limits are described in `tests/parity/README.md` of the workspace.

mod fixture;
mod transformer;
mod updates;
