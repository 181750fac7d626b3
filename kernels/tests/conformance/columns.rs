//! Statistics of columns and what they scale.

use crate::support::{Inputs, Kind, check};

/// Rows and columns around blocks of 8 columns and 32 rows.
const SHAPES: [(usize, usize); 12] =
    [(1, 1), (31, 3), (32, 8), (33, 9), (97, 7), (2, 31), (3, 32), (65, 33), (1, 64), (5, 67), (131, 1), (301, 12)];

fn for_shapes_and_kinds(mut f: impl FnMut([usize; 2], Kind, &mut Inputs)) {
    for (i, (rows, width)) in SHAPES.into_iter().enumerate() {
        for (k, kind) in Kind::ALL.into_iter().enumerate() {
            f([rows, width], kind, &mut Inputs::new((i * 10 + k + 1) as u64));
        }
    }
}

#[test]
fn moments_and_products() {
    for_shapes_and_kinds(|[rows, width], kind, inputs| {
        let [x, dy] = [(); 2].map(|()| inputs.of_kind(kind, rows * width));
        let shift = inputs.of_kind(kind, width);
        check(&format!("column moments and dots {rows}x{width} {kind:?}"), |ops| {
            let mut out = vec![vec![9.0; width]; 4];
            let [mean, var, dot, shifted] = out.as_mut_slice() else { unreachable!("four sums") };
            ops.column_moments(width, &x, mean, var);
            ops.column_dot(&x, None, &dy, dot);
            ops.column_dot(&x, Some(&shift), &dy, shifted);
            out
        });
    });
}

#[test]
fn affine_maps_and_scales() {
    for_shapes_and_kinds(|[rows, width], kind, inputs| {
        let x = inputs.of_kind(kind, rows * width);
        let [shift, scale, offset] = [(); 3].map(|()| inputs.of_kind(kind, width));
        check(&format!("column affine and scale {rows}x{width} {kind:?}"), |ops| {
            let mut out = vec![vec![9.0; rows * width]; 2];
            ops.column_affine(&x, &shift, &scale, &offset, &mut out[0]);
            ops.column_scale(&x, &scale, &mut out[1]);
            out
        });
    });
}

#[test]
fn roots_of_variances() {
    for_shapes_and_kinds(|[_, width], kind, inputs| {
        let [var, drstd] = [(); 2].map(|()| inputs.of_kind(kind, width));
        check(&format!("rstd of {width} {kind:?}"), |ops| {
            let mut out = vec![vec![9.0; width]; 2];
            ops.rstd(1e-5, &var, &mut out[0]);
            let rstd = out[0].clone();
            ops.rstd_backward(&rstd, &drstd, &mut out[1]);
            out
        });
    });
}
