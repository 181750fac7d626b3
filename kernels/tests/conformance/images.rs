//! Pixels and patches.

use preheat_kernels::ops::Patches;
use proptest::prelude::*;

use crate::support::{Inputs, Kind, check, for_sizes_and_kinds};

#[test]
fn pixels() {
    for_sizes_and_kinds(|n, _, inputs| {
        let (bytes, any) = (inputs.tokens(n, 256), inputs.tokens(n, u32::MAX as usize));
        check(&format!("{n} pixels"), |ops| {
            let mut x = vec![vec![9.0; n]; 2];
            ops.pixels(&bytes, &mut x[0]);
            ops.pixels(&any, &mut x[1]);
            x
        });
    });
}

fn check_patches(shape: Patches, kind: Kind, inputs: &mut Inputs) {
    let (n, taps) = (shape.batch * shape.image_len(), shape.rows() * shape.patch_len());
    let (x, dout) = (inputs.of_kind(kind, n), inputs.of_kind(kind, taps));
    check(&format!("{shape:?} {kind:?}"), |ops| {
        let (mut out, mut dx) = (vec![9.0; taps], vec![9.0; n]);
        ops.patches(&shape, &x, &mut out);
        ops.patches_backward(&shape, &dout, &mut dx);
        vec![out, dx]
    });
}

#[test]
fn patches_and_their_gradient() {
    for channels in [1, 2, 3, 7, 8, 16, 17, 33] {
        for (kernel, stride, padding) in [(3, 1, 1), (3, 2, 1), (1, 1, 0), (2, 3, 0), (5, 2, 4), (1, 1, 2), (7, 1, 1)] {
            let shape = Patches { batch: 2, height: 6, width: 5, channels, kernel, stride, padding };
            for kind in Kind::ALL {
                check_patches(shape, kind, &mut Inputs::new((channels * 10 + kernel) as u64));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_window(
        (batch, height, width, channels) in (1_usize..4, 1_usize..9, 1_usize..9, 1_usize..20),
        (kernel, stride, padding) in (1_usize..6, 1_usize..4, 0_usize..4),
        seed: u64,
        kind in 0..Kind::ALL.len(),
    ) {
        prop_assume!(height.min(width) + 2 * padding >= kernel);
        let shape = Patches { batch, height, width, channels, kernel, stride, padding };
        check_patches(shape, Kind::ALL[kind], &mut Inputs::new(seed));
    }
}
