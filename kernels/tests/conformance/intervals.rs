//! Interval bounds and the robust loss, bit for bit.

use crate::support::{Inputs, Kind, check, for_sizes_and_kinds};
use preheat_kernels::ops::{INTERVAL_SUMS, IntervalOps, IntervalPenalty};
use preheat_kernels::reference::Reference;

#[test]
fn boxes_around_inputs() {
    for_sizes_and_kinds(|n, kind, inputs| {
        let x = inputs.of_kind(kind, n);
        let edges = [0.1, 0.0, -0.0, 5.0, f32::NAN, f32::INFINITY, x[0]];
        for eps in edges {
            check(&format!("box of {eps} around {n} {kind:?}"), |ops| {
                let mut out = vec![vec![9.0; n]; 2];
                let [c, r] = out.as_mut_slice() else { unreachable!("two bounds") };
                ops.input_box([-0.5, 1.0], eps, &x, c, r);
                out
            });
        }
    });
}

#[test]
fn relu_and_its_gradient() {
    for_sizes_and_kinds(|n, kind, inputs| {
        let [c, r, dc_out, dr_out] = [(); 4].map(|()| inputs.of_kind(kind, n));
        check(&format!("interval relu of {n} {kind:?}"), |ops| {
            let mut out = vec![vec![9.0; n]; 4];
            let [c_out, r_out, dc, dr] = out.as_mut_slice() else { unreachable!("four bounds") };
            ops.interval_relu(&c, &r, c_out, r_out);
            ops.interval_relu_backward(&c, &r, [&dc_out, &dr_out], dc, dr);
            out
        });
    });
}

/// A penalty, its sums and its gradient.
fn check_penalty(p: &IntervalPenalty, what: &str, [c, r]: [&[f32]; 2], first: f32) {
    check(&format!("{p:?} {what} {first}"), |ops| {
        let (mut sums, mut dc, mut dr) = (vec![9.0; INTERVAL_SUMS], vec![9.0; c.len()], vec![9.0; c.len()]);
        let penalty = ops.interval_penalty(p, c, r, first, &mut sums);
        ops.interval_penalty_backward(p, c, r, &sums, [first, 0.37], &mut dc, &mut dr);
        vec![vec![penalty], sums, dc, dr]
    });
}

const PENALTY_SHAPES: [(usize, usize); 9] =
    [(1, 1), (2, 31), (31, 3), (32, 32), (33, 33), (5, 257), (3, 300), (131, 7), (301, 2)];

#[test]
fn penalties_and_their_gradients() {
    for (i, (rows, width)) in PENALTY_SHAPES.into_iter().enumerate() {
        for (k, kind) in Kind::ALL.into_iter().enumerate() {
            let inputs = &mut Inputs::new((i * 10 + k + 1) as u64);
            let (c, r) = (inputs.of_kind(kind, rows * width), inputs.of_kind(kind, rows * width));
            for (tightness, balance) in [(true, true), (true, false), (false, true), (false, false)] {
                let p = IntervalPenalty { width, tau: 0.5, tightness, balance };
                check_penalty(&p, &format!("{rows} rows {kind:?}"), [&c, &r], 0.2);
            }
        }
    }
}

/// Layers whose units lie mostly on one side, so that each ratio is above τ or below it, one way and the other.
#[test]
fn penalties_of_layers_on_one_side() {
    let (rows, width) = (33, 17);
    let inputs = &mut Inputs::new(5);
    let r: Vec<f32> = inputs.ordinary(rows * width).into_iter().map(|x| 0.3 * x.abs()).collect();
    let mut costs = Vec::new();
    for shift in [-9.0, -1.0, -0.2, 0.2, 1.0, 9.0] {
        let c: Vec<f32> = inputs.ordinary(rows * width).into_iter().map(|x| x + shift).collect();
        for (tau, first) in [(0.5, 0.01), (0.5, 0.4), (0.9, 0.3), (0.1, 1e-3)] {
            let p = IntervalPenalty { width, tau, tightness: true, balance: true };
            check_penalty(&p, &format!("shifted by {shift}"), [&c, &r], first);
            costs.push(Reference.interval_penalty(&p, &c, &r, first, &mut [0.0; INTERVAL_SUMS]));
        }
    }
    assert!(costs.contains(&0.0) && costs.iter().any(|cost| *cost > 1.0), "some cost nothing, some much: {costs:?}");
    // No radius at all: the mean is below the least that is divided by.
    let (c, none) = (inputs.ordinary(rows * width), vec![0.0; rows * width]);
    check_penalty(&IntervalPenalty { width, tau: 0.5, tightness: true, balance: true }, "no radius", [&c, &none], 0.1);
}

#[test]
fn pairs_margins_and_errors() {
    for (i, classes) in [1, 2, 3, 10, 31, 33].into_iter().enumerate() {
        for (k, kind) in Kind::ALL.into_iter().enumerate() {
            for rows in [1, 5, 33] {
                let inputs = &mut Inputs::new((i * 10 + k + 1) as u64);
                let (n, wide) = (rows * classes, rows * classes * classes);
                let [mut w, z, dm] = [(); 3].map(|()| inputs.of_kind(kind, n));
                // Equal columns.
                w[n - 1] = w[0];
                let [distances, dout] = [(); 2].map(|()| inputs.of_kind(kind, wide));
                let targets = inputs.tokens(rows, classes);
                check(&format!("{rows} rows of {classes} classes {kind:?}"), |ops| {
                    let mut out: Vec<_> = [wide, n, n, n, wide, rows].map(|len| vec![9.0; len]).into();
                    let [pairs, dw, m, dz, dd, wrong] = out.as_mut_slice() else { unreachable!("six results") };
                    ops.pair_distances(classes, &w, pairs);
                    ops.pair_distances_backward(classes, &w, &dout, dw);
                    ops.margins(classes, &z, &distances, &targets, m);
                    ops.margins_backward(classes, &dm, &targets, dz, dd);
                    ops.errors(classes, &z, &targets, wrong);
                    out
                });
            }
        }
    }
}
