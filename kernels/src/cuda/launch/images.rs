//! Images as matrices.

use super::{Cohort, word};
use crate::cuda::arguments::Windows;
use crate::cuda::{Launch, Operand};
use crate::ops::Patches;

/// x = byte/255 over `count` elements.
pub fn pixels(cohort: &Cohort, count: usize, bytes: Operand, x: Operand) -> Launch {
    cohort.pointwise("pixels", count, [bytes, Operand::ABSENT, x], 0.0)
}

impl Cohort {
    fn windows(&self, kernel: &str, count: usize, p: &Patches, [from, to]: [Operand; 2]) -> Launch {
        let [down, across] = p.outputs();
        // The kernels count both sides in words.
        let _ = (word(p.rows() * p.patch_len()), word(p.batch * p.image_len()));
        let args = Windows {
            from,
            to,
            active: self.active,
            count: word(count),
            height: word(p.height),
            width: word(p.width),
            channels: word(p.channels),
            kernel: word(p.kernel),
            stride: word(p.stride),
            padding: word(p.padding),
            down: word(down),
            across: word(across),
            unused: 0,
        };
        self.elements(kernel, count, args)
    }
}

/// The patches of images.
pub fn patches(cohort: &Cohort, p: &Patches, x: Operand, out: Operand) -> Launch {
    cohort.windows("patches", p.rows() * p.patch_len(), p, [x, out])
}
/// dx: each pixel's sum over the patches that hold it.
pub fn patches_backward(cohort: &Cohort, p: &Patches, dout: Operand, dx: Operand) -> Launch {
    cohort.windows("patches_backward", p.batch * p.image_len(), p, [dout, dx])
}
