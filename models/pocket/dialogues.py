"""The training dialogues: one function per family, each returning a Dialogue.

Every family builds its prompt from a grammar of phrasings and its arguments at random; tool
results have exactly the shapes that the tools give.
"""

import datetime
import json
from dataclasses import dataclass, field

import arithmetic
import facts
import phrases_more  # noqa: F401  (extends P)
import frames  # noqa: F401  (extends P)
import phrases_wide  # noqa: F401  (extends P)
from phrases import P
from sampling import Sampler, dress, expand, fill, skeleton
from tokens import (ASSISTANT, BEGIN, END, SENTENCES, THOUGHTS, TOOL, TOOL_NAMES, TOOLS, TOOLS_PLAIN, TOOLS_READ, TOOLS_WRITE, USER,
                    encode)

QUOTE_LIMIT = 160  # a file up to this many characters is quoted whole
QUOTE_CUT = 100    # a longer one is quoted about so far
S = SENTENCES


@dataclass
class Dialogue:
    family: str
    tools: list
    prompt: str
    steps: list                # (tool, arguments, observation)
    answer: str
    thought: str = "known"     # key of THOUGHTS before the answer
    skeletons: list = field(default_factory=list)
    calls: int | None = None   # when set, the dialogue stops after so many calls


OPENERS = {encode(text)[0] for text in (' {"expression":"', ' {"path":"', '","content":"', ' {"text":"', ' {"query":"')}

# Share of the dialogues that stop after a call: what is hard is choosing it, from as many prompts as can be seen.
CUT_SHARE = 0.45
CUT_SHARE_LOOKUP = 0.15 # where the answer has to be looked up in what was read


def render(dialogue: Dialogue):
    """Token ids and loss weights."""
    ids = [BEGIN, TOOLS] + encode(" ".join(dialogue.tools)) + [USER] + encode(dialogue.prompt)
    weights = [0.0] * len(ids)

    def add(tokens, weight):
        ids.extend(tokens)
        weights.extend([weight] * len(tokens))

    for number, (tool, arguments, observation) in enumerate(dialogue.steps, 1):
        add([ASSISTANT], 0.0)
        add(encode("Thought: "), 0.2)
        add(encode(THOUGHTS[tool]), 3.0)
        add(encode("\nCall: "), 1.0)
        call = f"{tool} {json.dumps(arguments, ensure_ascii=False, separators=(',', ':'))}"
        start = len(ids)
        add(encode(call), 2.0)
        # Where an argument begins is the hardest choice: once begun, it is copied on.
        for at in range(start, len(ids) - 1):
            if ids[at] in OPENERS:
                weights[at + 1] = 5.0
        add([END], 1.0)
        if number == dialogue.calls:
            return ids, weights
        add([TOOL], 0.0)
        add(encode(observation), 0.0)
    add([ASSISTANT], 0.0)
    add(encode("Thought: "), 0.2)
    add(encode(THOUGHTS[dialogue.thought]), 3.0)
    add(encode("\nAnswer: "), 1.0)
    add(encode(dialogue.answer), 1.5)
    add([END], 1.5)
    return ids, weights


def pick_tools(rng, needed):
    """A tools list that holds all needed ones."""
    kind = rng.random()
    if kind < 0.9:
        options = [t for t in (TOOLS_PLAIN, TOOLS_READ, TOOLS_WRITE, TOOLS_WRITE) if set(needed) <= set(t)]
        return list(rng.pick(options))
    return [t for t in TOOL_NAMES if t in needed or rng.chance(0.6)]


def say(rng, key, **slots):
    """A dressed phrase of the grammar P[key], with its slots filled."""
    template = rng.pick(P[key])
    imperative = not template.startswith("? ")
    text = expand(template[2:] if not imperative else template, rng)
    text = dress(text, rng, imperative)
    if rng.chance(0.01):
        text += " "
    return fill(text, slots), skeleton(text)


def named(rng, path):
    """A file name as written: bare, quoted, or called a file."""
    kind = rng.random()
    if kind < 0.72:
        return path
    if kind < 0.79:
        return f'"{path}"'
    if kind < 0.84:
        return f"'{path}'"
    if kind < 0.87:
        return f"`{path}`"
    return f"the file {path}" if kind < 0.96 else f"file {path}"


FILE_TOOLS = {"read_file", "list_dir", "search_files"}


def without(rng, family, prompt, kind):
    """The dialogue when the needed file tool is not granted."""
    if kind == "write":
        tools = TOOLS_READ if rng.chance(0.5) else TOOLS_PLAIN
        return Dialogue(family, list(tools), prompt, [], S["no_write"], "missing")
    return Dialogue(family, list(TOOLS_PLAIN), prompt, [], S["no_read"], "missing")


def arithmetic_family(rng, family="arithmetic"):
    written, canonical = arithmetic.expression(rng) if family == "arithmetic" else arithmetic.function(rng)
    prompt, skel = say(rng, "calculate", e=written)
    if rng.chance(0.04):
        prompt = written + rng.pick(("", "?", " =", " = ?", "=", "=?"))
    if rng.chance(0.05):
        observation = rng.pick(("error: division by zero",) * 5 + ("error: the result is too large", "error: the expression is empty", "error: unexpected character `$` at position 3"))
        if observation == "error: division by zero":
            canonical = f"{rng.number()} / 0"
            prompt, skel = say(rng, "calculate", e=canonical.replace(" / ", rng.pick((" / ", "/", " divided by ", " over "))))
            if "/0" in prompt and " /0" not in prompt:
                canonical = canonical.replace(" ", "")
        tools = pick_tools(rng, ["calculate"])
        return Dialogue(family, tools, prompt, [("calculate", {"expression": canonical}, observation)], S["failed"] + observation[7:] + ".", "failed", [skel])
    if rng.chance(0.02):
        tools = [t for t in pick_tools(rng, []) if t != "calculate"]
        return Dialogue(family, tools, prompt, [], S["no_tool"], "missing", [skel])
    result = arithmetic.evaluate(canonical)
    return Dialogue(family, pick_tools(rng, ["calculate"]), prompt, [("calculate", {"expression": canonical}, result)], f"{canonical} is {result}.", "known", [skel])


def function_family(rng):
    return arithmetic_family(rng, "function")


def time_family(rng):
    prompt, skel = say(rng, "time")
    moment = datetime.datetime(2024, 1, 1) + datetime.timedelta(seconds=rng.randint(0, 400_000_000))
    observation = moment.strftime("%Y-%m-%d %H:%M:%S UTC, %A")
    answer = moment.strftime("It is %H:%M UTC on %A, %Y-%m-%d.")
    if rng.chance(0.02):
        return Dialogue("time", [t for t in pick_tools(rng, []) if t != "get_time"], prompt, [], S["no_tool"], "missing", [skel])
    return Dialogue("time", pick_tools(rng, ["get_time"]), prompt, [("get_time", {}, observation)], answer, "known", [skel])


def sentence(rng):
    kind = rng.random()
    if kind < 0.5:
        text = facts.fact(rng)[0]
        return text[0].upper() + text[1:] + "." if rng.chance(0.6) else text
    text = rng.words(2, 5)
    return text if rng.chance(0.5) else text[0].upper() + text[1:] + rng.pick((".", ".", "!", "?", ""))


PARALLEL = ["our {w} costs {n}", "{N} has {n} {w}", "the {w} is {v}", "{N} likes the {w}", "{w} of {v}: {n}", "{n} {w}", "{N} and {M} saw the {w}", "buy {n} {w} for {N}", "{w} - {v}", "{N} will take the {w} {v}",
            "- {w} {v}", "{n}. {w}", "from {w} to {v}", "{N}, {n}, {w}", "a {w} needs {n} {v}", "[ ] {w} {v}", "{w};{n};{v}", "{N} came at {n}", "no {w} without {v}", "{N} called about {w}"]


def parallel(rng):
    """Lines of one pattern: what is alike in them makes copying hard."""
    pattern = rng.pick(PARALLEL)
    count = rng.pick((1, 2, 2, 2, 3, 3, 4))
    return "\n".join(fill(pattern, {"w": rng.word(), "v": rng.word(), "n": rng.integer(), "N": rng.name(), "M": rng.name()}) for _ in range(count))


def file_text(rng):
    kind = rng.random()
    if rng.chance(0.3):
        return parallel(rng)
    if kind < 0.55:
        return sentence(rng)
    if kind < 0.68:
        return rng.value()
    if kind < 0.76:
        return " ".join(sentence(rng) for _ in range(rng.randint(2, 3)))
    if kind < 0.96:
        return "\n".join(rng.pick((sentence, lambda r: r.words(1, 3), lambda r: f"- {r.word()}", lambda r: f"{r.word()}: {r.value()}"))(rng) for _ in range(rng.randint(2, 4)))
    return rng.pick(("\n", " ")).join(sentence(rng) for _ in range(rng.randint(4, 10)))


def quote(text):
    """The file's text as it is quoted in an answer."""
    text = text.strip()
    if len(text) <= QUOTE_LIMIT:
        return text
    return text[:QUOTE_CUT].rsplit(" ", 1)[0].rstrip() + " ..."


READ_ERRORS = ["no such file or folder: {f}"] * 4 + ["no such file: {f}", "{f} is not a file", "{f} is not a text file (it is not UTF-8)", "no permission to use {f}", "{f} leads out of the mounted folder"]


def read_family(rng):
    path = rng.file_name()
    prompt, skel = say(rng, "read", f=named(rng, path))
    if rng.chance(0.1):
        d = without(rng, "read", prompt, "read")
        d.skeletons = [skel]
        return d
    tools = pick_tools(rng, ["read_file"])
    if rng.chance(0.1):
        message = fill(rng.pick(READ_ERRORS), {"f": path})
        return Dialogue("read", tools, prompt, [("read_file", {"path": path}, "error: " + message)], S["failed"] + message + ".", "failed", [skel])
    text = file_text(rng)
    observation = text + ("\n" if rng.chance(0.5) else "")
    return Dialogue("read", tools, prompt, [("read_file", {"path": path}, observation)], f"{path} says: {quote(text)}", "known", [skel])


def key_phrase(rng):
    kind = rng.random()
    if kind < 0.45:
        return rng.half(lambda: rng.pick(facts.KEYS))
    if kind < 0.8:
        return rng.word()
    return f"{rng.word()} {rng.pick(facts.KEY_ENDS) if rng.chance(0.6) else rng.word()}"


def keyed_file(rng):
    """(text, key, line): one to five lines that give keys values, in one style, and the line of one key."""
    style = rng.pick(("{k}: {v}", "{k}: {v}", "The {k} is {v}.", "{k} = {v}", "{k}={v}", "the {k} is {v}", "- {k}: {v}", "The {k} of this is {v}."))
    count = rng.pick((1, 1, 2, 2, 3, 3, 4, 5))
    keys = {}
    while len(keys) < count:
        keys[key_phrase(rng)] = rng.value()
    lines, line_of = [], {}
    for k, v in keys.items():
        shown = k[0].upper() + k[1:] if rng.chance(0.1) and style.startswith("{k}") else k
        if rng.chance(0.05):
            shown = shown.replace(" ", "_") if "=" in style else shown
        lines.append(fill(style, {"k": shown, "v": v}))
        line_of[k] = lines[-1]
    if rng.chance(0.12):
        lines.insert(0, rng.pick(("# ", "")) + rng.words(1, 3))
    if rng.chance(0.08):
        lines.append(sentence(rng))
    key = rng.pick(list(keys))
    return (" " if rng.chance(0.1) and style.endswith(".") else "\n").join(lines) + ("\n" if rng.chance(0.5) else ""), key, line_of[key]


def question_family(rng):
    path = rng.file_name()
    text, key, line = keyed_file(rng)
    if rng.chance(0.06):
        absent = key_phrase(rng)
        if absent not in text:
            key, line = absent, None
    prompt, skel = say(rng, "ask_file", k=key, f=named(rng, path))
    if rng.chance(0.04):
        d = without(rng, "ask_file", prompt, "read")
        d.skeletons = [skel]
        return d
    answer = f"{path} says: {line}" if line is not None else S["not_in_file"]
    return Dialogue("ask_file", pick_tools(rng, ["read_file"]), prompt, [("read_file", {"path": path}, text)], answer, "known", [skel])


def content(rng):
    kind = rng.random()
    if rng.chance(0.15):
        return parallel(rng).split("\n")[0]
    if kind < 0.3:
        return rng.words(1, 4)
    if kind < 0.5:
        return rng.value()
    if kind < 0.75:
        return sentence(rng).rstrip(".?!")
    if kind < 0.8:
        return f"{rng.word()}: {rng.value()}"
    if kind < 0.85:
        return ", ".join(rng.word() for _ in range(rng.randint(2, 4)))
    if kind < 0.88:
        return rng.pick(("Hello, {}!", "hello {}", "Dear {},", "TODO: {}", "to do: {}")).format(rng.name())
    return facts.fact(rng)[0]


def written(path, text):
    return f"wrote {len(text.encode())} bytes to {path}"


def write_family(rng):
    path = rng.file_name()
    text = content(rng)
    quoted = rng.chance(0.5)
    if quoted:
        if rng.chance(0.2):
            text = sentence(rng)
        mark = rng.pick(('"', '"', "'", '“”')) if "'" not in text else '"'
        shown = f"{mark[0]}{text}{mark[-1]}"
        key = rng.pick(("write_quoted", "write_quoted", "write_plain"))
    else:
        shown, key = text, "write_plain"
    prompt, skel = say(rng, key, c=shown, f=named(rng, path))
    if rng.chance(0.1):
        d = without(rng, "write", prompt, "write")
        d.skeletons = [skel]
        return d
    observation = written(path, text)
    tools = pick_tools(rng, ["write_file"])
    arguments = {"path": path, "content": text}
    if rng.chance(0.05):
        message = rng.pick((f"no permission to use {path}", "the folder is mounted read-only", f"{path} leads out of the mounted folder", f"no such file or folder: {path}", f"{path} is not a file"))
        return Dialogue("write", tools, prompt, [("write_file", arguments, "error: " + message)], S["failed"] + message + ".", "failed", [skel])
    return Dialogue("write", tools, prompt, [("write_file", arguments, observation)], "I " + observation + ".", "known", [skel])


def list_family(rng):
    if rng.chance(0.6):
        path = "."
        prompt, skel = say(rng, "list_root")
    else:
        path = rng.folder()
        shown = path + "/" if rng.chance(0.15) else path
        path = shown
        if rng.chance(0.12):
            shown = rng.pick(('"{}"', "'{}'")).format(shown)
        prompt, skel = say(rng, "list_named", d=shown)
    if rng.chance(0.1):
        d = without(rng, "list", prompt, "read")
        d.skeletons = [skel]
        return d
    tools = pick_tools(rng, ["list_dir"])
    call = ("list_dir", {"path": path})
    if rng.chance(0.06):
        message = rng.pick((f"no such file or folder: {path}", f"no such file or folder: {path}", f"{path} is not a folder", f"no permission to use {path}"))
        return Dialogue("list", tools, prompt, [(*call, "error: " + message)], S["failed"] + message + ".", "failed", [skel])
    if rng.chance(0.08):
        return Dialogue("list", tools, prompt, [(*call, "(empty)")], S["empty"], "known", [skel])
    entries = sorted({rng.file_name(folders=False) if rng.chance(0.8) else rng.word() + "/" for _ in range(rng.pick((1, 1, 2, 2, 3, 3, 4, 5, 8)))})
    answer = S["folder_has"] + ", ".join(entries[:6]) + (" ..." if len(entries) > 6 else ".")
    return Dialogue("list", tools, prompt, [(*call, "\n".join(entries))], answer, "known", [skel])


def query(rng):
    kind = rng.random()
    if kind < 0.6:
        return rng.word()
    if kind < 0.75:
        return rng.name()
    if kind < 0.85:
        return rng.code()
    return f"{rng.word()} {rng.word()}"


def hit(rng, text, path):
    before, after = rng.words(0, 3), rng.words(0, 3)
    line = " ".join(x for x in (before, text, after) if x)
    return f"{path}:{rng.randint(1, 40)}: {line}"


def search_family(rng):
    text = query(rng)
    shown = rng.pick(('"{}"', "'{}'")).format(text) if rng.chance(0.85 if " " in text else 0.25) else text
    prompt, skel = say(rng, "search", q=shown)
    if rng.chance(0.08):
        d = without(rng, "search", prompt, "read")
        d.skeletons = [skel]
        return d
    tools = pick_tools(rng, ["search_files"])
    call = ("search_files", {"query": text})
    if rng.chance(0.15):
        return Dialogue("search", tools, prompt, [(*call, "no matches")], S["not_found"], "known", [skel])
    paths = sorted({rng.file_name() for _ in range(rng.pick((1, 1, 1, 2, 2, 3, 4)))})
    lines = [hit(rng, text, p) for p in paths]
    answer = S["found_in"] + ", ".join(paths) + "."
    return Dialogue("search", tools, prompt, [(*call, "\n".join(lines))], answer, "known", [skel])


def search_read_family(rng):
    text, path = query(rng), rng.file_name()
    shown = rng.pick(('"{}"', "'{}'")).format(text) if rng.chance(0.85 if " " in text else 0.2) else text
    asks_key = rng.chance(0.6)
    if asks_key:
        body, key, line = keyed_file(rng)
        prompt, skel = say(rng, "search_ask", q=shown, k=key)
    else:
        body = sentence(rng)
        prompt, skel = say(rng, "search_read", q=shown)
    if rng.chance(0.05):
        d = without(rng, "search_read", prompt, "read")
        d.skeletons = [skel]
        return d
    tools = pick_tools(rng, ["search_files", "read_file"])
    if rng.chance(0.07):
        return Dialogue("search_read", tools, prompt, [("search_files", {"query": text}, "no matches")], S["not_found"], "known", [skel])
    first = f"{path}:{rng.randint(1, 9)}: {rng.pick((text, text, rng.words(0, 2) + ' ' + text, text + ' ' + rng.words(1, 3), 'project: ' + text, '# ' + text))}".strip()
    lines = [first]
    if rng.chance(0.2):
        lines += [hit(rng, text, rng.file_name()) for _ in range(rng.randint(1, 2))]
    if rng.chance(0.6):
        body = first.split(": ", 1)[1] + "\n" + body
    answer = f"{path} says: {line}" if asks_key else f"{path} says: {quote(body)}"
    steps = [("search_files", {"query": text}, "\n".join(lines)), ("read_file", {"path": path}, body)]
    return Dialogue("search_read", tools, prompt, steps, answer, "known", [skel])


def remember_family(rng):
    fact = facts.fact(rng)[0] if rng.chance(0.85) else facts.errand(rng)
    prompt, skel = say(rng, "remember", t=fact)
    if rng.chance(0.02):
        return Dialogue("remember", [t for t in pick_tools(rng, []) if t != "memory_store"], prompt, [], S["no_tool"], "missing", [skel])
    return Dialogue("remember", pick_tools(rng, ["memory_store"]), prompt, [("memory_store", {"text": fact}, "stored")], S["remembered"] + fact + ".", "known", [skel])


def recall_family(rng):
    fact, question, key = facts.fact(rng)
    prompt, skel = facts.recall_question(rng, question)
    tools = pick_tools(rng, ["memory_search"])
    call = ("memory_search", {"query": key})
    if rng.chance(0.2):
        return Dialogue("recall", tools, prompt, [(*call, "nothing found")], S["unknown"], "known", [skel])
    if rng.chance(0.08):
        other = "\n".join(facts.fact(rng)[0] for _ in range(rng.pick((1, 1, 2))))
        return Dialogue("recall", tools, prompt, [(*call, other)], S["unknown"], "known", [skel])
    others = [facts.fact(rng)[0] for _ in range(rng.pick((0, 0, 0, 0, 1, 1, 2, 3)))]
    lines = [fact] + others
    if rng.chance(0.2):
        rng.shuffle(lines)
    return Dialogue("recall", tools, prompt, [(*call, "\n".join(lines))], S["told"] + fact + ".", "known", [skel])


def any_expression(rng):
    return arithmetic.expression(rng) if rng.chance(0.75) else arithmetic.function(rng)


def compute_remember_family(rng):
    written_form, canonical = any_expression(rng)
    result = arithmetic.evaluate(canonical)
    if rng.chance(0.5):
        label = facts.label(rng)
        prompt, skel = say(rng, "compute_remember_as", e=written_form, l=label)
        text = f"{label} is {result}"
    else:
        prompt, skel = say(rng, "compute_remember", e=written_form)
        text = f"{canonical} is {result}"
    steps = [("calculate", {"expression": canonical}, result), ("memory_store", {"text": text}, "stored")]
    return Dialogue("compute_remember", pick_tools(rng, ["calculate", "memory_store"]), prompt, steps, f"{canonical} is {result}. I will remember it.", "known", [skel])


def compute_write_family(rng):
    written_form, canonical = any_expression(rng)
    result = arithmetic.evaluate(canonical)
    path = rng.file_name()
    prompt, skel = say(rng, "compute_write", e=written_form, f=named(rng, path))
    if rng.chance(0.06):
        d = without(rng, "compute_write", prompt, "write")
        d.skeletons = [skel]
        return d
    steps = [("calculate", {"expression": canonical}, result), ("write_file", {"path": path, "content": result}, written(path, result))]
    return Dialogue("compute_write", pick_tools(rng, ["calculate", "write_file"]), prompt, steps, f"{canonical} is {result}, written to {path}.", "known", [skel])


def read_compute_family(rng):
    while True:
        value = rng.number()
        path = rng.file_name()
        operator, key = rng.pick((("*", "times"), ("*", "times"), ("+", "plus"), ("-", "minus"), ("/", "over"), ("h", "half"), ("d", "double"), ("s", "square"), ("r", "root"), ("p", "percent")))
        n = rng.number()
        canonical = {"h": f"{value} / 2", "d": f"{value} * 2", "s": f"{value}^2", "r": f"sqrt({value})", "p": f"{value} * {n} / 100"}.get(operator, f"{value} {operator} {n}")
        try:
            if arithmetic.usable(arithmetic.evaluate(canonical)):
                break
        except (OverflowError, ValueError):
            pass
    prompt, skel = say(rng, "read_" + key, f=named(rng, path), n=n)
    if rng.chance(0.04):
        d = without(rng, "read_compute", prompt, "read")
        d.skeletons = [skel]
        return d
    label = key_phrase(rng)
    body = fill(rng.pick(("{v}", "{v}", "{v}", "{k}: {v}", "{k} = {v}", "The {k} is {v}.", "{k}: {v} {u}", "{v} {u}", "the {k} is {v}")), {"v": value, "k": label, "u": rng.pick(("EUR", "kg", "km", "euros", "people", "hours"))})
    result = arithmetic.evaluate(canonical)
    steps = [("read_file", {"path": path}, body + ("\n" if rng.chance(0.5) else "")), ("calculate", {"expression": canonical}, result)]
    return Dialogue("read_compute", pick_tools(rng, ["read_file", "calculate"]), prompt, steps, f"{canonical} is {result}.", "known", [skel])


def introduce_family(rng):
    key = rng.pick(("who", "who", "can", "can", "hello", "thanks", "bye"))
    prompt, skel = say(rng, key)
    answer = {"who": S["introduce"] + S["abilities"], "can": S["introduce"] + S["abilities"], "hello": S["hello"] + " " + S["introduce"] + S["abilities"],
              "thanks": S["welcome"], "bye": S["goodbye"]}[key]
    return Dialogue("introduce", pick_tools(rng, []), prompt, [], answer, "talk", [skel])


def beyond_family(rng):
    prompt, skel = facts.beyond(rng)
    return Dialogue("beyond", pick_tools(rng, []), prompt, [], S["beyond"] + S["abilities"], "beyond", [skel])


FAMILIES = {
    arithmetic_family: 14, function_family: 15, time_family: 5, read_family: 8, question_family: 17, write_family: 11, list_family: 10,
    search_family: 14, search_read_family: 11, remember_family: 7, recall_family: 12, compute_remember_family: 7, compute_write_family: 8,
    read_compute_family: 8, introduce_family: 7, beyond_family: 12,
}
_FUNCTIONS, _WEIGHTS = list(FAMILIES), list(FAMILIES.values())


def dialogue(rng: Sampler, excluded=frozenset()) -> Dialogue:
    """A random dialogue whose phrasing is not among the excluded skeletons."""
    while True:
        made = rng.choices(_FUNCTIONS, _WEIGHTS)[0](rng)
        if not excluded.intersection(made.skeletons):
            if made.steps and rng.chance(CUT_SHARE_LOOKUP if made.family in ("ask_file", "search", "search_read", "read") else CUT_SHARE):
                made.calls = rng.randint(1, len(made.steps)) if rng.chance(0.5) else 1
            return made
