//! Memory that ends where a page begins that must not be touched, and begins close behind one.

use std::ptr::{self, NonNull};

/// Pages as the largest of this process's machines have them.
const PAGE: usize = 64 << 10;

/// Zeroed bytes between two protected pages.
pub(super) struct Allocation {
    mapping: NonNull<libc::c_void>,
    mapped: usize,
    address: u64,
    len: usize,
}

// SAFETY: the mapping is owned.
unsafe impl Send for Allocation {}

impl Allocation {
    /// `len` bytes; what lies between them and the page before holds 0xff.
    pub(super) fn new(len: usize) -> Self {
        let usable = len.max(1).next_multiple_of(PAGE);
        let mapped = usable + 2 * PAGE;
        // SAFETY: a fresh private mapping; nothing else refers to it, and all offsets lie inside.
        unsafe {
            let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
            let mapping = libc::mmap(ptr::null_mut(), mapped, protection, flags, -1, 0);
            assert_ne!(mapping, libc::MAP_FAILED, "no memory");
            for guard in [0, PAGE + usable] {
                assert_eq!(libc::mprotect(mapping.byte_add(guard), PAGE, libc::PROT_NONE), 0, "cannot protect a page");
            }
            let start = PAGE + usable - len;
            ptr::write_bytes(mapping.byte_add(PAGE).cast::<u8>(), 0xff, start - PAGE);
            let address = mapping.byte_add(start) as u64;
            Self { mapping: NonNull::new(mapping).expect("a mapping is not null"), mapped, address, len }
        }
    }
    pub(super) const fn address(&self) -> u64 {
        self.address
    }
    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length.
        assert_eq!(unsafe { libc::munmap(self.mapping.as_ptr(), self.mapped) }, 0, "cannot unmap");
    }
}
