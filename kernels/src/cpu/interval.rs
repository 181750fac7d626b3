//! Interval bounds as centre and radius.

use super::Cpu;
use super::reduce::sum_of;
use super::simd::{Full, Isa, Span, Tail, dispatch, each_vector};
use crate::ops::{IntervalOps, IntervalPenalty};
use crate::reference::interval::{PenaltySlopes, penalty_of, penalty_slopes};
use crate::reference::{LANES, Reference, fold_lanes};

impl IntervalOps<f32> for Cpu {
    fn input_box(&self, limits: [f64; 2], eps: f32, x: &[f32], c: &mut [f32], r: &mut [f32]) {
        input_box(self.simd, limits, eps, x, c, r);
    }
    fn interval_relu(&self, c: &[f32], r: &[f32], c_out: &mut [f32], r_out: &mut [f32]) {
        relu(self.simd, c, r, c_out, r_out);
    }
    fn interval_relu_backward(&self, c: &[f32], r: &[f32], d_out: [&[f32]; 2], dc: &mut [f32], dr: &mut [f32]) {
        relu_backward(self.simd, c, r, d_out, dc, dr);
    }
    fn interval_penalty(&self, p: &IntervalPenalty, c: &[f32], r: &[f32], first: f32, sums: &mut [f32]) -> f32 {
        penalty(self.simd, p, c, r, first, sums)
    }
    fn interval_penalty_backward(
        &self,
        p: &IntervalPenalty,
        c: &[f32],
        r: &[f32],
        sums: &[f32],
        [first, dpenalty]: [f32; 2],
        dc: &mut [f32],
        dr: &mut [f32],
    ) {
        let slopes = penalty_slopes(p, c.len(), first, sums, dpenalty);
        penalty_backward(self.simd, &slopes, c, r, dc, dr);
    }
    fn pair_distances(&self, classes: usize, w: &[f32], out: &mut [f32]) {
        pair_distances(self.simd, classes, w, out);
    }
    fn pair_distances_backward(&self, classes: usize, w: &[f32], dout: &[f32], dw: &mut [f32]) {
        pair_distances_backward(self.simd, classes, w, dout, dw);
    }
    fn margins(&self, classes: usize, z: &[f32], distances: &[f32], targets: &[u32], out: &mut [f32]) {
        margins(self.simd, classes, z, distances, targets, out);
    }
    fn margins_backward(&self, classes: usize, dm: &[f32], targets: &[u32], dz: &mut [f32], dd: &mut [f32]) {
        margins_backward(self.simd, classes, dm, targets, dz, dd);
    }
}

dispatch!(fn input_box(limits: [f64; 2], eps: f32, x: &[f32], c: &mut [f32], r: &mut [f32]) = input_box_of,
    scalar Reference.input_box(limits, eps, x, c, r));
dispatch!(fn relu(c: &[f32], r: &[f32], c_out: &mut [f32], r_out: &mut [f32]) = relu_of,
    scalar Reference.interval_relu(c, r, c_out, r_out));
dispatch!(fn relu_backward(c: &[f32], r: &[f32], d_out: [&[f32]; 2], dc: &mut [f32], dr: &mut [f32])
    = relu_backward_of, scalar Reference.interval_relu_backward(c, r, d_out, dc, dr));
dispatch!(fn penalty(p: &IntervalPenalty, c: &[f32], r: &[f32], first: f32, sums: &mut [f32]) -> f32 = penalty_sums,
    scalar Reference.interval_penalty(p, c, r, first, sums));
dispatch!(fn penalty_backward(slopes: &PenaltySlopes<f32>, c: &[f32], r: &[f32], dc: &mut [f32], dr: &mut [f32])
    = penalty_backward_of, scalar crate::reference::interval::penalty_backward(slopes, c, r, dc, dr));
dispatch!(fn pair_distances(classes: usize, w: &[f32], out: &mut [f32]) = pair_distances_of,
    scalar Reference.pair_distances(classes, w, out));
dispatch!(fn pair_distances_backward(classes: usize, w: &[f32], dout: &[f32], dw: &mut [f32])
    = pair_distances_backward_of, scalar Reference.pair_distances_backward(classes, w, dout, dw));
dispatch!(fn margins(classes: usize, z: &[f32], distances: &[f32], targets: &[u32], out: &mut [f32]) = margins_of,
    scalar Reference.margins(classes, z, distances, targets, out));
dispatch!(fn margins_backward(classes: usize, dm: &[f32], targets: &[u32], dz: &mut [f32], dd: &mut [f32])
    = margins_backward_of, scalar Reference.margins_backward(classes, dm, targets, dz, dd));

#[inline(always)]
fn input_box_of<S: Isa>(s: S, [low, high]: [f64; 2], eps: f32, x: &[f32], c: &mut [f32], r: &mut [f32]) {
    let (low, high, eps, half) = (s.splat(low as f32), s.splat(high as f32), s.splat(eps), s.splat(0.5));
    each_vector!(S, x.len(), |at, span| {
        let x = span.load(s, x, at);
        let (below, above) = (s.min(eps, s.sub(x, low)), s.min(eps, s.sub(high, x)));
        let centre = s.add(x, s.mul(half, s.sub(above, below)));
        span.store(s, r, at, s.mul(half, s.add(below, above)));
        span.store(s, c, at, centre);
    });
}

#[inline(always)]
fn relu_of<S: Isa>(s: S, c: &[f32], r: &[f32], c_out: &mut [f32], r_out: &mut [f32]) {
    let (zero, half) = (s.splat(0.0), s.splat(0.5));
    each_vector!(S, c.len(), |at, span| {
        let (c, r) = (span.load(s, c, at), span.load(s, r, at));
        let high = s.add(c, r);
        let (active, partly) = (s.lt(zero, s.sub(c, r)), s.lt(zero, high));
        let rest = s.select(partly, s.mul(half, high), zero);
        span.store(s, c_out, at, s.select(active, c, rest));
        span.store(s, r_out, at, s.select(active, r, rest));
    });
}

#[inline(always)]
fn relu_backward_of<S: Isa>(s: S, c: &[f32], r: &[f32], [dc_out, dr_out]: [&[f32]; 2], dc: &mut [f32], dr: &mut [f32]) {
    let (zero, half) = (s.splat(0.0), s.splat(0.5));
    each_vector!(S, c.len(), |at, span| {
        let (c, r) = (span.load(s, c, at), span.load(s, r, at));
        let (dc_out, dr_out) = (span.load(s, dc_out, at), span.load(s, dr_out, at));
        let (active, partly) = (s.lt(zero, s.sub(c, r)), s.lt(zero, s.add(c, r)));
        let rest = s.select(partly, s.mul(half, s.add(dc_out, dr_out)), zero);
        span.store(s, dc, at, s.select(active, dc_out, rest));
        span.store(s, dr, at, s.select(active, dr_out, rest));
    });
}

/// The terms of `N` sums over a layer's intervals. A sum that starts at +0 is never −0, so to add +0 is to leave a term
/// out, and lanes past a row's end, intervals of 0, need no mask.
trait Terms<S: Isa, const N: usize> {
    /// `acc` with the terms of the intervals c, r added.
    fn add(&self, s: S, c: S::F, r: S::F, acc: [S::F; N]) -> [S::F; N];
}

/// Σr, Σc, how many lie above 0 and how many below, Σc of either.
struct Sums;

impl<S: Isa> Terms<S, 6> for Sums {
    #[inline(always)]
    fn add(&self, s: S, c: S::F, r: S::F, acc: [S::F; 6]) -> [S::F; 6] {
        let (zero, one) = (s.splat(0.0), s.splat(1.0));
        let (above, below) = (s.lt(zero, s.sub(c, r)), s.lt(s.add(c, r), zero));
        [
            s.add(acc[0], r),
            s.add(acc[1], c),
            s.add(acc[2], s.select(above, one, zero)),
            s.add(acc[3], s.select(below, one, zero)),
            s.add(acc[4], s.select(above, c, zero)),
            s.add(acc[5], s.select(below, c, zero)),
        ]
    }
}

/// Σ(c − mean)² of those above 0 and of those below.
struct Squares {
    mean: f32,
}

impl<S: Isa> Terms<S, 2> for Squares {
    #[inline(always)]
    fn add(&self, s: S, c: S::F, r: S::F, acc: [S::F; 2]) -> [S::F; 2] {
        let zero = s.splat(0.0);
        let (above, below) = (s.lt(zero, s.sub(c, r)), s.lt(s.add(c, r), zero));
        let off = s.sub(c, s.splat(self.mean));
        let (off_above, off_below) = (s.select(above, off, zero), s.select(below, off, zero));
        [s.fma(off_above, off_above, acc[0]), s.fma(off_below, off_below, acc[1])]
    }
}

/// Each row's sums by the 32-lane rule, the rows' by it again. A vector of lanes at a time, so that its `N` sums stay in
/// registers.
#[inline(always)]
fn totals<S: Isa, const N: usize>(s: S, width: usize, c: &[f32], r: &[f32], terms: &impl Terms<S, N>) -> [f32; N] {
    let mut partial = [[0.0; LANES]; N];
    for (row, (c, r)) in c.chunks_exact(width).zip(r.chunks_exact(width)).enumerate() {
        let mut lanes = [s.block(0.0); N];
        for k in 0..S::VECTORS {
            let (mut acc, mut at) = ([s.splat(0.0); N], k * S::WIDTH);
            while at + S::WIDTH <= width {
                acc = terms.add(s, Full.load(s, c, at), Full.load(s, r, at), acc);
                at += LANES;
            }
            if at < width {
                let span = Tail(width - at);
                acc = terms.add(s, span.load(s, c, at), span.load(s, r, at), acc);
            }
            for (lanes, acc) in lanes.iter_mut().zip(acc) {
                lanes[k] = acc;
            }
        }
        for (partial, of_row) in partial.iter_mut().zip(s.fold_rows(lanes)) {
            partial[row % LANES] += of_row;
        }
    }
    partial.map(fold_lanes)
}

#[inline(always)]
fn penalty_sums<S: Isa>(s: S, p: &IntervalPenalty, c: &[f32], r: &[f32], first: f32, sums: &mut [f32]) -> f32 {
    let (of_all, of_squares) = sums.split_at_mut(6);
    of_all.copy_from_slice(&totals(s, p.width, c, r, &Sums));
    let mean = of_all[1] / c.len() as f32;
    of_squares.copy_from_slice(&totals(s, p.width, c, r, &Squares { mean }));
    penalty_of(p, c.len(), first, sums)
}

#[inline(always)]
fn penalty_backward_of<S: Isa>(
    s: S,
    slopes: &PenaltySlopes<f32>,
    c: &[f32],
    r: &[f32],
    dc: &mut [f32],
    dr: &mut [f32],
) {
    let (zero, mean, centre) = (s.splat(0.0), s.splat(slopes.mean), s.splat(slopes.centre));
    let [above0, above1] = [s.splat(slopes.above[0]), s.splat(slopes.above[1])];
    let [below0, below1] = [s.splat(slopes.below[0]), s.splat(slopes.below[1])];
    dr.fill(slopes.radius);
    each_vector!(S, c.len(), |at, span| {
        let (c, r) = (span.load(s, c, at), span.load(s, r, at));
        let (above, below) = (s.lt(zero, s.sub(c, r)), s.lt(s.add(c, r), zero));
        let off = s.sub(c, mean);
        let of_below = s.select(below, s.fma(off, below1, below0), zero);
        let more = s.select(above, s.fma(off, above1, above0), of_below);
        span.store(s, dc, at, s.add(centre, more));
    });
}

#[inline(always)]
fn pair_distances_of<S: Isa>(s: S, classes: usize, w: &[f32], out: &mut [f32]) {
    for (w, out) in w.chunks_exact(classes).zip(out.chunks_exact_mut(classes * classes)) {
        for (&of_a, out) in w.iter().zip(out.chunks_exact_mut(classes)) {
            let of_a = s.splat(of_a);
            each_vector!(S, classes, |at, span| {
                let v = s.abs(s.sub(of_a, span.load(s, w, at)));
                span.store(s, out, at, v);
            });
        }
    }
}

/// Classes b whose d_ab are turned into columns at once.
const TILE: usize = 16;

/// One chain over b for a vector of classes a. To add +0 is to leave a term out: a sum that starts at +0 is never −0.
#[inline(always)]
fn pair_distances_backward_of<S: Isa>(s: S, classes: usize, w: &[f32], dout: &[f32], dw: &mut [f32]) {
    let (mut tile, zero) = ([[0.0; TILE]; TILE], s.splat(0.0));
    let rows = w.chunks_exact(classes).zip(dout.chunks_exact(classes * classes));
    for ((w, d), dw) in rows.zip(dw.chunks_exact_mut(classes)) {
        each_vector!(S, classes, |at, span| {
            let (w_a, mut acc) = (span.load(s, w, at), zero);
            for first in (0..classes).step_by(TILE) {
                let some = first..classes.min(first + TILE);
                for (lane, of_a) in d.chunks_exact(classes).skip(at).take(S::WIDTH).enumerate() {
                    for (column, d_ab) in tile.iter_mut().zip(&of_a[some.clone()]) {
                        column[lane] = *d_ab;
                    }
                }
                for (b, column) in some.zip(&tile) {
                    let both = s.add(s.load(column), span.load(s, d, b * classes + at));
                    let w_b = s.splat(w[b]);
                    let below = s.select(s.lt(w_a, w_b), s.neg(both), zero);
                    acc = s.add(acc, s.select(s.lt(w_b, w_a), both, below));
                }
            }
            span.store(s, dw, at, acc);
        });
    }
}

#[inline(always)]
fn margins_of<S: Isa>(s: S, classes: usize, z: &[f32], distances: &[f32], targets: &[u32], out: &mut [f32]) {
    let rows = z.chunks_exact(classes).zip(distances.chunks_exact(classes * classes));
    for (((z, d), &y), out) in rows.zip(targets).zip(out.chunks_exact_mut(classes)) {
        let (own, d) = (s.splat(z[y as usize]), &d[y as usize * classes..][..classes]);
        each_vector!(S, classes, |at, span| {
            let v = s.add(s.sub(span.load(s, z, at), own), span.load(s, d, at));
            span.store(s, out, at, v);
        });
    }
}

#[inline(always)]
fn margins_backward_of<S: Isa>(s: S, classes: usize, dm: &[f32], targets: &[u32], dz: &mut [f32], dd: &mut [f32]) {
    dd.fill(0.0);
    let rows = dz.chunks_exact_mut(classes).zip(dd.chunks_exact_mut(classes * classes));
    for ((dm, &y), (dz, dd)) in dm.chunks_exact(classes).zip(targets).zip(rows) {
        let y = y as usize;
        let of_target = &mut dd[y * classes..][..classes];
        of_target.copy_from_slice(dm);
        of_target[y] = 0.0;
        dz.copy_from_slice(dm);
        // The target's own 0 adds nothing to a sum that starts at +0.
        dz[y] = -sum_of(s, of_target);
    }
}
