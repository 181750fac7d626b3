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

/// The window's places along an axis of `size` pixels that lie inside, for the window that starts at `start`, the
/// padding counted.
#[inline(always)]
fn inside(p: &Patches, start: usize, size: usize) -> Range<usize> {
    p.padding.saturating_sub(start).min(p.kernel)..(size + p.padding).saturating_sub(start).min(p.kernel)
}

/// A row of a window lies together in the image, and in the patch.
#[inline(always)]
fn patches_of<S: Isa>(s: S, p: &Patches, x: &[f32], out: &mut [f32]) {
    let ([down, across], c) = (p.outputs(), p.channels);
    let mut rows = out.chunks_exact_mut(p.kernel * c);
    for x in x.chunks_exact(p.image_len()) {
        for oy in 0..down {
            for ox in 0..across {
                let [y, x_start] = [oy * p.stride, ox * p.stride];
                let (ys, xs) = (inside(p, y, p.height), inside(p, x_start, p.width));
                for ky in 0..p.kernel {
                    let Some(row) = rows.next() else { return };
                    if !ys.contains(&ky) || xs.is_empty() {
                        row.fill(0.0);
                        continue;
                    }
                    row[..xs.start * c].fill(0.0);
                    row[xs.end * c..].fill(0.0);
                    let from = ((y + ky - p.padding) * p.width + x_start + xs.start - p.padding) * c;
                    copy(s, &x[from..][..xs.len() * c], &mut row[xs.start * c..xs.end * c]);
                }
            }
        }
    }
}

/// A few elements, for which a call would take longer.
#[inline(always)]
fn copy<S: Isa>(s: S, from: &[f32], to: &mut [f32]) {
    each_vector!(S, from.len(), |at, span| {
        let v = span.load(s, from, at);
        span.store(s, to, at, v);
    });
}

/// The windows along an axis that hold place `at`.
#[inline(always)]
fn holders(p: &Patches, at: usize, windows: usize) -> Range<usize> {
    let place = at + p.padding;
    (place + 1).saturating_sub(p.kernel).div_ceil(p.stride)..(place / p.stride + 1).min(windows)
}

/// A pixel's channels lie together in each patch that holds it.
#[inline(always)]
fn patches_backward_of<S: Isa>(s: S, p: &Patches, dout: &[f32], dx: &mut [f32]) {
    let [down, across] = p.outputs();
    let dout = dout.chunks_exact(down * across * p.patch_len());
    for (dx, dout) in dx.chunks_exact_mut(p.image_len()).zip(dout) {
        for (at, dx) in dx.chunks_exact_mut(p.channels).enumerate() {
            let (y, x) = (at / p.width, at % p.width);
            let (rows, columns) = (holders(p, y, down), holders(p, x, across));
            each_vector!(S, p.channels, |c, span| {
                let mut acc = s.splat(0.0);
                for oy in rows.clone() {
                    let ky = y + p.padding - oy * p.stride;
                    for ox in columns.clone() {
                        let kx = x + p.padding - ox * p.stride;
                        let tap = (oy * across + ox) * p.kernel * p.kernel + ky * p.kernel + kx;
                        acc = s.add(acc, span.load(s, dout, tap * p.channels + c));
                    }
                }
                span.store(s, dx, c, acc);
            });
        }
    }
}
