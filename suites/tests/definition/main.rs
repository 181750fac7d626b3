//! Definitions and plans: what is accepted, and the one line that each mistake is answered with.

mod budget;
mod draw;
mod errors;
mod links;
mod measured;
mod plan;
mod rankings;
mod schema;
mod show;
mod support;
mod untuned;
