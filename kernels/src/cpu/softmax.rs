//! Attention's softmax rows and their gradients, in place.

use super::simd::{Full, Isa, Plain, Span, Tail, dispatch, each_lane, each_vector};
use crate::math::exp_of;

dispatch!(pub(super) fn softmax_rows(seq: usize, causal: bool, scale: f32, scores: &mut [f32]) = softmax_rows_of,
    scalar softmax_rows_of(Plain, seq, causal, scale, scores));
dispatch!(pub(super) fn softmax_rows_backward(seq: usize, causal: bool, scale: f32, probs: &[f32], grad: &mut [f32])
    = softmax_rows_backward_of, scalar softmax_rows_backward_of(Plain, seq, causal, scale, probs, grad));

/// Rows that go through each pass together: their chains of sums are independent, and hide each other's latency.
const GROUP: usize = 8;

/// The positions that row `i` sees.
#[inline(always)]
fn seen(seq: usize, causal: bool, i: usize) -> usize {
    if causal { i + 1 } else { seq }
}

/// In place: p = exp(scale·s − max)·(1/Σ), each row over the positions it sees.
#[inline(always)]
fn softmax_rows_of<S: Isa>(s: S, seq: usize, causal: bool, scale: f32, scores: &mut [f32]) {
    let scale = s.splat(scale);
    for (group, rows) in scores.chunks_mut(GROUP * seq).enumerate() {
        let first = group * GROUP;
        if seen(seq, causal, first + GROUP - 1) > SHORT * S::WIDTH {
            long_rows(s, seq, causal, scale, first, rows);
            continue;
        }
        for (r, row) in rows.chunks_exact_mut(seq).enumerate() {
            let row = &mut row[..seen(seq, causal, first + r)];
            match row.len().div_ceil(S::WIDTH) {
                1 => short_row::<S, 1>(s, scale, row),
                2 => short_row::<S, 2>(s, scale, row),
                3 => short_row::<S, 3>(s, scale, row),
                4 => short_row::<S, 4>(s, scale, row),
                5 => short_row::<S, 5>(s, scale, row),
                6 => short_row::<S, 6>(s, scale, row),
                7 => short_row::<S, 7>(s, scale, row),
                _ => short_row::<S, SHORT>(s, scale, row),
            }
        }
    }
}

/// Vectors of a row that stays in vector registers.
const SHORT: usize = 8;

/// A row of `N` vectors, the last of which may be a tail.
#[inline(always)]
fn short_row<S: Isa, const N: usize>(s: S, scale: S::F, row: &mut [f32]) {
    if row.len() == N * S::WIDTH {
        row_in_registers::<S, N>(s, scale, row, Full);
    } else {
        let tail = Tail(row.len() - (N - 1) * S::WIDTH);
        row_in_registers::<S, N>(s, scale, row, tail);
    }
}

#[inline(always)]
fn row_in_registers<S: Isa, const N: usize>(s: S, scale: S::F, row: &mut [f32], last: impl Span<S>) {
    let (least, at) = (s.splat(f32::NEG_INFINITY), (N - 1) * S::WIDTH);
    let mut x = [least; N];
    for v in 0..N - 1 {
        x[v] = s.mul(s.load(&row[v * S::WIDTH..]), scale);
    }
    x[N - 1] = last.keep(s, s.mul(last.load(s, row, at), scale), least);
    let mut max = s.block(f32::NEG_INFINITY);
    for v in 0..N {
        max[v % S::VECTORS] = s.max(max[v % S::VECTORS], x[v]);
    }
    let max = s.splat(s.fold_max(max));
    let mut sum = s.block(0.0);
    for v in 0..N {
        x[v] = exp_of(s, s.sub(x[v], max));
        // To add +0 to a sum of exponentials is to skip a lane.
        let term = if v == N - 1 { last.keep(s, x[v], s.splat(0.0)) } else { x[v] };
        sum[v % S::VECTORS] = s.add(sum[v % S::VECTORS], term);
    }
    let inverse = s.splat(1.0 / s.fold(sum));
    for v in 0..N - 1 {
        s.store(&mut row[v * S::WIDTH..], s.mul(x[v], inverse));
    }
    last.store(s, row, at, s.mul(x[N - 1], inverse));
}

/// Rows from `first` on, all through each pass together.
#[inline(always)]
fn long_rows<S: Isa>(s: S, seq: usize, causal: bool, scale: S::F, first: usize, rows: &mut [f32]) {
    let mut of_row = [0.0; GROUP];
    for (r, (row, max)) in rows.chunks_exact(seq).zip(&mut of_row).enumerate() {
        let mut acc = s.block(f32::NEG_INFINITY);
        each_lane!(S, seen(seq, causal, first + r), |at, k, span| {
            acc[k] = span.keep(s, s.max(acc[k], s.mul(span.load(s, row, at), scale)), acc[k]);
        });
        *max = s.fold_max(acc);
    }
    for (r, (row, max)) in rows.chunks_exact_mut(seq).zip(&mut of_row).enumerate() {
        let (mut acc, m) = (s.block(0.0), s.splat(*max));
        each_lane!(S, seen(seq, causal, first + r), |at, k, span| {
            let e = exp_of(s, s.sub(s.mul(span.load(s, row, at), scale), m));
            span.store(s, row, at, e);
            acc[k] = span.keep(s, s.add(acc[k], e), acc[k]);
        });
        *max = 1.0 / s.fold(acc);
    }
    for (r, (row, inverse)) in rows.chunks_exact_mut(seq).zip(of_row).enumerate() {
        let inverse = s.splat(inverse);
        each_vector!(S, seen(seq, causal, first + r), |at, span| {
            let p = s.mul(span.load(s, row, at), inverse);
            span.store(s, row, at, p);
        });
    }
}

/// In place: ds = p·(dp − Σ dp·p)·scale.
#[inline(always)]
fn softmax_rows_backward_of<S: Isa>(s: S, seq: usize, causal: bool, scale: f32, probs: &[f32], grad: &mut [f32]) {
    let scale = s.splat(scale);
    for (group, (dp, p)) in grad.chunks_mut(GROUP * seq).zip(probs.chunks(GROUP * seq)).enumerate() {
        let first = group * GROUP;
        let mut dots = [0.0; GROUP];
        for (r, ((dp, p), dot)) in dp.chunks_exact(seq).zip(p.chunks_exact(seq)).zip(&mut dots).enumerate() {
            let mut acc = s.block(0.0);
            each_lane!(S, seen(seq, causal, first + r), |at, k, span| {
                let v = s.fma(span.load(s, dp, at), span.load(s, p, at), acc[k]);
                acc[k] = span.keep(s, v, acc[k]);
            });
            *dot = s.fold(acc);
        }
        for (r, ((dp, p), dot)) in dp.chunks_exact_mut(seq).zip(p.chunks_exact(seq)).zip(dots).enumerate() {
            let dot = s.splat(dot);
            each_vector!(S, seen(seq, causal, first + r), |at, span| {
                let v = s.mul(span.load(s, p, at), s.sub(span.load(s, dp, at), dot));
                span.store(s, dp, at, s.mul(v, scale));
            });
        }
    }
}
