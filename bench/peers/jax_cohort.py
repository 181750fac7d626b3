#!/usr/bin/env python3
"""Times a cohort's training step in JAX on a GPU: jax.vmap over the runs under jit, AdamW written out, buffers
donated. --math says how products are computed."""

import common

ARGS = common.gpu_arguments(__doc__, ["jit"])

from functools import partial  # noqa: E402

try:
    import jax
    import jax_model
    import numpy as np
except ImportError as why:
    common.absent(f"jax: {why}")
if jax.default_backend() != "gpu":
    common.absent("jax: sees no GPU")

jax.config.update("jax_default_matmul_precision", {"f32": "highest", "tf32": "tensorfloat32", "bf16": "bfloat16"}[ARGS.math])


@partial(jax.jit, donate_argnums=(0, 1, 2))
def train(params, first, second, step, inputs, targets):
    of_one = jax.value_and_grad(partial(jax_model.loss_of, ARGS))
    losses, grads = jax.vmap(of_one)(params, inputs, targets)
    return *jax_model.updated(params, first, second, step, grads), losses


jax_model.measure(ARGS, "jax jit", np.random.default_rng(1), train, runs=(ARGS.cohort,))
