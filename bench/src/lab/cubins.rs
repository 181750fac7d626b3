//! Compiled kernels, kept beside the records: a file each, named by what it was compiled from.

use crate::store::envelope::{seal, unseal, write_atomic};
use preheat_kernels::cuda::gpu::Cache;
use std::fs;
use std::path::{Path, PathBuf};

const KIND: &str = "cubin";

/// Compiled kernels in `cubins/` of a store.
pub struct Cubins {
    folder: PathBuf,
}

impl Cubins {
    /// Those of the store at `store`, which need not be there yet.
    pub fn new(store: &Path) -> Self {
        Self { folder: store.join("cubins") }
    }

    fn path(&self, text: &str) -> PathBuf {
        self.folder.join(&blake3::hash(text.as_bytes()).to_hex()[..32]).with_extension(KIND)
    }
}

impl Cache for Cubins {
    /// A file that does not prove itself counts as none: it is compiled and written again.
    fn get(&self, text: &str) -> Option<Vec<u8>> {
        let bytes = fs::read(self.path(text)).ok()?;
        unseal(KIND, &bytes).ok().map(<[u8]>::to_vec)
    }
    /// A store that takes nothing costs time in the next process, and no more.
    fn put(&self, text: &str, bytes: &[u8]) {
        let _ = fs::create_dir_all(&self.folder);
        let _ = write_atomic(&self.path(text), &seal(KIND, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_back_and_a_damaged_file_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Cubins::new(&dir.path().join("store"));
        assert_eq!(kept.get("a"), None);
        kept.put("a", b"code of a");
        kept.put("b", b"code of b");
        assert_eq!(
            [kept.get("a"), kept.get("b"), kept.get("c")],
            [Some(b"code of a".into()), Some(b"code of b".into()), None]
        );
        let path = kept.path("a");
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(kept.get("a"), None);
        kept.put("a", b"code of a");
        assert_eq!(kept.get("a"), Some(b"code of a".into()));
    }
}
