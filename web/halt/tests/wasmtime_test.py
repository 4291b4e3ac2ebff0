"""The core module in Python, through its C interface alone: the reference's vectors, the golden streams, and misuse.

    python wasmtime_test.py HALT_WASM FIXTURES
"""

import contextlib
import io
import json
import math
import re
import struct
import sys
from pathlib import Path

from wasmtime import Engine, Instance, Module, Store

SCORE, ENTROPY_BITS, ELAPSED_MS, TEXT = 1, 2, 4, 8
MASK = 0xFFFF_FFFF


class Host:
    """An instance of the module."""

    def __init__(self, file):
        self.file = file
        engine = Engine()
        module = Module.from_file(engine, file)
        assert not module.imports, "the module asks for something"
        self.store = Store(engine)
        self.exports = Instance(self.store, module, []).exports(self.store)
        self.memory = self.exports["memory"]
        self.functions = {}
        assert self.call("halt_abi_version") == 1
        self.answer_address = self.call("halt_answer")

    def call(self, name, *parameters):
        if name not in self.functions:
            self.functions[name] = self.exports[name]
        return self.functions[name](self.store, *parameters)

    def write(self, *texts):
        """Writes texts one after the other; the address and the length of each, in one list."""
        texts = [text if isinstance(text, bytes) else text.encode() for text in texts]
        address = self.call("halt_buffer", sum(map(len, texts)))
        assert address != 0
        places = []
        for text in texts:
            self.memory.write(self.store, text, address)
            places += [address, len(text)]
            address += len(text)
        return places

    def text(self):
        address = self.call("halt_text")
        return self.memory.read(self.store, address, address + self.call("halt_text_length")).decode()

    def answer(self):
        """The index, verdict, rule, value, limit, released tokens and trigger."""
        data = self.memory.read(self.store, self.answer_address, self.answer_address + 56)
        return struct.unpack("<7d", data)

    def set(self, config, name, value):
        if isinstance(value, str):
            return self.call("halt_config_set_text", config, *self.write(name, value))
        if isinstance(value, bool):
            return self.call("halt_config_set_flag", config, *self.write(name), int(value))
        if value is None:
            return self.call("halt_config_set_off", config, *self.write(name))
        return self.call("halt_config_set_number", config, *self.write(name), float(value))

    def kernel(self, fields):
        config = self.call("halt_config_new")
        for name, value in fields.items():
            assert self.set(config, name, value) == 0, self.text()
        kernel = self.call("halt_kernel_new", config)
        assert kernel != 0, self.text()
        assert self.call("halt_config_free", config) == 0
        return kernel

    def process(self, kernel, index, score=None, entropy_bits=None, elapsed_ms=None, text=None):
        parts = [(SCORE, score), (ENTROPY_BITS, entropy_bits), (ELAPSED_MS, elapsed_ms), (TEXT, text)]
        given = sum(part for part, value in parts if value is not None)
        numbers = [float(number or 0) for number in (score, entropy_bits, elapsed_ms)]
        place = self.write(text) if text is not None else [0, 0]
        return self.call("halt_process", kernel, float(index), *numbers, *place, given)


def vectors(host, fixtures):
    compared = 0
    for vector in json.loads((fixtures / "vectors.json").read_text()):
        for trend in ("endpoint", "least_squares"):
            kernel = host.kernel({**vector["config"], "trend": trend})
            for index, score in enumerate(vector["scores"]):
                if host.call("halt_process_token", kernel, float(index), float(score)) == 2:
                    break
            found = None
            if host.call("halt_finish", kernel) == 1:
                index, _, rule, value, *_ = host.answer()
                assert host.call("halt_rule", int(rule)) == 0
                found = {"index": int(index), "rule": host.text(), "value": float(f"{value:.4f}")}
            assert found == vector[trend], f"vector {vector['number']} by {trend}: {found}"
            assert host.call("halt_kernel_free", kernel) == 0
            compared += 1
    assert compared == 2 * 37


class Generator:
    def __init__(self):
        self.state = 1

    def below(self, bound):
        self.state = (self.state * 1664525 + 1013904223) & MASK
        return (self.state >> 16) % bound

    def hundredths(self, least, bound):
        return (least + self.below(bound)) / 100


class Hash:
    def __init__(self):
        self.lanes = [0, 0]

    def word(self, word):
        first = ((self.lanes[0] ^ (word & MASK)) * 16777619) & MASK
        second = ((self.lanes[1] ^ (word & MASK)) * 2246822507 + 2654435769) & MASK
        self.lanes = [first ^ first >> 13, second ^ second >> 16]

    def number(self, number):
        low, high = (0, 0x7FF80000) if math.isnan(number) else struct.unpack("<II", struct.pack("<d", number))
        self.word(low)
        self.word(high)

    def outcome(self, answer):
        index, verdict, rule, value, limit, released, _ = answer
        self.number(index)
        self.word(int(verdict))
        self.word(int(rule))
        for number in (value, limit, released):
            self.number(number)


def golden(host, fixtures):
    """`crates/halt/tests/pseudo/mod.rs` says how the streams come about."""
    expected = json.loads((fixtures / "golden.json").read_text())
    generator, digest = Generator(), Hash()
    below, hundredths = generator.below, generator.hundredths
    decisions = halts = 0
    for _ in range(expected["streams"]):
        fields = {
            "hard_limit": hundredths(30, 31),
            "window_size": 1 + below(12),
            "window_threshold": hundredths(40, 41),
            "trend_window": 2 + below(8),
            "trend_threshold": hundredths(10, 51),
            "soft_halt_tokens": below(21),
            "hold_back": below(13),
            "trend": ("endpoint", "least_squares")[below(2)],
            "halt_mode": ("hard", "soft")[below(2)],
            "invalid_input": ("halt", "error")[below(2)],
        }
        soft_limit = hundredths(50, 50)
        if below(2) == 1:
            fields["soft_limit"] = soft_limit
        kernel = host.kernel(fields)
        level, length = 60 + below(41), 1 + below(100)
        index, has_halted = 0, False
        for _ in range(length):
            kind = below(100)
            score = (level - below(25)) / 100
            match kind:
                case 0:
                    verdict = host.process(kernel, index)
                case 1:
                    verdict = host.process(kernel, index, math.nan)
                case 2:
                    verdict = host.process(kernel, index, 1.5)
                case 3:
                    verdict = host.process(kernel, index + 1, score)
                case 4 | 5 | 6:
                    verdict = host.process(kernel, index, score, text=("end. ", "終わり。", "word")[kind - 4])
                case 7:
                    verdict = host.process(kernel, index, score, entropy_bits=below(14) / 10)
                case 8:
                    verdict = host.process(kernel, index, score, elapsed_ms=below(60))
                case _:
                    verdict = host.call("halt_process_token", kernel, float(index), score)
            answer = host.answer()
            assert answer[1] == verdict
            digest.outcome(answer)
            decisions += 1
            if verdict >= 0:
                index += 1
            if has_halted:
                break
            has_halted = verdict == 2
        found = host.call("halt_finish", kernel)
        digest.word(found)
        if found == 1:
            answer = host.answer()
            digest.outcome(answer)
            digest.number(answer[6])
            halts += 1
        assert host.call("halt_kernel_free", kernel) == 0
    hash_text = "".join(f"{lane:08x}" for lane in digest.lanes)
    found = {"streams": expected["streams"], "decisions": decisions, "halts": halts, "hash": hash_text}
    assert found == expected, found


def misuse(host, _fixtures):
    config = host.call("halt_config_new")
    assert host.set(config, "window_size", 0) == -1
    assert host.text() == "`window_size` is 0; it must be a whole number from 1 to 65536"
    assert host.set(config, "soft_limit", None) == 0
    assert host.set(config, "keep_text", True) == 0
    assert host.call("halt_config_set_number", config, 0, 10, 0.5) == -2
    kernel = host.call("halt_kernel_new", config)
    assert host.process(kernel, 0, 0.9, text="終") == 0
    assert host.process(kernel, 1, 0.9, text=b"\xff") == -2
    assert host.process(kernel, 1, 0.2, text="x") == 2
    assert host.call("halt_cause") is None and host.text() == "hard_limit (0.2000 < 0.5)"
    assert host.call("halt_trace", kernel) == 2
    address = host.call("halt_text")
    index, score, verdict, rule, length = struct.unpack("<ddBBB", host.memory.read(host.store, address, address + 19))
    text = host.memory.read(host.store, address + 19, address + 19 + length).decode()
    assert (index, score, verdict, rule, text) == (0, 0.9, 0, 255, "終")
    assert host.call("halt_kernel_free", kernel) == 0
    assert host.call("halt_process_token", kernel, 2.0, 0.9) == -2
    assert host.call("halt_finish", 0) == -2


def example(host, fixtures):
    """The example of the module's README prints what it says."""
    readme = (fixtures.parent.parent / "halt-module" / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1].replace('"halt.wasm"', repr(host.file))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})
    assert printed.getvalue() == "halted at token 2\n", printed.getvalue()


def main():
    file, fixtures = sys.argv[1], Path(sys.argv[2])
    for check in (vectors, golden, misuse, example):
        check(Host(file), fixtures)
        print(f"wasmtime in Python: {check.__name__} passed")


main()
