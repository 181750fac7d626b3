//! One trainer a run, over all processes that share a store. The lock is the operating system's: it ends
//! with its process, so a crash leaves no obstacle.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The right to train one run.
#[derive(Debug)]
pub struct RunLock {
    file: File,
    path: PathBuf,
}

impl RunLock {
    /// The lock at `path`, or `None` while another holds it.
    ///
    /// # Errors
    /// The file system's.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file, path: path.to_path_buf() })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }

    /// Gives the lock back for good, once the record is written: whoever opened the file before it was
    /// removed looks for the record first and finds it.
    pub fn remove(self) {
        let _ = fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_a_leftover_file_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        fs::write(&path, "left by a dead process").unwrap();
        let lock = RunLock::take(&path).unwrap().expect("free");
        assert!(RunLock::take(&path).unwrap().is_none());
        drop(lock);
        let lock = RunLock::take(&path).unwrap().expect("free again");
        lock.remove();
        assert!(!path.exists());
    }
}
