"""The pocket model's vocabulary and its encoder.

Ids 0..255 are the bytes, then come the control tokens, then the user-defined scaffold tokens.
Encoding of ordinary text: at each position the longest user-defined token that matches there,
else one byte. Control tokens are never made from text, only by the template.
"""

import re

TOOL_NAMES = [
    "calculate", "get_time", "read_file", "write_file",
    "list_dir", "search_files", "memory_store", "memory_search",
]
TOOLS_PLAIN = ["calculate", "get_time", "memory_store", "memory_search"]
TOOLS_READ = ["calculate", "get_time", "read_file", "list_dir", "search_files", "memory_store", "memory_search"]
TOOLS_WRITE = list(TOOL_NAMES)

CONTROL = ["<|pad|>", "<|begin|>", "<|tools|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>"]
PAD, BEGIN, TOOLS, USER, ASSISTANT, TOOL, END = range(256, 256 + len(CONTROL))

THOUGHTS = {
    "calculate": "I should calculate this.",
    "get_time": "I should look at the clock.",
    "read_file": "I should read the file.",
    "write_file": "I should write the file.",
    "list_dir": "I should list the folder.",
    "search_files": "I should search the files.",
    "memory_store": "I should remember this.",
    "memory_search": "I should look in my memory.",
    "known": "I have what I need.",
    "failed": "That did not work.",
    "beyond": "This is beyond me.",
    "missing": "I do not have the tool for this.",
    "talk": "I can answer this myself.",
}

ABILITIES = " I can calculate, tell the time, work with the files of a mounted folder, and remember things."
SENTENCES = {
    "introduce": "I am the pocket model of Glasshouse, a very small language model.",
    "abilities": ABILITIES,
    "hello": "Hello.",
    "beyond": "That is beyond this small model.",
    "no_read": "I cannot read files here: no folder is mounted. Start me with `--mount DIR`.",
    "no_write": "I cannot write files here: no folder is mounted for writing. Start me with `--mount DIR:rw`.",
    "unknown": "I do not know: I found nothing about that in my memory.",
    "not_found": "I found nothing about that in the files.",
    "not_in_file": "The file does not say.",
    "remembered": "Remembered: ",
    "welcome": "You are welcome.",
    "goodbye": "Goodbye.",
    "no_tool": "I do not have the tool for that here.",
    "told": "You told me: ",
    "failed": "That did not work: ",
    "empty": "The folder is empty.",
    "folder_has": "The folder has: ",
    "found_in": "Found in ",
}

SCAFFOLD = (
    ["Thought: ", "\nCall: ", "\nAnswer: ", "Call: ", "Answer: "]
    + TOOL_NAMES
    + [' {"expression":"', ' {"path":"', '","content":"', ' {"text":"', ' {"query":"', '"}', " {}"]
    + [" ".join(TOOLS_PLAIN), " ".join(TOOLS_READ), " ".join(TOOLS_WRITE)]
    + list(THOUGHTS.values())
    + list(SENTENCES.values())
    + ["error: ", "division by zero", "no such file", "no matches", "nothing found", "(empty)", " UTC, ", " UTC on "]
)
assert len(set(SCAFFOLD)) == len(SCAFFOLD)

FIRST_SCAFFOLD = 256 + len(CONTROL)
VOCABULARY = FIRST_SCAFFOLD + len(SCAFFOLD)
_ID = {text: FIRST_SCAFFOLD + i for i, text in enumerate(SCAFFOLD)}
_PATTERN = re.compile("|".join(re.escape(t) for t in sorted(SCAFFOLD, key=len, reverse=True)))


def encode(text: str) -> list[int]:
    """Token ids of ordinary text (no control tokens)."""
    ids: list[int] = []
    position = 0
    for match in _PATTERN.finditer(text):
        ids.extend(text[position:match.start()].encode("utf-8"))
        ids.append(_ID[match.group()])
        position = match.end()
    ids.extend(text[position:].encode("utf-8"))
    return ids


def decode(ids) -> str:
    """Text of token ids; control tokens become nothing."""
    out = b""
    for i in ids:
        if i < 256:
            out += bytes([i])
        elif i >= FIRST_SCAFFOLD:
            out += SCAFFOLD[i - FIRST_SCAFFOLD].encode("utf-8")
    return out.decode("utf-8", "replace")
