//! The exact Bayesian filter over the hidden topic: the probability of every token given all before it.

use super::source::{BIGRAM_PART, COPY_PART, Shared, Source, TRIGRAM_PART, UNIGRAM_PART};

/// What is believed about one document's topic.
pub(super) struct Filter<'a> {
    source: &'a Source,
    weights: [f64; 4],
    posterior: Vec<f64>,
}

impl<'a> Filter<'a> {
    /// Before the first token.
    pub(super) fn new(source: &'a Source) -> Self {
        let posterior = (0..source.prior.len()).map(|z| source.prior.p(z)).collect();
        Self { source, weights: std::array::from_fn(|i| source.parts.p(i)), posterior }
    }

    /// p(`token` | topic, `history`) as `constant + slope·U_topic(token)`.
    fn likelihood(&self, history: &[u32], token: u32) -> (f64, f64) {
        if history.len() < 2 {
            return (0.0, 1.0);
        }
        let w = &self.weights;
        let Shared { bigram, trigram, copy } = self.source.shared(history, token);
        let tables = w[BIGRAM_PART] * bigram + w[TRIGRAM_PART] * trigram;
        match copy {
            None => (tables, w[UNIGRAM_PART] + w[COPY_PART]),
            Some(hit) => (tables + if hit { w[COPY_PART] } else { 0.0 }, w[UNIGRAM_PART]),
        }
    }

    /// p(`token` | `history`), `history` being what was observed so far.
    #[cfg(test)]
    pub(super) fn probability(&self, history: &[u32], token: u32) -> f64 {
        let (constant, slope) = self.likelihood(history, token);
        self.posterior
            .iter()
            .zip(&self.source.unigrams)
            .map(|(p, u)| p * (constant + slope * u.p(token as usize)))
            .sum()
    }

    /// p(`token` | `history`), and takes the token into account.
    pub(super) fn observe(&mut self, history: &[u32], token: u32) -> f64 {
        let (constant, slope) = self.likelihood(history, token);
        let mut total = 0.0;
        for (p, u) in self.posterior.iter_mut().zip(&self.source.unigrams) {
            *p *= constant + slope * u.p(token as usize);
            total += *p;
        }
        self.posterior.iter_mut().for_each(|p| *p /= total);
        total
    }
}

/// Σ −ln p(target | all before it) over one document, nats.
pub(super) fn document_nats(source: &Source, inputs: &[u32], targets: &[u32]) -> f64 {
    let mut filter = Filter::new(source);
    filter.observe(&[], inputs[0]);
    (0..inputs.len()).map(|t| -libm::log(filter.observe(&inputs[..=t], targets[t]))).sum()
}
