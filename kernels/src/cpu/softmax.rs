//! Attention's softmax rows and their gradients, in place.

use super::simd::{Isa, Plain, Span, dispatch, each_lane, each_vector};
use super::unroll::unroll;
use crate::math::exp_of;

dispatch!(pub(super) fn softmax_rows(seq: usize, causal: bool, scale: f32, scores: &mut [f32]) = softmax_rows_of,
    scalar softmax_rows_of(Plain, seq, causal, scale, scores));
dispatch!(pub(super) fn softmax_rows_backward(seq: usize, causal: bool, scale: f32, probs: &[f32], grad: &mut [f32])
    = softmax_rows_backward_of, scalar softmax_rows_backward_of(Plain, seq, causal, scale, probs, grad));

/// Runs the body for the `N` vectors of a row of `n` elements, 1 to [`SHORT`]; `last` is the span of the last one.
macro_rules! short_row {
    ($isa:ty, $n:expr, |$N:ident, $last:ident| $body:block) => {{
        let n: usize = $n;
        short_row!(@count $isa, n, |$N, $last| $body, 1 2 3 4 5 6 7 8);
    }};
    (@count $isa:ty, $n:ident, |$N:ident, $last:ident| $body:block, $($number:literal)*) => {
        match $n.div_ceil(<$isa>::WIDTH) {
            $($number => {
                const $N: usize = $number;
                if $n == $N * <$isa>::WIDTH {
                    let $last = $crate::cpu::simd::Full;
                    $body
                } else {
                    let $last = $crate::cpu::simd::Tail($n - ($N - 1) * <$isa>::WIDTH);
                    $body
                }
            })*
            _ => unreachable!("a row of {} elements is not short", $n),
        }
    };
}
pub(super) use short_row;

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
            short_row!(S, row.len(), |N, last| { row_in_registers::<S, N>(s, scale, row, last) });
        }
    }
}

/// Vectors of a row that stays in vector registers.
pub(super) const SHORT: usize = 8;

#[inline(always)]
fn row_in_registers<S: Isa, const N: usize>(s: S, scale: S::F, row: &mut [f32], last: impl Span<S>) {
    let at = (N - 1) * S::WIDTH;
    let mut x = [[scale; N]];
    for v in 0..N - 1 {
        x[0][v] = s.mul(s.load(&row[v * S::WIDTH..]), scale);
    }
    x[0][N - 1] = s.mul(last.load(s, row, at), scale);
    let (_, [sum]) = exponentials(s, &mut x, [last]);
    let ([x], inverse) = (x, s.splat(1.0 / sum));
    for v in 0..N - 1 {
        s.store(&mut row[v * S::WIDTH..], s.mul(x[v], inverse));
    }
    last.store(s, row, at, s.mul(x[N - 1], inverse));
}

/// Replaces x by exp(x − max) in each of R rows and returns max and Σ. The maximum is by compare-and-select, starting
/// at −∞; its order shows only in the sign of a zero, which no exponential can see.
#[inline(always)]
pub(super) fn exponentials<S: Isa, const N: usize, const R: usize>(
    s: S,
    x: &mut [[S::F; N]; R],
    last: [impl Span<S>; R],
) -> ([f32; R], [f32; R]) {
    let mut acc = [s.block(f32::NEG_INFINITY); R];
    unroll!(r < R, at most 8 => {
        unroll!(v < N, at most 8 => {
            let seen = if v == N - 1 { last[r].keep(s, x[r][v], s.splat(f32::NEG_INFINITY)) } else { x[r][v] };
            acc[r][v % S::VECTORS] = s.max(acc[r][v % S::VECTORS], seen);
        });
    });
    let max = s.fold_max_rows(acc);
    let mut acc = [s.block(0.0); R];
    unroll!(r < R, at most 8 => {
        let m = s.splat(max[r]);
        unroll!(v < N, at most 8 => {
            x[r][v] = exp_of(s, s.sub(x[r][v], m));
            // To add +0 to a sum of exponentials is to skip a lane.
            let term = if v == N - 1 { last[r].keep(s, x[r][v], s.splat(0.0)) } else { x[r][v] };
            acc[r][v % S::VECTORS] = s.add(acc[r][v % S::VECTORS], term);
        });
    });
    (max, s.fold_rows(acc))
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

#[inline(always)]
fn row_backward_in_registers<S: Isa, const N: usize>(s: S, scale: S::F, p: &[f32], dp: &mut [f32], last: impl Span<S>) {
    let at = (N - 1) * S::WIDTH;
    let (mut x, mut y, mut acc) = ([scale; N], [scale; N], s.block(0.0));
    for v in 0..N - 1 {
        (x[v], y[v]) = (s.load(&dp[v * S::WIDTH..]), s.load(&p[v * S::WIDTH..]));
        acc[v % S::VECTORS] = s.fma(x[v], y[v], acc[v % S::VECTORS]);
    }
    (x[N - 1], y[N - 1]) = (last.load(s, dp, at), last.load(s, p, at));
    let k = (N - 1) % S::VECTORS;
    acc[k] = last.keep(s, s.fma(x[N - 1], y[N - 1], acc[k]), acc[k]);
    let dot = s.splat(s.fold(acc));
    for v in 0..N - 1 {
        s.store(&mut dp[v * S::WIDTH..], s.mul(s.mul(y[v], s.sub(x[v], dot)), scale));
    }
    last.store(s, dp, at, s.mul(s.mul(y[N - 1], s.sub(x[N - 1], dot)), scale));
}

/// In place: ds = p·(dp − Σ dp·p)·scale.
#[inline(always)]
fn softmax_rows_backward_of<S: Isa>(s: S, seq: usize, causal: bool, scale: f32, probs: &[f32], grad: &mut [f32]) {
    let scale = s.splat(scale);
    for (group, (dp, p)) in grad.chunks_mut(GROUP * seq).zip(probs.chunks(GROUP * seq)).enumerate() {
        let first = group * GROUP;
        if seen(seq, causal, first + GROUP - 1) <= SHORT * S::WIDTH {
            for (r, (dp, p)) in dp.chunks_exact_mut(seq).zip(p.chunks_exact(seq)).enumerate() {
                let n = seen(seq, causal, first + r);
                let (dp, p) = (&mut dp[..n], &p[..n]);
                short_row!(S, n, |N, last| { row_backward_in_registers::<S, N>(s, scale, p, dp, last) });
            }
            continue;
        }
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
