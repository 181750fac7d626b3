//! 64-byte aligned buffers, allocated once and zeroed.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

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
        let raw = unsafe { alloc_zeroed(layout) }.cast::<T>();
        let Some(ptr) = NonNull::new(raw) else { handle_alloc_error(layout) };
        Self { ptr, len }
    }
}

impl<T: Copy> Aligned<T> {
    fn layout(len: usize) -> Layout {
        let bytes = (len * size_of::<T>()).max(64);
        Layout::from_size_align(bytes, 64).expect("buffer size fits the address space")
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
