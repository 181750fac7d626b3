//! Copies of B's columns as panels: a panel's columns side by side, one row per term, rows a whole number of
//! vectors apart. Columns that
//! B does not have hold +0; their results are never stored. Terms are never padded.

use super::isa::GemmIsa;

/// Packs `columns` columns of B stored \[k,n\]: element (p, j) is `source[p * stride + j]`.
///
/// # Safety
/// `columns <= pitch`, whole vectors; the elements exist; `panel` has `terms * pitch` elements.
#[inline(always)]
pub(super) unsafe fn rows(
    source: *const f32,
    stride: usize,
    terms: usize,
    columns: usize,
    panel: *mut f32,
    pitch: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        if columns == pitch {
            for p in 0..terms {
                source.add(p * stride).copy_to_nonoverlapping(panel.add(p * pitch), pitch);
            }
        } else {
            for p in 0..terms {
                let to = panel.add(p * pitch);
                source.add(p * stride).copy_to_nonoverlapping(to, columns);
                to.add(columns).write_bytes(0, pitch - columns);
            }
        }
    }
}

/// Copies a tile of `rows` rows of A stored \[k,m\]: element (r, p) from `source[p * stride + r]` to
/// `to[p * rows + r]`.
///
/// # Safety
/// The elements exist; `to` has `terms * rows` elements.
#[inline(always)]
pub(super) unsafe fn tile<S: GemmIsa>(
    s: S,
    source: *const f32,
    stride: usize,
    terms: usize,
    rows: usize,
    to: *mut f32,
) {
    for r in (0..rows).step_by(S::WIDTH) {
        let n = (rows - r).min(S::WIDTH);
        for p in 0..terms {
            // SAFETY: the caller's.
            unsafe { s.store_first_at(to.add(p * rows + r), n, s.load_first_at(source.add(p * stride + r), n)) };
        }
    }
}

/// Packs `columns` columns of B stored \[n,k\]: element (p, j) is `source[j * stride + p]`.
///
/// # Safety
/// `columns <= pitch`, whole vectors; the elements exist; `panel` has `terms * pitch` elements.
#[inline(always)]
pub(super) unsafe fn transposed<S: GemmIsa>(
    s: S,
    source: *const f32,
    stride: usize,
    terms: usize,
    columns: usize,
    panel: *mut f32,
    pitch: usize,
) {
    let (whole_columns, whole_terms) = (columns - columns % S::WIDTH, terms - terms % 4);
    // SAFETY: the caller's; whole blocks of LANES columns and 4 terms lie inside both matrices.
    unsafe {
        for j in (0..whole_columns).step_by(S::WIDTH) {
            for p in (0..whole_terms).step_by(4) {
                let block = s.load_transposed(source.add(j * stride + p), stride);
                let to = panel.add(p * pitch + j);
                s.store_at(to, block[0]);
                s.store_at(to.add(pitch), block[1]);
                s.store_at(to.add(2 * pitch), block[2]);
                s.store_at(to.add(3 * pitch), block[3]);
            }
        }
        for p in whole_terms..terms {
            for j in 0..whole_columns {
                *panel.add(p * pitch + j) = *source.add(j * stride + p);
            }
        }
        if whole_columns < pitch {
            for p in 0..terms {
                let to = panel.add(p * pitch);
                for j in whole_columns..columns {
                    *to.add(j) = *source.add(j * stride + p);
                }
                to.add(columns).write_bytes(0, pitch - columns);
            }
        }
    }
}
