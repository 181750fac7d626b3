//! The source: one distribution of the next token, given what came before and the document's hidden topic.

use crate::tasks::thresholds::Thresholds;
use preheat_kernels::rng::Stream;

/// What a source is made of. See [`super::PARAMS`] for meanings and ranges.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) vocab: usize,
    pub(super) topics: usize,
    pub(super) successors: usize,
    /// Unigram, bigram, trigram, copy; they sum to 1.
    pub(super) weights: [f64; 4],
    pub(super) zipf_shift: f64,
    pub(super) tail_exponent: f64,
    pub(super) topic_boost: f64,
    pub(super) topic_cut: f64,
    pub(super) table_seed: u64,
    pub(super) shift: f64,
    pub(super) shift_seed: u64,
}

/// Streams of Philox, apart from those of parameters (small numbers) and dropout (from 2^20).
const STREAM: u32 = 0x4C00_0000;
const TOPIC: u32 = STREAM;
const BIGRAM: u32 = STREAM + 1;
const TRIGRAM: u32 = STREAM + 2;
/// Which rows a shift replaces: this plus the table's own number.
const REPLACED: u32 = STREAM + 16;
pub(super) const TRAINING: u32 = STREAM + 32;
pub(super) const VALIDATION: u32 = STREAM + 33;
pub(super) const MARGINAL: u32 = STREAM + 34;

/// One table: random rows, some of them replaced by rows of another seed.
#[derive(Clone, Copy, Debug)]
struct Table {
    base: Stream,
    other: Stream,
    replaced: Stream,
    /// A row is replaced where 32 random bits lie below this.
    below: u64,
}

impl Table {
    fn new(shape: &Shape, stream: u32) -> Self {
        Self {
            base: Stream::new(shape.table_seed, stream),
            other: Stream::new(shape.shift_seed, stream),
            replaced: Stream::new(shape.shift_seed, REPLACED + stream),
            below: (shape.shift * 4_294_967_296.0).round() as u64,
        }
    }

    /// 64 random bits of entry `slot` of `row`.
    fn bits(&self, row: u64, slot: u32) -> u64 {
        let moved = u64::from(self.replaced.words(0, row)[0]) < self.below;
        if moved { self.other.bits(slot, row) } else { self.base.bits(slot, row) }
    }
}

pub(super) const UNIGRAM_PART: usize = 0;
pub(super) const BIGRAM_PART: usize = 1;
pub(super) const TRIGRAM_PART: usize = 2;
pub(super) const COPY_PART: usize = 3;

/// A source with its integer thresholds.
pub(super) struct Source {
    zipf: Thresholds,
    slots: Thresholds,
    bigram: Table,
    trigram: Table,
    /// The four parts' weights.
    pub(super) parts: Thresholds,
    /// The distribution of topics.
    pub(super) prior: Thresholds,
    /// U_z, one for each topic.
    pub(super) unigrams: Vec<Thresholds>,
}

/// The probabilities that each part but the unigram gives one token; they do not depend on the topic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shared {
    pub(super) bigram: f64,
    pub(super) trigram: f64,
    /// Whether the copy is this token; `None` where there is nothing to copy and U_z stands in.
    pub(super) copy: Option<bool>,
}

impl Source {
    pub(super) fn new(shape: &Shape) -> Self {
        let zipf = |rank: usize| libm::pow(rank as f64 + 1.0 + shape.zipf_shift, -shape.tail_exponent);
        let table = Table::new(shape, TOPIC);
        let boost = |topic: usize, token: usize| {
            let favoured = table.bits((topic * shape.vocab + token) as u64, 0) < 1 << 62;
            if favoured { shape.topic_boost } else { shape.topic_cut }
        };
        let unigram = |z: usize| Thresholds::new((0..shape.vocab).map(|x| zipf(x) * boost(z, x)), 64);
        Self {
            zipf: Thresholds::new((0..shape.vocab).map(zipf), 64),
            slots: Thresholds::new((0..shape.successors).map(|s| 1.0 / (s + 1) as f64), 32),
            bigram: Table::new(shape, BIGRAM),
            trigram: Table::new(shape, TRIGRAM),
            parts: Thresholds::new(shape.weights, 32),
            prior: Thresholds::new((0..shape.topics).map(|_| 1.0), 64),
            unigrams: (0..shape.topics).map(unigram).collect(),
        }
    }

    pub(super) fn vocab(&self) -> usize {
        self.zipf.len()
    }

    /// Successor `slot` of a context: drawn from the Zipf law, so that the marginals stay near it.
    fn successor(&self, table: &Table, context: u64, slot: usize) -> u32 {
        self.zipf.sample(table.bits(context, slot as u32)) as u32
    }

    fn pair(&self, history: &[u32]) -> u64 {
        let [.., x2, x1] = *history else { unreachable!("pairs are asked for from the third token on") };
        u64::from(x2) * self.vocab() as u64 + u64::from(x1)
    }

    /// The next token after `history`, from 128 random bits.
    fn token(&self, topic: usize, history: &[u32], words: [u32; 4]) -> u32 {
        let wide = u64::from(words[2]) | u64::from(words[3]) << 32;
        let unigram = || self.unigrams[topic].sample(wide) as u32;
        if history.len() < 2 {
            return unigram();
        }
        let slot = || self.slots.sample(u64::from(words[1]) << 32);
        match self.parts.sample(u64::from(words[0]) << 32) {
            BIGRAM_PART => self.successor(&self.bigram, u64::from(history[history.len() - 1]), slot()),
            TRIGRAM_PART => self.successor(&self.trigram, self.pair(history), slot()),
            COPY_PART => copied(history).unwrap_or_else(unigram),
            _ => unigram(),
        }
    }

    /// The probability that a table gives `token` after `context`.
    fn table_probability(&self, table: &Table, context: u64, token: u32) -> f64 {
        let slots = 0..self.slots.len();
        slots.filter(|&s| self.successor(table, context, s) == token).map(|s| self.slots.p(s)).sum()
    }

    /// The topic-free parts' probabilities of `token`. From the third token on.
    pub(super) fn shared(&self, history: &[u32], token: u32) -> Shared {
        let x1 = u64::from(history[history.len() - 1]);
        Shared {
            bigram: self.table_probability(&self.bigram, x1, token),
            trigram: self.table_probability(&self.trigram, self.pair(history), token),
            copy: copied(history).map(|copy| copy == token),
        }
    }

    /// Fills one document of T+1 tokens: inputs are the first T, targets the last T. It depends on
    /// (`stream`, `step`, `row`) alone. Returns the topic.
    pub(super) fn document(
        &self,
        stream: Stream,
        step: u32,
        row: u64,
        inputs: &mut [u32],
        targets: &mut [u32],
    ) -> usize {
        let seq = inputs.len();
        let index = |t: usize| row << 32 | t as u64;
        let topic = self.prior.sample(stream.bits(step, index(seq + 1)));
        for t in 0..=seq {
            let token = self.token(topic, &inputs[..t], stream.words(step, index(t)));
            if t < seq {
                inputs[t] = token;
            }
            if t > 0 {
                targets[t - 1] = token;
            }
        }
        topic
    }
}

/// The token that followed the last earlier occurrence of the current token.
pub(super) fn copied(history: &[u32]) -> Option<u32> {
    let (current, before) = history.split_last()?;
    before.iter().rposition(|x| x == current).map(|at| history[at + 1])
}
