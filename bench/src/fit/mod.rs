//! `fit`: tables of points read, fitted, told and drawn. The fits themselves are `suites`' business.

pub mod draw;
pub mod left_out;
pub mod outcome;
pub mod own;
pub mod show;
pub mod sweep;
pub mod table;
