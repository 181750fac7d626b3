#!/usr/bin/env python3
"""Times a cohort's training step in JAX on a GPU: jax.vmap over the runs under jit, AdamW written out, buffers
donated. --math says how products are computed."""

import common

ARGS = common.gpu_arguments(__doc__, ["jit"])

from functools import partial  # noqa: E402

try:
    import jax
    import jax.numpy as jnp
    import jax_model
    import numpy as np
except ImportError as why:
    common.absent(f"jax: {why}")
if ARGS.device == "cpu":
    jax.config.update("jax_platforms", "cpu")
elif jax.default_backend() != "gpu":
    common.absent("jax: sees no GPU")

jax.config.update("jax_default_matmul_precision", {"f32": "highest", "tf32": "tensorfloat32", "bf16": "bfloat16"}[ARGS.math])


@partial(jax.jit, donate_argnums=(0, 1, 2))
def train(params, first, second, step, inputs, targets):
    of_one = jax.value_and_grad(partial(jax_model.loss_of, ARGS))
    losses, grads = jax.vmap(of_one)(params, inputs, targets)
    return *jax_model.updated(params, first, second, step, grads), losses


def main():
    params, tokens = common.seeded_runs(ARGS)
    params = jax.tree.map(jnp.asarray, params)
    state = [params, jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params)]
    batches = [(jnp.asarray(pair[0], jnp.int32), jnp.asarray(pair[1], jnp.int32)) for pair in tokens]

    def step(index):
        inputs, targets = batches[index % len(batches)]
        *state[:], losses = train(*state, jnp.float32(index + 1), inputs, targets)
        return losses

    def wait(losses):
        # The parameters are the last that a step computes.
        jax.block_until_ready(state)
        return np.asarray(losses).tolist()

    common.measure_ahead(ARGS, "jax jit", {"jax": jax.__version__}, step, wait)


main()
