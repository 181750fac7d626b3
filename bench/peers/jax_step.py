#!/usr/bin/env python3
"""Times one training step in JAX on one thread: jit, AdamW written out, buffers donated."""

import common

ARGS = common.arguments(__doc__, ["jit"])
common.prepare(ARGS)

from functools import partial  # noqa: E402

import jax  # noqa: E402
import jax_model  # noqa: E402
import numpy as np  # noqa: E402


@partial(jax.jit, donate_argnums=(0, 1, 2))
def train(params, first, second, step, inputs, targets):
    loss, grads = jax.value_and_grad(partial(jax_model.loss_of, ARGS))(params, inputs, targets)
    return *jax_model.updated(params, first, second, step, grads), loss


jax_model.measure(ARGS, "jax jit", np.random.default_rng(1), train)
