//! Inputs of the comparisons with the reference.

/// Lengths around vectors, blocks of 32 and their tails.
pub(crate) const SIZES: [usize; 18] = [1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 97, 128, 257];

/// A small generator of test inputs: xorshift64*.
pub(crate) struct Inputs(u64);

impl Inputs {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
    /// Uniform in [−3, 3).
    pub(crate) fn ordinary(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| (self.next() % (1 << 24)) as f32 * (6.0 / (1 << 24) as f32) - 3.0).collect()
    }
    /// Any bit pattern.
    pub(crate) fn any(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| f32::from_bits(self.next() as u32)).collect()
    }
    /// Ordinary numbers, with about one in `every` from the special ones.
    pub(crate) fn special(&mut self, n: usize, every: u64) -> Vec<f32> {
        const SPECIAL: [f32; 14] = [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            0.0,
            -0.0,
            1e-45,
            -1e-40,
            f32::MIN_POSITIVE,
            f32::MAX,
            f32::MIN,
            1e-30,
            -1e-30,
            88.9,
            -104.5,
        ];
        let mut x = self.ordinary(n);
        for v in &mut x {
            if self.next().is_multiple_of(every) {
                *v = SPECIAL[self.next() as usize % SPECIAL.len()];
            }
        }
        x
    }
    /// The kinds of data that every op is tried on.
    pub(crate) fn of_kind(&mut self, kind: Kind, n: usize) -> Vec<f32> {
        match kind {
            Kind::Ordinary => self.ordinary(n),
            Kind::Sparse => self.special(n, 97),
            Kind::Special => self.special(n, 3),
            Kind::Zeros => (0..n).map(|_| if self.next().is_multiple_of(2) { 0.0 } else { -0.0 }).collect(),
            Kind::Tiny => self.ordinary(n).into_iter().map(|x| x * 1e-38).collect(),
            Kind::Any => self.any(n),
        }
    }
    pub(crate) fn tokens(&mut self, n: usize, vocab: usize) -> Vec<u32> {
        (0..n).map(|_| (self.next() % vocab as u64) as u32).collect()
    }
}

/// Kinds of data.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Ordinary,
    /// A few special numbers: NaN, infinities, zeros, denormals, the edges of exp.
    Sparse,
    /// Many of them.
    Special,
    /// Zeros of both signs.
    Zeros,
    /// Around the smallest normal number.
    Tiny,
    /// Any bits.
    Any,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [Self::Ordinary, Self::Sparse, Self::Special, Self::Zeros, Self::Tiny, Self::Any];
}

/// Calls `f` for every size and kind of data.
pub(crate) fn for_sizes_and_kinds(mut f: impl FnMut(usize, Kind, &mut Inputs)) {
    for (i, size) in SIZES.into_iter().enumerate() {
        for (k, kind) in Kind::ALL.into_iter().enumerate() {
            f(size, kind, &mut Inputs::new((i * 10 + k + 1) as u64));
        }
    }
}
