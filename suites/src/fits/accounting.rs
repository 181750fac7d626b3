//! What a token costs: the FLOP conventions under which published laws were stated (Porian et al. 2024, §3.2 and
//! appendix B).
//!
//! Without a convention there is no fit: the exponent moves by more than 0.1 with the count alone.

/// How the FLOPs of a training token are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Convention {
    /// 6N: all matrices, the output head included, the input embedding not.
    Standard,
    /// 6N without the head (Kaplan et al. 2020).
    Kaplan,
    /// 6N and attention's scores and sums, 6·T·C·L.
    Attention,
    /// The count of Hoffmann et al. 2022, appendix F.
    ChinchillaExact,
}

impl Convention {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Standard, Self::Kaplan, Self::Attention, Self::ChinchillaExact];

    /// Its word in tables and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Kaplan => "kaplan",
            Self::Attention => "attention",
            Self::ChinchillaExact => "chinchilla-exact",
        }
    }

    /// The convention of a word.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|convention| convention.name() == name)
    }

    /// The words, for a message.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Training FLOPs a token (forward and backward).
    pub fn flops_per_token(self, shape: &Shape) -> f64 {
        let [width, layers, seq] = [shape.width, shape.layers, shape.seq].map(|x| x as f64);
        let [vocab, heads] = [shape.vocab, shape.heads].map(|x| x as f64);
        match self {
            Self::Standard => 6.0 * shape.params(),
            Self::Kaplan => 6.0 * shape.body(),
            Self::Attention => 6.0 * shape.params() + 6.0 * seq * width * layers,
            Self::ChinchillaExact => {
                let projections = 6.0 * seq * width * width + 2.0 * seq * width * width;
                let scores_and_sums = 4.0 * seq * seq * width + 3.0 * heads * seq * seq;
                let feed_forward = 2.0 * seq * width * shape.exact_feed_forward() as f64;
                let ends = 2.0 * seq * width + 2.0 * seq * width * vocab;
                3.0 / seq * (ends + layers * (projections + scores_and_sums + feed_forward))
            }
        }
    }

    /// The size N that C = 6·N·D speaks of under this convention.
    pub fn size(self, shape: &Shape) -> f64 {
        self.flops_per_token(shape) / 6.0
    }
}

/// The branch after attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedForward {
    /// Three matrices, two thirds of 4C wide, rounded up to a multiple of 256, as Porian et al. have it.
    Gated,
    /// Two matrices.
    Plain {
        /// F.
        width: u64,
    },
    /// Three matrices, each counted as what it is under every convention.
    SwiGlu {
        /// F.
        width: u64,
    },
}

/// The hidden width of OpenLM's SwiGLU, where a plain branch has `plain` columns: two thirds of it, rounded up to a multiple
/// of 256.
pub const fn openlm_width(plain: u64) -> u64 {
    (2 * plain / 3).div_ceil(256) * 256
}

/// A decoder's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// C: width.
    pub width: u64,
    /// L: layers.
    pub layers: u64,
    /// T: tokens a sequence.
    pub seq: u64,
    /// V: vocabulary.
    pub vocab: u64,
    /// H: attention heads. Only the softmax of [`Convention::ChinchillaExact`] counts them.
    pub heads: u64,
    /// Its other branch.
    pub feed_forward: FeedForward,
}

impl Shape {
    /// Width of the feed-forward.
    pub const fn d_ff(&self) -> u64 {
        match self.feed_forward {
            FeedForward::Gated => openlm_width(4 * self.width),
            FeedForward::Plain { width } | FeedForward::SwiGlu { width } => width,
        }
    }

    /// Columns of the feed-forward's matrices as [`Convention::ChinchillaExact`] takes them: twice 4C for Porian et al.'s
    /// gated one, as their code does.
    const fn exact_feed_forward(&self) -> u64 {
        match self.feed_forward {
            FeedForward::Gated => 8 * self.width,
            FeedForward::Plain { width } => 2 * width,
            FeedForward::SwiGlu { width } => 3 * width,
        }
    }

    /// Parameters of the layers' matrices: what Kaplan et al. call N.
    pub const fn body_params(&self) -> u64 {
        let matrices = match self.feed_forward {
            FeedForward::Gated | FeedForward::SwiGlu { .. } => 3,
            FeedForward::Plain { .. } => 2,
        };
        (4 * self.width + matrices * self.d_ff()) * self.width * self.layers
    }

    /// Parameters with the output head and without the input embedding.
    pub const fn all_params(&self) -> u64 {
        self.body_params() + self.vocab * self.width
    }

    fn body(&self) -> f64 {
        self.body_params() as f64
    }

    fn params(&self) -> f64 {
        self.all_params() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fits::published::porian2024;
    use crate::stats::assert_close;

    /// Sizes that Porian et al. print or store: width, layers, d_ff, N, N of Kaplan, N with attention over N.
    const GRID: [(u64, u64, u64, u64, u64, f64); 5] = [
        (96, 3, 256, 5_173_248, 331_776, 1.114),
        (128, 4, 512, 7_503_872, 1_048_576, 1.140),
        (640, 15, 1792, 108_462_080, 76_185_600, 1.181),
        (1024, 23, 2816, 347_078_656, 295_436_288, 1.139),
        (1504, 30, 4096, 901_726_208, 825_876_480, 1.102),
    ];

    #[test]
    fn sizes_are_those_of_the_paper() {
        for (width, layers, d_ff, all, body, ratio) in GRID {
            let shape = Shape { width, layers, seq: 2048, vocab: 50432, heads: 4, feed_forward: FeedForward::Gated };
            assert_eq!((shape.d_ff(), shape.all_params(), shape.body_params()), (d_ff, all, body));
            assert_close(Convention::Attention.size(&shape) / all as f64, ratio, 5e-4);
            assert_eq!(Convention::Standard.size(&shape), all as f64);
            assert_eq!(Convention::Kaplan.size(&shape), body as f64);
        }
        let shapes = porian2024().shapes();
        assert_eq!(shapes.len(), 16);
        assert!(GRID.iter().all(|row| shapes.iter().any(|s| (s.width, s.layers) == (row.0, row.1))));
    }

    /// The exact count by hand for the smallest round shape: T = 2, C = 4, L = 1, V = 8, H = 1.
    #[test]
    fn the_exact_count_by_hand() {
        let feed_forward = FeedForward::Plain { width: 16 };
        let shape = Shape { width: 4, layers: 1, seq: 2, vocab: 8, heads: 1, feed_forward };
        assert_eq!((shape.body_params(), shape.all_params()), (12 * 16, 12 * 16 + 8 * 4));
        let gated = Shape { feed_forward: FeedForward::Gated, ..shape };
        assert_eq!(Convention::ChinchillaExact.size(&gated), Convention::ChinchillaExact.size(&shape));
        // Forward, whole sequence: embedding 16; q, k, v 192; scores 32; softmax 12; sums 32; output 64;
        // feed-forward 512; head 128. The backward pass counts twice.
        let forward = 16.0 + 192.0 + 32.0 + 12.0 + 32.0 + 64.0 + 512.0 + 128.0;
        assert_close(Convention::ChinchillaExact.flops_per_token(&shape), 3.0 * forward / 2.0, 1e-15);
        // Three matrices of 10 columns: 2·2·4·30 in place of 512.
        let swiglu = Shape { feed_forward: FeedForward::SwiGlu { width: 10 }, ..shape };
        assert_eq!((swiglu.body_params(), swiglu.d_ff()), ((16 + 30) * 4, 10));
        let forward = forward - 512.0 + 480.0;
        assert_close(Convention::ChinchillaExact.flops_per_token(&swiglu), 3.0 * forward / 2.0, 1e-15);
    }

    #[test]
    fn a_swiglu_of_openlms_width_is_the_papers() {
        for (width, layers, d_ff, ..) in GRID {
            let gated = Shape { width, layers, seq: 2048, vocab: 50432, heads: 4, feed_forward: FeedForward::Gated };
            let own = Shape { feed_forward: FeedForward::SwiGlu { width: openlm_width(4 * width) }, ..gated };
            assert_eq!((own.d_ff(), own.body_params()), (d_ff, gated.body_params()));
        }
    }

    #[test]
    fn words_are_read_back() {
        for convention in Convention::ALL {
            assert_eq!(Convention::of(convention.name()), Some(convention));
        }
        assert_eq!(Convention::of("Standard"), None);
    }
}
