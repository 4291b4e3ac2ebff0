"""Causal attention within segments for training, with a backward pass that keeps little and skips the future.

Queries are taken in blocks, each against the keys up to its end, so that the upper triangle costs nothing. Products are
taken in bfloat16 with f32 accumulation.
"""

import jax
import jax.numpy as jnp

BLOCK = 64


def _dot(a, b, a_axis, b_axis):
    return jax.lax.dot_general(a, b, (((a_axis,), (b_axis,)), ((0,), (0,))), preferred_element_type=jnp.float32)


def _blocks(length):
    return [(start, min(start + BLOCK, length)) for start in range(0, length, BLOCK)]


@jax.custom_vjp
def attend(q, k, v, segments):
    """q (scaled), k and v are [batch, length, d]; segments is [batch, length]."""
    return _forward(q, k, v, segments)[0]


def _forward(q, k, v, segments):
    length = q.shape[1]
    q, k, v = (x.astype(jnp.bfloat16) for x in (q, k, v))
    outputs, weights = [], []
    for start, end in _blocks(length):
        scores = _dot(q[:, start:end], k[:, :end], 2, 2)
        same = segments[:, start:end, None] == segments[:, None, :end]
        past = (jnp.arange(start, end)[:, None] >= jnp.arange(end))[None]
        scores = jnp.where(same & past, scores, -1e30)
        p = jnp.exp(scores - jnp.max(scores, -1, keepdims=True))
        p = (p / jnp.sum(p, -1, keepdims=True)).astype(jnp.bfloat16)
        weights.append(p)
        outputs.append(_dot(p, v[:, :end], 2, 1))
    output = jnp.concatenate(outputs, 1)
    return output, (q, k, v, tuple(weights), output)


def _backward(saved, gradient):
    q, k, v, weights, output = saved
    batch, length, d = q.shape
    delta = jnp.sum(gradient * output, -1, keepdims=True)
    rounded, q32 = gradient.astype(jnp.bfloat16), q.astype(jnp.float32)
    dq, dk, dv = [], jnp.zeros((batch, length, d)), jnp.zeros((batch, length, d))
    for (start, end), p in zip(_blocks(length), weights):
        p32 = p.astype(jnp.float32)
        dv = dv.at[:, :end].add(_dot(p32, gradient[:, start:end], 1, 1))
        ds = p32 * (_dot(rounded[:, start:end], v[:, :end], 2, 2) - delta[:, start:end])
        dq.append(_dot(ds.astype(jnp.bfloat16), k[:, :end], 2, 1))
        dk = dk.at[:, :end].add(_dot(ds, q32[:, start:end], 1, 1))
    return jnp.concatenate(dq, 1), dk, dv, None


attend.defvjp(_forward, _backward)


def attention(config, q, k, v, segments, rows, length):
    """q [rows * length, heads, d], k and v with the kv heads; mixed values [rows * length, width]."""
    heads, d = config.heads, config.head_dim

    def arrange(x):
        count = x.shape[1]
        x = x.reshape(rows, length, count, d).transpose(0, 2, 1, 3)
        return jnp.repeat(x, heads // count, 1).reshape(rows * heads, length, d)

    mixed = attend(arrange(q * d ** -0.5), arrange(k), arrange(v), jnp.repeat(segments.reshape(rows, length), heads, 0))
    return mixed.reshape(rows, heads, length, d).transpose(0, 2, 1, 3).reshape(rows * length, config.width)
