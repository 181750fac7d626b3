//! What goes wrong with a store: one run's file, or the store as a whole.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Why the store could not do something. One line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}")]
pub struct StoreError {
    line: String,
    /// No other run would fare better: the disk is full, over its quota or read-only.
    pub whole: bool,
}

impl StoreError {
    /// Of the file at `path`.
    pub(super) fn io(path: &Path, e: &io::Error) -> Self {
        let whole =
            matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem);
        Self { line: format!("{}: {e}", path.display()), whole }
    }

    /// Of one run's file only.
    pub(super) fn one(path: &Path, why: impl Display) -> Self {
        Self { line: format!("{}: {why}", path.display()), whole: false }
    }
}
