"""Makes logits.json beside this file: logits of the tiny random models by independent implementations.

    python3 -m venv .venv && .venv/bin/pip install -r crates/llm/tests/golden/requirements.txt
    .venv/bin/python crates/llm/tests/golden/logits.py

References that logits.json has already are kept: remove those that are to be made anew.

The models are the `tiny-*` presets, written by this crate's own test: `llama` in every type, and the two of BitNet in
what differs there. Two implementations evaluate them:

- llama.cpp (through llama-cpp-python), for what it supports: `llama`, and `bitnet` with SiLU; all types but I2_S.
- numpy: a plain transformer in double precision, written from the papers (Llama, BitNet b1.58), on weights that the
  `gguf` package dequantizes (I2_S is decoded here, from the layout in Microsoft's BitNet repository). For BitNet it
  quantizes the inputs of ternary layers to 8 bits for each token, as the architecture defines; keys and values are
  rounded to f16.
"""

import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, dequantize

HERE = pathlib.Path(__file__).resolve().parent
TOKENS = [(number * 53 + 17) % 290 for number in range(24)]
POSITIONS = [1, 8, 24]
I2_S = 36


def write_models(directory):
    environment = dict(os.environ, GLASSHOUSE_GOLDEN_MODELS=str(directory))
    command = "cargo test --release -p glasshouse-llm --test golden -- generated_models_can_be_written_to_files"
    subprocess.run(command.split(), cwd=HERE, env=environment, check=True)


def read_header(path):
    """Metadata and tensor descriptions; by hand, because the gguf package refuses type 36."""
    data = pathlib.Path(path).read_bytes()
    at = 24

    def number(kind, size):
        nonlocal at
        value = np.frombuffer(data, dtype=kind, count=1, offset=at)[0]
        at += size
        return value.item()

    def text():
        nonlocal at
        length = number("<u8", 8)
        at += length
        return data[at - length:at].decode()

    scalars = {4: ("<u4", 4), 5: ("<i4", 4), 6: ("<f4", 4), 7: ("u1", 1)}

    def value(kind):
        if kind == 8:
            return text()
        if kind == 9:
            element, count = number("<u4", 4), number("<u8", 8)
            return [value(element) for _ in range(count)]
        return number(*scalars[kind])

    tensor_count = int.from_bytes(data[8:16], "little")
    entry_count = int.from_bytes(data[16:24], "little")
    metadata = {}
    for _ in range(entry_count):
        key = text()
        metadata[key] = value(number("<u4", 4))
    tensors = {}
    for _ in range(tensor_count):
        name = text()
        shape = [number("<u8", 8) for _ in range(number("<u4", 4))]
        tensors[name] = (shape, number("<u4", 4), number("<u8", 8))
    start = (at + 31) // 32 * 32
    return metadata, {name: (shape, kind, data[start + offset:]) for name, (shape, kind, offset) in tensors.items()}


def decode_i2_s(shape, data):
    count = int(np.prod(shape))
    packed = np.frombuffer(data, dtype=np.uint8, count=count // 4).reshape(-1, 1, 32)
    codes = (packed >> np.array([6, 4, 2, 0], dtype=np.uint8).reshape(1, 4, 1)) & 3
    scale = np.frombuffer(data, dtype="<f4", count=1, offset=count // 4)[0]
    return (codes.astype(np.float64) - 1).reshape(shape[::-1]) * scale


def load(path):
    """Metadata, weights as float64, and the names of the ternary ones."""
    metadata, tensors = read_header(path)
    ternary_types = {I2_S, GGMLQuantizationType.TQ1_0, GGMLQuantizationType.TQ2_0}
    weights, ternary = {}, set()
    decoded = {}
    if all(kind != I2_S for _, kind, _ in tensors.values()):
        for tensor in GGUFReader(path).tensors:
            decoded[tensor.name] = dequantize(tensor.data, tensor.tensor_type)
    for name, (shape, kind, data) in tensors.items():
        if kind == I2_S:
            weights[name] = decode_i2_s(shape, data)
        elif name in decoded:
            weights[name] = decoded[name].astype(np.float64).reshape(shape[::-1])
        else:
            plain = {0: "<f4", 1: "<f2"}[kind]
            count = int(np.prod(shape))
            weights[name] = np.frombuffer(data, dtype=plain, count=count).astype(np.float64).reshape(shape[::-1])
        if kind in ternary_types:
            ternary.add(name)
    return metadata, weights, ternary


def numpy_logits(path, tokens):
    """Logits after the last of `tokens`."""
    metadata, weights, ternary = load(path)
    architecture = metadata["general.architecture"]
    setting = lambda key: metadata[f"{architecture}.{key}"]
    bitnet = architecture != "llama"
    heads, heads_kv = setting("attention.head_count"), setting("attention.head_count_kv")
    width = setting("embedding_length") // heads
    epsilon = setting("attention.layer_norm_rms_epsilon")

    def norm(x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weights[name]

    def linear(x, name):
        if bitnet and name in ternary:
            scale = 127 / np.maximum(np.abs(x).max(-1, keepdims=True), 1e-5)
            return np.clip(np.rint(x * scale), -128, 127) @ weights[name].T / scale
        return x @ weights[name].T

    frequencies = setting("rope.freq_base") ** (-np.arange(0, width, 2) / width)
    if "rope_freqs.weight" in weights:
        frequencies = frequencies / weights["rope_freqs.weight"]
    turn = np.exp(1j * np.arange(len(tokens))[:, None] * frequencies)[:, None, :]

    def rope(x):
        if bitnet:
            turned = (x[..., : width // 2] + 1j * x[..., width // 2:]) * turn
            return np.concatenate([turned.real, turned.imag], -1)
        turned = (x[..., 0::2] + 1j * x[..., 1::2]) * turn
        return np.stack([turned.real, turned.imag], -1).reshape(x.shape)

    # Keys and values are kept in half precision. It must be modelled: a difference of one f16 rounding moves some
    # 8-bit activations to the next step, and the logits by as much as the quantization itself.
    cached = lambda x: x.astype(np.float16).astype(np.float64)

    x = weights["token_embd.weight"][tokens]
    mask = np.triu(np.full((len(tokens), len(tokens)), -np.inf), 1)
    for layer in range(setting("block_count")):
        name = lambda part: f"blk.{layer}.{part}.weight"
        h = norm(x, name("attn_norm"))
        q = rope(linear(h, name("attn_q")).reshape(-1, heads, width))
        k = cached(rope(linear(h, name("attn_k")).reshape(-1, heads_kv, width))).repeat(heads // heads_kv, 1)
        v = cached(linear(h, name("attn_v")).reshape(-1, heads_kv, width)).repeat(heads // heads_kv, 1)
        scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(width) + mask
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        h = np.einsum("hij,jhd->ihd", scores, v).reshape(len(tokens), -1)
        if bitnet:
            h = norm(h, name("attn_sub_norm"))
        x = x + linear(h, name("attn_output"))
        h = norm(x, name("ffn_norm"))
        gate, up = linear(h, name("ffn_gate")), linear(h, name("ffn_up"))
        h = np.maximum(gate, 0) ** 2 * up if architecture == "bitnet-b1.58" else gate / (1 + np.exp(-gate)) * up
        if bitnet:
            h = norm(h, name("ffn_sub_norm"))
        x = x + linear(h, name("ffn_down"))
    head = "output.weight" if "output.weight" in weights else "token_embd.weight"
    return linear(norm(x[-1:], "output_norm.weight"), head)[0]


def llama_cpp_logits(path, tokens):
    """Logits after the last of `tokens`."""
    from llama_cpp import Llama

    model = Llama(str(path), n_ctx=64, n_threads=1, n_gpu_layers=0, use_mmap=False, verbose=False, logits_all=True)
    model.eval(tokens)
    return np.array(model.scores[len(tokens) - 1])


def wanted(name):
    """Whether a model is worth its place in the file: in BitNet models, only ternary matrices differ from `llama`."""
    kind = name.rpartition("-")[2]
    return name.startswith("tiny-llama-") or kind in ("f32", "tq1_0", "tq2_0", "i2_s")


def main():
    output = HERE / "logits.json"
    models = json.loads(output.read_text())["models"] if output.exists() else {}
    with tempfile.TemporaryDirectory() as directory:
        write_models(directory)
        for path in sorted(pathlib.Path(directory).glob("*.gguf")):
            if path.stem not in models and not wanted(path.stem):
                continue
            references = {"numpy": numpy_logits}
            if not path.stem.startswith("tiny-bitnet-") or path.stem.startswith("tiny-bitnet-silu-"):
                if not path.stem.endswith("i2_s"):
                    references["llama.cpp"] = llama_cpp_logits
            kept = models.get(path.stem, {})
            models[path.stem] = kept | {
                name: [[float(f"{value:.6g}") for value in evaluate(path, TOKENS[:end])] for end in POSITIONS]
                for name, evaluate in references.items() if name not in kept
            }
            print(path.stem, *references)
    models = dict(sorted(models.items()))
    golden = {"tokens": TOKENS, "positions": POSITIONS, "models": models}
    output.write_text(json.dumps(golden, separators=(",", ":")).replace("],", "],\n") + "\n")


if __name__ == "__main__":
    main()
