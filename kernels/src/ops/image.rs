//! Images as matrices.

use crate::real::Real;
use crate::reference::image;

/// The patches of a convolution's square window over images \[B,H,W,C\].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patches {
    /// Images B.
    pub batch: usize,
    /// Rows H.
    pub height: usize,
    /// Columns W.
    pub width: usize,
    /// Channels C.
    pub channels: usize,
    /// Side of the window k.
    pub kernel: usize,
    /// Pixels from one window to the next.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: usize,
}

impl Patches {
    /// Windows down and across: H', W'.
    pub const fn outputs(&self) -> [usize; 2] {
        [self.windows(self.height), self.windows(self.width)]
    }
    const fn windows(&self, size: usize) -> usize {
        (size + 2 * self.padding - self.kernel) / self.stride + 1
    }
    /// Elements of an image.
    pub const fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }
    /// Elements of a patch.
    pub const fn patch_len(&self) -> usize {
        self.kernel * self.kernel * self.channels
    }
    /// Patches of the batch: B·H'·W'.
    pub const fn rows(&self) -> usize {
        let [down, across] = self.outputs();
        self.batch * down * across
    }
}

/// The kernels of images. What is not overridden is the reference itself.
pub trait ImageOps<T: Real> {
    /// x = byte/255.
    fn pixels(&self, bytes: &[u32], x: &mut [T]) {
        image::pixels(bytes, x);
    }
    /// \[B·H'·W', k·k·C\] from \[B,H,W,C\], taps in the order row, column, channel; 0 outside the image.
    fn patches(&self, p: &Patches, x: &[T], out: &mut [T]) {
        image::patches(p, x, out);
    }
    /// dx, each pixel's sum over the patches that hold it, in their order.
    fn patches_backward(&self, p: &Patches, dout: &[T], dx: &mut [T]) {
        image::patches_backward(p, dout, dx);
    }
}
