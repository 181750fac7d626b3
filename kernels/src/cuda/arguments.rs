//! The structure that each kernel takes, in Rust and, from the same lines, in C++.

use super::DeviceAddress;

/// An operand of a cohort, in elements of four bytes: run r's begin at `at` + r·`run_stride`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operand {
    /// The first run's first element; [`DeviceAddress::NONE`] where the operand is absent.
    pub at: DeviceAddress,
    /// Elements from one run to the next.
    pub run_stride: u64,
}

impl Operand {
    /// No operand.
    pub const ABSENT: Self = Self { at: DeviceAddress::NONE, run_stride: 0 };
    /// The same, `elements` further on.
    pub const fn offset(self, elements: usize) -> Self {
        Self { at: self.at.offset(4 * elements as u64), ..self }
    }
}

/// An operand of outer × inner matrices (sequences and heads) a run.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Batched {
    pub(super) operand: Operand,
    pub(super) outer_stride: u64,
    pub(super) inner_stride: u64,
}

impl From<Operand> for Batched {
    fn from(operand: Operand) -> Self {
        Self { operand, outer_stride: 0, inner_stride: 0 }
    }
}

/// States of an update, the absent ones last.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct States(pub(super) [Operand; 8]);

/// A scalar of an update: a run's own, or one number for all.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scalar {
    operand: Operand,
    number: f32,
    unused: u32,
}

impl Scalar {
    /// Each run's is the first element of `operand`.
    pub const fn at(operand: Operand) -> Self {
        Self { operand, number: 0.0, unused: 0 }
    }
    /// The same for all runs.
    pub const fn number(number: f32) -> Self {
        Self { operand: Operand::ABSENT, number, unused: 0 }
    }
}

/// Scalars of an update, in its order.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Scalars(pub(super) [Scalar; 32]);

/// A type that has a counterpart of the same layout in C++.
trait InC {
    /// The counterpart's name.
    const NAME: &'static str;
}

impl InC for Operand {
    const NAME: &'static str = "Operand";
}
impl InC for Batched {
    const NAME: &'static str = "Batched";
}
impl InC for States {
    const NAME: &'static str = "States";
}
impl InC for Scalars {
    const NAME: &'static str = "Scalars";
}
impl InC for DeviceAddress {
    const NAME: &'static str = "const u32*";
}
impl InC for u32 {
    const NAME: &'static str = "u32";
}
impl InC for u64 {
    const NAME: &'static str = "u64";
}
impl InC for f32 {
    const NAME: &'static str = "float";
}

/// A kernel's structure as words. Implemented by [`structures!`] alone.
pub(super) trait Arguments: Copy {
    /// Its bytes.
    fn words(&self) -> Box<[u64]> {
        const { assert!(size_of::<Self>().is_multiple_of(8) && align_of::<Self>() == 8) };
        let mut words = vec![0_u64; size_of::<Self>() / 8].into_boxed_slice();
        // SAFETY: the words are as long as the structure, which has no padding (asserted where it is declared).
        unsafe { words.as_mut_ptr().cast::<Self>().write(*self) };
        words
    }
}

macro_rules! structures {
    ($($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? })*) => {
        $(
            $(#[$meta])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug)]
            pub(super) struct $name {
                $(pub(super) $field: $type,)*
            }
            // No padding: every byte is written, and both compilers lay the fields out alike.
            const _: () = assert!(size_of::<$name>() == 0 $(+ size_of::<$type>())*);
            impl Arguments for $name {}
        )*
        /// The structures in C++.
        pub(super) fn declarations() -> String {
            let mut text = String::new();
            $(
                text.push_str(concat!("struct ", stringify!($name), " {\n"));
                $(text.push_str(&format!("    {} {};\n", <$type as InC>::NAME, stringify!($field)));)*
                text.push_str("};\n");
            )*
            text
        }
    };
}

structures! {
    /// Pointwise ops: out from a, b and a number.
    Pointwise { a: Operand, b: Operand, out: Operand, active: DeviceAddress, count: u32, factor: f32 }
    /// x → y, mask. `seeds` has two words a run, `step` one for all.
    Dropout {
        x: Operand, y: Operand, mask: Operand, seeds: DeviceAddress, step: DeviceAddress, active: DeviceAddress,
        count: u32, threshold: u32, stream: u32, kept: f32,
    }
    /// tokens, table, positions → x.
    Embedding {
        tokens: Operand, table: Operand, positions: Operand, x: Operand, active: DeviceAddress,
        rows: u32, width: u32, sequence: u32, vocab: u32,
    }
    /// tokens, dx → dtable.
    EmbeddingBackward {
        tokens: Operand, dx: Operand, dtable: Operand, active: DeviceAddress,
        rows: u32, width: u32, vocab: u32, unused: u32,
    }
    /// Layer normalisation.
    Norm {
        x: Operand, gamma: Operand, beta: Operand, y: Operand, mean: Operand, rstd: Operand, active: DeviceAddress,
        rows: u32, width: u32, eps: f32, unused: u32,
    }
    /// Its gradient with respect to x.
    NormDx {
        x: Operand, gamma: Operand, mean: Operand, rstd: Operand, dy: Operand, add: Operand, dx: Operand,
        active: DeviceAddress, rows: u32, width: u32,
    }
    /// Its gradients with respect to γ and β.
    NormDparams {
        x: Operand, mean: Operand, rstd: Operand, dy: Operand, dgamma: Operand, dbeta: Operand,
        active: DeviceAddress, rows: u32, width: u32,
    }
    /// Sums of columns or rows.
    Columns { x: Operand, out: Operand, active: DeviceAddress, rows: u32, width: u32 }
    /// Sums of a whole buffer.
    Sum { x: Operand, out: Operand, active: DeviceAddress, count: u32, divisor: f32, root: u32, unused: u32 }
    /// A step's two numbers of each run, for the host to read later.
    Keep { first: Operand, second: Operand, ring: DeviceAddress, row: DeviceAddress, active: DeviceAddress }
    /// Attention's rows of `width` scores, and the probabilities on the way back.
    Softmax {
        scores: Operand, probs: Operand, active: DeviceAddress, rows: u32, width: u32, causal: u32, scale: f32,
    }
    /// Cross-entropy.
    Entropy {
        logits: Operand, targets: Operand, losses: Operand, lse: Operand, active: DeviceAddress,
        rows: u32, vocab: u32, on: f32, off: f32, smooth: u32, unused: u32,
    }
    /// Its gradient, times dloss/`divisor`.
    EntropyBackward {
        logits: Operand, targets: Operand, lse: Operand, dloss: Operand, dlogits: Operand, active: DeviceAddress,
        rows: u32, vocab: u32, on: f32, off: f32, divisor: u32, unused: u32,
    }
    /// Matrix products.
    Product {
        a: Batched, b: Batched, c: Batched, residual: Operand, bias: Operand, active: DeviceAddress,
        m: u32, n: u32, k: u32, lda: u32, ldb: u32, ldc: u32, k_range: u32, up_to_row: u32, start: u32, inner: u32,
    }
    /// Pointwise ops with numbers of the columns.
    ByColumn {
        x: Operand, shift: Operand, scale: Operand, offset: Operand, y: Operand, active: DeviceAddress,
        count: u32, width: u32,
    }
    /// Mean and variance of columns.
    Moments { x: Operand, mean: Operand, var: Operand, active: DeviceAddress, rows: u32, width: u32 }
    /// Products summed by columns.
    ColumnDot {
        x: Operand, shift: Operand, dy: Operand, out: Operand, active: DeviceAddress, rows: u32, width: u32,
    }
    /// Windows of a convolution: `down` × `across` of them an image.
    Windows {
        from: Operand, to: Operand, active: DeviceAddress, count: u32, height: u32, width: u32, channels: u32,
        kernel: u32, stride: u32, padding: u32, down: u32, across: u32, unused: u32,
    }
    /// The box around an input.
    InputBox {
        x: Operand, eps: Operand, c: Operand, r: Operand, active: DeviceAddress,
        count: u32, low: f32, high: f32, unused: u32,
    }
    /// Centres and radii, those of the outputs' gradients on the way back.
    Intervals {
        c: Operand, r: Operand, dc: Operand, dr: Operand, c_out: Operand, r_out: Operand, active: DeviceAddress,
        count: u32, unused: u32,
    }
    /// Row sums of the penalty; `sums` are those of all rows that are known.
    PenaltyRows {
        c: Operand, r: Operand, sums: Operand, out: Operand, active: DeviceAddress, rows: u32, width: u32,
    }
    /// The penalty of `count` intervals from its sums, and its slopes.
    Penalty {
        sums: Operand, first: Operand, dpenalty: Operand, out: Operand, active: DeviceAddress,
        count: u32, tau: f32, tightness: u32, balance: u32,
    }
    /// The penalty's gradient.
    PenaltyBackward {
        c: Operand, r: Operand, slopes: Operand, dc: Operand, dr: Operand, active: DeviceAddress,
        count: u32, unused: u32,
    }
    /// Distances of a row's numbers from each other.
    Pairs { w: Operand, distances: Operand, out: Operand, active: DeviceAddress, count: u32, classes: u32 }
    /// Margins. On the way back `m` is read, and `z` and `distances` are written.
    Margins {
        z: Operand, distances: Operand, targets: Operand, m: Operand, active: DeviceAddress, rows: u32, classes: u32,
    }
    /// Wrong rows.
    Errors { logits: Operand, targets: Operand, wrong: Operand, active: DeviceAddress, rows: u32, classes: u32 }
    /// Differences of classes from targets.
    Contrasts { targets: Operand, out: Operand, active: DeviceAddress, count: u32, classes: u32 }
    /// Coefficients through ReLU; `group` rows share intervals.
    LinearRelu {
        a: Operand, c: Operand, r: Operand, a_out: Operand, b: Operand, active: DeviceAddress,
        rows: u32, group: u32, width: u32, unused: u32,
    }
    /// Their gradients, and those of `count` intervals.
    LinearReluBackward {
        a: Operand, c: Operand, r: Operand, da_out: Operand, db: Operand, da: Operand, dc: Operand, dr: Operand,
        active: DeviceAddress, count: u32, group: u32, width: u32, unused: u32,
    }
    /// Products of rows with the row that their group has; with `size` of |a|.
    GroupDot {
        a: Operand, x: Operand, out: Operand, active: DeviceAddress, rows: u32, group: u32, width: u32, size: u32,
    }
    /// Their gradients; `count` is that of x.
    GroupDotBackward {
        a: Operand, x: Operand, dout: Operand, da: Operand, dx: Operand, active: DeviceAddress,
        count: u32, group: u32, width: u32, size: u32,
    }
    /// Update expressions. The norm is read where the gradient is clipped.
    Update {
        param: Operand, grad: Operand, norm: Operand, states: States, scalars: Scalars, active: DeviceAddress,
        count: u32, clip: f32, clips: u32, unused: u32,
    }
}
