//! Tasks: what is predicted, where batches come from, and what is known about the best possible loss.

mod images;
mod language;
mod text;
mod thresholds;
pub mod token_file;
mod tokens;

use crate::registry::{Entry, Invalid};

/// A fixed validation set with what is known about it. Tokens are \[S,T\], row-major.
pub struct Validation {
    /// Input tokens \[S,T\].
    pub inputs: Vec<u32>,
    /// Target tokens \[S,T\], or labels \[S\].
    pub targets: Vec<u32>,
    /// Cross-entropy of the best context-free predictor on these targets, nats/token.
    pub unigram_entropy: f64,
    /// Cross-entropy of the true source on these targets (the floor), nats/token, where it is known.
    pub entropy_rate: Option<f64>,
}

/// A validation set with a name: what a run loses or keeps of another source shows on it.
pub struct NamedSet {
    /// Measured as `{name}_val_loss`.
    pub name: &'static str,
    /// Of as many sequences as the task's own; `None` where it is the task's own.
    pub set: Option<Validation>,
}

/// A task of predicting the next token, or one label of a whole sequence.
pub trait Task: Send + Sync {
    /// What a target can be: the vocabulary V, or the classes.
    fn vocab(&self) -> usize;
    /// Tokens a sequence T; bytes of an image \[H,W,C\].
    fn seq(&self) -> usize;
    /// Targets a sequence: T, or 1 where a sequence has a label.
    fn targets(&self) -> usize {
        self.seq()
    }
    /// Fills inputs \[B,T\] and targets (\[B,T\] or \[B\]) of the batch of `step` (counted from 0). A function of
    /// (`data_seed`, `step`) alone; allocates nothing.
    fn batch(&self, data_seed: u64, step: u64, inputs: &mut [u32], targets: &mut [u32]);
    /// The validation set, the same for every run of the task.
    fn validation(&self) -> &Validation;
    /// Validation sets that are measured by name beside `val_loss`, in the order of [`TaskBuilder::set_names`].
    fn named_sets(&self) -> &[NamedSet] {
        &[]
    }
}

/// What a task asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// A token at each position.
    Tokens,
    /// One label of the whole sequence.
    Label,
}

/// Opens what a task needs: the lab gives bytes by the path that the suite names, after checking their hash.
pub trait Corpus {
    /// The bytes of `path`.
    fn read(&self, path: &str) -> Result<Vec<u8>, Invalid>;
}

/// A task before its data is read.
pub trait TaskBuilder: Send + Sync {
    /// Reads data, builds tables and the validation set of `sequences` sequences.
    fn open(&self, corpus: &dyn Corpus, sequences: usize) -> Result<Box<dyn Task>, Invalid>;
    /// What is predicted, known before any data is read.
    fn asks(&self) -> Asks {
        Asks::Tokens
    }
    /// The names of [`Task::named_sets`], known before any data is read.
    fn set_names(&self) -> &'static [&'static str] {
        &[]
    }
}

/// All tasks.
pub static TASKS: &[Entry<Box<dyn TaskBuilder>>] =
    &[images::ENTRY, language::ENTRY, language::PAIR, text::ENTRY, tokens::ENTRY];

/// Mean −ln of the add-one frequencies in `counts` over `targets`, nats/token: the best context-free predictor
/// as far as a sample tells it.
fn context_free_entropy(counts: &[u64], targets: &[u32]) -> f64 {
    let total: u64 = counts.iter().map(|c| c + 1).sum();
    let nats: f64 = targets.iter().map(|&x| -libm::log((counts[x as usize] + 1) as f64 / total as f64)).sum();
    nats / targets.len() as f64
}
