//! Every op on every instruction set that this machine has, against the reference, bit for bit.

mod attention;
mod elementwise;
mod gradients;
mod rows;
mod support;
mod update;
