//! Memory that ends where a page begins that must not be touched: a kernel that reads or writes past an
//! operand dies at once.

use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

/// A copy of a slice; the page after its last element is protected.
pub(crate) struct Guarded {
    mapping: NonNull<libc::c_void>,
    bytes: usize,
    first: NonNull<f32>,
    len: usize,
}

impl Guarded {
    /// Copies `source`.
    pub(crate) fn new(source: &[f32]) -> Self {
        // SAFETY: the name exists on every Unix.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("a page has a size");
        let usable = size_of_val(source).next_multiple_of(page);
        let bytes = usable + page;
        // SAFETY: a fresh private mapping; nothing else refers to it.
        let mapping = unsafe {
            let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
            let mapping = libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0);
            assert_ne!(mapping, libc::MAP_FAILED, "no memory");
            assert_eq!(libc::mprotect(mapping.byte_add(usable), page, libc::PROT_NONE), 0, "cannot protect a page");
            NonNull::new(mapping).expect("a mapping is not null")
        };
        // SAFETY: the slice's bytes fit in the usable part, ahead of the protected page; 4 divides its end.
        let first = unsafe { mapping.byte_add(usable - size_of_val(source)).cast::<f32>() };
        let mut guarded = Self { mapping, bytes, first, len: source.len() };
        guarded.copy_from_slice(source);
        guarded
    }
}

impl Deref for Guarded {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `len` elements are mapped from `first` on.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the mapping is borrowed uniquely.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length.
        assert_eq!(unsafe { libc::munmap(self.mapping.as_ptr(), self.bytes) }, 0, "cannot unmap");
    }
}
