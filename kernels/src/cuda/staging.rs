//! Memory of the host that uploads pass through: pinned, and not written again before the device has read it.
//!
//! A copy from pageable memory may read its source after the call has returned, where the device can reach that memory
//! by itself, and may wait for all work before, where it cannot. From here neither happens.

use super::CudaError;
use super::fault::said;
use cudarc::driver::result;
use std::ptr;

/// Bytes of it: what a large cohort uploads in the steps between two waits, and more.
pub(super) const STAGING_BYTES: usize = 32 << 20;

/// Pinned memory, filled from the front until the stream is done.
pub(super) struct Staging {
    at: *mut u8,
    used: usize,
}

impl Staging {
    /// In the current context.
    pub(super) fn new() -> Result<Self, CudaError> {
        // SAFETY: nothing is assumed of what it holds.
        let at = said("cuMemHostAlloc", unsafe { result::malloc_host(STAGING_BYTES, 0) })?;
        Ok(Self { at: at.cast(), used: 0 })
    }

    /// A copy of `bytes` that stays as it is until [`Self::clear`]; `None` where there is no room.
    pub(super) fn hold(&mut self, bytes: &[u8]) -> Option<&[u8]> {
        let first = self.used;
        let end = first.checked_add(bytes.len()).filter(|end| *end <= STAGING_BYTES)?;
        self.used = end.next_multiple_of(64);
        // SAFETY: inside the memory that was allocated, and handed out once until it is cleared.
        unsafe {
            let place = self.at.add(first);
            ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
            Some(std::slice::from_raw_parts(place, bytes.len()))
        }
    }

    /// The device has read all of it.
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// Gives it back; the stream is done.
    pub(super) fn free(self) {
        // SAFETY: allocated once, and used no more. An error has nobody to go to.
        let _ = unsafe { result::free_host(self.at.cast()) };
    }
}
