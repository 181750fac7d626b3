//! Batch statistics, interval bounds and their penalty.

use preheat_kernels::ops::IntervalPenalty;

use crate::rows::for_shapes_and_kinds;
use crate::support::{Inputs, Kind, SIZES, check, for_sizes_and_kinds};

#[test]
fn columns() {
    for_shapes_and_kinds(|rows, width, kind, inputs| {
        let n = rows * width;
        let (x, dy) = (inputs.of_kind(kind, n), inputs.of_kind(kind, n));
        let [shift, scale, offset] = [(); 3].map(|()| inputs.of_kind(kind, width));
        check(&format!("columns {rows}x{width} {kind:?}"), |ops| {
            let (mut per_column, mut whole) = (vec![vec![9.0; width]; 6], vec![vec![9.0; n]; 2]);
            let [mean, var, rstd, dvar, plain, shifted] = per_column.as_mut_slice() else { unreachable!("six") };
            ops.column_moments(width, &x, mean, var);
            ops.rstd(1e-5, var, rstd);
            ops.rstd_backward(rstd, &scale, dvar);
            ops.column_dot(&x, None, &dy, plain);
            ops.column_dot(&x, Some(&shift), &dy, shifted);
            ops.column_affine(&x, &shift, &scale, &offset, &mut whole[0]);
            ops.column_scale(&x, &scale, &mut whole[1]);
            [per_column, whole].concat()
        });
    });
}

#[test]
fn boxes_around_inputs() {
    for_sizes_and_kinds(|n, kind, inputs| {
        let (x, eps) = (inputs.of_kind(kind, n), inputs.of_kind(kind, 1)[0]);
        for (limits, eps) in [([0.0, 1.0], 0.1), ([-0.4, 2.8], 0.5), ([0.0, 0.0], eps), ([-1e30, 1e30], eps)] {
            check(&format!("box of {n} {kind:?}, {eps:e} in {limits:?}"), |ops| {
                let [mut c, mut r] = [vec![9.0; n], vec![9.0; n]];
                ops.input_box(limits, eps, &x, &mut c, &mut r);
                vec![c, r]
            });
        }
    });
}

/// Radii of any sign and size, of none, and such that each regime of ReLU has its share.
fn radii(kind: Kind, inputs: &mut Inputs, n: usize) -> [Vec<f32>; 3] {
    let r = inputs.of_kind(kind, n);
    [r.iter().map(|r| 0.2 * r.abs()).collect(), vec![0.0; n], r]
}

#[test]
fn interval_relu_and_its_gradient() {
    for_sizes_and_kinds(|n, kind, inputs| {
        let (c, dc_out, dr_out) = (inputs.of_kind(kind, n), inputs.of_kind(kind, n), inputs.of_kind(kind, n));
        for r in radii(kind, inputs, n) {
            check(&format!("interval relu of {n} {kind:?}"), |ops| {
                let mut out = vec![vec![9.0; n]; 4];
                let [c_out, r_out, dc, dr] = out.as_mut_slice() else { unreachable!("four") };
                ops.interval_relu(&c, &r, c_out, r_out);
                ops.interval_relu_backward(&c, &r, [&dc_out, &dr_out], dc, dr);
                out
            });
        }
    });
}

const PENALTIES: [(f64, bool, bool); 4] =
    [(0.5, true, true), (1.5, true, true), (0.9, true, false), (0.9, false, true)];

#[test]
fn penalties_and_their_gradient() {
    for_shapes_and_kinds(|rows, width, kind, inputs| {
        let (n, known) = (rows * width, [0.1, 0.7]);
        let (c, other_sums) = (inputs.of_kind(kind, n), inputs.of_kind(kind, 8));
        // Over the shapes, each penalty meets each kind of radii.
        let radii = radii(kind, inputs, n);
        for ((tau, tightness, balance), r) in PENALTIES.into_iter().zip(radii.iter().cycle().skip(n % 3)) {
            let p = IntervalPenalty { width, tau, tightness, balance };
            check(&format!("{p:?} of {rows} rows {kind:?}"), |ops| {
                let (mut sums, mut d) = (vec![9.0; 8], vec![vec![9.0; n]; 4]);
                let value = ops.interval_penalty(&p, &c, r, known[0], &mut sums);
                let [dc, dr, dc_other, dr_other] = d.as_mut_slice() else { unreachable!("four") };
                ops.interval_penalty_backward(&p, &c, r, &sums, known, dc, dr);
                ops.interval_penalty_backward(&p, &c, r, &other_sums, known, dc_other, dr_other);
                d.extend([vec![value], sums]);
                d
            });
        }
    });
}

#[test]
fn distances_and_margins() {
    for (i, classes) in SIZES.into_iter().enumerate().take(14) {
        for (k, kind) in Kind::ALL.into_iter().enumerate() {
            let inputs = &mut Inputs::new((i * 10 + k + 1) as u64);
            let (rows, pairs) = (5, classes * classes);
            let mut w = inputs.of_kind(kind, rows * classes);
            // Equal weights have no slope.
            w[0] = w[classes - 1];
            let (z, targets) = (inputs.of_kind(kind, rows * classes), inputs.tokens(rows, classes));
            let (d, dm) = (inputs.of_kind(kind, rows * pairs), inputs.of_kind(kind, rows * classes));
            check(&format!("{classes} classes {kind:?}"), |ops| {
                let (mut of_class, mut of_pair) =
                    (vec![vec![9.0; rows * classes]; 3], vec![vec![9.0; rows * pairs]; 2]);
                let ([dw, m, dz], [distances, dd]) = (of_class.as_mut_slice(), of_pair.as_mut_slice()) else {
                    unreachable!("three and two")
                };
                ops.pair_distances(classes, &w, distances);
                ops.pair_distances_backward(classes, &w, &d, dw);
                ops.margins(classes, &z, &d, &targets, m);
                ops.margins_backward(classes, &dm, &targets, dz, dd);
                let mut wrong = vec![9.0; rows];
                ops.errors(classes, &z, &targets, &mut wrong);
                of_pair.push(wrong);
                [of_class, of_pair].concat()
            });
        }
    }
}
