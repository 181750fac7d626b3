//! Attention and its gradient.

use preheat_kernels::ops::Attention;

use crate::support::{Inputs, Kind, check};

#[test]
fn attention_and_its_gradient() {
    let shapes = [
        (1, 1, 1, 1),
        (2, 3, 2, 5),
        (1, 16, 3, 7),
        (1, 31, 1, 8),
        (1, 33, 2, 16),
        (2, 48, 1, 33),
        (2, 64, 2, 8),
        (1, 65, 1, 17),
        (1, 97, 1, 4),
        (1, 112, 1, 5),
        (1, 128, 2, 9),
        (1, 144, 1, 3),
    ];
    for (i, (batch, seq, heads, head_dim)) in shapes.into_iter().enumerate() {
        for causal in [false, true] {
            for (k, kind) in Kind::ALL.into_iter().enumerate() {
                let shape = Attention { batch, seq, heads, head_dim, causal };
                check_attention(&shape, kind, &mut Inputs::new((100 * i + k) as u64));
            }
        }
    }
}

fn check_attention(shape: &Attention, kind: Kind, inputs: &mut Inputs) {
    let n = shape.batch * shape.seq * shape.width();
    let (qkv, dout) = (inputs.of_kind(kind, 3 * n), inputs.of_kind(kind, n));
    check(&format!("{shape:?} {kind:?}"), |ops| {
        // Masked probabilities are neither written nor read: they stay NaN.
        let (mut out, mut probs) = (vec![9.0; n], vec![f32::NAN; shape.probs_len()]);
        ops.attention(shape, &qkv, &mut out, &mut probs);
        let (mut dqkv, mut scratch) = (vec![9.0; 3 * n], vec![f32::NAN; shape.seq * shape.seq]);
        ops.attention_backward(shape, &qkv, &probs, &dout, &mut dqkv, &mut scratch);
        vec![out, probs, dqkv]
    });
}
