"""The BitNet b1.58 decoder in JAX: parameters, quantized linear layers, forward pass.

The arithmetic of the forward pass is the one of inference: ternary weights with one absmean
scale per tensor rounded to f16, activations quantized per token to int8. Integers up to 256 are
exact in bfloat16, so the integer products are done in bfloat16 with f32 accumulation and are exact.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from attention import attention
from tokens import VOCABULARY


@dataclass(frozen=True)
class Config:
    vocabulary: int = VOCABULARY
    context: int = 2048
    width: int = 256
    layers: int = 5
    feed_forward: int = 512
    heads: int = 4
    kv_heads: int = 2
    eps: float = 1e-5
    rope_base: float = 10000.0

    @property
    def head_dim(self):
        return self.width // self.heads

    @property
    def splits(self):
        """Column groups of each stored matrix; each group is a tensor with its own scale."""
        kv = self.kv_heads * self.head_dim
        return {"qkv": (self.width, kv, kv), "o": (self.width,),
                "gate_up": (self.feed_forward, self.feed_forward), "down": (self.width,)}


def init(config: Config, seed: int):
    """Random parameters; matrices are stored [layers, in, out]."""
    rng = np.random.default_rng(seed)
    n, w, f = config.layers, config.width, config.feed_forward
    normal = lambda *shape, std: jnp.asarray(rng.normal(0, std, shape), jnp.float32)
    ones = lambda *shape: jnp.ones(shape, jnp.float32)
    columns = {k: sum(v) for k, v in config.splits.items()}
    return {
        "embd": normal(config.vocabulary, w, std=0.25),
        "qkv": normal(n, w, columns["qkv"], std=0.03),
        "o": normal(n, w, w, std=0.03),
        "gate_up": normal(n, w, columns["gate_up"], std=0.03),
        "down": normal(n, f, w, std=0.03),
        "attn_norm": ones(n, w), "attn_sub_norm": ones(n, w) * 0.5,
        "ffn_norm": ones(n, w), "ffn_sub_norm": ones(n, f) * 0.5,
        "output_norm": ones(w) * 0.1,
    }


def quantize(weight, splits):
    """Ternary values (as f32) and the per-column scale of one [in, out] matrix."""
    values, scales, start = [], [], 0
    for size in splits:
        part = weight[:, start:start + size]
        scale = jnp.maximum(jnp.mean(jnp.abs(part)), 1e-4).astype(jnp.float16).astype(jnp.float32)
        values.append(jnp.clip(jnp.round(part / scale), -1, 1))
        scales.append(jnp.full((size,), scale))
        start += size
    return jnp.concatenate(values, 1), jnp.concatenate(scales)


def quantize_activations(x):
    scale = 127.0 / jnp.maximum(jnp.max(jnp.abs(x), axis=-1, keepdims=True), 1e-5)
    return jnp.clip(jnp.round(x * scale), -127, 127), scale


def dot(a, b, dims):
    return jax.lax.dot_general(a, b, (dims, ((), ())), preferred_element_type=jnp.float32)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def bit_linear(x, weight, splits):
    return _bit_linear_forward(x, weight, splits)[0]


def _bit_linear_forward(x, weight, splits):
    ternary, column_scale = quantize(weight, splits)
    integers, scale = quantize_activations(x)
    a, b = integers.astype(jnp.bfloat16), ternary.astype(jnp.bfloat16)
    y = dot(a, b, ((1,), (0,))) * column_scale / scale
    return y, (integers / scale, b, column_scale)


def _bit_linear_backward(splits, saved, dy):
    """Straight through both roundings."""
    x, ternary, column_scale = saved
    dx = dot((dy * column_scale).astype(jnp.bfloat16), ternary, ((1,), (1,)))
    return dx, dot(x, dy, ((0,), (0,)))


bit_linear.defvjp(_bit_linear_forward, _bit_linear_backward)


def rms_norm(x, gain, eps):
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + eps) * gain


def rope_tables(config, positions):
    half = config.head_dim // 2
    frequency = config.rope_base ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle = positions[..., None].astype(jnp.float32) * frequency
    return jnp.cos(angle), jnp.sin(angle)


def rotate(x, cos, sin):
    """Pairs (i, i + d/2); x is [tokens, heads, d]."""
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    cos, sin = cos[:, None], sin[:, None]
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def forward(config: Config, params, tokens, segments, positions, shape):
    """Logits [tokens, vocabulary] of a flat batch.

    shape is a tuple of (rows, length): the flat batch is their concatenation, row by row, and a
    token attends to earlier tokens of its own segment in its own row.
    """
    heads, kv, d = config.heads, config.kv_heads, config.head_dim
    count = tokens.shape[0]
    embd = params["embd"]
    embd = embd + jax.lax.stop_gradient(embd.astype(jnp.float16).astype(jnp.float32) - embd)
    cos, sin = rope_tables(config, positions)
    splits = config.splits

    def layer(x, p):
        qkv = bit_linear(rms_norm(x, p["attn_norm"], config.eps), p["qkv"], splits["qkv"])
        q = rotate(qkv[:, :config.width].reshape(count, heads, d), cos, sin)
        k = rotate(qkv[:, config.width:config.width + kv * d].reshape(count, kv, d), cos, sin)
        v = qkv[:, config.width + kv * d:].reshape(count, kv, d)
        mixed, start = [], 0
        for rows, length in shape:
            part = slice(start, start + rows * length)
            mixed.append(attention(config, q[part], k[part], v[part], segments[part], rows, length))
            start += rows * length
        mixed = jnp.concatenate(mixed)
        x = x + bit_linear(rms_norm(mixed, p["attn_sub_norm"], config.eps), p["o"], splits["o"])
        gate_up = bit_linear(rms_norm(x, p["ffn_norm"], config.eps), p["gate_up"], splits["gate_up"])
        f = jnp.square(jax.nn.relu(gate_up[:, :config.feed_forward])) * gate_up[:, config.feed_forward:]
        return x + bit_linear(rms_norm(f, p["ffn_sub_norm"], config.eps), p["down"], splits["down"])

    x = embd[tokens]
    for i in range(config.layers):
        x = layer(x, {k: params[k][i] for k in LAYER_KEYS})
    x = rms_norm(x, params["output_norm"], config.eps)
    return dot(x, embd, ((1,), (1,)))


LAYER_KEYS = ("qkv", "o", "gate_up", "down", "attn_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm")
MATRICES = ("qkv", "o", "gate_up", "down")
