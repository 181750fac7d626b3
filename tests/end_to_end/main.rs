//! The lab as its user meets it: the built `preheat`, its exit codes, its store, its golden.

mod bad_input;
mod bits;
mod commands;
mod contract;
mod full;
mod golden;
mod store;
mod support;
mod torture;
