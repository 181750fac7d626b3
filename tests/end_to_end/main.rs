//! The lab as its user meets it: the built `preheat`, its exit codes, its store, its golden.

mod commands;
mod golden;
mod store;
mod support;
