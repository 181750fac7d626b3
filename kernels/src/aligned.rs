//! 64-byte aligned buffers, allocated once and zeroed.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes of a huge page. Buffers of at least one ask for them: a step touches rows that lie pages apart, and
/// finding where a small page lies can take longer than reading from it.
const HUGE: usize = 2 << 20;

/// Says that the memory should lie in huge pages. Where the system does not heed it, nothing is lost.
fn ask_for_huge_pages(at: NonNull<u8>, bytes: usize) {
    // SAFETY: advice about memory that this buffer owns and nobody has touched yet.
    #[cfg(target_os = "linux")]
    unsafe {
        libc::madvise(at.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (at, bytes);
}

/// A fixed-length zeroed buffer whose first element lies on a 64-byte boundary.
pub struct Aligned<T: Copy> {
    ptr: NonNull<T>,
    len: usize,
}

// SAFETY: the buffer is owned and T is plain data.
unsafe impl<T: Copy + Send> Send for Aligned<T> {}
// SAFETY: shared access gives only &[T].
unsafe impl<T: Copy + Sync> Sync for Aligned<T> {}

impl<T: Copy + Default> Aligned<T> {
    /// `len` zero bytes' worth of elements (`T` is a number, whose zero is all-zero bits).
    ///
    /// # Panics
    /// More bytes than there are addresses; the process ends where there is no such memory.
    pub fn zeroed(len: usize) -> Self {
        Self::try_zeroed(len).unwrap_or_else(|| {
            handle_alloc_error(Self::layout(len).expect("buffer size fits the address space"));
        })
    }

    /// The same, or `None` where there is no such memory.
    pub fn try_zeroed(len: usize) -> Option<Self> {
        let layout = Self::layout(len)?;
        // SAFETY: the layout has a non-zero size.
        let raw = unsafe { if layout.align() < HUGE { alloc_zeroed(layout) } else { alloc(layout) } };
        let raw = NonNull::new(raw)?;
        if layout.align() >= HUGE {
            ask_for_huge_pages(raw, layout.size());
            // SAFETY: the allocation has this size.
            unsafe { raw.write_bytes(0, layout.size()) };
        }
        Some(Self { ptr: raw.cast(), len })
    }
}

impl<T: Copy> Aligned<T> {
    /// `None` where the size does not fit the address space.
    fn layout(len: usize) -> Option<Layout> {
        let bytes = len.checked_mul(size_of::<T>())?.max(64);
        let align = if bytes < HUGE { 64 } else { HUGE };
        Layout::from_size_align(bytes.checked_next_multiple_of(align)?, align).ok()
    }
}

impl<T: Copy> Drop for Aligned<T> {
    fn drop(&mut self) {
        let Some(layout) = Self::layout(self.len) else { return };
        // SAFETY: allocated in `try_zeroed` with the same layout, which it had.
        unsafe { dealloc(self.ptr.as_ptr().cast(), layout) }
    }
}

impl<T: Copy> Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: ptr is valid for len initialised elements.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl<T: Copy> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: ptr is valid for len initialised elements, borrowed uniquely.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_not_there_is_none() {
        for len in [usize::MAX, usize::MAX / 4, usize::MAX / 8, 1 << 58] {
            assert!(Aligned::<f32>::try_zeroed(len).is_none(), "{len}");
        }
        for len in [0, 1, 31, HUGE] {
            let found = Aligned::<f32>::try_zeroed(len).expect("a small buffer");
            assert!(found.len() == len && found.iter().all(|x| *x == 0.0), "{len}");
        }
    }
}
