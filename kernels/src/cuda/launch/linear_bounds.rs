//! Linear bounds taken back through a network.

use super::{Cohort, word};
use crate::cuda::arguments::{Arguments, Contrasts, GroupDot, GroupDotBackward, LinearRelu, LinearReluBackward};
use crate::cuda::{Launch, Operand};

/// N samples of G rows of K numbers each.
#[derive(Clone, Copy, Debug)]
pub struct Groups {
    /// N.
    pub samples: usize,
    /// G.
    pub group: usize,
    /// K.
    pub width: usize,
}

impl Groups {
    /// Of coefficients and what there is of it a sample, both with rows of `width`, by their lengths.
    pub const fn of(width: usize, a: usize, x: usize) -> Self {
        Self { samples: x / width, group: a / x, width }
    }
    const fn rows(&self) -> usize {
        self.samples * self.group
    }
    const fn units(&self) -> usize {
        self.samples * self.width
    }
}

impl Cohort {
    /// A thread a unit.
    fn units(&self, kernel: &str, count: usize, args: impl Arguments) -> Launch {
        const THREADS: usize = 256;
        self.launch(kernel, [count.div_ceil(THREADS), 1], THREADS, 0, args)
    }
}

/// \[N·V,V\] from targets\[N\]: row (i, j) is e_j − e_y.
pub fn contrasts(cohort: &Cohort, [samples, classes]: [usize; 2], [targets, out]: [Operand; 2]) -> Launch {
    let count = samples * classes * classes;
    let args = Contrasts { targets, out, active: cohort.active, count: word(count), classes: word(classes) };
    cohort.elements("contrasts", count, args)
}
/// a' and b from a, c, r.
pub fn linear_relu(cohort: &Cohort, g: Groups, [a, c, r, a_out, b]: [Operand; 5]) -> Launch {
    let (rows, group, width) = (word(g.rows()), word(g.group), word(g.width));
    let args = LinearRelu { a, c, r, a_out, b, active: cohort.active, rows, group, width, unused: 0 };
    cohort.rows("linear_relu", g.rows(), args)
}
/// da, dc and dr; operands a, c, r, da', db, da, dc, dr.
pub fn linear_relu_backward(cohort: &Cohort, g: Groups, [a, c, r, da_out, db, da, dc, dr]: [Operand; 8]) -> Launch {
    let (active, count, group, width) = (cohort.active, word(g.units()), word(g.group), word(g.width));
    let args = LinearReluBackward { a, c, r, da_out, db, da, dc, dr, active, count, group, width, unused: 0 };
    cohort.units("linear_relu_backward", g.units(), args)
}
/// Σ_k a·x by row, or |a|·x.
pub fn group_dot(cohort: &Cohort, g: Groups, size: bool, [a, x, out]: [Operand; 3]) -> Launch {
    let (active, rows, group, width) = (cohort.active, word(g.rows()), word(g.group), word(g.width));
    cohort.rows("group_dot", g.rows(), GroupDot { a, x, out, active, rows, group, width, size: u32::from(size) })
}
/// da and dx; operands a, x, dout, da, dx.
pub fn group_dot_backward(cohort: &Cohort, g: Groups, size: bool, [a, x, dout, da, dx]: [Operand; 5]) -> Launch {
    let (active, count, group, width) = (cohort.active, word(g.units()), word(g.group), word(g.width));
    let args = GroupDotBackward { a, x, dout, da, dx, active, count, group, width, size: u32::from(size) };
    cohort.units("group_dot_backward", g.units(), args)
}
