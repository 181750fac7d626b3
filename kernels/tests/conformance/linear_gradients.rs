//! The backwards of linear bounds against central finite differences, in f64 on the reference, and what holds of the lines.

use preheat_kernels::ops::LinearBoundOps;
use preheat_kernels::reference::Reference;

use crate::gradients::{check, dot, ordinary};
use crate::support::Inputs;

const SAMPLES: usize = 3;
const GROUP: usize = 5;
const WIDTH: usize = 37;

/// Numbers no nearer to 0 than 1e-3.
fn off_zero(x: Vec<f64>) -> Vec<f64> {
    x.into_iter().map(|x| if x.abs() < 1e-3 { x + 3e-3 } else { x }).collect()
}

#[test]
fn relu() {
    let inputs = &mut Inputs::new(1);
    let (rows, units) = (SAMPLES * GROUP, SAMPLES * WIDTH);
    let a = off_zero(ordinary(inputs, rows * WIDTH));
    let mut c = off_zero(ordinary(inputs, units));
    let r: Vec<f64> = ordinary(inputs, units).into_iter().map(|r| 0.5 * r.abs() + 0.03).collect();
    for (c, r) in c.iter_mut().zip(&r) {
        if (c.abs() - r).abs() < 1e-3 {
            *c *= 1.01;
        }
    }
    let bends = c.iter().zip(&r).filter(|(c, r)| c.abs() < **r).count();
    assert!(bends > 10 && bends < units - 10, "{bends} of {units}");
    let (da_out, db) = (ordinary(inputs, a.len()), ordinary(inputs, rows));
    let forward = |a: &[f64], c: &[f64], r: &[f64]| {
        let (mut a_out, mut b) = (vec![9.0; a.len()], vec![9.0; rows]);
        Reference.linear_relu(WIDTH, a, c, r, &mut a_out, &mut b);
        dot(&a_out, &da_out) + dot(&b, &db)
    };
    let (mut da, mut dc, mut dr) = (vec![9.0; a.len()], vec![9.0; units], vec![9.0; units]);
    Reference.linear_relu_backward(WIDTH, &a, [&c, &r], [&da_out, &db], &mut da, &mut dc, &mut dr);
    check("da", &a, &da, |a| forward(a, &c, &r));
    check("dc", &c, &dc, |c| forward(&a, c, &r));
    check("dr", &r, &dr, |r| forward(&a, &c, r));
}

#[test]
fn group_dot() {
    let inputs = &mut Inputs::new(2);
    let a = off_zero(ordinary(inputs, SAMPLES * GROUP * WIDTH));
    let (x, dout) = (ordinary(inputs, SAMPLES * WIDTH), ordinary(inputs, SAMPLES * GROUP));
    for size in [false, true] {
        let forward = |a: &[f64], x: &[f64]| {
            let mut out = vec![9.0; dout.len()];
            Reference.group_dot(WIDTH, size, a, x, &mut out);
            dot(&out, &dout)
        };
        let (mut da, mut dx) = (vec![9.0; a.len()], vec![9.0; x.len()]);
        Reference.group_dot_backward(WIDTH, size, &a, &x, &dout, &mut da, &mut dx);
        check("da", &a, &da, |a| forward(a, &x));
        check("dx", &x, &dx, |x| forward(&a, x));
    }
}

#[test]
fn contrasts() {
    let mut out = vec![9.0; 18];
    Reference.contrasts(3, &[0, 2], &mut out);
    let rows: Vec<&[f64]> = out.chunks_exact(3).collect();
    assert_eq!(rows[..3], [&[0.0, 0.0, 0.0], &[-1.0, 1.0, 0.0], &[-1.0, 0.0, 1.0]]);
    assert_eq!(rows[3..], [&[1.0, 0.0, -1.0], &[0.0, 1.0, -1.0], &[0.0, 0.0, 0.0]]);
}

/// Over each interval the lines of a row hold ReLU, told from the interval's centre, and touch it.
#[test]
fn lines_hold_relu() {
    for (c, r) in [(0.3, 1.0), (-0.3, 1.0), (0.0, 0.5), (2.0, 1.0), (-2.0, 1.0), (1.0, 1.0), (-1.0, 1.0)] {
        let [mut c_out, mut r_out] = [[9.0_f64], [9.0]];
        preheat_kernels::ops::IntervalOps::interval_relu(&Reference, &[c], &[r], &mut c_out, &mut r_out);
        for a in [1.0, -1.0] {
            let (mut slope, mut b) = ([9.0], [9.0]);
            Reference.linear_relu(1, &[a], &[c], &[r], &mut slope, &mut b);
            let gaps = (0..=20).map(|i| {
                let off = r * (f64::from(i) / 10.0 - 1.0);
                slope[0] * off + b[0] - a * ((c + off).max(0.0) - c_out[0])
            });
            let least = gaps.fold(f64::INFINITY, f64::min);
            assert!(least.abs() < 1e-12, "{a} over {c} ± {r}: {least}");
        }
    }
}

/// Intervals that are hardly more than points bend ReLU by rounding alone.
#[test]
fn slopes_of_points_are_finite() {
    let smallest = f32::from_bits(1);
    let ends = [0.0, smallest, 1e-38, 1e-30, 1e-20, 1e-12, 1e-6, 1.0, 1e6];
    for r in ends {
        for c in ends.into_iter().chain([r * 0.999_999_9, r * 1.000_000_1]).flat_map(|c| [c, -c]) {
            for a in [1.0_f32, -1.0] {
                let (mut slope, mut b) = ([9.0], [9.0]);
                Reference.linear_relu(1, &[a], &[c], &[r], &mut slope, &mut b);
                assert!((0.0..=1.0).contains(&slope[0].abs()) && (0.0..=r).contains(&b[0]), "{c:e} ± {r:e}: {slope:?}");
                let mut d = [[9.0_f32]; 3];
                let [da, dc, dr] = &mut d;
                Reference.linear_relu_backward(1, &[a], [&[c], &[r]], [&[1.0], &[1.0]], da, dc, dr);
                assert!(d.iter().flatten().all(|d| d.is_finite()), "{c:e} ± {r:e}: {d:?}");
            }
        }
    }
}
