//! Two languages that share all but a controlled part: a run trains on one and is measured on both.
//!
//! `upstream` is [`super`]'s language without a shift, `downstream` the one with `shift`: that share of the rows of the
//! tables and of the topics' entries is another seed's, the rest is common. Both validation sets are made from the same
//! random numbers, so they differ where the languages do. Training documents come in parts that never meet: a run that
//! goes on from another's checkpoint takes another `part`, and sees none of its documents again.

use super::{PARAMS, Shape, Source, fill, shape, validation};
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};
use crate::tasks::{Corpus, NamedSet, Task, TaskBuilder, Validation};

const NAMES: [&str; 2] = ["upstream", "downstream"];
/// Rows of a part; a batch has fewer.
const PART_ROWS: u64 = 1 << 20;

const OWN: [ParamDef; 2] = [
    ParamDef {
        name: "train_on",
        doc: "the language of the training batches and of val_loss",
        kind: ParamKind::Choice(&NAMES),
        default: Preset::Text(NAMES[0]),
    },
    ParamDef {
        name: "part",
        doc: "which part of the training documents; no document is in two",
        kind: ParamKind::Int { min: 0, max: 4095 },
        default: Preset::Int(0),
    },
];
static ALL: [ParamDef; PARAMS.len() + OWN.len()] = joined();

const fn joined() -> [ParamDef; PARAMS.len() + OWN.len()] {
    let mut all = [OWN[0]; PARAMS.len() + OWN.len()];
    let mut i = 0;
    while i < all.len() {
        all[i] = if i < PARAMS.len() { PARAMS[i] } else { OWN[i - PARAMS.len()] };
        i += 1;
    }
    all
}

pub(in super::super) const ENTRY: Entry<Box<dyn TaskBuilder>> = Entry {
    name: "language-pair",
    doc: "two synthetic languages that share all but `shift`: trains on one, measures both",
    params: &ALL,
    build,
};

struct Builder {
    /// Of the downstream language.
    shape: Shape,
    seq: usize,
    downstream: bool,
    part: u64,
}

fn build(params: &Params) -> Result<Box<dyn TaskBuilder>, Invalid> {
    let downstream = params.text("train_on") == NAMES[1];
    let part = params.size("part") as u64;
    Ok(Box::new(Builder { shape: shape(params)?, seq: params.size("seq"), downstream, part }))
}

impl TaskBuilder for Builder {
    fn open(&self, _corpus: &dyn Corpus, sequences: usize) -> Result<Box<dyn Task>, Invalid> {
        let sources = [Source::new(&Shape { shift: 0.0, ..self.shape.clone() }), Source::new(&self.shape)];
        let mut sets = sources.each_ref().map(|s| Some(validation(s, self.shape.table_seed, sequences, self.seq)));
        let trained = usize::from(self.downstream);
        let own = sets[trained].take().expect("made above");
        let [upstream, downstream] = sets;
        let sets = [NamedSet { name: NAMES[0], set: upstream }, NamedSet { name: NAMES[1], set: downstream }];
        let [upstream, downstream] = sources;
        let source = if self.downstream { downstream } else { upstream };
        Ok(Box::new(Pair { source, seq: self.seq, first_row: self.part * PART_ROWS, own, sets }))
    }
    fn set_names(&self) -> &'static [&'static str] {
        &NAMES
    }
}

struct Pair {
    source: Source,
    seq: usize,
    first_row: u64,
    own: Validation,
    sets: [NamedSet; 2],
}

impl Task for Pair {
    fn vocab(&self) -> usize {
        self.source.vocab()
    }
    fn seq(&self) -> usize {
        self.seq
    }
    fn batch(&self, data_seed: u64, step: u64, inputs: &mut [u32], targets: &mut [u32]) {
        fill(&self.source, self.seq, (data_seed, step, self.first_row), inputs, targets);
    }
    fn validation(&self) -> &Validation {
        &self.own
    }
    fn named_sets(&self) -> &[NamedSet] {
        &self.sets
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NoFiles, batch, open, params_of};
    use super::*;

    fn pair(shift: f64, train_on: &str, part: i64) -> Box<dyn Task> {
        let mut params = params_of(&ALL, &[("shift", shift), ("seq", 16.0), ("part", part as f64)]);
        params.0.insert("train_on".into(), crate::registry::Scalar::Text(train_on.into()));
        build(&params).expect("valid").open(&NoFiles, 8).expect("opens")
    }

    #[test]
    fn each_side_is_the_language_with_its_shift() {
        let plain = open(&[("seq", 16.0)], 8);
        let shifted = open(&[("seq", 16.0), ("shift", 0.4)], 8);
        for (train_on, own, other, place) in [("upstream", &plain, &shifted, 1), ("downstream", &shifted, &plain, 0)] {
            let task = pair(0.4, train_on, 0);
            assert_eq!(batch(&*task, 3, 5, 2), batch(&**own, 3, 5, 2), "{train_on}");
            assert_eq!(task.validation().inputs, own.validation().inputs);
            let sets = task.named_sets();
            assert_eq!(sets.iter().map(|s| s.name).collect::<Vec<_>>(), NAMES);
            assert!(sets[1 - place].set.is_none());
            let beside = sets[place].set.as_ref().expect("the other language");
            let there = other.validation();
            assert_eq!((&beside.inputs, &beside.targets), (&there.inputs, &there.targets));
            assert_eq!((beside.unigram_entropy, beside.entropy_rate), (there.unigram_entropy, there.entropy_rate));
        }
        assert_ne!(plain.validation().targets, shifted.validation().targets);
    }

    #[test]
    fn parts_have_other_documents_and_the_same_validation() {
        let parts = [0, 1, 4095].map(|part| pair(0.4, "downstream", part));
        for (i, a) in parts.iter().enumerate() {
            for b in &parts[..i] {
                let (a, b) = (batch(&**a, 3, 5, 4).0, batch(&**b, 3, 5, 4).0);
                assert!(a.chunks(16).all(|x| b.chunks(16).all(|y| x != y)));
            }
            assert_eq!(a.validation().inputs, parts[0].validation().inputs);
        }
    }
}
