//! Batch, rate and β₂ of a model's size: the laws that Porian et al. 2024 fit to their sweep (Fig. 3), and a rule for β₂.

/// Sizes that the laws were fitted to, parameters with the head.
pub const FITTED: [f64; 2] = [2.5e7, 1.1e8];

/// What to train a size with.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Hyper {
    /// Batch, sequences of 2048 tokens: 0.00037·N^0.703.
    pub batch_sequences: f64,
    /// Peak learning rate of AdamW, constant after its warm-up: 3.7·N^−0.36.
    pub peak_lr: f64,
    /// β₂ with the same memory in sequences at every batch: 0.999^(B/32), from 0.95 to 0.9999 (Marin's recipe). The paper
    /// has no law of β₂; it finds that 0.95 is too small for batches of 128 and less.
    pub beta2: f64,
    /// Whether the size lies outside what the laws were fitted to.
    pub extrapolated: bool,
}

/// The laws at `params` parameters, counted with the head.
pub fn hyper(params: f64) -> Hyper {
    let batch_sequences = 0.00037 * libm::pow(params, 0.703);
    Hyper {
        batch_sequences,
        peak_lr: 3.7 * libm::pow(params, -0.36),
        beta2: libm::pow(0.999, batch_sequences / 32.0).clamp(0.95, 0.9999),
        extrapolated: !(FITTED[0]..=FITTED[1]).contains(&params),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper's sizes with the batch and rate that its laws give them.
    #[test]
    fn batch_and_rate_are_those_of_the_paper() {
        for (params, batch, rate, extrapolated) in [
            (5_173_248.0, 19.0, 0.0142, true),
            (57_384_960.0, 105.0, 0.0060, false),
            (108_462_080.0, 165.0, 0.0047, false),
            (901_726_208.0, 730.0, 0.0022, true),
        ] {
            let found = hyper(params);
            assert!((found.batch_sequences - batch).abs() < 0.8, "{found:?}");
            assert!((found.peak_lr - rate).abs() < 6e-5, "{found:?}");
            assert_eq!(found.extrapolated, extrapolated, "{params}");
        }
    }

    #[test]
    fn beta2_falls_with_the_batch_between_its_ends() {
        let of = |params| hyper(params).beta2;
        assert!(of(1e7) > of(1e8) && of(1e8) > of(1e9));
        assert_eq!([of(1e3), of(1e12)], [0.9999, 0.95]);
        // 64 sequences: 0.999².
        let params = libm::pow(64.0 / 0.00037, 1.0 / 0.703);
        assert!((of(params) - 0.998_001).abs() < 1e-9);
    }
}
