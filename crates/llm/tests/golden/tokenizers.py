"""Writes `tokenizers.json`: small vocabularies and the token ids that independent implementations give.

    pip install -r requirements.txt
    python tokenizers.py

Vocabularies are trained here on the text below: byte-level BPE by Hugging Face `tokenizers`, one for each way to
split words, and SentencePiece BPE by `sentencepiece`. The ids are llama.cpp's, from a GGUF file that holds the
vocabulary alone. Where the trainers can encode the same text, their ids must agree, or nothing is written.
"""

import ctypes
import io
import json
import pathlib
import struct
import sys
import tempfile

# This file has the name of the library; its folder must not come first.
sys.path = [entry for entry in sys.path if pathlib.Path(entry or ".").resolve() != pathlib.Path(__file__).resolve().parent]

import llama_cpp
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, trainers

CORPUS = """
The quick brown fox jumps over the lazy dog. The dog doesn't mind; it's asleep, and they'll let it sleep.
Models of language read numbers like 17, 391, 2026 and 1234567 digit by digit or in groups of three.
    def main(argument):
        return {"expression": "17 * 23", "path": "notes.txt"}  # a comment
I'm sure you've seen we'd said 'twas so. DON'T shout! I'LL not. O'Neill's, rock'n'roll.
Grüße aus Köln: süß, größer, Straße. Où est la bibliothèque? Ça va très bien, à bientôt; naïve façade.
Привет, мир! Сегодня 21 ноября 2026 года. Η γλώσσα είναι ελληνική. שלום עולם. مرحبا بالعالم ١٢٣.
你好，世界！今天天气很好。こんにちは、世界。カタカナとひらがな。안녕하세요 세계. ไทยภาษา नमस्ते दुनिया १२३
Emoji: 🦊🐺 👩‍👩‍👧 ❤️ 🇩🇪; symbols: ≠ ± × ÷ € £ ¥ © ™ ½ ² Ⅷ; quotes “so” ‘so’ «so» — dashes – and … dots.
aaaa aaaaaaaa bababa abababab xyzxyzxyz 00000000 ======== -------- >>>> <<<< {{}} [[]] (()) // ** && || ~~ ``
\tTabs\tand  double  spaces   and\ttrailing \n\n\nthree newlines\r\nand carriage returns\r\n\r\n.
"""

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
    "gpt-2": [GPT2],
    "llama-bpe": [LLAMA3],
    "qwen2": [LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")],
    "smollm": [r"\p{N}", GPT2],
}
CONTROL = ["<|begin|>", "<|end|>", "<|user|>"]
USER_DEFINED = ["Thought: ", "\nCall: ", "Call: ", "<think>", "  "]

TEXTS = [
    "",
    " ",
    "  ",
    "\n",
    "a",
    " a",
    "Hello, world!",
    "The dog doesn't mind; I'LL say so, they'Ve seen 'twas rock'n'roll 'S 's '",
    "17 * 23 = 391, 1234567890 and 12 345 6",
    "   three leading,  two inner, trailing   ",
    "tabs\t\tand\n\nnewlines \n \n  mixed\r\n\r\nx \r y\n",
    "line one\n  indented\n\n\n    more\n\t\tend ",
    "Grüße, naïve façade, Straße ßẞ İıſ",
    "Привет, мир! 21 ноября. Η γλώσσα. שלום. مرحبا ١٢٣",
    "你好，世界！こんにちは。안녕하세요 ไทย नमस्ते १२३",
    "🦊🐺 👩‍👩‍👧 ❤️ 🇩🇪 a🦊b",
    "€100 ½ ² Ⅷ ≠ ± “so” — … «x» © ™",
    "def f(x):\n    return x**2  # ok\n",
    "{\"expression\":\"17 * 23\",\"path\":\"notes.txt\"}",
    "\u00a0nbsp\u2003em\u2028line\u3000ideographic \u200bzero\u0085nel",
    "e\u0301 combining a\u0308\u0323 \ufeffbom \ufffd \x00\x01\x7f",
    "aaaaaaaaaaaaaaaaaaaaa bababababab abababab",
    "==== ---- >>>> <|> |end|> <|en d|>",
    "Thought: I see.\nCall: calculate {}Call: Call:  x<think>y",
    "<|begin|><|user|>hi<|end|>",
    "a<|end|>b <|end|> <<|end|>> <|end|",
    "<0x41> </s> <s> <unk> \u2581a \u2581",
    "x" * 70 + " " * 40 + "y" * 3,
    "word " * 30,
]


def gguf_bytes(metadata):
    """A GGUF v3 file of metadata alone."""

    def text(value):
        data = value.encode("utf-8")
        return struct.pack("<Q", len(data)) + data

    def array(kind, items):
        return struct.pack("<IIQ", 9, kind, len(items)) + b"".join(items)

    out = io.BytesIO()
    out.write(b"GGUF" + struct.pack("<IQQ", 3, 0, len(metadata)))
    for key, value in metadata.items():
        out.write(text(key))
        if isinstance(value, bool):
            out.write(struct.pack("<IB", 7, value))
        elif isinstance(value, int):
            out.write(struct.pack("<II", 4, value))
        elif isinstance(value, str):
            out.write(struct.pack("<I", 8) + text(value))
        elif key.endswith("scores"):
            out.write(array(6, [struct.pack("<f", item) for item in value]))
        elif key.endswith("token_type"):
            out.write(array(5, [struct.pack("<i", item) for item in value]))
        else:
            out.write(array(8, [text(item) for item in value]))
    return out.getvalue()


class LlamaCpp:
    """A vocabulary in llama.cpp."""

    def __init__(self, data):
        metadata = {
            "general.architecture": "llama",
            "tokenizer.ggml.model": data["model"],
            "tokenizer.ggml.tokens": data["tokens"],
            "tokenizer.ggml.token_type": data["types"],
            "tokenizer.ggml.bos_token_id": data["begin"],
            "tokenizer.ggml.eos_token_id": data["end"],
        }
        for key in ("pre", "scores", "merges"):
            if key in data:
                metadata[f"tokenizer.ggml.{key}"] = data[key]
        if "unknown" in data:
            metadata["tokenizer.ggml.unknown_token_id"] = data["unknown"]
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
            file.write(gguf_bytes(metadata))
            file.flush()
            parameters = llama_cpp.llama_model_default_params()
            parameters.vocab_only = True
            self.model = llama_cpp.llama_model_load_from_file(file.name.encode(), parameters)
        assert self.model, "llama.cpp refused the vocabulary"
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)

    def encode(self, text, special):
        data = text.encode("utf-8")
        room = 4 * len(data) + 16
        tokens = (ctypes.c_int32 * room)()
        count = llama_cpp.llama_tokenize(self.vocabulary, data, len(data), tokens, room, False, special)
        assert count >= 0
        return list(tokens[:count])

    def pieces(self, count):
        """The bytes of every token; control tokens are hidden."""
        buffer = ctypes.create_string_buffer(256)
        pieces = []
        for token in range(count):
            length = llama_cpp.llama_token_to_piece(self.vocabulary, token, buffer, 256, 0, False)
            pieces.append(buffer.raw[: max(length, 0)])
        return pieces


def byte_level(name):
    splits = [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in PATTERNS[name]]
    byte_encoding = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer = Tokenizer(models.BPE(ignore_merges=name == "llama-bpe"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splits + [byte_encoding])
    trainer = trainers.BpeTrainer(
        vocab_size=500, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([CORPUS], trainer)
    trained = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(trained["vocab"], key=trained["vocab"].get)
    types = [1] * len(tokens)
    tokenizer.add_special_tokens(CONTROL)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in USER_DEFINED])
    data = {
        "model": "gpt2",
        "pre": name,
        "tokens": tokens + CONTROL + USER_DEFINED,
        "types": types + [3] * len(CONTROL) + [4] * len(USER_DEFINED),
        "merges": [" ".join(merge) for merge in trained["merges"]],
        "begin": len(tokens),
        "end": len(tokens) + 1,
    }

    def encode(text, special):
        tokenizer.encode_special_tokens = not special
        return tokenizer.encode(text, add_special_tokens=False).ids

    return data, encode


def sentence_piece():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS.split("\n")),
        model_writer=model,
        model_type="bpe",
        vocab_size=700,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = range(processor.get_piece_size())

    def kind(token):
        if processor.is_unknown(token):
            return 2
        if processor.is_control(token):
            return 3
        return 6 if processor.is_byte(token) else 1

    data = {
        "model": "llama",
        "tokens": [processor.id_to_piece(token) for token in ids] + USER_DEFINED,
        "types": [kind(token) for token in ids] + [4] * len(USER_DEFINED),
        "scores": [processor.get_score(token) for token in ids] + [0.0] * len(USER_DEFINED),
        "begin": processor.bos_id(),
        "end": processor.eos_id(),
        "unknown": processor.unk_id(),
    }

    def encode(text, special):
        # It knows neither the user-defined tokens nor control tokens in text, and cuts text at a zero byte.
        if special or "\0" in text or any(added in text for added in USER_DEFINED):
            return None
        return processor.encode(text)

    return data, encode


def main():
    result = []
    for data, encode in [byte_level(name) for name in PATTERNS] + [sentence_piece()]:
        name = data.get("pre", data["model"])
        reference = LlamaCpp(data)
        cases = []
        for text in TEXTS:
            for special in (False, True):
                ids = reference.encode(text, special)
                other = encode(text, special)
                if other is not None and other != ids:
                    sys.exit(f"{name}: implementations differ on {text!r} (special: {special})\n  {ids}\n  {other}")
                cases.append({"text": text, "special": special, "tokens": ids})
        pieces = b"".join(struct.pack("<H", len(piece)) + piece for piece in reference.pieces(len(data["tokens"])))
        result.append({**data, "cases": cases, "pieces": pieces.hex()})
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False, separators=(",", ":")) for entry in result)
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"wrote {path.name}: {path.stat().st_size} bytes")


main()
