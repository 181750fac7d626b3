//! The lab as its user meets it: the built `preheat`, its exit codes, its store, its golden.

mod bad_input;
mod bits;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod clocks;
mod commands;
mod contract;
#[cfg(target_os = "linux")]
mod cuda;
mod data;
mod doctor;
mod export;
mod fit;
mod full;
mod golden;
#[cfg(target_os = "linux")]
mod memory;
mod replay;
mod shards;
mod store;
#[cfg(target_os = "linux")]
mod straw;
mod streams;
mod support;
mod torture;
