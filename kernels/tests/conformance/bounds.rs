//! The backwards of batch statistics, images and interval bounds against central finite differences, in f64 on the
//! reference.

use preheat_kernels::ops::{ColumnOps, ImageOps, IntervalOps, IntervalPenalty, Patches};
use preheat_kernels::reference::Reference;

use crate::gradients::{check, dot, ordinary};
use crate::support::Inputs;

/// Intervals of n units: centres around `shift`, radii below a third, no end near 0.
fn intervals(inputs: &mut Inputs, n: usize, shift: f64) -> [Vec<f64>; 2] {
    let mut c: Vec<f64> = ordinary(inputs, n).into_iter().map(|c| c + shift).collect();
    let r: Vec<f64> = ordinary(inputs, n).into_iter().map(|r| 0.1 * r.abs() + 0.03).collect();
    for (c, r) in c.iter_mut().zip(&r) {
        if (*c - r).abs().min((*c + r).abs()) < 1e-3 {
            *c += 3e-3;
        }
    }
    [c, r]
}

#[test]
fn rstd() {
    let inputs = &mut Inputs::new(1);
    let var: Vec<f64> = ordinary(inputs, 9).into_iter().map(f64::abs).collect();
    let (drstd, mut rstd, mut dvar) = (ordinary(inputs, 9), vec![9.0; 9], vec![9.0; 9]);
    Reference.rstd(1e-2, &var, &mut rstd);
    Reference.rstd_backward(&rstd, &drstd, &mut dvar);
    check("dvar", &var, &dvar, |var| {
        let mut rstd = vec![9.0; 9];
        Reference.rstd(1e-2, var, &mut rstd);
        dot(&rstd, &drstd)
    });
}

#[test]
fn columns() {
    let (rows, width) = (37, 3);
    let inputs = &mut Inputs::new(2);
    let (x, dy) = (ordinary(inputs, rows * width), ordinary(inputs, rows * width));
    let [shift, scale, offset] = [(); 3].map(|()| ordinary(inputs, width));
    let affine = |x: &[f64], scale: &[f64]| {
        let mut y = vec![9.0; rows * width];
        Reference.column_affine(x, &shift, scale, &offset, &mut y);
        dot(&y, &dy)
    };
    let (mut dscale, mut dx) = (vec![9.0; width], vec![9.0; rows * width]);
    Reference.column_dot(&x, Some(&shift), &dy, &mut dscale);
    check("dscale of the affine map", &scale, &dscale, |scale| affine(&x, scale));
    Reference.column_scale(&dy, &scale, &mut dx);
    check("dx", &x, &dx, |x| affine(x, &scale));
    Reference.column_dot(&x, None, &dy, &mut dscale);
    check("dscale", &scale, &dscale, |scale| {
        let mut y = vec![9.0; rows * width];
        Reference.column_scale(&x, scale, &mut y);
        dot(&y, &dy)
    });
}

#[test]
fn moments() {
    let (rows, width) = (37, 3);
    let x: Vec<f64> = ordinary(&mut Inputs::new(3), rows * width);
    let (mut mean, mut var) = (vec![9.0; width], vec![9.0; width]);
    Reference.column_moments(width, &x, &mut mean, &mut var);
    for j in 0..width {
        let column = || x.iter().skip(j).step_by(width);
        let expect = column().sum::<f64>() / rows as f64;
        let squares = column().map(|x| (x - expect) * (x - expect)).sum::<f64>() / rows as f64;
        assert!((mean[j] - expect).abs() < 1e-12 && (var[j] - squares).abs() < 1e-12, "{mean:?} {var:?}");
    }
}

#[test]
fn interval_relu() {
    let n = 67;
    let inputs = &mut Inputs::new(4);
    let [c, r] = intervals(inputs, n, 0.0);
    let [dc_out, dr_out] = [(); 2].map(|()| ordinary(inputs, n));
    let of = |is: fn(f64, f64) -> bool| c.iter().zip(&r).filter(|(c, r)| is(**c, **r)).count();
    let counts = [of(|c, r| c > r), of(|c, r| c.abs() < r), of(|c, r| c < -r)];
    assert!(counts.iter().all(|n| *n > 2), "all three regimes: {counts:?}");
    let forward = |c: &[f64], r: &[f64]| {
        let [mut c_out, mut r_out] = [vec![9.0; n], vec![9.0; n]];
        Reference.interval_relu(c, r, &mut c_out, &mut r_out);
        dot(&c_out, &dc_out) + dot(&r_out, &dr_out)
    };
    let [mut dc, mut dr] = [vec![9.0; n], vec![9.0; n]];
    Reference.interval_relu_backward(&c, &r, [&dc_out, &dr_out], &mut dc, &mut dr);
    check("dc", &c, &dc, |c| forward(c, &r));
    check("dr", &r, &dr, |r| forward(&c, r));
}

/// One layer's intervals and what the penalty of them is made of.
struct Penalty {
    p: IntervalPenalty,
    c: Vec<f64>,
    r: Vec<f64>,
    first: f64,
}

impl Penalty {
    const ROWS: usize = 41;
    const WIDTH: usize = 5;

    fn new(seed: u64, shift: f64, tau: f64, [tightness, balance]: [bool; 2]) -> Self {
        let [c, r] = intervals(&mut Inputs::new(seed), Self::ROWS * Self::WIDTH, shift);
        Self { p: IntervalPenalty { width: Self::WIDTH, tau, tightness, balance }, c, r, first: 0.1 }
    }
    fn of(&self, c: &[f64], r: &[f64]) -> (f64, Vec<f64>) {
        let mut sums = vec![9.0; 8];
        (Reference.interval_penalty(&self.p, c, r, self.first, &mut sums), sums)
    }
    /// The two ratios of the balance: above 1 where those above 0 have more.
    fn ratios(&self) -> [f64; 2] {
        let sums = self.of(&self.c, &self.r).1;
        [-sums[4] / sums[5], sums[6] / sums[7]]
    }
    /// Which of them are below τ.
    fn counted(&self) -> [bool; 2] {
        self.ratios().map(|ratio| ratio.min(1.0 / ratio) < self.p.tau)
    }
    fn gradients(&self) -> [Vec<f64>; 2] {
        let sums = self.of(&self.c, &self.r).1;
        let [mut dc, mut dr] = [vec![9.0; self.c.len()], vec![9.0; self.c.len()]];
        let known = [self.first, 0.7];
        Reference.interval_penalty_backward(&self.p, &self.c, &self.r, &sums, known, &mut dc, &mut dr);
        [dc, dr]
    }
    #[track_caller]
    fn check_centres(&self) {
        check("dc", &self.c, &self.gradients()[0], |c| 0.7 * self.of(c, &self.r).0);
    }
    #[track_caller]
    fn check_radii(&self) {
        check("dr", &self.r, &self.gradients()[1], |r| 0.7 * self.of(&self.c, r).0);
    }
    /// What does not depend on the intervals has no gradient.
    #[track_caller]
    fn check_flat(&self) {
        let near = |x: &[f64]| x.iter().map(|x| x + 1e-6).collect::<Vec<_>>();
        assert_eq!(self.of(&near(&self.c), &near(&self.r)).0, self.of(&self.c, &self.r).0);
        assert!(self.gradients().iter().flatten().all(|d| *d == 0.0));
    }
}

#[test]
fn tightness() {
    let wide = Penalty { first: 0.05, ..Penalty::new(1, 0.0, 0.9, [true, false]) };
    wide.check_radii();
    assert!(wide.gradients()[0].iter().all(|d| *d == 0.0), "centres have no part in it");
    // The last layer is no wider than the first one is: no cost.
    Penalty { first: 0.5, ..Penalty::new(1, 0.0, 0.9, [true, false]) }.check_flat();
    let value = |p: &Penalty| p.of(&p.c, &p.r).0;
    let mean = wide.r.iter().sum::<f64>() / wide.r.len() as f64;
    assert!((value(&wide) - (0.9 - 0.05 / mean) / 0.9).abs() < 1e-12);
    let points = Penalty { r: vec![0.0; wide.r.len()], ..wide };
    assert!(points.gradients()[1].iter().all(|d| *d == 0.0), "radii of 0 divide nothing");
    assert_eq!(value(&points), 0.0);
}

#[test]
fn balance_where_either_side_has_more() {
    for (shift, more) in [(0.9, true), (-0.9, false)] {
        // No ratio is above 1: all count.
        let layer = Penalty::new(2, shift, 1.5, [false, true]);
        assert_eq!(layer.ratios()[0] > 1.0, more);
        assert_eq!(layer.counted(), [true; 2]);
        layer.check_centres();
        assert!(layer.gradients()[1].iter().all(|d| *d == 0.0), "radii have no part in it");
        let both = Penalty { p: IntervalPenalty { tightness: true, ..layer.p }, first: 0.01, ..layer };
        both.check_centres();
        both.check_radii();
    }
}

#[test]
fn balance_of_one_ratio_alone() {
    let more_above = Penalty::new(3, 0.9, 0.0, [false, true]);
    // One unit is far from the mean: that counts in squares.
    let mut far = Penalty::new(3, 0.0, 0.0, [false, true]);
    far.c[17] = 20.0;
    for (mut layer, counted) in [(more_above, [true, false]), (far, [false, true])] {
        let [means, squares] = layer.ratios().map(|ratio| ratio.min(1.0 / ratio));
        layer.p.tau = 0.5 * (means + squares);
        assert_eq!(layer.counted(), counted);
        layer.check_centres();
        layer.p.tau = 0.9 * means.min(squares);
        layer.check_flat();
    }
}

#[test]
fn balance_without_units_on_a_side() {
    for shift in [-9.0, 9.0] {
        let layer = Penalty::new(4, shift, 0.9, [false, true]);
        let sums = layer.of(&layer.c, &layer.r).1;
        assert_eq!(sums[2].max(sums[3]), layer.c.len() as f64, "all on one side");
        layer.check_flat();
    }
    let undecided =
        Penalty { r: vec![7.0; Penalty::ROWS * Penalty::WIDTH], ..Penalty::new(4, 0.0, 0.9, [false, true]) };
    undecided.check_flat();
}

#[test]
fn pair_distances() {
    let (k, v) = (6, 5);
    let inputs = &mut Inputs::new(5);
    let (w, dout, mut dw) = (ordinary(inputs, k * v), ordinary(inputs, k * v * v), vec![9.0; k * v]);
    Reference.pair_distances_backward(v, &w, &dout, &mut dw);
    check("dw", &w, &dw, |w| {
        let mut out = vec![9.0; k * v * v];
        Reference.pair_distances(v, w, &mut out);
        dot(&out, &dout)
    });
}

#[test]
fn margins() {
    let (n, v) = (7, 35);
    let inputs = &mut Inputs::new(6);
    let (z, targets) = (ordinary(inputs, n * v), inputs.tokens(n, v));
    // No class is any distance from itself, which the backward knows.
    let off_itself = |radii: &[f64]| -> Vec<f64> {
        radii.iter().enumerate().map(|(at, d)| if at % (v * v) % (v + 1) == 0 { 0.0 } else { *d }).collect()
    };
    let radii = off_itself(&ordinary(inputs, n * v * v));
    let (dm, mut dz, mut dd) = (ordinary(inputs, n * v), vec![9.0; n * v], vec![9.0; n * v * v]);
    Reference.margins_backward(v, &dm, &targets, &mut dz, &mut dd);
    let forward = |z: &[f64], radii: &[f64]| {
        let mut out = vec![9.0; n * v];
        Reference.margins(v, z, radii, &targets, &mut out);
        out
    };
    check("dz", &z, &dz, |z| dot(&forward(z, &radii), &dm));
    check("dd", &radii, &dd, |radii| dot(&forward(&z, &off_itself(radii)), &dm));
    let own = |i: usize| forward(&z, &radii)[i * v + targets[i] as usize];
    assert!((0..n).all(|i| own(i) == 0.0), "the target's own margin");
}

#[test]
fn patches() {
    for (kernel, stride, padding) in [(3, 1, 1), (3, 2, 1), (2, 2, 0), (1, 1, 0), (3, 3, 2), (5, 2, 0)] {
        let shape = Patches { batch: 2, height: 7, width: 5, channels: 3, kernel, stride, padding };
        let inputs = &mut Inputs::new(kernel as u64);
        let n = shape.batch * shape.image_len();
        let (x, dout) = (ordinary(inputs, n), ordinary(inputs, shape.rows() * shape.patch_len()));
        let mut dx = vec![9.0; n];
        Reference.patches_backward(&shape, &dout, &mut dx);
        check(&format!("{shape:?}"), &x, &dx, |x| {
            let mut out = vec![9.0; dout.len()];
            Reference.patches(&shape, x, &mut out);
            dot(&out, &dout)
        });
    }
}

#[test]
fn boxes_are_cut_at_the_limits() {
    let x = [0.0, 0.05, 0.5, 0.97, 1.0];
    let (mut c, mut r) = (vec![9.0; 5], vec![9.0; 5]);
    Reference.input_box([0.0, 1.0], 0.1, &x, &mut c, &mut r);
    for (i, x) in x.into_iter().enumerate() {
        let (low, high) = (f64::max(x - 0.1, 0.0), f64::min(x + 0.1, 1.0));
        assert!((c[i] - r[i] - low).abs() < 1e-15 && (c[i] + r[i] - high).abs() < 1e-15, "{x}: {} {}", c[i], r[i]);
    }
}

#[test]
fn pixels_are_bytes_over_255() {
    let mut x = vec![9.0; 256];
    Reference.pixels(&(0..256).collect::<Vec<u32>>(), &mut x);
    assert!((0..256_u32).all(|byte| x[byte as usize] == f64::from(byte) / 255.0));
}

#[test]
fn a_row_is_wrong_where_another_class_is_above_or_not_comparable() {
    let rows = [[1.0, 2.0, 1.0], [1.0, 2.0, 2.0], [1.0, 2.0, 2.5], [1.0, 2.0, f64::NAN], [1.0, f64::NAN, 1.0]];
    let mut wrong = vec![9.0; 5];
    Reference.errors(3, rows.as_flattened(), &[1; 5], &mut wrong);
    assert_eq!(wrong, [0.0, 0.0, 1.0, 1.0, 1.0]);
}
