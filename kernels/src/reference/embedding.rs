//! Token and position embeddings.

use crate::real::Real;

pub(super) fn forward<T: Real>(width: usize, tokens: &[u32], table: &[T], positions: Option<&[T]>, x: &mut [T]) {
    for (row, (&token, x)) in tokens.iter().zip(x.chunks_exact_mut(width)).enumerate() {
        x.copy_from_slice(&table[token as usize * width..][..width]);
        if let Some(positions) = positions {
            let t = row % (positions.len() / width);
            for (x, &p) in x.iter_mut().zip(&positions[t * width..]) {
                *x = *x + p;
            }
        }
    }
}

pub(super) fn backward<T: Real>(width: usize, tokens: &[u32], dx: &[T], dtable: &mut [T]) {
    dtable.fill(T::ZERO);
    for (&token, dx) in tokens.iter().zip(dx.chunks_exact(width)) {
        for (d, &g) in dtable[token as usize * width..][..width].iter_mut().zip(dx) {
            *d = *d + g;
        }
    }
}
