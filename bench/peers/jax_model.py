"""The model and AdamW in JAX, for one run; what times a cohort maps them over the runs."""

import common
import jax
import jax.numpy as jnp


class Ops:
    @staticmethod
    def linear(x, w, b):
        return x @ w if b is None else x @ w + b

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


def loss_of(args, params, inputs, targets):
    scores = common.logits(args, params, inputs, Ops)
    chosen = jnp.take_along_axis(scores, targets[..., None], -1)[..., 0]
    return (jax.nn.logsumexp(scores, -1) - chosen).mean()


def updated(params, first, second, step, grads):
    """Parameters and moments after AdamW's step, elementwise, so for any number of runs."""
    first = jax.tree.map(lambda m, g: common.BETA1 * m + (1 - common.BETA1) * g, first, grads)
    second = jax.tree.map(lambda v, g: common.BETA2 * v + (1 - common.BETA2) * g * g, second, grads)
    rate = common.LR / (1 - common.BETA1**step)
    correction = jnp.sqrt(1 - common.BETA2**step)

    def update(p, m, v):
        return p * (1 - common.LR * common.WEIGHT_DECAY) - rate * m / (jnp.sqrt(v) / correction + common.EPS)

    return jax.tree.map(update, params, first, second), first, second


def measure(args, peer, rng, train):
    """Times `train` on random tokens, step by step."""

    def normal(shape, std):
        return jnp.asarray(std * rng.standard_normal(shape), jnp.float32)

    def constant(shape, value):
        return jnp.full(shape, value, jnp.float32)

    params = common.initial(args, normal, constant)
    state = [params, jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params)]
    batches = jnp.asarray(rng.integers(args.vocab, size=(8, 2, args.batch, args.seq)), jnp.int32)
    batches = [(pair[0], pair[1]) for pair in batches]

    def step(index):
        inputs, targets = batches[index % len(batches)]
        *state[:], loss = train(*state, jnp.float32(index + 1), inputs, targets)
        jax.block_until_ready(state)
        return float(loss.ravel()[0])

    common.measure(args, peer, {"jax": jax.__version__}, step)
