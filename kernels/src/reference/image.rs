//! Images: pixels from bytes, and the patches that make a convolution a product of matrices.

use crate::ops::Patches;
use crate::real::Real;

/// x = byte/255.
pub(crate) fn pixels<T: Real>(bytes: &[u32], x: &mut [T]) {
    for (x, &byte) in x.iter_mut().zip(bytes) {
        *x = T::from_f64(f64::from(byte)) / T::from_f64(255.0);
    }
}

/// Calls `each(place in a patch row, place in the image or none)` for output position (row, column) of one image.
fn each_tap(p: &Patches, [oy, ox]: [usize; 2], mut each: impl FnMut(usize, Option<usize>)) {
    for ky in 0..p.kernel {
        for kx in 0..p.kernel {
            let inside =
                |at: usize, k: usize, size: usize| (at * p.stride + k).checked_sub(p.padding).filter(|x| *x < size);
            let from = inside(oy, ky, p.height).zip(inside(ox, kx, p.width));
            for c in 0..p.channels {
                let image = from.map(|(y, x)| (y * p.width + x) * p.channels + c);
                each((ky * p.kernel + kx) * p.channels + c, image);
            }
        }
    }
}

/// Rows of patches \[B·H'·W', k·k·C\] from images \[B,H,W,C\]; what lies outside is 0.
pub(crate) fn patches<T: Real>(p: &Patches, x: &[T], out: &mut [T]) {
    let [rows, columns] = p.outputs();
    for (at, out) in out.chunks_exact_mut(p.patch_len()).enumerate() {
        let (image, place) = (at / (rows * columns), at % (rows * columns));
        let x = &x[image * p.image_len()..][..p.image_len()];
        each_tap(p, [place / columns, place % columns], |tap, from| out[tap] = from.map_or(T::ZERO, |at| x[at]));
    }
}

/// dx: for each pixel the sum over the patches that hold it, in their order.
pub(crate) fn patches_backward<T: Real>(p: &Patches, dout: &[T], dx: &mut [T]) {
    let [rows, columns] = p.outputs();
    dx.fill(T::ZERO);
    for (at, dout) in dout.chunks_exact(p.patch_len()).enumerate() {
        let (image, place) = (at / (rows * columns), at % (rows * columns));
        let dx = &mut dx[image * p.image_len()..][..p.image_len()];
        each_tap(p, [place / columns, place % columns], |tap, from| {
            if let Some(at) = from {
                dx[at] = dx[at] + dout[tap];
            }
        });
    }
}
