//! Ops as kernel launches: which kernel, how many threads, which arguments. One function an op; shapes as in [`crate::ops`].
//!
//! A launch covers all runs of a cohort. No choice made here moves a bit.

mod attention;
mod bounds;
mod columns;
mod elementwise;
mod images;
mod linear_bounds;
mod matmul;
mod rows;

pub use attention::{attention, attention_backward, attention_backward_by_products, attention_by_products};
pub use bounds::{
    errors, input_box, interval_penalty, interval_penalty_backward, interval_relu, interval_relu_backward, margins,
    margins_backward, pair_distances, pair_distances_backward, penalty_scratch,
};
pub use columns::{column_affine, column_dot, column_moments, column_scale, rstd, rstd_backward};
pub use elementwise::{
    Randomness, UpdateOperands, activation, activation_backward, add, dropout, ema, embedding, embedding_backward,
    fill, mul, scale, update,
};
pub use images::{patches, patches_backward, pixels};
pub use linear_bounds::{Groups, contrasts, group_dot, group_dot_backward, linear_relu, linear_relu_backward};
pub use matmul::{Begin, TileEdge, matmul, matmul_in_tiles};
pub use rows::{
    EntropyGradient, block_count, column_sum, cross_entropy, cross_entropy_backward, keep, layer_norm,
    layer_norm_dparams, layer_norm_dx, mean, row_sum, sum_squares,
};

use super::arguments::Arguments;
use super::{DeviceAddress, Launch};

/// Threads of a warp.
const WARP: usize = 32;

/// The runs that a launch works on.
#[derive(Clone, Copy, Debug)]
pub struct Cohort {
    /// Runs R.
    pub runs: usize,
    /// A `u32` a run; a run whose word is 0 idles, and its memory is left as it is.
    pub active: DeviceAddress,
}

/// A length as kernels take it.
fn word(len: usize) -> u32 {
    u32::try_from(len).expect("a run's tensor has fewer than 2^32 elements")
}

impl Cohort {
    fn launch(
        &self,
        kernel: &str,
        blocks: [usize; 2],
        threads: usize,
        shared_bytes: usize,
        args: impl Arguments,
    ) -> Launch {
        Launch {
            kernel: kernel.to_owned(),
            // A launch of no blocks is an error, and threads without work return.
            grid: [word(blocks[0].max(1)), word(blocks[1].max(1)), word(self.runs)],
            block: [word(threads), 1, 1],
            shared_bytes: word(shared_bytes),
            args: args.words(),
        }
    }
    /// A thread four elements.
    fn elements(&self, kernel: &str, count: usize, args: impl Arguments) -> Launch {
        const THREADS: usize = 256;
        self.launch(kernel, [count.div_ceil(4 * THREADS), 1], THREADS, 0, args)
    }
    /// A warp a row.
    fn rows(&self, kernel: &str, rows: usize, args: impl Arguments) -> Launch {
        const THREADS: usize = 128;
        self.launch(kernel, [rows.div_ceil(THREADS / WARP), 1], THREADS, 0, args)
    }
    /// One warp.
    fn warp(&self, kernel: &str, args: impl Arguments) -> Launch {
        self.launch(kernel, [1, 1], WARP, 0, args)
    }
}
