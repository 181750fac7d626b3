//! How fast this machine trained lately: for the expected time only, never for a verdict.

use super::envelope;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// GFLOP/s a core that is assumed before anything was measured.
pub const ASSUMED_GFLOPS: f64 = 20.0;

/// Work done and the worker seconds it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// FLOPs trained.
    pub flops: f64,
    /// Seconds of worker time.
    pub seconds: f64,
}

impl Throughput {
    /// The measurement kept at `path`; none where the file is absent or unreadable.
    pub fn load(path: &Path) -> Option<Self> {
        let found: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (found.flops > 0.0 && found.seconds > 0.0).then_some(found)
    }

    /// Replaces the measurement where this one is long enough to mean something. A failure to write is
    /// no failure of the bench: the next `--list` only guesses worse. One process at a time.
    pub fn save(self, path: &Path) {
        if self.seconds > 1.0 && self.flops > 0.0 {
            let text = serde_json::to_vec(&self).expect("two numbers");
            let _ = envelope::write_alone(path, &text);
        }
    }

    /// FLOP/s of one worker.
    pub fn rate(self) -> f64 {
        self.flops / self.seconds
    }
}
