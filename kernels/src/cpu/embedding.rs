//! Token and position embeddings.

use super::simd::{Isa, Span, dispatch, each_vector};
use crate::ops::Ops;
use crate::reference::Reference;

dispatch!(pub(super) fn embedding(
        width: usize, tokens: &[u32], table: &[f32], positions: Option<&[f32]>, x: &mut [f32],
    ) = forward, scalar Reference.embedding(width, tokens, table, positions, x));
dispatch!(pub(super) fn embedding_backward(width: usize, tokens: &[u32], dx: &[f32], dtable: &mut [f32]) = backward,
    scalar Reference.embedding_backward(width, tokens, dx, dtable));

#[inline(always)]
fn forward<S: Isa>(s: S, width: usize, tokens: &[u32], table: &[f32], positions: Option<&[f32]>, x: &mut [f32]) {
    let rows = tokens.iter().zip(x.chunks_exact_mut(width));
    let Some(positions) = positions else {
        for (&token, x) in rows {
            x.copy_from_slice(&table[token as usize * width..][..width]);
        }
        return;
    };
    let mut position = positions.chunks_exact(width).cycle();
    for (&token, x) in rows {
        let e = &table[token as usize * width..][..width];
        let Some(p) = position.next() else { return };
        each_vector!(S, width, |at, span| {
            let v = s.add(span.load(s, e, at), span.load(s, p, at));
            span.store(s, x, at, v);
        });
    }
}

#[inline(always)]
fn backward<S: Isa>(s: S, width: usize, tokens: &[u32], dx: &[f32], dtable: &mut [f32]) {
    dtable.fill(0.0);
    for (&token, dx) in tokens.iter().zip(dx.chunks_exact(width)) {
        let d = &mut dtable[token as usize * width..][..width];
        each_vector!(S, width, |at, span| {
            let v = s.add(span.load(s, d, at), span.load(s, dx, at));
            span.store(s, d, at, v);
        });
    }
}
