//! Linear bounds.

use crate::rows::for_shapes_and_kinds;
use crate::support::check;

#[test]
fn linear_bounds_through_relu() {
    for_shapes_and_kinds(|rows, width, kind, inputs| {
        for (n, group) in [(rows, 1), (rows.min(3), 7)] {
            let (a, units) = (inputs.of_kind(kind, n * group * width), n * width);
            let (c, ends) = (inputs.of_kind(kind, units), inputs.of_kind(kind, units));
            let (da_out, db) = (inputs.of_kind(kind, a.len()), inputs.of_kind(kind, n * group));
            // Any radii, and such that each regime of ReLU has its share.
            for r in [ends.iter().map(|r| 0.6 * r.abs()).collect(), ends.clone()] {
                check(&format!("{group} bounds each of {n}x{width} {kind:?}"), |ops| {
                    let (mut of_rows, mut of_units) = (vec![vec![9.0; a.len()]; 2], vec![vec![9.0; units]; 2]);
                    let mut b = vec![9.0; db.len()];
                    let ([a_out, da], [dc, dr]) = (of_rows.as_mut_slice(), of_units.as_mut_slice()) else {
                        unreachable!("two each")
                    };
                    ops.linear_relu(width, &a, &c, &r, a_out, &mut b);
                    ops.linear_relu_backward(width, &a, [&c, &r], [&da_out, &db], da, dc, dr);
                    of_units.push(b);
                    [of_rows, of_units].concat()
                });
            }
        }
    });
}

#[test]
fn group_dots_and_their_gradient() {
    for_shapes_and_kinds(|rows, width, kind, inputs| {
        for (n, group) in [(rows, 1), (rows.min(3), 7)] {
            let (a, x) = (inputs.of_kind(kind, n * group * width), inputs.of_kind(kind, n * width));
            let dout = inputs.of_kind(kind, n * group);
            for size in [false, true] {
                check(&format!("{group} dots each of {n}x{width} {kind:?} {size}"), |ops| {
                    let mut out = vec![vec![9.0; dout.len()], vec![9.0; a.len()], vec![9.0; x.len()]];
                    let [dots, da, dx] = out.as_mut_slice() else { unreachable!("three") };
                    ops.group_dot(width, size, &a, &x, dots);
                    ops.group_dot_backward(width, size, &a, &x, &dout, da, dx);
                    out
                });
            }
        }
    });
}

#[test]
fn contrasts_of_targets() {
    for_shapes_and_kinds(|rows, classes, _, inputs| {
        let targets = inputs.tokens(rows, classes);
        check(&format!("contrasts of {rows} targets among {classes}"), |ops| {
            let mut out = vec![9.0; rows * classes * classes];
            ops.contrasts(classes, &targets, &mut out);
            vec![out]
        });
    });
}
