//! Every op on every instruction set that this machine has, against the reference, bit for bit.

mod attention;
mod bounds;
mod elementwise;
mod gradients;
mod images;
mod intervals;
mod linear_bounds;
mod linear_gradients;
mod rows;
mod support;
mod update;
