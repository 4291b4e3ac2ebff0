"""Writes a checkpoint as GGUF: `python export.py runs/first/latest.pkl pocket.gguf`."""

import pathlib
import pickle
import struct
import sys

import gguf
import numpy as np

import model
import tokens

CHAT_TEMPLATE = (
    "<|begin|><|tools|>{% for tool in tools %}{{ tool.name }}{% if not loop.last %} {% endif %}{% endfor %}"
    "{% for message in messages %}"
    "{% if message.role == 'user' %}<|user|>{{ message.content }}"
    "{% elif message.role == 'assistant' %}<|assistant|>{{ message.content }}<|end|>"
    "{% elif message.role == 'tool' %}<|tool|>{{ message.content }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def byte_spelling():
    """GPT-2's printable spelling of each byte."""
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    spelling, extra = {}, 0
    for byte in range(256):
        if byte in printable:
            spelling[byte] = chr(byte)
        else:
            spelling[byte] = chr(256 + extra)
            extra += 1
    return [spelling[b] for b in range(256)]


def tq2_0(weight):
    """Blocks of an [out, in] matrix with one scale, as [out, in / 256 * 66] bytes, and its ternary values."""
    scale = np.float16(max(np.abs(weight).mean(dtype=np.float32), np.float32(1e-4)))
    ternary = np.clip(np.round(weight / np.float32(scale)), -1, 1).astype(np.int8)
    out, width = weight.shape
    fields = (ternary + 1).astype(np.uint8).reshape(out, width // 256, 2, 4, 32)
    packed = fields[:, :, :, 0] | fields[:, :, :, 1] << 2 | fields[:, :, :, 2] << 4 | fields[:, :, :, 3] << 6
    packed = packed.reshape(out, width // 256, 64)
    scales = np.full((out, width // 256, 1), scale, "<f2").view(np.uint8).reshape(out, width // 256, 2)
    return np.concatenate([packed, scales], -1).reshape(out, -1)


class Writer(gguf.GGUFWriter):
    """The package's writer, which refuses empty arrays, with empty arrays."""

    def _pack_val(self, val, vtype, add_vtype, sub_type=None):
        if vtype != gguf.GGUFValueType.ARRAY or len(val):
            return super()._pack_val(val, vtype, add_vtype, sub_type)
        kind = struct.pack("<I", vtype) if add_vtype else b""
        return kind + struct.pack("<IQ", sub_type, 0)


def tensors(config, params):
    """(name, array, kind) in file order; matrices are [out, in]."""
    yield "token_embd.weight", params["embd"].astype(np.float16), gguf.GGMLQuantizationType.F16
    names = {"qkv": ("attn_q", "attn_k", "attn_v"), "o": ("attn_output",), "gate_up": ("ffn_gate", "ffn_up"), "down": ("ffn_down",)}
    for layer in range(config.layers):
        for norm in ("attn_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm"):
            yield f"blk.{layer}.{norm}.weight", params[norm][layer].astype(np.float32), gguf.GGMLQuantizationType.F32
        for key, parts in names.items():
            start = 0
            for part, size in zip(parts, config.splits[key]):
                matrix = np.ascontiguousarray(params[key][layer][:, start:start + size].T)
                start += size
                yield f"blk.{layer}.{part}.weight", tq2_0(matrix), gguf.GGMLQuantizationType.TQ2_0
    yield "output_norm.weight", params["output_norm"].astype(np.float32), gguf.GGMLQuantizationType.F32


def export(checkpoint, path):
    params = pickle.loads(pathlib.Path(checkpoint).read_bytes())[0]
    config = model.Config()
    writer = Writer(path, "bitnet-b1.58")
    prefix = "bitnet-b1.58"
    writer.add_string("general.name", "Glasshouse pocket model")
    writer.add_string("general.license", "Apache-2.0 OR MIT")
    writer.add_uint32("general.file_type", 37)
    writer.add_uint32("glasshouse.agent_protocol", 1)  # the host shows it the tools and gives it no instructions
    writer.add_uint32(f"{prefix}.vocab_size", config.vocabulary)
    writer.add_uint32(f"{prefix}.context_length", config.context)
    writer.add_uint32(f"{prefix}.embedding_length", config.width)
    writer.add_uint32(f"{prefix}.block_count", config.layers)
    writer.add_uint32(f"{prefix}.feed_forward_length", config.feed_forward)
    writer.add_uint32(f"{prefix}.attention.head_count", config.heads)
    writer.add_uint32(f"{prefix}.attention.head_count_kv", config.kv_heads)
    writer.add_float32(f"{prefix}.attention.layer_norm_rms_epsilon", config.eps)
    writer.add_float32(f"{prefix}.rope.freq_base", config.rope_base)
    writer.add_uint32(f"{prefix}.rope.dimension_count", config.head_dim)
    writer.add_string("tokenizer.ggml.model", "gpt2")
    writer.add_string("tokenizer.ggml.pre", "default")
    writer.add_array("tokenizer.ggml.tokens", byte_spelling() + tokens.CONTROL + tokens.SCAFFOLD)
    writer.add_array("tokenizer.ggml.token_type", [1] * 256 + [3] * len(tokens.CONTROL) + [4] * len(tokens.SCAFFOLD))
    writer.add_key_value("tokenizer.ggml.merges", [], gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.STRING)
    writer.add_uint32("tokenizer.ggml.bos_token_id", tokens.BEGIN)
    writer.add_uint32("tokenizer.ggml.eos_token_id", tokens.END)
    writer.add_uint32("tokenizer.ggml.padding_token_id", tokens.PAD)
    writer.add_bool("tokenizer.ggml.add_bos_token", False)
    writer.add_string("tokenizer.chat_template", CHAT_TEMPLATE)
    for name, array, kind in tensors(config, params):
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    export(*sys.argv[1:3])
