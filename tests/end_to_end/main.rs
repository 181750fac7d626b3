//! The lab as its user meets it: the built `preheat`, its exit codes, its store, its golden.

mod bad_input;
mod bits;
mod commands;
mod contract;
mod data;
mod doctor;
mod export;
mod fit;
mod full;
mod golden;
mod replay;
mod store;
mod support;
mod torture;
