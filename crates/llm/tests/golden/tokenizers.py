"""Writes `tokenizers.json`: small vocabularies and the token ids that independent implementations give.

    pip install -r requirements.txt
    python tokenizers.py

Vocabularies are trained here on the text below: BPE and WordPiece by Hugging Face `tokenizers`, SentencePiece BPE and
Unigram by `sentencepiece`. Byte-level BPE is trained on text that is not split into words, so that its tokens cross
the ends of words and every difference in splitting shows in the ids. The ids are llama.cpp's, from a GGUF file that
holds the vocabulary alone. Where the trainers can encode the same text, their ids must agree, or nothing is written.

    python tokenizers.py --random 1000 FILE

writes llama.cpp's ids of random texts instead; the environment variable GLASSHOUSE_TOKENIZERS=FILE makes the tests read it.
"""

import ctypes
import io
import json
import pathlib
import random
import struct
import sys
import tempfile

# This file has the name of the library; its folder must not come first.
sys.path = [entry for entry in sys.path if pathlib.Path(entry or ".").resolve() != pathlib.Path(__file__).resolve().parent]

import llama_cpp
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

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
fn main() -> Result<(), Error> { let x = vec![1, 2, 3]; println!("{x:?}"); Ok(()) }  // getUserName, HTTPServer
"""

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# How the models themselves split, where llama.cpp does exactly the same on the texts below.
PATTERNS = {
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
    "gpt-2": [GPT2],
    "llama-bpe": [LLAMA3],
    "qwen2": [LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")],
    "smollm": [r"\p{N}", GPT2],
}
# Every name that llama.cpp knows for byte-level BPE.
NAMES = """
default gpt-2 phi-2 mpt olmo jais trillion granite-docling gigachat a.x-4.0 mellum exaone4 roberta-bpe modern-bert
jina-es jina-de jina-v1-en jina-v2-es jina-v2-de jina-v2-code smollm starcoder refact command-r codeshell exaone
minerva-7b mellum2 falcon llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano glm4 glm5 dbrx
smaug-bpe chatglm-bpe qwen2 deepseek-r1-qwen stablelm2 megrez hunyuan kormo f2llmv2 grok-2 solar-open bailingmoe
bailingmoe2 llada-moe laguna qwen35 ufakzeka seed-coder exaone-moe jais-2 minicpm5 tekken gpt-4o llama4 kanana2 talkie
minimax-m2 granite-embed-multi-97m kimi-k2 deepseek-llm deepseek-coder deepseek-v3 hunyuan-dense joyai-llm hy_v4
spark2_5 afmoe youtu tiny_aya cohere2moe superbpe poro-chat bloom gpt3-finnish viking chameleon
""".split()
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
    "it’s don’t I‘ll we`ve 'RE'S'd'M'ſ 'K'lL",
    "17 * 23 = 391, 1234567890 and 12 345 6",
    "a1 ab12 abc123 x1234y 12345-678,9012.34 ١٢٣٤٥ ½²Ⅷ１２３４ 1２3４",
    "   three leading,  two inner, trailing   ",
    "tabs\t\tand\n\nnewlines \n \n  mixed\r\n\r\nx \r y\n",
    "line one\n  indented\n\n\n    more\n\t\tend ",
    "\r\n \r\n\t \n\n\r  x\u000b\u000cy\x1c\x1d z\x85\u2028\u2029\n",
    "a\u00a0\u00a0b \u3000\u3000c\u2003\u2003 d\u202f\u205f\u1680e\u180ef",
    "Grüße, naïve façade, Straße ßẞ İıſ K Å Ω",
    "ÀÉÎ ÑandaÑ éÉé ǅǈ ʰʱ ªº HTTPServer getHTTPResponse camelCaseXML IOError",
    "Привет, мир! 21 ноября. Η γλώσσα. שלום. مرحبا ١٢٣",
    "你好，世界！こんにちは。안녕하세요 ไทย नमस्ते १२३",
    "用Rust写的代码，v2.0版本。「引用」《书名》・ｶﾀｶﾅ ﾞ ㄅㄆㄇ ㄱㄴ 𠀀𠮷 〇々〆 ꙮ",
    "ภาษาไทยไม่มีช่องว่าง กำลัง น้ำ हिन्दी क्षत्रिय ज़िंदगी தமிழ் বাংলা اَلْعَرَبِيَّةُ עִבְרִית",
    "🦊🐺 👩‍👩‍👧 ❤️ 🇩🇪 a🦊b",
    "👍🏽👨🏿‍🚒🏳️‍🌈🏴󠁧󠁢󠁥󠁮󠁧󠁿 1️⃣ ©️ ☺︎ 🇩🇪🇫🇷🇯 :-) ¯\\_(ツ)_/¯",
    "€100 ½ ² Ⅷ ≠ ± “so” — … «x» © ™",
    "def f(x):\n    return x**2  # ok\n",
    "fn f<'a>(x: &'a str) -> u32 {\n\t// comment\r\n\tx.len() as u32 /* é */\n}\n",
    "#include <stdio.h>\nint main(void){printf(\"%d\\n\",0x1F+1e-9);return 0;}//\n/\n//\n\n",
    "SELECT * FROM t WHERE a>=1 AND b!='it''s';--x\n<p class=\"c\">&nbsp;</p>\n$x=$y[0]??'';",
    "https://example.org/a_b/c-d.html?q=1&r=%20#frag user@example.com C:\\dir\\file.txt @@ -1,3 +1,4 @@",
    "{\"expression\":\"17 * 23\",\"path\":\"notes.txt\"}",
    "\u00a0nbsp\u2003em\u2028line\u3000ideographic \u200bzero\u0085nel",
    "e\u0301 combining a\u0308\u0323 \ufeffbom \ufffd \x00\x01\x7f",
    "\u0301 \u0301a a\u0301\u0301b\u0301 \u20dd 1\u0301 .\u0301 \n\u0301",
    "\u0378\u0530 \ue000\uf8ff \U00010d50\U0001f9ff\U000e0001\U0010fffd \ufdd0\uffff",
    "aaaaaaaaaaaaaaaaaaaaa bababababab abababab",
    "==== ---- >>>> <|> |end|> <|en d|>",
    "....,,,,!!!!???? ...a ,b !c ?d (e) [f] {g} -h -- i_j __k__ ~l ^m $n +o =p |q `r`",
    "Thought: I see.\nCall: calculate {}Call: Call:  x<think>y",
    "<|begin|><|user|>hi<|end|>",
    "a<|end|>b <|end|> <<|end|>> <|end|",
    "  <|user|>  \n x \t<|end|> \n<|begin|> y  ",
    "<0x41> </s> <s> <unk> \u2581a \u2581",
    "[CLS] [SEP] [MASK] <mask> <pad> <extra_id_0>",
    "IMGIMGABCDZ IMGIMGZ <sentinel:12> IMGIMGAAAAAZ",
    "x" * 70 + " " * 40 + "y" * 3,
    " " * 23 + "a" + " " * 9 + "\n" + " " * 17 + "\t\t\tb" + "\n" * 7 + "c" + " " * 13,
    "word " * 30,
    "internationalization unbelievably Donaudampfschifffahrtsgesellschaft",
]

# Characters of every kind that some pattern tells apart, and what they may stand in.
ALPHABET = [
    *"abcstmdrevlkXSTLZ", "é", "É", "ß", "ſ", "K", "İ", "Я", "я", "ǅ", "ʰ", "ª", "א", "م", "न", "ไ",
    *" \t\n\r    ", "\x0b", "\x0c", "\x1c", "\x85", "\u00a0", "\u2003", "\u2028", "\u3000", "\u1680",
    *"0123456789", "１", "٣", "²", "½", "Ⅷ", "〇",
    *"'’.,!?;:-_/\\()[]{}<>|$+=^~`@#%&*\"", "…", "—", "“", "。", "，", "、", "！", "：", "～", "・", "۔", "،", "€", "≠", "©",
    "你", "世", "龥", "鿃", "㐀", "𠀀", "々", "あ", "ア", "ー", "ｱ", "ﾟ", "한", "ㄱ", "ㄅ", "ᄀ", "ⅷ", "豈", "ꩠ", "က", "ກ",
    "\u0301", "\u0308", "\u093f", "\u0e34", "\u20dd", "\ufe0f", "🦊", "🏽", "🇩", "\u200d", "\u200b",
    "\x00", "\x01", "\x7f", "\ufeff", "\ufffd", "\ue000", "\u0378", "\U00010d50", "\U000e0041", "\u2581",
    "'s", "'LL", "'Re", " 't", "  ", "   ", "\r\n", "\n\n", "\n ", " \n", "aaaa", "the", " of", "ABC", "123", "1234567",
    "<|end|>", "<think>", "Call: ", "\nCall: ", "</s>", "IMGIMGABZ", "<sentinel:1>",
]


def random_texts(count):
    """Texts of up to 60 parts; some keep to a few parts, so that runs are long."""
    generator = random.Random(20261129)
    texts = []
    for _ in range(count):
        few = generator.choices(ALPHABET, k=generator.choice([2, 3, 5, 12, 200]))
        texts.append("".join(generator.choices(few, k=generator.randrange(1, 60))))
    return texts


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
        elif isinstance(value, bytes):
            out.write(array(0, [struct.pack("<B", item) for item in value]))
        elif key.endswith("scores"):
            out.write(array(6, [struct.pack("<f", item) for item in value]))
        elif key.endswith("token_type"):
            out.write(array(5, [struct.pack("<i", item) for item in value]))
        else:
            out.write(array(8, [text(item) for item in value]))
    return out.getvalue()


class LlamaCpp:
    """A vocabulary in llama.cpp. `metadata` is that of `tokenizer.ggml`, except `name`, the model's."""

    def __init__(self, metadata):
        metadata = {f"tokenizer.ggml.{key}": value for key, value in metadata.items()}
        name = metadata.pop("tokenizer.ggml.name", None)
        metadata["general.architecture"] = "llama"
        if name is not None:
            metadata["general.name"] = name
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
            file.write(gguf_bytes(metadata))
            file.flush()
            parameters = llama_cpp.llama_model_default_params()
            parameters.vocab_only = True
            self.model = llama_cpp.llama_model_load_from_file(file.name.encode(), parameters)
        assert self.model, "llama.cpp refused the vocabulary"
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        self.count = llama_cpp.llama_vocab_n_tokens(self.vocabulary)

    def __del__(self):
        llama_cpp.llama_model_free(self.model)

    def encode(self, text, special, added=False):
        data = text.encode("utf-8")
        room = 4 * len(data) + 16
        tokens = (ctypes.c_int32 * room)()
        count = llama_cpp.llama_tokenize(self.vocabulary, data, len(data), tokens, room, added, special)
        assert count >= 0
        return list(tokens[:count])

    def pieces(self):
        """The bytes of every token; control tokens are hidden."""
        buffer = ctypes.create_string_buffer(256)
        pieces = []
        for token in range(self.count):
            length = llama_cpp.llama_token_to_piece(self.vocabulary, token, buffer, 256, 0, False)
            pieces.append(buffer.raw[: max(length, 0)])
        return pieces

    def ends(self):
        """The tokens that end generation."""
        return [token for token in range(self.count) if llama_cpp.llama_vocab_is_eog(self.vocabulary, token)]

    def fill_in_middle(self):
        """The tokens of code with a hole; -1 for those that are not there."""
        names = ["pre", "suf", "mid", "pad", "rep", "sep"]
        return [getattr(llama_cpp, f"llama_vocab_fim_{name}")(self.vocabulary) for name in names]


def byte_level():
    """A byte-level vocabulary whose tokens cross the ends of words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=900, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), max_token_length=12
    )
    lines = CORPUS.splitlines(keepends=True)
    tokenizer.train_from_iterator([*lines, CORPUS, "".join(TEXTS[:20])], trainer)
    trained = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(trained["vocab"], key=trained["vocab"].get)
    return {
        "model": "gpt2",
        "tokens": tokens + CONTROL + USER_DEFINED,
        "token_type": [1] * len(tokens) + [3] * len(CONTROL) + [4] * len(USER_DEFINED),
        "merges": [" ".join(merge) for merge in trained["merges"]],
        "bos_token_id": len(tokens),
        "eos_token_id": len(tokens) + 1,
    }


def byte_level_encoder(data, name):
    """The trainer's own encoding of a byte-level vocabulary, split as `name`."""
    count = len(data["tokens"]) - len(CONTROL) - len(USER_DEFINED)
    vocabulary = {token: number for number, token in enumerate(data["tokens"][:count])}
    merges = [tuple(merge.split(" ")) for merge in data["merges"]]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=name == "llama-bpe"))
    splits = [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in PATTERNS[name]]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        splits + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.add_special_tokens(CONTROL)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in USER_DEFINED])

    def encode(text, special):
        # Whether it is white space, it asks an older or newer Unicode.
        if any(ord(character) in (0x10D50, 0x180E) for character in text):
            return None
        tokenizer.encode_special_tokens = not special
        return tokenizer.encode(text, add_special_tokens=False).ids

    return encode


def line_level():
    """A vocabulary in SentencePiece's spelling with merges over whole lines, as Gemma 4's."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    trainer = trainers.BpeTrainer(vocab_size=500, show_progress=False, limit_alphabet=150, max_token_length=10)
    tokenizer.train_from_iterator([CORPUS], trainer)
    trained = json.loads(tokenizer.to_str())["model"]
    pieces = sorted(trained["vocab"], key=trained["vocab"].get)
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    lines = [text for text in ("\n", "\n\n", "\n\n\n") if text not in pieces]
    tokens = special + bytes_ + pieces + lines + ["<think>", "Call: "]
    types = [3] * 3 + [2, 3] + [6] * 256 + [1] * (len(pieces) + len(lines)) + [4] * 2
    return {
        "model": "gemma4",
        "tokens": tokens,
        "token_type": types,
        "scores": [-1000.0] * len(tokens),
        "merges": [" ".join(merge) for merge in trained["merges"]],
        "bos_token_id": 2,
        "eos_token_id": 1,
        "unknown_token_id": 3,
        "padding_token_id": 0,
    }


def train_sentence_piece(**options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for line in CORPUS.split("\n") if line), model_writer=model, minloglevel=2, **options
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()), model.getvalue()


def sentence_piece_data(processor, name, added=()):
    ids = range(processor.get_piece_size())

    def kind(token):
        if processor.is_unknown(token):
            return 2
        if processor.is_control(token):
            return 3
        if processor.is_byte(token):
            return 6
        # The library does not say; these are the texts that were asked for.
        return 4 if processor.id_to_piece(token) in added else 1

    # Converters write the spaces of user-defined tokens as spaces.
    text = lambda token: processor.id_to_piece(token).replace("\u2581", " ") if kind(token) == 4 else processor.id_to_piece(token)
    return {
        "model": name,
        "tokens": [text(token) for token in ids],
        "token_type": [kind(token) for token in ids],
        "scores": [processor.get_score(token) for token in ids],
        "bos_token_id": processor.bos_id(),
        "eos_token_id": processor.eos_id(),
        "unknown_token_id": processor.unk_id(),
    }


def sentence_piece():
    processor, _ = train_sentence_piece(
        model_type="bpe",
        vocab_size=700,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
    )
    data = sentence_piece_data(processor, "llama")
    control = ["<|endoftext|>", "<|user|>"]
    data["tokens"] += USER_DEFINED + control
    data["token_type"] += [4] * len(USER_DEFINED) + [3] * len(control)
    data["scores"] += [0.0] * (len(USER_DEFINED) + len(control))

    def encode(text, special):
        # It knows neither the user-defined tokens nor control tokens in text, and cuts text at a zero byte.
        if special or "\0" in text or any(added in text for added in USER_DEFINED):
            return None
        return processor.encode(text)

    return data, encode


def gemma():
    """As Gemma's: no space before the text, runs of spaces and line ends are user-defined."""
    added = ["\n", "\n\n", "\n\n\n", "\u2581\u2581", "\u2581\u2581\u2581", "\u2581" * 7, "\t", "<start_of_image>"]
    processor, _ = train_sentence_piece(
        model_type="bpe",
        vocab_size=650,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        user_defined_symbols=added,
    )
    data = sentence_piece_data(processor, "llama", added)
    return {**data, "add_space_prefix": False}


def unigram():
    """As T5's, with a small map of characters of its own."""
    rules = {
        "\u00a0": " ", "\u3000": " ", "\t": " ", "\n": " ", "\r": "", "\u200b": "", "…": "...", "½": "1/2", "Ⅷ": "VIII", "²": "2",
        "e\u0301": "é", "a\u0308": "ä", "ｶ": "カ", "ｶﾞ": "ガ", "！": "!", "，": ",", "：": ":", "～": "~", "ß": "ss", "ſ": "s", "™": "TM",
    }
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as file:
        for source, target in rules.items():
            hexadecimal = lambda text: " ".join(f"{ord(character):X}" for character in text)
            file.write(f"{hexadecimal(source)}\t{hexadecimal(target)}\n")
        file.flush()
        processor, proto = train_sentence_piece(
            model_type="unigram",
            vocab_size=280,
            character_coverage=0.98,
            normalization_rule_tsv=file.name,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            user_defined_symbols=["<think>"],
        )
    specification = sentencepiece_model_pb2.ModelProto.FromString(proto).normalizer_spec
    data = sentence_piece_data(processor, "t5", ["<think>"])
    del data["bos_token_id"]
    data["precompiled_charsmap"] = specification.precompiled_charsmap
    merged = {**data, "add_space_prefix": True, "remove_extra_whitespaces": True}
    plain = {**data, "add_space_prefix": False, "remove_extra_whitespaces": False}

    def encode(text, special):
        # It puts no space before what follows a user-defined token, and cuts text at a zero byte.
        if special or "\0" in text or "<think>" in text or "<" in text:
            return None
        return processor.encode(text)

    return [(merged, encode), (plain, None)]


def word_pieces():
    """As BERT's, in llama.cpp's spelling."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=600, show_progress=False, special_tokens=special)
    tokenizer.train_from_iterator([CORPUS, "internationalization unbelievably"], trainer)
    trained = json.loads(tokenizer.to_str())["model"]["vocab"]
    pieces = sorted(trained, key=trained.get)
    spell = lambda token: token if token in special else token[2:] if token.startswith("##") else "\u2581" + token
    data = {
        "model": "bert",
        "tokens": [spell(token) for token in pieces],
        "token_type": [3 if token in special else 1 for token in pieces],
        "padding_token_id": 0,
        "unknown_token_id": 1,
        "bos_token_id": 2,
        "seperator_token_id": 3,
        "mask_token_id": 4,
    }
    cased = {**data, "normalizer.lowercase": False}
    accents = {**data, "normalizer.strip_accents": False}
    return [data, cased, accents]


# Texts of tokens with a role, as different models have them together.
ROLES = [
    ["<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|begin_of_text|>"],
    ["<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"],
    ["<|return|>", "<|call|>", "<|end|>", "<|start|>"],
    ["<|flush|>", "<|calls|>", "<|end|>"],
    ["<|end|>", "<|call|>", "</s>"],
    ["<eos>", "<turn|>", "<|tool_response>", "</s>"],
    ["<end_of_turn>", "<end_of_utterance>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]"],
    ["<｜end▁of▁sentence｜>", "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"],
    ["<PRE>", "<SUF>", "<MID>", "<PAD>", "<REPO>"],
    ["<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<fim_pad>", "<reponame>"],
    ["<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>", "[PAD]", "[e~["],
    ["<|prefix|>", "<|suffix|>", "<|middle|>"],
]


def roles():
    letters = [f"{index:03}" for index in range(12)]
    result = []
    for texts in ROLES:
        tokens = letters + texts
        metadata = {
            "model": "t5", "tokens": tokens, "token_type": [1] * len(letters) + [3] * len(texts),
            "scores": [0.0] * len(tokens), "unknown_token_id": 0, "eos_token_id": 1, "padding_token_id": 2,
        }
        reference = LlamaCpp(metadata)
        result.append({"texts": texts, "ends": reference.ends(), "fill_in_middle": reference.fill_in_middle()})
    return result


class Vocabularies:
    """Collects what is written: of each vocabulary the metadata, and of each text the different answers."""

    def __init__(self, texts, compare):
        self.texts = texts
        self.compare = compare
        self.written = []

    def add(self, data, variants, encoder=lambda variant: None):
        """`variants` are metadata by which `data` is changed; `encoder` gives the trainer's own encoding of one."""
        runs, answers, numbers = [], [], {}
        for variant in variants:
            metadata = {**data, **variant}
            reference, other = LlamaCpp(metadata), encoder(variant) if self.compare else None
            for special in (False, True):
                run = []
                for text in self.texts:
                    ids = reference.encode(text, special)
                    check = other(text, special) if other else None
                    if check is not None and check != ids:
                        sys.exit(f"{variant}: implementations differ on {text!r} (special: {special})\n  {ids}\n  {check}")
                    key = tuple(ids)
                    if key not in numbers:
                        numbers[key] = len(answers)
                        answers.append(ids)
                    run.append(numbers[key])
                runs.append({**variant, "special": special, "answers": run, "around": reference.encode("a", False, True)})
        pieces = b"".join(struct.pack("<H", len(piece)) + piece for piece in reference.pieces())
        if "precompiled_charsmap" in data:
            data = {**data, "precompiled_charsmap": data["precompiled_charsmap"].hex()}
        self.written.append({**data, "runs": runs, "answers": answers, "pieces": pieces.hex()})


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--random"]:
        # Not every trainer sees what is no language as llama.cpp does.
        texts, path, compare = random_texts(int(arguments[1])), pathlib.Path(arguments[2]), False
    else:
        texts, path, compare = TEXTS, pathlib.Path(__file__).with_suffix(".json"), True
    vocabularies = Vocabularies(texts, compare)

    data = byte_level()
    encoder = lambda variant: byte_level_encoder(data, variant["pre"]) if variant["pre"] in PATTERNS else None
    vocabularies.add(data, [{"pre": name} for name in NAMES], encoder)
    data = line_level()
    names = ["sarvam-moe", "granite-embed-multi-311m"]
    vocabularies.add(data, [{}] + [{"model": "gpt2", "pre": name} for name in names])
    data, encode = sentence_piece()
    variants = [{}, {"add_space_prefix": False}, {"name": "Phi-3-mini"}]
    vocabularies.add(data, variants, lambda variant: None if variant else encode)
    vocabularies.add(gemma(), [{}])
    for data, encode in unigram():
        vocabularies.add(data, [{}], lambda _: encode)
    for data in word_pieces():
        vocabularies.add(data, [{}])

    lines = ",\n".join(json.dumps(entry, ensure_ascii=False, separators=(",", ":")) for entry in vocabularies.written)
    texts, roles_ = (json.dumps(value, ensure_ascii=False, separators=(",", ":")) for value in (texts, roles()))
    path.write_text(f'{{"texts":{texts},\n"roles":{roles_},\n"vocabularies":[\n{lines}\n]}}\n', encoding="utf-8")
    print(f"wrote {path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
