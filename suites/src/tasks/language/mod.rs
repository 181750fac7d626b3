//! A synthetic language whose entropy rate is known exactly.
//!
//! Every sequence is a document of T+1 tokens with a hidden topic z, uniform over K. The first two tokens are
//! drawn from U_z, each further one from the mixture
//!
//! p(x | z, x1, x2, …) = unigram·U_z(x) + bigram·B\[x1\](x) + trigram·T\[x2,x1\](x) + copy·\[x = c\]
//!
//! - x1 is the last token, x2 the one before; c is the token that followed the last earlier occurrence of x1
//!   in the document (induction). Where x1 is new, U_z stands in for the copy.
//! - The Zipf law is p ∝ (rank + zipf_shift)^−tail_exponent with ranks from 1. U_z multiplies it by topic_boost for a random
//!   quarter of the tokens and by topic_cut for the others.
//! - B and T give each context `successors` tokens, drawn from the Zipf law, with weights ∝ 1/slot. A row is
//!   computed from its context by Philox when it is needed, so no table is stored.
//! - `shift` replaces that share of the rows of B and T and of the topics' entries by those of `shift_seed`:
//!   two sources that differ in `shift` alone share the rest. 0 is the base source, 1 shares only the Zipf law.
//!
//! The floor is the cross-entropy of the exact predictor: a Bayesian filter over z. Training documents are
//! keyed by (data_seed, step, row); validation documents have a stream of their own under table_seed.

mod filter;
mod pair;
mod source;

use super::{Corpus, Task, TaskBuilder, Validation, context_free_entropy};
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};
pub(super) use pair::ENTRY as PAIR;
use preheat_kernels::rng::Stream;
use source::{MARGINAL, Shape, Source, TRAINING, VALIDATION};

pub(super) const ENTRY: Entry<Box<dyn TaskBuilder>> = Entry {
    name: "language",
    doc: "a synthetic language of topics, bigrams, trigrams and copying, with exact entropy rate",
    params: PARAMS,
    build,
};

const fn int(name: &'static str, doc: &'static str, min: i64, max: i64, default: i64) -> ParamDef {
    ParamDef { name, doc, kind: ParamKind::Int { min, max }, default: Preset::Int(default) }
}

const fn real(name: &'static str, doc: &'static str, min: f64, max: f64, default: f64) -> ParamDef {
    ParamDef { name, doc, kind: ParamKind::Real { min, max }, default: Preset::Real(default) }
}

const PARAMS: &[ParamDef] = &[
    int("vocab", "tokens in the vocabulary", 2, 65_536, 128),
    int("seq", "tokens a sequence", 1, 65_536, 64),
    int("topics", "hidden topics", 1, 256, 4),
    int("successors", "tokens that may follow a context in the bigram and trigram tables", 1, 256, 4),
    real("unigram", "weight of the topic's unigram distribution", 0.0, 1.0, 0.20),
    real("bigram", "weight of the bigram table", 0.0, 1.0, 0.45),
    real("trigram", "weight of the trigram table", 0.0, 1.0, 0.15),
    real("copy", "weight of copying what followed the last occurrence", 0.0, 1.0, 0.20),
    real("zipf_shift", "added to the rank in the Zipf law", 0.0, 1e6, 2.7),
    real("tail_exponent", "exponent of the Zipf law", 0.0, 2.0, 1.0),
    real("topic_boost", "factor of a topic's favoured quarter of the tokens", 1.0, 1e3, 5.0),
    real("topic_cut", "factor of a topic's other tokens", 1e-3, 1.0, 0.4),
    int("table_seed", "seed of the topics and tables", 0, i64::MAX, 0),
    real("shift", "share of table rows and topic entries taken from shift_seed", 0.0, 1.0, 0.0),
    int("shift_seed", "seed of the replaced rows and entries", 0, i64::MAX, 1),
];

/// Tokens counted for the context-free predictor: this many, and at least this many for each token of the vocabulary.
const MARGINAL_TOKENS: usize = 1 << 18;
const MARGINAL_TOKENS_EACH: usize = 64;

struct Builder {
    shape: Shape,
    seq: usize,
}

fn build(params: &Params) -> Result<Box<dyn TaskBuilder>, Invalid> {
    Ok(Box::new(Builder { shape: shape(params)?, seq: params.size("seq") }))
}

fn shape(params: &Params) -> Result<Shape, Invalid> {
    let weights = ["unigram", "bigram", "trigram", "copy"].map(|key| params.real(key));
    let sum: f64 = weights.iter().sum();
    if (sum - 1.0).abs() > 1e-9 {
        return Err(Invalid::new("unigram", format!("unigram + bigram + trigram + copy is {sum:?}, it must be 1")));
    }
    if params.real("shift") > 0.0 && params.int("shift_seed") == params.int("table_seed") {
        return Err(Invalid::new("shift_seed", "is table_seed, so a shift would change nothing"));
    }
    Ok(Shape {
        vocab: params.size("vocab"),
        topics: params.size("topics"),
        successors: params.size("successors"),
        weights,
        zipf_shift: params.real("zipf_shift"),
        tail_exponent: params.real("tail_exponent"),
        topic_boost: params.real("topic_boost"),
        topic_cut: params.real("topic_cut"),
        table_seed: params.int("table_seed") as u64,
        shift: params.real("shift"),
        shift_seed: params.int("shift_seed") as u64,
    })
}

impl TaskBuilder for Builder {
    fn open(&self, _corpus: &dyn Corpus, sequences: usize) -> Result<Box<dyn Task>, Invalid> {
        let source = Source::new(&self.shape);
        let validation = validation(&source, self.shape.table_seed, sequences, self.seq);
        Ok(Box::new(Language { source, seq: self.seq, validation }))
    }
}

fn validation(source: &Source, table_seed: u64, sequences: usize, seq: usize) -> Validation {
    let stream = Stream::new(table_seed, VALIDATION);
    let (mut inputs, mut targets) = (vec![0; sequences * seq], vec![0; sequences * seq]);
    let mut nats = 0.0;
    for (row, (x, y)) in inputs.chunks_exact_mut(seq).zip(targets.chunks_exact_mut(seq)).enumerate() {
        source.document(stream, 0, row as u64, x, y);
        nats += filter::document_nats(source, x, y);
    }
    let counts = counts(source, Stream::new(table_seed, MARGINAL), seq);
    let unigram_entropy = context_free_entropy(&counts, &targets);
    let entropy_rate = Some(nats / targets.len() as f64);
    Validation { inputs, targets, unigram_entropy, entropy_rate }
}

/// How often each token is a target in a large sample of its own.
fn counts(source: &Source, stream: Stream, seq: usize) -> Vec<u64> {
    let mut counts = vec![0; source.vocab()];
    let (mut inputs, mut targets) = (vec![0; seq], vec![0; seq]);
    let tokens = MARGINAL_TOKENS.max(MARGINAL_TOKENS_EACH * source.vocab());
    for row in 0..tokens.div_ceil(seq) {
        source.document(stream, 0, row as u64, &mut inputs, &mut targets);
        targets.iter().for_each(|&x| counts[x as usize] += 1);
    }
    counts
}

/// Fills a batch with the training documents from row `first` on of (data seed, step).
fn fill(
    source: &Source,
    seq: usize,
    (data_seed, step, first): (u64, u64, u64),
    inputs: &mut [u32],
    targets: &mut [u32],
) {
    let step = u32::try_from(step).expect("runs have fewer than 2^32 steps");
    let stream = Stream::new(data_seed, TRAINING);
    for (row, (x, y)) in (first..).zip(inputs.chunks_exact_mut(seq).zip(targets.chunks_exact_mut(seq))) {
        source.document(stream, step, row, x, y);
    }
}

struct Language {
    source: Source,
    seq: usize,
    validation: Validation,
}

impl Task for Language {
    fn vocab(&self) -> usize {
        self.source.vocab()
    }
    fn seq(&self) -> usize {
        self.seq
    }
    fn batch(&self, data_seed: u64, step: u64, inputs: &mut [u32], targets: &mut [u32]) {
        fill(&self.source, self.seq, (data_seed, step, 0), inputs, targets);
    }
    fn validation(&self) -> &Validation {
        &self.validation
    }
}

#[cfg(test)]
mod tests;
