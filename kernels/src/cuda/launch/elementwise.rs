//! A thread four elements: pointwise ops, dropout, embeddings, optimizer steps.

use super::{Cohort, word};
use crate::cuda::arguments::{Dropout, Embedding, EmbeddingBackward, Pointwise, Scalar, Scalars, States, Update};
use crate::cuda::update::kernel_name;
use crate::cuda::{DeviceAddress, Launch, Operand};
use crate::ops::Activation;
use crate::update::UpdateExpr;

impl Cohort {
    pub(super) fn pointwise(&self, kernel: &str, count: usize, [a, b, out]: [Operand; 3], factor: f32) -> Launch {
        self.elements(kernel, count, Pointwise { a, b, out, active: self.active, count: word(count), factor })
    }
}

/// out = a + b over `count` elements.
pub fn add(cohort: &Cohort, count: usize, a: Operand, b: Operand, out: Operand) -> Launch {
    cohort.pointwise("pointwise_add", count, [a, b, out], 0.0)
}
/// out = a · b.
pub fn mul(cohort: &Cohort, count: usize, a: Operand, b: Operand, out: Operand) -> Launch {
    cohort.pointwise("pointwise_mul", count, [a, b, out], 0.0)
}
/// out = s · a.
pub fn scale(cohort: &Cohort, count: usize, s: f32, a: Operand, out: Operand) -> Launch {
    cohort.pointwise("pointwise_scale", count, [a, Operand::ABSENT, out], s)
}
/// out = x.
pub fn fill(cohort: &Cohort, count: usize, x: f32, out: Operand) -> Launch {
    cohort.pointwise("pointwise_fill", count, [Operand::ABSENT, Operand::ABSENT, out], x)
}
/// state ← state + rate·(x − state).
pub fn ema(cohort: &Cohort, count: usize, rate: f32, x: Operand, state: Operand) -> Launch {
    cohort.pointwise("pointwise_ema", count, [x, Operand::ABSENT, state], rate)
}

/// y = f(x).
pub fn activation(cohort: &Cohort, count: usize, f: Activation, x: Operand, y: Operand) -> Launch {
    let kernel = match f {
        Activation::Relu => "relu",
        Activation::GeluTanh => "gelu_tanh_forward",
        Activation::GeluErf => "gelu_erf_forward",
        Activation::Tanh => "tanh_forward",
        Activation::Silu => "silu_forward",
        Activation::Abs => "abs_forward",
    };
    cohort.pointwise(kernel, count, [x, Operand::ABSENT, y], 0.0)
}
/// dx = f'(x)·dy.
pub fn activation_backward(cohort: &Cohort, count: usize, f: Activation, [x, dy, dx]: [Operand; 3]) -> Launch {
    let kernel = match f {
        Activation::Relu => "relu_backward",
        Activation::GeluTanh => "gelu_tanh_backward",
        Activation::GeluErf => "gelu_erf_backward",
        Activation::Tanh => "tanh_backward",
        Activation::Silu => "silu_backward",
        Activation::Abs => "abs_backward",
    };
    cohort.pointwise(kernel, count, [x, dy, dx], 0.0)
}

/// Where per-step randomness lies in device memory.
#[derive(Clone, Copy, Debug)]
pub struct Randomness {
    /// Seeds, 64 bits a run.
    pub seeds: DeviceAddress,
    /// The step's counter, 32 bits.
    pub step: DeviceAddress,
}

/// The least u of 24 bits with u·2⁻²⁴ ≥ `rate`. The product is exact.
fn threshold(rate: f64) -> u32 {
    (rate * 16_777_216.0).ceil() as u32
}

/// x → y and mask, each element kept with probability 1 − `rate`.
pub fn dropout(
    cohort: &Cohort,
    count: usize,
    rate: f64,
    stream: u32,
    random: Randomness,
    [x, y, mask]: [Operand; 3],
) -> Launch {
    let Randomness { seeds, step } = random;
    let threshold = threshold(rate);
    let kept = (1.0 / (1.0 - rate)) as f32;
    let (active, len) = (cohort.active, word(count));
    let args = Dropout { x, y, mask, seeds, step, active, count: len, threshold, stream, kept };
    cohort.elements("dropout", count, args)
}

/// x\[row\] = table\[token\] (+ positions\[row mod `sequence`\]) for rows of `width`.
pub fn embedding(
    cohort: &Cohort,
    [rows, width, sequence]: [usize; 3],
    [tokens, table, positions, x]: [Operand; 4],
) -> Launch {
    let (rows_word, width_word, sequence) = (word(rows), word(width), word(sequence.max(1)));
    let active = cohort.active;
    let args =
        Embedding { tokens, table, positions, x, active, rows: rows_word, width: width_word, sequence, vocab: 0 };
    cohort.elements("embedding", word(rows * width) as usize, args)
}

/// dtable\[V,C\] = the sums of dx\[N,C\] over the rows of each token, in their order.
pub fn embedding_backward(
    cohort: &Cohort,
    [rows, width, vocab]: [usize; 3],
    [tokens, dx, dtable]: [Operand; 3],
) -> Launch {
    const COLUMNS: usize = 128;
    let active = cohort.active;
    let sizes = (word(rows), word(width), word(vocab));
    let args =
        EmbeddingBackward { tokens, dx, dtable, active, rows: sizes.0, width: sizes.1, vocab: sizes.2, unused: 0 };
    let mut launch = cohort.rows("embedding_backward", vocab, args);
    launch.grid[1] = word(width.div_ceil(COLUMNS));
    launch
}

/// Operands of [`update`].
#[derive(Clone, Copy, Debug)]
pub struct UpdateOperands<'a> {
    /// Changed in place.
    pub param: Operand,
    /// The gradient.
    pub grad: Operand,
    /// Its norm; read where it is clipped.
    pub norm: Operand,
    /// Changed in place, at most 8.
    pub states: &'a [Operand],
    /// In the expression's order, at most 32.
    pub scalars: &'a [Scalar],
}

/// `expr` over `count` elements, the gradient clipped to `clip` by its norm.
///
/// # Panics
/// Where there are more states or scalars than a kernel takes.
pub fn update(cohort: &Cohort, count: usize, expr: &UpdateExpr, clip: Option<f32>, o: UpdateOperands<'_>) -> Launch {
    let (mut states, mut scalars) = ([Operand::ABSENT; 8], [Scalar::number(0.0); 32]);
    states[..o.states.len()].copy_from_slice(o.states);
    scalars[..o.scalars.len()].copy_from_slice(o.scalars);
    let args = Update {
        param: o.param,
        grad: o.grad,
        norm: o.norm,
        states: States(states),
        scalars: Scalars(scalars),
        active: cohort.active,
        count: word(count),
        clip: clip.unwrap_or(0.0),
        clips: u32::from(clip.is_some()),
        unused: 0,
    };
    cohort.elements(&kernel_name(expr), count, args)
}

#[cfg(test)]
mod tests {
    use super::threshold;

    #[test]
    fn the_threshold_decides_as_the_quotient() {
        for rate in [0.0, 1e-30, 0.1, 0.25, 1.0 / 3.0, 0.5, 0.9, 1.0 - 1e-16] {
            let at = i64::from(threshold(rate));
            for u in (at - 2).max(0)..=(at + 2).min((1 << 24) - 1) {
                let uniform = u as f32 * (1.0 / 16_777_216.0);
                assert_eq!(u >= at, f64::from(uniform) >= rate, "{u} at {rate}");
            }
        }
    }
}
