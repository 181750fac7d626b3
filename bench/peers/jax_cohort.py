#!/usr/bin/env python3
"""Times a cohort's training step in JAX on a GPU: jax.vmap over the runs under jit, AdamW written out, buffers donated, f32."""

import common

ARGS = common.gpu_arguments(__doc__, ["jit"])

from functools import partial  # noqa: E402

try:
    import jax
    import jax.numpy as jnp
    import numpy as np
except ImportError as why:
    common.absent(f"jax: {why}")
if jax.default_backend() != "gpu":
    common.absent("jax: sees no GPU")

jax.config.update("jax_default_matmul_precision", "highest")


class Ops:
    @staticmethod
    def layer_norm(x, gamma, beta):
        mean = x.mean(-1, keepdims=True)
        variance = jnp.square(x - mean).mean(-1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + common.LN_EPS) * gamma + beta

    @staticmethod
    def gelu(x):
        return jax.nn.gelu(x, approximate=True)

    @staticmethod
    def attention(qkv):
        """[B,T,3,H,D] to [B,T,H,D]."""
        return jax.nn.dot_product_attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], is_causal=True)


def loss_of(params, inputs, targets):
    scores = common.logits(ARGS, params, inputs, Ops)
    chosen = jnp.take_along_axis(scores, targets[..., None], -1)[..., 0]
    return (jax.nn.logsumexp(scores, -1) - chosen).mean()


@partial(jax.jit, donate_argnums=(0, 1, 2))
def train(params, first, second, step, inputs, targets):
    losses, grads = jax.vmap(jax.value_and_grad(loss_of))(params, inputs, targets)
    first = jax.tree.map(lambda m, g: common.BETA1 * m + (1 - common.BETA1) * g, first, grads)
    second = jax.tree.map(lambda v, g: common.BETA2 * v + (1 - common.BETA2) * g * g, second, grads)
    rate = common.LR / (1 - common.BETA1**step)
    correction = jnp.sqrt(1 - common.BETA2**step)

    def update(p, m, v):
        return p * (1 - common.LR * common.WEIGHT_DECAY) - rate * m / (jnp.sqrt(v) / correction + common.EPS)

    return jax.tree.map(update, params, first, second), first, second, losses


def main():
    rng = np.random.default_rng(1)

    def normal(shape, std):
        return jnp.asarray(std * rng.standard_normal((ARGS.cohort, *shape)), jnp.float32)

    def constant(shape, value):
        return jnp.full((ARGS.cohort, *shape), value, jnp.float32)

    params = common.initial(ARGS, normal, constant)
    state = [params, jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params)]
    batches = jnp.asarray(rng.integers(ARGS.vocab, size=(8, 2, ARGS.cohort, ARGS.batch, ARGS.seq)), jnp.int32)
    batches = [(pair[0], pair[1]) for pair in batches]

    def step(index):
        inputs, targets = batches[index % len(batches)]
        *state[:], losses = train(*state, jnp.float32(index + 1), inputs, targets)
        jax.block_until_ready(state)
        return float(losses[0])

    common.measure(ARGS, "jax jit", {"jax": jax.__version__}, step)


main()
