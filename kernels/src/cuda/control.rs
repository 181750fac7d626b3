//! What changes from step to step, kept on the host and copied to the device as one block.
//!
//! In words of four bytes: R active flags, the step's counter, the row of the ring that it keeps its numbers in, R seeds of two words, R × S scalars. Rounded
//! up so that the seeds lie on even words.

use super::launch::{Cohort, Randomness};
use super::{DeviceAddress, Operand};

/// The block of a cohort of R runs with S scalars each.
pub(super) struct Control {
    runs: usize,
    scalars: usize,
    words: Vec<u32>,
    /// Whether the device's flags are older. It may put one out by itself: see [`super::launch::keep`].
    pub(super) flags_changed: bool,
    /// Whether the rest of its copy is older.
    pub(super) changed: bool,
}

impl Control {
    /// All runs active, the rest zero.
    pub(super) fn new(runs: usize, scalars: usize) -> Self {
        let mut control = Self { runs, scalars, words: Vec::new(), flags_changed: true, changed: true };
        control.words = vec![0; control.scalar_base() + runs * scalars];
        control.words[..runs].fill(1);
        control
    }
    fn step_at(&self) -> usize {
        self.runs.next_multiple_of(2)
    }
    fn seed_base(&self) -> usize {
        self.step_at() + 2
    }
    fn scalar_base(&self) -> usize {
        self.seed_base() + 2 * self.runs
    }

    /// What is copied.
    pub(super) fn words(&self) -> &[u32] {
        &self.words
    }
    /// Where the flags end and the rest begins.
    pub(super) fn flags(&self) -> usize {
        self.runs
    }
    /// Where the ring's row lies.
    pub(super) fn row(&self, base: DeviceAddress) -> DeviceAddress {
        base.offset(4 * (self.step_at() + 1) as u64)
    }
    pub(super) fn set_row(&mut self, row: usize) {
        self.set(self.step_at() + 1, row as u32);
    }
    /// The runs, for a block at `base`.
    pub(super) fn cohort(&self, base: DeviceAddress) -> Cohort {
        Cohort { runs: self.runs, active: base }
    }
    /// Where seeds and step lie.
    pub(super) fn random(&self, base: DeviceAddress) -> Randomness {
        let at = |word: usize| base.offset(4 * word as u64);
        Randomness { seeds: at(self.seed_base()), step: at(self.step_at()) }
    }
    /// Where the scalars lie.
    pub(super) fn scalars(&self, base: DeviceAddress) -> Operand {
        Operand { at: base, run_stride: self.scalars as u64 }.offset(self.scalar_base())
    }

    fn set(&mut self, at: usize, word: u32) {
        self.changed |= self.words[at] != word;
        self.words[at] = word;
    }
    /// Whether run `r` takes part.
    pub(super) fn is_active(&self, r: usize) -> bool {
        self.words[..self.runs][r] != 0
    }
    pub(super) fn set_active(&mut self, r: usize, active: bool) {
        assert!(r < self.runs, "run {r} of {}", self.runs);
        self.flags_changed |= self.words[r] != u32::from(active);
        self.words[r] = u32::from(active);
    }
    /// Takes over that the device put out the flag of run `r`.
    pub(super) fn put_out(&mut self, r: usize) {
        self.words[r] = 0;
    }
    pub(super) fn set_randomness(&mut self, r: usize, seed: u64, step: u32) {
        assert!(r < self.runs, "run {r} of {}", self.runs);
        let base = self.seed_base() + 2 * r;
        self.set(base, seed as u32);
        self.set(base + 1, (seed >> 32) as u32);
        self.set(self.step_at(), step);
    }
    pub(super) fn set_scalars(&mut self, r: usize, scalars: impl IntoIterator<Item = f32>) {
        assert!(r < self.runs, "run {r} of {}", self.runs);
        let base = self.scalar_base() + r * self.scalars;
        // What nothing reads has no place.
        for (i, x) in scalars.into_iter().take(self.scalars).enumerate() {
            self.set(base + i, x.to_bits());
        }
    }
}
