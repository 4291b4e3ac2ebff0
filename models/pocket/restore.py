"""Parameters from an exported GGUF file, to go on training from it.

The file has ternary values and one scale of each matrix. Latent weights of that scale over the share of weights that
are not zero have the same ternary values and the same mean magnitude, so the restored model computes what the file does.
"""

import jax.numpy as jnp
import numpy as np

from reference import Reference


def restore(config, path):
    tensors = Reference(path).tensors

    def latent(name):
        ternary, scale = tensors[name]
        return ternary * (scale / np.maximum(np.abs(ternary).mean(), 1e-3))

    def layers(*parts):
        return jnp.asarray(np.stack([np.concatenate([latent(f"blk.{i}.{part}.weight") for part in parts], 1) for i in range(config.layers)]))

    def gains(part):
        return jnp.asarray(np.stack([tensors[f"blk.{i}.{part}.weight"] for i in range(config.layers)]))

    norms = {name: gains(name) for name in ("attn_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm")}
    return {
        "embd": jnp.asarray(tensors["token_embd.weight"]), "output_norm": jnp.asarray(tensors["output_norm.weight"]),
        "qkv": layers("attn_q", "attn_k", "attn_v"), "o": layers("attn_output"), "gate_up": layers("ffn_gate", "ffn_up"),
        "down": layers("ffn_down"), **norms,
    }
