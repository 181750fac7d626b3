//! A file of tokens: an llm.c or modded-nanogpt shard, nanoGPT's `train.bin`, or a text by bytes.
//!
//! A training batch is windows of T+1 tokens at uniformly random places of the training part, each place a
//! function of (data_seed, step, row). The last part of the file is for validation: its non-overlapping windows in
//! order, `sequences` of them spread evenly; fewer windows than that is an error. The floor is unknown.

use super::token_file::{FORMATS, MAX_VOCAB, Tokens};
use super::{Corpus, Task, TaskBuilder, Validation, context_free_entropy};
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};
use preheat_kernels::rng::Stream;
use std::ops::Range;

/// Stream of Philox for window places, apart from those of parameters, dropout and the synthetic language.
const TRAINING: u32 = 0x5400_0000;

pub(super) const PATH: ParamDef = ParamDef {
    name: "path",
    doc: "the file, relative to the folder that the lab runs in",
    kind: ParamKind::Text,
    default: Preset::Required,
};
pub(super) const SHA256: ParamDef = ParamDef {
    name: "sha256",
    doc: "hash of the file, lower-case hexadecimal; checked when it is read",
    kind: ParamKind::Text,
    default: Preset::Required,
};
pub(super) const SEQ: ParamDef = ParamDef {
    name: "seq",
    doc: "tokens a sequence; a text's are bytes",
    kind: ParamKind::Int { min: 1, max: 65_536 },
    default: Preset::Int(64),
};
pub(super) const VALIDATION: ParamDef = ParamDef {
    name: "validation",
    doc: "share of the file, its last part, that is not trained on",
    kind: ParamKind::Real { min: 0.0, max: 0.9 },
    default: Preset::Real(0.05),
};

pub(super) const ENTRY: Entry<Box<dyn TaskBuilder>> = Entry {
    name: "tokens",
    doc: "next-token prediction on a file of tokens",
    params: &[
        PATH,
        SHA256,
        ParamDef {
            name: "format",
            doc: "llmc: a shard of llm.c or modded-nanogpt; nanogpt: raw u16; text: UTF-8 by bytes; auto: by magic, then by .bin or .txt",
            kind: ParamKind::Choice(FORMATS),
            default: Preset::Text("auto"),
        },
        ParamDef {
            name: "vocab",
            doc: "tokens in the vocabulary; 0 takes 256 for text, else the largest token of the file plus one",
            kind: ParamKind::Int { min: 0, max: MAX_VOCAB as i64 },
            default: Preset::Int(0),
        },
        SEQ,
        VALIDATION,
    ],
    build,
};

struct Builder {
    path: String,
    format: String,
    vocab: usize,
    seq: usize,
    validation: f64,
}

fn build(params: &Params) -> Result<Box<dyn TaskBuilder>, Invalid> {
    builder(params, params.text("format"), params.size("vocab"))
}

/// The builder of a task with the parameters [`PATH`], [`SHA256`], [`SEQ`] and [`VALIDATION`].
pub(super) fn builder(params: &Params, format: &str, vocab: usize) -> Result<Box<dyn TaskBuilder>, Invalid> {
    let sha256 = params.text("sha256");
    if sha256.len() != 64 || !sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(Invalid::new("sha256", format!("{sha256:?} is not 64 lower-case hexadecimal digits")));
    }
    Ok(Box::new(Builder {
        path: params.text("path").to_string(),
        format: format.to_string(),
        vocab,
        seq: params.size("seq"),
        validation: params.real("validation"),
    }))
}

impl TaskBuilder for Builder {
    fn open(&self, corpus: &dyn Corpus, sequences: usize) -> Result<Box<dyn Task>, Invalid> {
        let tokens = Tokens::read(&self.path, corpus.read(&self.path)?, &self.format)?;
        let vocab = tokens.vocab(&self.path, self.vocab)?;
        let held_out = (tokens.len() as f64 * self.validation) as usize;
        let training = tokens.len() - held_out;
        let too_short = |key: &str, part: &str, n: usize, needed: usize| {
            Invalid::new(key, format!("{}: the {part} part has {n} tokens, {needed} are needed", self.path))
        };
        let window = self.seq + 1;
        if training < window {
            return Err(too_short("seq", "training", training, window));
        }
        // Neighbouring windows share one token: the last target of one is the first input of the next.
        let windows = held_out.saturating_sub(1) / self.seq;
        if windows < sequences.max(1) {
            return Err(too_short("validation", "validation", held_out, sequences.max(1) * self.seq + 1));
        }
        let places = (0..sequences).map(|i| training + i * windows / sequences * self.seq);
        let validation = validation(&tokens, 0..training, places, self.seq, vocab);
        Ok(Box::new(File { tokens, training, vocab, seq: self.seq, validation }))
    }
}

/// The windows at `places` \[S,T\], and what a count of the training part says of them.
fn validation(
    tokens: &Tokens,
    training: Range<usize>,
    places: impl ExactSizeIterator<Item = usize>,
    seq: usize,
    vocab: usize,
) -> Validation {
    let (mut inputs, mut targets) = (vec![0; places.len() * seq], vec![0; places.len() * seq]);
    for ((x, y), place) in inputs.chunks_exact_mut(seq).zip(targets.chunks_exact_mut(seq)).zip(places) {
        fill(tokens, place, x, y);
    }
    let mut counts = vec![0; vocab];
    tokens.iter(training).for_each(|token| counts[token as usize] += 1);
    let unigram_entropy = context_free_entropy(&counts, &targets);
    Validation { inputs, targets, unigram_entropy, entropy_rate: None }
}

/// Copies the window of T+1 tokens at `place`.
fn fill(tokens: &Tokens, place: usize, inputs: &mut [u32], targets: &mut [u32]) {
    tokens.copy(place, inputs);
    tokens.copy(place + 1, targets);
}

struct File {
    tokens: Tokens,
    /// How many tokens of the file are trained on, the first ones.
    training: usize,
    vocab: usize,
    seq: usize,
    validation: Validation,
}

impl Task for File {
    fn vocab(&self) -> usize {
        self.vocab
    }
    fn seq(&self) -> usize {
        self.seq
    }
    fn batch(&self, data_seed: u64, step: u64, inputs: &mut [u32], targets: &mut [u32]) {
        let step = u32::try_from(step).expect("runs have fewer than 2^32 steps");
        let places = (self.training - self.seq) as u64;
        let stream = Stream::new(data_seed, TRAINING);
        for (row, (x, y)) in inputs.chunks_exact_mut(self.seq).zip(targets.chunks_exact_mut(self.seq)).enumerate() {
            fill(&self.tokens, stream.below(step, row as u64, places) as usize, x, y);
        }
    }
    fn validation(&self) -> &Validation {
        &self.validation
    }
}

#[cfg(test)]
mod tests {
    use super::super::text;
    use super::*;
    use crate::registry::Scalar;

    struct OneFile(Vec<u8>);
    impl Corpus for OneFile {
        fn read(&self, path: &str) -> Result<Vec<u8>, Invalid> {
            assert_eq!(path, "a.txt");
            Ok(self.0.clone())
        }
    }

    fn open(bytes: &[u8], seq: i64, validation: f64, sequences: usize) -> Result<Box<dyn Task>, Invalid> {
        let mut params = Params::default();
        for (key, value) in [
            ("path", Scalar::Text("a.txt".into())),
            ("sha256", Scalar::Text("0f".repeat(32))),
            ("seq", Scalar::Int(seq)),
            ("validation", Scalar::Real(validation)),
        ] {
            params.0.insert(key.into(), value);
        }
        (text::ENTRY.build)(&params)?.open(&OneFile(bytes.to_vec()), sequences)
    }

    /// Every byte tells its place: byte i is i.
    fn ramp() -> Vec<u8> {
        (0..100).collect()
    }

    #[test]
    fn windows_stay_within_their_part() {
        let task = open(&ramp(), 7, 0.2, 2).expect("opens");
        let v = task.validation();
        assert_eq!(v.inputs, (80..94).collect::<Vec<u32>>());
        assert_eq!(v.targets, (81..95).collect::<Vec<u32>>());
        assert_eq!(v.entropy_rate, None);
        let (mut x, mut y) = (vec![0; 7 * 31], vec![0; 7 * 31]);
        let mut first = std::collections::BTreeSet::new();
        for step in 0..40 {
            task.batch(3, step, &mut x, &mut y);
            assert!(y.iter().zip(&x).all(|(y, x)| *y == x + 1 && *y < 80));
            x.chunks(7).for_each(|row| assert!(row.windows(2).all(|w| w[1] == w[0] + 1)));
            first.extend(x.chunks(7).map(|row| row[0]));
        }
        // Every place is reached, the last one included.
        assert_eq!(first.into_iter().collect::<Vec<_>>(), (0..73).collect::<Vec<u32>>());
        let again = x.clone();
        task.batch(3, 5, &mut x, &mut y);
        assert_ne!(x, again);
        task.batch(3, 39, &mut x, &mut y);
        assert_eq!(x, again);
    }

    #[test]
    fn the_unigram_is_the_training_parts_with_add_one() {
        // Training: 8 a, 2 b. Validation: a a b ... with targets a, b.
        let task = open(b"aaaaaaaabbaab", 1, 0.25, 2).expect("opens");
        assert_eq!(task.validation().targets, [97, 98]);
        let expected = -(libm::log(9.0 / 266.0) + libm::log(3.0 / 266.0)) / 2.0;
        assert!((task.validation().unigram_entropy - expected).abs() < 1e-12);
    }

    #[test]
    fn faults_name_key_and_place() {
        let fault = |bytes: &[u8], seq, validation, sequences| open(bytes, seq, validation, sequences).err();
        let bad = fault(b"ab\xffcd", 1, 0.5, 1).expect("refused");
        assert!(bad.key == "path" && bad.message.contains("byte 2"), "{bad}");
        let short = fault(&ramp(), 95, 0.05, 1).expect("refused");
        assert!(short.key == "seq" && short.message.contains("96 are needed"), "{short}");
        let few = fault(&ramp(), 7, 0.2, 3).expect("refused");
        assert!(few.key == "validation" && few.message.contains("22 are needed"), "{few}");
        assert_eq!(fault(b"", 1, 0.05, 1).expect("refused").key, "path");
        // Just enough.
        assert!(fault(&ramp()[..], 79, 0.2, 0).is_some() && open(&ramp(), 19, 0.2, 1).is_ok());
        for hash in ["xyz".to_string(), "0F".repeat(32), "é".repeat(32)] {
            let params = Params([("sha256".to_string(), Scalar::Text(hash))].into());
            assert_eq!((text::ENTRY.build)(&params).err().expect("refused").key, "sha256");
        }
    }
}
