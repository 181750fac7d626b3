//! `fit`: tables of points read, fitted, told and drawn. The fits themselves are `suites`' business.

pub mod draw;
pub mod outcome;
pub mod show;
pub mod table;
