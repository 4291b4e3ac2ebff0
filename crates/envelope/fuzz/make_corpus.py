"""Writes the corpus: a file for each kind of input that the readers tell apart.

    python make_corpus.py
"""

import pathlib
import struct
import zlib

FOLDER = pathlib.Path(__file__).parent / "corpus"


def envelope(payload, flags=0, version=1, magic=0x4149, length=None, checksum=None):
    length = len(payload) if length is None else length
    checksum = zlib.crc32(payload) if checksum is None else checksum
    return struct.pack("<HBBII", magic, version, flags, length, checksum) + payload


BLOCK = bytes([0x1F, 0x61, 1, 0, 15, 0x50]) + b"aaaaa"  # 40 bytes of `a`
SIZED = struct.pack("<I", 40) + BLOCK
SEALED = struct.pack("<IQ", 1, 0) + bytes(32)

CORPUS = {
    "decode": {
        "empty": b"",
        "plain": envelope(b""),
        "hello": envelope(b"hello world"),
        "error": envelope(b'{"code":"sad","message":"no"}', flags=8),
        "request": envelope(b'{"service":"clock.read"}', flags=4),
        "compressed": envelope(SIZED, flags=1),
        "encrypted": envelope(SEALED, flags=2),
        "unknown-flags": envelope(b"x", flags=0xF0),
        "version-0": envelope(b"x", version=0),
        "other-magic": envelope(b"x", magic=0x4150),
        "too-long": envelope(b"x", length=0xFFFFFFFF),
        "cut": envelope(b"hello")[:14],
        "trailing": envelope(b"hello") + b"!",
        "damaged": envelope(b"hello", checksum=1),
    },
    "lz4": {
        "empty": b"",
        "run": SIZED,
        "literals": struct.pack("<I", 3) + b"\x30abc",
        "length-lies": struct.pack("<I", 41) + BLOCK,
        "bomb": struct.pack("<I", 0xFFFFFFFF) + BLOCK,
        "offset-0": struct.pack("<I", 40) + bytes([0x1F, 0x61, 0, 0, 15, 0x50]) + b"aaaaa",
        "offset-beyond": struct.pack("<I", 40) + bytes([0x1F, 0x61, 9, 0, 15, 0x50]) + b"aaaaa",
        "repetitive": b"ab" * 200,
    },
    "aead": {
        "empty": b"",
        "sealed": SEALED,
        "short": SEALED[:27],
        "text": b"What is 17 * 23?",
        "repetitive": b"ab" * 200,
    },
}

for target, files in CORPUS.items():
    folder = FOLDER / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
