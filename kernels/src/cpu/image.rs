//! Images: pixels, and the patches of a convolution.

use super::Cpu;
use super::simd::{Isa, Span, dispatch, each_vector};
use crate::ops::{ImageOps, Patches};
use crate::reference::Reference;
use std::ops::Range;

impl ImageOps<f32> for Cpu {
    fn pixels(&self, bytes: &[u32], x: &mut [f32]) {
        pixels(self.simd, bytes, x);
    }
    fn patches(&self, p: &Patches, x: &[f32], out: &mut [f32]) {
        patches(self.simd, p, x, out);
    }
    fn patches_backward(&self, p: &Patches, dout: &[f32], dx: &mut [f32]) {
        patches_backward(self.simd, p, dout, dx);
    }
}

dispatch!(fn pixels(bytes: &[u32], x: &mut [f32]) = pixels_of, scalar Reference.pixels(bytes, x));
dispatch!(fn patches(p: &Patches, x: &[f32], out: &mut [f32]) = patches_of, scalar Reference.patches(p, x, out));
dispatch!(fn patches_backward(p: &Patches, dout: &[f32], dx: &mut [f32]) = patches_backward_of,
    scalar Reference.patches_backward(p, dout, dx));

/// One conversion and one division each; the compiler makes vectors of the loop.
#[inline(always)]
fn pixels_of<S: Isa>(_: S, bytes: &[u32], x: &mut [f32]) {
    for (x, &byte) in x.iter_mut().zip(bytes) {
        *x = byte as f32 / 255.0;
    }
}

/// What of a window lies inside its image.
struct Window {
    /// Its rows and columns that do.
    rows: Range<usize>,
    columns: Range<usize>,
    /// Where the first pixel of both lies among the pixels of all images.
    first: usize,
}

impl Window {
    #[inline(always)]
    fn new(p: &Patches, image: usize, [oy, ox]: [usize; 2]) -> Self {
        // From the corner of the padded image.
        let inside = |start: usize, size: usize| {
            p.padding.saturating_sub(start).min(p.kernel)..(size + p.padding).saturating_sub(start).min(p.kernel)
        };
        let (y, x) = (oy * p.stride, ox * p.stride);
        let columns = inside(x, p.width);
        let rows = if columns.is_empty() { 0..0 } else { inside(y, p.height) };
        let row = (image * p.height + y + rows.start).saturating_sub(p.padding);
        let first = row * p.width + (x + columns.start).saturating_sub(p.padding);
        Self { rows, columns, first }
    }
    fn is_whole(&self, p: &Patches) -> bool {
        self.rows.len() == p.kernel && self.columns.len() == p.kernel
    }
}

/// Runs the body for each window with its patch, the patches in their order.
macro_rules! each_window {
    ($p:expr, $patches:expr, |$window:ident, $patch:ident| $body:block) => {{
        let (mut patches, [down, across]) = ($patches, $p.outputs());
        for image in 0..$p.batch {
            for oy in 0..down {
                for ox in 0..across {
                    let Some($patch) = patches.next() else { return };
                    let $window = Window::new($p, image, [oy, ox]);
                    $body
                }
            }
        }
    }};
}

/// A row of a window lies together in the image, and in the patch.
#[inline(always)]
fn patches_of<S: Isa>(s: S, p: &Patches, x: &[f32], out: &mut [f32]) {
    let (row, c) = (p.kernel * p.channels, p.channels);
    each_window!(p, out.chunks_exact_mut(p.patch_len()), |window, patch| {
        if !window.is_whole(p) {
            patch.fill(0.0);
        }
        let (from, len) = (window.columns.start * c, window.columns.len() * c);
        for (i, ky) in window.rows.enumerate() {
            let (x, patch) = (&x[(window.first + i * p.width) * c..][..len], &mut patch[ky * row + from..][..len]);
            each_vector!(S, len, |at, span| {
                let v = span.load(s, x, at);
                span.store(s, patch, at, v);
            });
        }
    });
}

#[inline(always)]
fn patches_backward_of<S: Isa>(s: S, p: &Patches, dout: &[f32], dx: &mut [f32]) {
    let (row, c) = (p.kernel * p.channels, p.channels);
    dx.fill(0.0);
    each_window!(p, dout.chunks_exact(p.patch_len()), |window, patch| {
        let (from, len) = (window.columns.start * c, window.columns.len() * c);
        for (i, ky) in window.rows.enumerate() {
            let (dx, patch) = (&mut dx[(window.first + i * p.width) * c..][..len], &patch[ky * row + from..][..len]);
            each_vector!(S, len, |at, span| {
                let v = s.add(span.load(s, dx, at), span.load(s, patch, at));
                span.store(s, dx, at, v);
            });
        }
    });
}
