"""Makes blocks.json beside this file: random blocks of every quantized type, and their weights by the `gguf` package.

    python3 -m venv .venv && .venv/bin/pip install -r crates/llm/tests/golden/requirements.txt
    .venv/bin/python crates/llm/tests/golden/blocks.py

All bytes of a block are random, but for floats in half precision: an exponent in the middle of their range keeps the
weights finite. Two blocks of 32 weights, or one of 256, for each type.
"""

import json
import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

HERE = pathlib.Path(__file__).resolve().parent
# Where blocks have floats in half precision; MXFP4 has an exponent in the first byte instead.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": [],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "TQ1_0": [52], "TQ2_0": [64],
}


def main():
    random = np.random.default_rng(6)
    golden = {}
    for name, halves in HALVES.items():
        kind = GGMLQuantizationType[name]
        columns, size = GGML_QUANT_SIZES[kind]
        blocks = random.integers(0, 256, (64 // columns or 1, size), dtype=np.uint8)
        for at in halves:
            blocks[:, at + 1] = blocks[:, at + 1] & 0x83 | 0x30
        if name == "MXFP4":
            blocks[:, 0] = blocks[:, 0] % 16 + 120
        if name == "TQ2_0":
            # No writer produces code 3.
            blocks[:, :64] &= ~(blocks[:, :64] >> 1 & 0x55)
        weights = dequantize(blocks, kind).reshape(-1)
        golden[name] = {
            "bytes": blocks.tobytes().hex(),
            "weights": [float(f"{weight:.8g}") for weight in weights],
        }
    (HERE / "blocks.json").write_text(json.dumps(golden, separators=(",", ":")).replace("},", "},\n") + "\n")


if __name__ == "__main__":
    main()
