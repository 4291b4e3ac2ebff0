"""Makes architectures.json beside this file: what the tiny random models of each architecture compute, by independent
implementations. Needs the same environment as logits.py:

    .venv/bin/python crates/llm/tests/golden/architectures.py

The models are the presets of `Tiny` with F32 matrices, written by this crate's own test. Recorded are the logits after a
prompt, or the vector of its text where the model is for embeddings.

- numpy: a plain transformer in double precision, written from the papers and the published reference code. Keys and values
  are rounded to f16.
- llama.cpp (through llama-cpp-python), but for `phi3-window`, since it ignores that architecture's window.
"""

import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np

from logits import load

HERE = pathlib.Path(__file__).resolve().parent
# Longer than any window, any context before it was made longer, and any batch.
TOKENS = [(number * 53 + 17) % 290 for number in range(100)]
POSITIONS = [1, 24, 100]


def write_models(directory):
    environment = dict(os.environ, GLASSHOUSE_GOLDEN_MODELS=str(directory))
    command = "cargo test --release -p glasshouse-llm --test architectures -- generated_models_can_be_written_to_files"
    subprocess.run(command.split(), cwd=HERE, env=environment, check=True)


class Model:
    def __init__(self, path):
        self.metadata, self.weights, _ = load(path)
        self.architecture = self.metadata["general.architecture"]
        self.bert = self.architecture in ("bert", "nomic-bert")
        self.gemma = self.architecture.startswith("gemma")
        self.layers = self.setting("block_count")
        self.heads = self.setting("attention.head_count")
        self.heads_kv = self.setting("attention.head_count_kv")
        self.width = self.setting("attention.key_length")

    def setting(self, key, default=None):
        value = self.metadata.get(f"{self.architecture}.{key}", default)
        assert value is not None, key
        return value

    def norm(self, x, name):
        """RMS norm, or layer norm where the architecture has that."""
        if self.architecture == "olmo" or self.bert:
            x = x - x.mean(-1, keepdims=True)
            x = x / np.sqrt((x * x).mean(-1, keepdims=True) + self.setting("attention.layer_norm_epsilon"))
            return x if self.architecture == "olmo" else x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        epsilon = self.setting("attention.layer_norm_rms_epsilon")
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * self.weights[f"{name}.weight"]

    def linear(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights.get(f"{name}.bias", 0.0)

    def is_local(self, layer):
        """Whether a layer sees a window only."""
        if not self.setting("attention.sliding_window", 0):
            return False
        pattern = self.setting("attention.sliding_window_pattern", 0)
        if pattern:
            return bool(pattern[layer])
        if self.gemma:
            return layer % 2 == 0 if self.architecture == "gemma2" else layer % 6 != 5
        return self.architecture == "phi3"

    def turns(self, layer, count):
        """The rotation of each position and pair as a complex number; None where there is none."""
        if self.architecture == "bert" or self.architecture == "smollm3" and layer % 4 == 3:
            return None
        dimension = self.setting("rope.dimension_count")
        base = self.setting("rope.freq_base", 10000.0)
        scaling = self.setting("rope.scaling.type", "none")
        factor = self.setting("rope.scaling.factor", 1.0)
        original = self.setting("rope.scaling.original_context_length", self.setting("context_length"))
        magnitude = self.setting("rope.scaling.attn_factor", 1.0)
        if self.is_local(layer) and self.architecture in ("gemma3", "gemma-embedding", "olmo2"):
            base = 10000.0
            scaling = "none"
        pair = np.arange(dimension // 2)
        frequency = base ** (-2.0 * pair / dimension)
        if self.architecture == "phi3":
            which = "long" if self.setting("context_length") > original else "short"
            frequency = frequency / self.weights[f"rope_factors_{which}.weight"]
        elif scaling == "linear":
            frequency = frequency / factor
        elif scaling == "yarn":
            at = lambda turns: dimension * np.log(original / (turns * 2 * np.pi)) / (2 * np.log(base))
            low = max(np.floor(at(self.setting("rope.scaling.yarn_beta_fast", 32.0))), 0)
            high = min(np.ceil(at(self.setting("rope.scaling.yarn_beta_slow", 1.0))), dimension - 1)
            interpolated = np.clip((pair - low) / max(high - low, 0.001), 0, 1)
            frequency = frequency / factor * interpolated + frequency * (1 - interpolated)
            sharper = lambda weight: 0.1 * weight * np.log(factor) + 1
            magnitude *= sharper(1.0) / sharper(self.setting("rope.scaling.yarn_log_multiplier", 0.0))
        return magnitude * np.exp(1j * np.arange(count)[:, None] * frequency)[:, None, :]

    def rope(self, x, turns):
        if turns is None:
            return x
        half = turns.shape[-1]
        rotated, rest = x[..., : 2 * half], x[..., 2 * half:]
        if self.architecture in ("olmo", "smollm3", "granite", "mistral3"):
            turned = (rotated[..., 0::2] + 1j * rotated[..., 1::2]) * turns
            return np.concatenate([np.stack([turned.real, turned.imag], -1).reshape(rotated.shape), rest], -1)
        turned = (rotated[..., :half] + 1j * rotated[..., half:]) * turns
        return np.concatenate([turned.real, turned.imag, rest], -1)

    def attention(self, h, layer):
        name = lambda part: f"blk.{layer}.{part}"
        count, query, key = len(h), self.heads * self.width, self.heads_kv * self.width
        if name("attn_qkv.weight") in self.weights:
            q, k, v = np.split(self.linear(h, name("attn_qkv")), [query, query + key], -1)
        else:
            q, k, v = (self.linear(h, name(part)) for part in ("attn_q", "attn_k", "attn_v"))
        limit = self.setting("attention.clamp_kqv", np.inf)
        q, k, v = (np.clip(part, -limit, limit) for part in (q, k, v))
        if self.architecture == "olmo2":
            q, k = self.norm(q, name("attn_q_norm")), self.norm(k, name("attn_k_norm"))
        q, k, v = (part.reshape(count, -1, self.width) for part in (q, k, v))
        if self.architecture in ("qwen3", "gemma3", "gemma-embedding"):
            q, k = self.norm(q, name("attn_q_norm")), self.norm(k, name("attn_k_norm"))
        turns = self.turns(layer, count)
        q, k = self.rope(q, turns), self.rope(k, turns)
        positions = np.arange(count)
        if self.architecture == "mistral3":
            original = self.setting("rope.scaling.original_context_length")
            growth = 1 + self.setting("attention.temperature_scale") * np.log(positions // original + 1)
            q = q * growth[:, None, None]
        cached = lambda x: x.astype(np.float16).astype(np.float64).repeat(self.heads // self.heads_kv, 1)
        scores = np.einsum("ihd,jhd->hij", q, cached(k)) * self.setting("attention.scale", self.width ** -0.5)
        if self.architecture == "gemma2":
            cap = self.setting("attn_logit_softcapping")
            scores = cap * np.tanh(scores / cap)
        distance = positions[:, None] - positions[None, :]
        if self.setting("attention.causal", True):
            hidden = distance < 0
            if self.is_local(layer):
                hidden |= distance >= self.setting("attention.sliding_window")
        else:
            around = self.setting("attention.sliding_window") // 2 if self.is_local(layer) else np.inf
            hidden = np.abs(distance) > around
        scores = np.where(hidden, -np.inf, scores)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        return self.linear(np.einsum("hij,jhd->ihd", scores, cached(v)).reshape(count, -1), name("attn_output"))

    def feed_forward(self, h, layer):
        name = lambda part: f"blk.{layer}.{part}"
        gelu = lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))
        activation = gelu if self.gemma or self.architecture == "bert" else lambda x: x / (1 + np.exp(-x))
        up = self.linear(h, name("ffn_up"))
        if self.architecture == "bert":
            return self.linear(activation(up), name("ffn_down"))
        gate, up = np.split(up, 2, -1) if self.architecture == "phi3" else (self.linear(h, name("ffn_gate")), up)
        return self.linear(activation(gate) * up, name("ffn_down"))

    def hidden(self, tokens):
        """What the last layer says of each token, normalized."""
        x = self.weights["token_embd.weight"][tokens]
        if self.bert:
            x = x + self.weights["token_types.weight"][0]
            if self.architecture == "bert":
                x = x + self.weights["position_embd.weight"][: len(tokens)]
            x = self.norm(x, "token_embd_norm")
        x = x * (np.sqrt(x.shape[-1]) if self.gemma else self.setting("embedding_scale", 1.0))
        scale = self.setting("residual_scale", 1.0)
        for layer in range(self.layers):
            name = lambda part: f"blk.{layer}.{part}"
            if self.bert:
                x = self.norm(x + self.attention(x, layer), name("attn_output_norm"))
                x = self.norm(x + self.feed_forward(x, layer), name("layer_output_norm"))
            elif self.architecture == "olmo2":
                x = x + self.norm(self.attention(x, layer), name("post_attention_norm"))
                x = x + self.norm(self.feed_forward(x, layer), name("post_ffw_norm"))
            elif self.architecture in ("gemma2", "gemma3", "gemma-embedding"):
                h = self.attention(self.norm(x, name("attn_norm")), layer)
                x = x + self.norm(h, name("post_attention_norm"))
                h = self.feed_forward(self.norm(x, name("ffn_norm")), layer)
                x = x + self.norm(h, name("post_ffw_norm"))
            else:
                x = x + scale * self.attention(self.norm(x, name("attn_norm")), layer)
                x = x + scale * self.feed_forward(self.norm(x, name("ffn_norm")), layer)
        return x if self.bert else self.norm(x, "output_norm")

    def result(self, tokens):
        hidden = self.hidden(tokens)
        pooling = self.setting("pooling_type", 0)
        if pooling:
            vector = {1: hidden.mean(0), 2: hidden[0], 3: hidden[-1]}[pooling]
            for layer in ("dense_2", "dense_3"):
                if f"{layer}.weight" in self.weights:
                    vector = self.linear(vector, layer)
            return vector / np.sqrt((vector * vector).sum())
        head = "output" if "output.weight" in self.weights else "token_embd"
        logits = self.linear(hidden[-1:], head)[0] / self.setting("logit_scale", 1.0)
        if self.architecture == "gemma2":
            cap = self.setting("final_logit_softcapping")
            logits = cap * np.tanh(logits / cap)
        return logits


def by_llama_cpp(path, pooled, tokens):
    import llama_cpp

    # By this name llama.cpp expects tokens that the tiny tokenizer does not have.
    renamed = path.with_suffix(".renamed")
    renamed.write_bytes(path.read_bytes().replace(b"random tiny-phi3", b"random tiny-phi_"))
    model = llama_cpp.Llama(
        str(renamed), n_ctx=128, n_threads=1, n_gpu_layers=0, use_mmap=False, verbose=False, logits_all=not pooled,
        embedding=pooled,
        # What the file says, instead of the defaults of llama-cpp-python.
        yarn_beta_fast=-1.0, yarn_beta_slow=-1.0,
    )
    if not pooled:
        model.eval(tokens)
        return np.array(model.scores[len(tokens) - 1])
    model._batch.reset()
    model._batch.add_sequence(tokens, 0, True)
    model._ctx.decode(model._batch)
    vector = np.array(llama_cpp.llama_get_embeddings_seq(model._ctx.ctx, 0)[: model.n_embd()])
    return vector / np.sqrt((vector * vector).sum())


def main():
    models = {}
    with tempfile.TemporaryDirectory() as directory:
        write_models(directory)
        for path in sorted(pathlib.Path(directory).glob("*-f32.gguf")):
            model = Model(path)
            references = {"numpy": model.result}
            if path.stem != "tiny-phi3-window-f32":
                pooled = bool(model.setting("pooling_type", 0))
                references["llama.cpp"] = lambda tokens: by_llama_cpp(path, pooled, tokens)
            models[path.stem] = {
                name: [[float(f"{value:.6g}") for value in evaluate(TOKENS[:end])] for end in POSITIONS]
                for name, evaluate in references.items()
            }
            print(path.stem, *references)
    golden = {"tokens": TOKENS, "positions": POSITIONS, "models": models}
    output = HERE / "architectures.json"
    output.write_text(json.dumps(golden, separators=(",", ":")).replace("],", "],\n") + "\n")


if __name__ == "__main__":
    main()
