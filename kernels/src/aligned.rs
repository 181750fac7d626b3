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
    pub fn zeroed(len: usize) -> Self {
        let layout = Self::layout(len);
        // SAFETY: the layout has a non-zero size.
        let raw = unsafe { if layout.align() < HUGE { alloc_zeroed(layout) } else { alloc(layout) } };
        let Some(raw) = NonNull::new(raw) else { handle_alloc_error(layout) };
        if layout.align() >= HUGE {
            ask_for_huge_pages(raw, layout.size());
            // SAFETY: the allocation has this size.
            unsafe { raw.write_bytes(0, layout.size()) };
        }
        Self { ptr: raw.cast(), len }
    }
}

impl<T: Copy> Aligned<T> {
    fn layout(len: usize) -> Layout {
        let bytes = (len * size_of::<T>()).max(64);
        let align = if bytes < HUGE { 64 } else { HUGE };
        Layout::from_size_align(bytes.next_multiple_of(align), align).expect("buffer size fits the address space")
    }
}

impl<T: Copy> Drop for Aligned<T> {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with the same layout.
        unsafe { dealloc(self.ptr.as_ptr().cast(), Self::layout(self.len)) }
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
