//! Linear bounds.

use super::Cpu;
use crate::ops::LinearBoundOps;

impl LinearBoundOps<f32> for Cpu {}
