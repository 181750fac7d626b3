//! Norms, losses, embeddings and column sums.

use preheat_kernels::ops::{CrossEntropy, Ops};
use preheat_kernels::real::canonical_bits;
use preheat_kernels::reference::Reference;
use proptest::prelude::*;

use crate::support::{Inputs, Kind, SIZES, check};

const ROWS: [usize; 7] = [1, 2, 31, 32, 33, 65, 97];

/// Every width with a few numbers of rows, every number of rows with a few widths.
fn shapes() -> Vec<(usize, usize)> {
    let wide = SIZES.into_iter().flat_map(|w| [(1, w), (33, w)]);
    let tall = ROWS.into_iter().flat_map(|r| [(r, 1), (r, 64), (r, 67)]);
    wide.chain(tall).collect()
}

pub(crate) fn for_shapes_and_kinds(mut f: impl FnMut(usize, usize, Kind, &mut Inputs)) {
    for (i, (rows, width)) in shapes().into_iter().enumerate() {
        for (k, kind) in Kind::ALL.into_iter().enumerate() {
            f(rows, width, kind, &mut Inputs::new((i * 10 + k + 1) as u64));
        }
    }
}

fn check_layer_norm(rows: usize, width: usize, kind: Kind, inputs: &mut Inputs) {
    let n = rows * width;
    let (x, dy, add) = (inputs.of_kind(kind, n), inputs.of_kind(kind, n), inputs.of_kind(kind, n));
    let (gamma, beta) = (inputs.of_kind(kind, width), inputs.ordinary(width));
    check(&format!("layer norm {rows}x{width} {kind:?}"), |ops| {
        let (mut y, mut mean, mut rstd) = (vec![9.0; n], vec![9.0; rows], vec![9.0; rows]);
        ops.layer_norm(width, 1e-5, &x, &gamma, &beta, &mut y, &mut mean, &mut rstd);
        let mut dx = [vec![9.0; n], vec![9.0; n]];
        ops.layer_norm_dx(width, &x, &gamma, &mean, &rstd, &dy, None, &mut dx[0]);
        ops.layer_norm_dx(width, &x, &gamma, &mean, &rstd, &dy, Some(&add), &mut dx[1]);
        let (mut dgamma, mut dbeta) = (vec![9.0; width], vec![9.0; width]);
        ops.layer_norm_dparams(width, &x, &mean, &rstd, &dy, &mut dgamma, &mut dbeta);
        let [dx0, dx1] = dx;
        vec![y, mean, rstd, dx0, dx1, dgamma, dbeta]
    });
}

fn check_cross_entropy(rows: usize, vocab: usize, smoothing: f64, kind: Kind, inputs: &mut Inputs) {
    let shape = CrossEntropy { rows, vocab, smoothing };
    let (x, targets) = (inputs.of_kind(kind, rows * vocab), inputs.tokens(rows, vocab));
    check(&format!("{shape:?} {kind:?}"), |ops| {
        let (mut losses, mut lse, mut dx) = (vec![9.0; rows], vec![9.0; rows], vec![9.0; rows * vocab]);
        ops.cross_entropy(&shape, &x, &targets, &mut losses, &mut lse);
        ops.cross_entropy_backward(&shape, &x, &targets, &lse, 0.37, &mut dx);
        vec![losses, lse, dx]
    });
}

#[test]
fn layer_norm_and_its_gradients() {
    for_shapes_and_kinds(check_layer_norm);
}

#[test]
fn column_sums() {
    for_shapes_and_kinds(|rows, width, kind, inputs| {
        let x = inputs.of_kind(kind, rows * width);
        check(&format!("column sum {rows}x{width} {kind:?}"), |ops| {
            let mut out = vec![9.0; width];
            ops.column_sum(width, &x, &mut out);
            vec![out]
        });
    });
}

/// Sums that go on from part to part, the first of 32 rows, are those of the whole.
#[test]
fn sums_over_rows_in_parts() {
    for_shapes_and_kinds(|rows, width, kind, inputs| {
        let n = rows * width;
        let (x, dy) = (inputs.of_kind(kind, n), inputs.of_kind(kind, n));
        let (mean, rstd) = (inputs.ordinary(rows), inputs.of_kind(kind, rows));
        let cut = rows.min(32);
        let what = format!("sums in parts {rows}x{width} {kind:?}");
        check(&what, |ops| {
            let mut whole = vec![vec![9.0; width]; 3];
            let [sums, dgamma, dbeta] = whole.as_mut_slice() else { unreachable!("three sums") };
            Reference.column_sum(width, &x, sums);
            Reference.layer_norm_dparams(width, &x, &mean, &rstd, &dy, dgamma, dbeta);
            let (mut partial, mut both) = (vec![9.0; 32 * width], vec![9.0; 2 * 32 * width]);
            for (first, part) in [(true, 0..cut), (false, cut..rows)] {
                let at = part.start * width..part.end * width;
                let (mean, rstd) = (&mean[part.clone()], &rstd[part]);
                ops.column_sum_rows(width, &x[at.clone()], first, &mut partial);
                ops.layer_norm_dparams_rows(width, &x[at.clone()], mean, rstd, &dy[at], first, &mut both);
            }
            let mut out = vec![vec![9.0; width]; 3];
            let [sums, dgamma, dbeta] = out.as_mut_slice() else { unreachable!("three sums") };
            ops.fold_columns(width, &partial, sums);
            let (of_gamma, of_beta) = both.split_at(32 * width);
            ops.fold_columns(width, of_gamma, dgamma);
            ops.fold_columns(width, of_beta, dbeta);
            let bits = |all: &[Vec<f32>]| all.iter().flatten().map(|x| canonical_bits(*x)).collect::<Vec<_>>();
            assert!(bits(&out) == bits(&whole), "{what}: not the sums of the whole");
            out
        });
    });
}

#[test]
fn cross_entropy_and_its_gradient() {
    for_shapes_and_kinds(|rows, vocab, kind, inputs| {
        for smoothing in [0.0, 0.1] {
            check_cross_entropy(rows, vocab, smoothing, kind, inputs);
        }
    });
    for vocab in [67, 1000, 1024] {
        for kind in Kind::ALL {
            check_cross_entropy(5, vocab, 0.1, kind, &mut Inputs::new(vocab as u64));
        }
    }
}

#[test]
fn equal_zeros_of_both_signs_as_the_maximum() {
    for x in [[0.0, -0.0], [-0.0, 0.0]] {
        let x: Vec<f32> = x.into_iter().cycle().take(67).collect();
        let shape = CrossEntropy { rows: 1, vocab: 67, smoothing: 0.0 };
        check("zeros", |ops| {
            let (mut losses, mut lse) = (vec![9.0], vec![9.0]);
            ops.cross_entropy(&shape, &x, &[3], &mut losses, &mut lse);
            vec![losses, lse]
        });
    }
}

#[test]
fn embedding_and_its_gradient() {
    for_shapes_and_kinds(|rows, width, kind, inputs| {
        let vocab = 11;
        let tokens = inputs.tokens(rows, vocab);
        let table = inputs.of_kind(kind, vocab * width);
        let (positions, dx) = (inputs.of_kind(kind, 7 * width), inputs.of_kind(kind, rows * width));
        check(&format!("embedding {rows}x{width} {kind:?}"), |ops| {
            let mut out = vec![vec![9.0; rows * width], vec![9.0; rows * width], vec![9.0; vocab * width]];
            ops.embedding(width, &tokens, &table, None, &mut out[0]);
            ops.embedding(width, &tokens, &table, Some(&positions), &mut out[1]);
            ops.embedding_backward(width, &tokens, &dx, &mut out[2]);
            out
        });
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_shape(rows in 1_usize..70, width in 1_usize..200, seed: u64, kind in 0..Kind::ALL.len()) {
        let inputs = &mut Inputs::new(seed);
        check_layer_norm(rows, width, Kind::ALL[kind], inputs);
        check_cross_entropy(rows, width, 0.2, Kind::ALL[kind], inputs);
    }
}
