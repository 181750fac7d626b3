//! The rules of the house, as tests: which crate may know which, and what no file may hold.

#[cfg(all(unix, not(target_arch = "aarch64")))]
mod arm64;
mod files;
mod knows_nothing;
mod layering;
mod readme;
mod require;
mod tidy;
