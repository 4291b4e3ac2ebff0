"""Muon for the matrices (orthogonalised momentum), AdamW for embeddings and gains."""

import jax
import jax.numpy as jnp

from model import MATRICES

MOMENTUM = 0.95
ADAM_B1, ADAM_B2 = 0.9, 0.98
WEIGHT_DECAY = 0.1
# Root mean square of an update of the matrices, relative to the learning rate.
MATRIX_RMS = 0.25


def init(params):
    zeros = {k: jnp.zeros_like(v) for k, v in params.items()}
    second = {k: jnp.zeros_like(v) for k, v in params.items() if k not in MATRICES}
    return {"first": zeros, "second": second, "step": jnp.zeros((), jnp.int32)}


def orthogonalise(g):
    """Five Newton-Schulz iterations on [layers, m, n]."""
    transposed = g.shape[1] > g.shape[2]
    x = jnp.swapaxes(g, 1, 2) if transposed else g
    x = x / (jnp.sqrt(jnp.sum(x * x, axis=(1, 2), keepdims=True)) + 1e-7)
    x = x.astype(jnp.bfloat16)
    mm = lambda a, b: jax.lax.dot_general(a, b, (((2,), (1,)), ((0,), (0,))), preferred_element_type=jnp.float32).astype(jnp.bfloat16)
    for _ in range(5):
        gram = mm(x, jnp.swapaxes(x, 1, 2))
        x = 3.4445 * x + mm(-4.7750 * gram + 2.0315 * mm(gram, gram), x)
        x = x.astype(jnp.bfloat16)
    x = x.astype(jnp.float32)
    return jnp.swapaxes(x, 1, 2) if transposed else x


def update(config, params, grads, state, rate):
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in grads.values()))
    clip = jnp.minimum(1.0, 1.0 / (norm + 1e-9))
    step = state["step"] + 1
    new_params, first, second = {}, {}, {}
    for key, p in params.items():
        g = grads[key] * clip
        if key in MATRICES:
            m = MOMENTUM * state["first"][key] + g
            first[key] = m
            direction, start = [], 0
            for size in config.splits[key]:
                part = (g + MOMENTUM * m)[:, :, start:start + size]
                start += size
                o = orthogonalise(part)
                direction.append(o * (MATRIX_RMS * max(o.shape[1], o.shape[2]) ** 0.5))
            new_params[key] = p - rate * (jnp.concatenate(direction, 2) + WEIGHT_DECAY * p)
        else:
            m = ADAM_B1 * state["first"][key] + (1 - ADAM_B1) * g
            v = ADAM_B2 * state["second"][key] + (1 - ADAM_B2) * g * g
            first[key], second[key] = m, v
            t = step.astype(jnp.float32)
            u = (m / (1 - ADAM_B1 ** t)) / (jnp.sqrt(v / (1 - ADAM_B2 ** t)) + 1e-8)
            new_params[key] = p - rate * u
    return new_params, {"first": first, "second": second, "step": step}, norm
