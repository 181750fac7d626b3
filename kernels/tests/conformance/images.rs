//! Images, bit for bit.

use crate::support::{Inputs, Kind, check};
use preheat_kernels::ops::Patches;

#[test]
fn pixels() {
    let wide = [256, 16_777_215, 16_777_217, u32::MAX];
    let bytes: Vec<u32> = (0..256).chain(wide).collect();
    for n in [1, 2, 3, 5, 31, 33, 256, 260] {
        check(&format!("{n} pixels"), |ops| {
            let mut x = vec![9.0; n];
            ops.pixels(&bytes[260 - n..], &mut x);
            vec![x]
        });
    }
}

/// Windows that overlap, touch and leave gaps; beside the image; as large as it; of 1, 3 and whole fours of channels.
fn shapes() -> Vec<Patches> {
    let shape = |[batch, height, width, channels]: [usize; 4], [kernel, stride, padding]: [usize; 3]| Patches {
        batch,
        height,
        width,
        channels,
        kernel,
        stride,
        padding,
    };
    vec![
        shape([1, 1, 1, 1], [1, 1, 0]),
        shape([2, 7, 5, 3], [3, 1, 1]),
        shape([3, 5, 7, 4], [3, 1, 1]),
        shape([2, 8, 6, 1], [3, 2, 1]),
        shape([1, 9, 11, 8], [4, 2, 1]),
        shape([2, 7, 8, 2], [2, 3, 0]),
        shape([1, 4, 4, 4], [1, 3, 2]),
        shape([2, 3, 2, 5], [5, 1, 4]),
        shape([1, 6, 6, 12], [6, 1, 0]),
    ]
}

#[test]
fn patches_and_their_gradient() {
    for (i, p) in shapes().into_iter().enumerate() {
        for (k, kind) in Kind::ALL.into_iter().enumerate() {
            let inputs = &mut Inputs::new((i * 10 + k + 1) as u64);
            let (images, patches) = (p.batch * p.image_len(), p.rows() * p.patch_len());
            let (x, dout) = (inputs.of_kind(kind, images), inputs.of_kind(kind, patches));
            check(&format!("{p:?} {kind:?}"), |ops| {
                let (mut out, mut dx) = (vec![9.0; patches], vec![9.0; images]);
                ops.patches(&p, &x, &mut out);
                ops.patches_backward(&p, &dout, &mut dx);
                vec![out, dx]
            });
        }
    }
}
