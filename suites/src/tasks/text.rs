//! Any UTF-8 text, by bytes: the vocabulary is 256, the last part of the file is for validation.
//!
//! A training batch is windows of T+1 bytes at uniformly random places of the training part, each place a
//! function of (data_seed, step, row). The validation set is the non-overlapping windows of the last part in
//! order, `sequences` of them spread evenly; fewer windows than that is an error. The floor is unknown.

use super::{Corpus, Task, TaskBuilder, Validation, context_free_entropy};
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};
use preheat_kernels::rng::Stream;

/// Stream of Philox for window places, apart from those of parameters, dropout and the synthetic language.
const TRAINING: u32 = 0x5400_0000;

pub(super) const ENTRY: Entry<Box<dyn TaskBuilder>> = Entry {
    name: "text",
    doc: "next-byte prediction on a UTF-8 text",
    params: &[
        ParamDef {
            name: "path",
            doc: "the file, relative to the folder that the lab runs in",
            kind: ParamKind::Text,
            default: Preset::Required,
        },
        ParamDef {
            name: "sha256",
            doc: "hash of the file, lower-case hexadecimal; checked when it is read",
            kind: ParamKind::Text,
            default: Preset::Required,
        },
        ParamDef {
            name: "seq",
            doc: "bytes a sequence",
            kind: ParamKind::Int { min: 1, max: 65_536 },
            default: Preset::Int(64),
        },
        ParamDef {
            name: "validation",
            doc: "share of the file, its last part, that is not trained on",
            kind: ParamKind::Real { min: 0.0, max: 0.9 },
            default: Preset::Real(0.05),
        },
    ],
    build,
};

struct Builder {
    path: String,
    seq: usize,
    validation: f64,
}

fn build(params: &Params) -> Result<Box<dyn TaskBuilder>, Invalid> {
    let sha256 = params.text("sha256");
    if sha256.len() != 64 || !sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(Invalid::new("sha256", format!("{sha256:?} is not 64 lower-case hexadecimal digits")));
    }
    Ok(Box::new(Builder {
        path: params.text("path").to_string(),
        seq: params.size("seq"),
        validation: params.real("validation"),
    }))
}

impl TaskBuilder for Builder {
    fn open(&self, corpus: &dyn Corpus, sequences: usize) -> Result<Box<dyn Task>, Invalid> {
        let mut bytes = corpus.read(&self.path)?;
        if let Err(fault) = std::str::from_utf8(&bytes) {
            return Err(Invalid::new("path", format!("{}: not UTF-8 at byte {}", self.path, fault.valid_up_to())));
        }
        let held_out = (bytes.len() as f64 * self.validation) as usize;
        let held_out = bytes.split_off(bytes.len() - held_out);
        let too_short = |key: &str, part: &str, n: usize, needed: usize| {
            Invalid::new(key, format!("{}: the {part} part has {n} bytes, {needed} are needed", self.path))
        };
        let window = self.seq + 1;
        if bytes.len() < window {
            return Err(too_short("seq", "training", bytes.len(), window));
        }
        // Neighbouring windows share one byte: the last target of one is the first input of the next.
        let windows = held_out.len().saturating_sub(1) / self.seq;
        if windows < sequences.max(1) {
            return Err(too_short("validation", "validation", held_out.len(), sequences.max(1) * self.seq + 1));
        }
        let validation = validation(&bytes, &held_out, self.seq, windows, sequences);
        Ok(Box::new(Text { training: bytes, seq: self.seq, validation }))
    }
}

fn validation(training: &[u8], held_out: &[u8], seq: usize, windows: usize, sequences: usize) -> Validation {
    let (mut inputs, mut targets) = (vec![0; sequences * seq], vec![0; sequences * seq]);
    for (i, (x, y)) in inputs.chunks_exact_mut(seq).zip(targets.chunks_exact_mut(seq)).enumerate() {
        fill(held_out, i * windows / sequences * seq, x, y);
    }
    let mut counts = vec![0; 256];
    training.iter().for_each(|&b| counts[usize::from(b)] += 1);
    let unigram_entropy = context_free_entropy(&counts, &targets);
    Validation { inputs, targets, unigram_entropy, entropy_rate: None }
}

/// Copies the window of T+1 bytes at `at`.
fn fill(bytes: &[u8], at: usize, inputs: &mut [u32], targets: &mut [u32]) {
    let window = &bytes[at..=at + inputs.len()];
    for ((x, y), pair) in inputs.iter_mut().zip(targets).zip(window.windows(2)) {
        (*x, *y) = (pair[0].into(), pair[1].into());
    }
}

struct Text {
    training: Vec<u8>,
    seq: usize,
    validation: Validation,
}

impl Task for Text {
    fn vocab(&self) -> usize {
        256
    }
    fn seq(&self) -> usize {
        self.seq
    }
    fn batch(&self, data_seed: u64, step: u64, inputs: &mut [u32], targets: &mut [u32]) {
        let step = u32::try_from(step).expect("runs have fewer than 2^32 steps");
        let places = (self.training.len() - self.seq) as u64;
        let stream = Stream::new(data_seed, TRAINING);
        for (row, (x, y)) in inputs.chunks_exact_mut(self.seq).zip(targets.chunks_exact_mut(self.seq)).enumerate() {
            fill(&self.training, stream.below(step, row as u64, places) as usize, x, y);
        }
    }
    fn validation(&self) -> &Validation {
        &self.validation
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Scalar;

    struct File(Vec<u8>);
    impl Corpus for File {
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
        build(&params)?.open(&File(bytes.to_vec()), sequences)
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
        assert_eq!(fault(b"", 1, 0.05, 1).expect("refused").key, "seq");
        // Just enough.
        assert!(fault(&ramp()[..], 79, 0.2, 0).is_some() && open(&ramp(), 19, 0.2, 1).is_ok());
        for hash in ["xyz".to_string(), "0F".repeat(32), "é".repeat(32)] {
            let params = Params([("sha256".to_string(), Scalar::Text(hash))].into());
            assert_eq!(build(&params).err().expect("refused").key, "sha256");
        }
    }
}
