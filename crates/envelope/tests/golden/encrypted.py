"""Makes encrypted.hex with an implementation of ChaCha20-Poly1305 that is not ours (PyPI: cryptography).

    python encrypted.py > encrypted.hex
"""

import struct
import zlib

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

CONTENT = b"What is 17 * 23?"
FLAGS = 0x02 | 0x04

nonce = struct.pack("<IQ", 1, 0)
fields = struct.pack("<HBBI", 0x4149, 1, FLAGS, len(nonce) + len(CONTENT) + 16)
payload = nonce + ChaCha20Poly1305(bytes(range(32))).encrypt(nonce, CONTENT, fields)
print((fields + struct.pack("<I", zlib.crc32(payload)) + payload).hex())
