//! Copies of B's columns as panels: [`Isa::PANEL`] columns side by side, one row per term. Columns that
//! B does not have hold +0; their results are never stored. Terms are never padded.

use super::vector::Isa;

/// Packs `columns` columns of B stored \[k,n\]: element (p, j) is `source[p * stride + j]`.
///
/// # Safety
/// `columns <= V::PANEL`; the elements exist; `panel` has `terms * V::PANEL` elements.
#[inline(always)]
pub(super) unsafe fn rows<V: Isa>(source: *const f32, stride: usize, terms: usize, columns: usize, panel: *mut f32) {
    // SAFETY: the caller's.
    unsafe {
        if columns == V::PANEL {
            for p in 0..terms {
                source.add(p * stride).copy_to_nonoverlapping(panel.add(p * V::PANEL), V::PANEL);
            }
        } else {
            for p in 0..terms {
                let to = panel.add(p * V::PANEL);
                source.add(p * stride).copy_to_nonoverlapping(to, columns);
                to.add(columns).write_bytes(0, V::PANEL - columns);
            }
        }
    }
}

/// Packs `columns` columns of B stored \[n,k\]: element (p, j) is `source[j * stride + p]`.
///
/// # Safety
/// `columns <= V::PANEL`; the elements exist; `panel` has `terms * V::PANEL` elements.
#[inline(always)]
pub(super) unsafe fn transposed<V: Isa>(
    source: *const f32,
    stride: usize,
    terms: usize,
    columns: usize,
    panel: *mut f32,
) {
    let (whole_columns, whole_terms) = (columns - columns % V::LANES, terms - terms % 4);
    // SAFETY: the caller's; whole blocks of LANES columns and 4 terms lie inside both matrices.
    unsafe {
        for j in (0..whole_columns).step_by(V::LANES) {
            for p in (0..whole_terms).step_by(4) {
                let block = V::load_transposed(source.add(j * stride + p), stride);
                let to = panel.add(p * V::PANEL + j);
                block[0].store(to);
                block[1].store(to.add(V::PANEL));
                block[2].store(to.add(2 * V::PANEL));
                block[3].store(to.add(3 * V::PANEL));
            }
        }
        for p in whole_terms..terms {
            for j in 0..whole_columns {
                *panel.add(p * V::PANEL + j) = *source.add(j * stride + p);
            }
        }
        if whole_columns < V::PANEL {
            for p in 0..terms {
                let to = panel.add(p * V::PANEL);
                for j in whole_columns..columns {
                    *to.add(j) = *source.add(j * stride + p);
                }
                to.add(columns).write_bytes(0, V::PANEL - columns);
            }
        }
    }
}
