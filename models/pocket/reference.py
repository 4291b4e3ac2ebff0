"""The forward pass in numpy from a GGUF file, with a key-value cache: the reference of the inference engine."""

import gguf
import numpy as np


class Cache:
    def __init__(self, layers):
        self.keys = [None] * layers
        self.values = [None] * layers
        self.length = 0


class Reference:
    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        value = lambda key: reader.fields[key].contents()
        prefix = value("general.architecture")
        self.layers = value(f"{prefix}.block_count")
        self.heads = value(f"{prefix}.attention.head_count")
        self.kv_heads = value(f"{prefix}.attention.head_count_kv")
        self.width = value(f"{prefix}.embedding_length")
        self.eps = np.float32(value(f"{prefix}.attention.layer_norm_rms_epsilon"))
        self.base = value(f"{prefix}.rope.freq_base")
        self.head_dim = self.width // self.heads
        self.tensors = {}
        for tensor in reader.tensors:
            if tensor.tensor_type == gguf.GGMLQuantizationType.TQ2_0:
                data = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
                scale = np.float32(tensor.data.reshape(-1)[64:66].copy().view("<f2")[0])
                self.tensors[tensor.name] = (np.ascontiguousarray(np.round(data / scale).astype(np.float32).T), scale)
            else:
                self.tensors[tensor.name] = np.array(tensor.data, np.float32)

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps) * self.tensors[name]

    def linear(self, x, name):
        ternary, weight_scale = self.tensors[name]
        scale = np.float32(127) / np.maximum(np.abs(x).max(-1, keepdims=True), np.float32(1e-5))
        return np.clip(np.round(x * scale), -127, 127) @ ternary * weight_scale / scale

    def rotate(self, x, start):
        """Pairs (i, i + d/2) of [tokens, heads, d]."""
        half = self.head_dim // 2
        angle = (start + np.arange(x.shape[0]))[:, None] * self.base ** (-np.arange(half) / half)
        cos, sin = np.cos(angle)[:, None].astype(np.float32), np.sin(angle)[:, None].astype(np.float32)
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    def new_cache(self):
        return Cache(self.layers)

    def forward(self, cache, ids):
        """Appends the ids; logits of the last one."""
        x = self.tensors["token_embd.weight"][np.asarray(ids)]
        count, start, d = len(ids), cache.length, self.head_dim
        group = self.heads // self.kv_heads
        for i in range(self.layers):
            name = f"blk.{i}."
            h = self.norm(x, name + "attn_norm.weight")
            q = self.rotate(self.linear(h, name + "attn_q.weight").reshape(count, self.heads, d), start)
            k = self.rotate(self.linear(h, name + "attn_k.weight").reshape(count, self.kv_heads, d), start)
            v = self.linear(h, name + "attn_v.weight").reshape(count, self.kv_heads, d)
            if start:
                k, v = np.concatenate([cache.keys[i], k]), np.concatenate([cache.values[i], v])
            cache.keys[i], cache.values[i] = k, v
            mixed = np.empty((count, self.heads, d), np.float32)
            mask = np.arange(len(k))[None] > (start + np.arange(count))[:, None]
            for head in range(self.heads):
                scores = q[:, head] @ k[:, head // group].T / np.float32(np.sqrt(d))
                scores[mask] = -np.inf
                scores = np.exp(scores - scores.max(-1, keepdims=True))
                mixed[:, head] = scores / scores.sum(-1, keepdims=True) @ v[:, head // group]
            x = x + self.linear(self.norm(mixed.reshape(count, -1), name + "attn_sub_norm.weight"), name + "attn_output.weight")
            h = self.norm(x, name + "ffn_norm.weight")
            f = np.maximum(self.linear(h, name + "ffn_gate.weight"), 0) ** 2 * self.linear(h, name + "ffn_up.weight")
            x = x + self.linear(self.norm(f, name + "ffn_sub_norm.weight"), name + "ffn_down.weight")
        cache.length += count
        return self.norm(x[-1:], "output_norm.weight")[0] @ self.tensors["token_embd.weight"].T
