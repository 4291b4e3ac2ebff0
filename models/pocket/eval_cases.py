"""Held-out evaluation cases, and the judge of one result.

    python eval_cases.py > eval_cases.jsonl      # 600 and more cases, always the same ones

Each line is one case:

    {"id", "family", "prompt",
     "files":    {path: content} to create in the mounted folder before the run,
     "mount":    whether a folder is mounted (read-only unless writable), "writable": whether with write access,
     "memory":   texts to store in the memory before the run, in this order,
     "expect":   {"calls": [...], "answer_contains": [...], "answer_excludes": [...],
                  "answer_has_observation": true | absent, "answer_has_time": true | absent,
                  "files": {path: content}, "memory_contains": [...]}}

A result is the list of the agent's steps, {"kind": "call", "tool", "arguments"}, {"kind": "observation", "text"},
{"kind": "answer", "text"}, with other kinds ignored. It passes when all of these hold:

 1. There is an answer, and the tools called are exactly those of `calls`, in that order.
 2. Each entry of `calls` is {"tool", "arguments": {name: rule}, "number": text | absent, "observation": text | absent}.
    Each rule is an object with one key: "equals": [texts], the argument is one of them; "contains": [texts], all occur in
    it, without regard to case; "contains_any": [texts], one does, without regard to case. An argument without a rule may
    be anything. "number": the observation of this call is a number within 1e-9 (relative) of it. "observation": the
    observation contains this text.
 3. The answer contains every text of `answer_contains` (case matters) and none of `answer_excludes`.
 4. With `answer_has_observation` the answer contains the first call's observation, trimmed.
 5. With `answer_has_time` the answer contains the date (first ten characters), the hour and minute (characters 11 to 15)
    and the weekday (after the last space) of the first call's observation.
 6. After the run every file of `files` holds exactly that content, one final newline aside, and each text of
    `memory_contains` occurs in some remembered text. Both are checked from outside.

Every word, name, number and file name of a case comes from the half of the hash space that training never uses
(`sampling.held_out`), every phrasing from eval_phrasings.py, which the training generator excludes (`skeletons`).
"""

import json
import math
import pathlib
import re
import sys

import arithmetic
import facts
import phrases
import phrases_more  # noqa: F401  (extends P and BEYOND)
import frames  # noqa: F401  (extends P)
from eval_phrasings import H
from sampling import Sampler, fill, skeleton

COUNTS = {"arithmetic": 70, "function": 50, "time": 20, "read": 45, "ask_file": 55, "write": 55, "list": 40, "search": 35, "search_read": 40,
          "remember": 45, "recall": 45, "compute_remember": 35, "compute_write": 35, "read_compute": 30, "introduce": 22, "beyond": 32, "error": 26}


def skeletons():
    """The skeletons of all held-out phrasings."""
    return frozenset(skeleton(text) for texts in H.values() for text in texts)


def training_vocabulary():
    """Lower-case words that the training phrasings and facts spell out, so that no case uses one as an argument."""
    texts = [t for texts in phrases.P.values() for t in texts] + phrases.BEYOND
    for name in dir(facts):
        if name.isupper() and name not in ("P", "BEYOND"):
            texts += getattr(facts, name)
    texts.append(pathlib.Path(facts.__file__).read_text())
    return frozenset(w for t in texts for w in re.findall(r"[a-z]+", t.lower()))


def case(family, prompt, calls, contains=(), files=None, mount=True, writable=False, memory=(), excludes=(), **more):
    expect = {"calls": calls, "answer_contains": list(contains), "answer_excludes": list(excludes), **more}
    return {"family": family, "prompt": prompt, "files": files or {}, "mount": mount, "writable": writable, "memory": list(memory), "expect": expect}


def call(tool, number=None, observation=None, **arguments):
    made = {"tool": tool, "arguments": arguments}
    if number is not None:
        made["number"] = number
    if observation is not None:
        made["observation"] = observation
    return made


def equals(*texts):
    return {"equals": list(texts)}


def say(rng, key, **slots):
    return fill(rng.pick(H[key]), slots)


def other_files(rng, count=2):
    return {rng.file_name(folders=False): rng.words(3, 8) + "\n" for _ in range(count)}


def note(rng):
    """A line of prose of held-out words."""
    text = rng.pick(("{N} will bring the {w} {v}", "the {w} needs a new {v}", "{N} and {M} met near the {w}", "order {n} {w} for {N}", "{w} {v} {w2}", "our {w} costs {n}"))
    return fill(text, {"N": rng.name(), "M": rng.name(), "w": rng.word(), "v": rng.word(), "w2": rng.word(), "n": rng.integer(3)})


KEYS = ["harvest", "altitude", "mileage", "nickname", "horsepower", "wingspan", "surname", "ratio", "margin", "deposit", "quota", "curator", "sponsor", "habitat", "dosage", "pitch"]


def keyed(rng):
    """(content, key, value): lines that give keys values."""
    style = rng.pick(("{k}: {v}", "The {k} is {v}.", "{k} = {v}"))
    keys = {}
    while len(keys) < rng.randint(1, 5):
        keys[rng.pick(KEYS) if rng.chance(0.5) else rng.word()] = rng.name() if rng.chance(0.3) else rng.code() if rng.chance(0.5) else rng.word()
    key = rng.pick(list(keys))
    return "".join(fill(style, {"k": k, "v": v}) + "\n" for k, v in keys.items()), key, keys[key]


def fact(rng):
    """(text, recall key, subject, value) with subjects and values of the held-out half."""
    shapes = [
        ("my {r}'s {a} is {v}", "what_my", "{r}'s {a}"), ("my {o} is {v}", "what_my", "{o}"), ("the {t} is {v}", "what_the", "{t}"), ("the {w} {k} is {v}", "what_the", "{w} {k}"),
        ("{N}'s {b} is {v}", "what_name", "{N}'s {b}"), ("the {x} is behind the {w}", "where", "{x}"), ("the {e} with {N} is on {d}", "when", "{e} with {N}"),
    ]
    shape, key, subject = rng.pick(shapes)
    slots = {"r": rng.pick(("godmother", "stepson", "barber", "hamster", "mentor", "sister", "neighbour", "tutor")), "a": rng.pick(("name", "surname", "birthplace", "postcode", "favourite tea", "office")),
             "o": rng.pick(("blood group", "tax number", "badge number", "favourite opera", "ring size", "allotment number")), "t": rng.pick(("vault code", "boiler setting", "tram line", "cinema row", "launch code", "choir room")),
             "b": rng.pick(("surname", "birthplace", "desk", "nickname", "ring size")), "x": rng.pick(("ironing board", "fuse box", "kettle", "atlas", "violin", "corkscrew")), "e": rng.pick(("rehearsal", "picnic", "hearing", "check-up", "auction")),
             "k": rng.pick(("code", "password", "combination", "setting")), "w": rng.word(), "N": rng.name(), "v": rng.code() if rng.chance(0.5) else rng.name() if rng.chance(0.6) else rng.word(), "d": f"{rng.randint(1, 28)} {rng.pick(facts.MONTHS)}"}
    value = slots["d"] if "{d}" in shape else slots["w"] if "{x}" in shape else slots["v"]
    return fill(shape, slots), key, fill(subject, slots), value


def words_of(text):
    return [w for w in "".join(c if c.isalnum() else " " for c in text).split() if len(w) > 1]


def expression(rng, functions=0.0):
    written, canonical = arithmetic.function(rng) if rng.chance(functions) else arithmetic.expression(rng)
    return written, canonical, arithmetic.evaluate(canonical)


def calculation(result):
    return call("calculate", number=result)


def arithmetic_case(rng, i, functions=0.0):
    written, _, result = expression(rng, functions)
    return case("function" if functions else "arithmetic", say(rng, "calculate", e=written), [calculation(result)], mount=rng.chance(0.5), answer_has_observation=True)


def time_case(rng, i):
    return case("time", H["time"][i % len(H["time"])], [call("get_time")], mount=rng.chance(0.3), answer_has_time=True)


def read_case(rng, i):
    path, text = rng.file_name(), note(rng)
    if rng.chance(0.2):
        text += "\n" + note(rng)
    return case("read", say(rng, "read", f=path if rng.chance(0.7) else f'"{path}"'), [call("read_file", path=equals(path))], [text], files={path: text + "\n"}, writable=rng.chance(0.5))


def ask_file_case(rng, i):
    path = rng.file_name()
    text, key, value = keyed(rng)
    return case("ask_file", say(rng, "ask_file", k=key, f=path), [call("read_file", path=equals(path))], [value], files={path: text}, writable=rng.chance(0.5))


def write_case(rng, i):
    path, text = rng.file_name(folders=False), note(rng) if rng.chance(0.6) else rng.words(1, 4)
    if rng.chance(0.55):
        mark = '"' if rng.chance(0.7) else "'"
        prompt = say(rng, "write_quoted", c=mark + text + mark, f=path)
    else:
        prompt = say(rng, "write_plain", c=text, f=path)
    return case("write", prompt, [call("write_file", path=equals(path), content=equals(text))], [path], writable=True, files={}, **{"files_after": {path: text}})


def list_case(rng, i):
    if i % 5 < 2:
        folder = rng.folder().split("/")[0]
        names = [rng.file_name(folders=False) for _ in range(rng.randint(1, 4))]
        files = {f"{folder}/{n}": rng.words(2, 4) + "\n" for n in names}
        return case("list", say(rng, "list_named", d=folder), [call("list_dir", path=equals(folder, folder + "/", "./" + folder))], names, files=files)
    names = [rng.file_name(folders=False) for _ in range(rng.randint(1, 5))]
    return case("list", H["list_root"][i % len(H["list_root"])], [call("list_dir", path=equals(".", "", "./", "/"))], names, files={n: rng.words(2, 4) + "\n" for n in names})


def search_case(rng, i):
    query = rng.name() if rng.chance(0.3) else rng.word()
    path = rng.file_name()
    files = {path: f"{note(rng)}\n{rng.word()} {query} {rng.word()}\n", **other_files(rng)}
    shown = f'"{query}"' if rng.chance(0.25) else query
    return case("search", say(rng, "search", q=shown), [call("search_files", observation=path, query=equals(query))], [path], files=files)


def search_read_case(rng, i):
    query = rng.name() if rng.chance(0.3) else rng.word()
    path = rng.file_name()
    text, key, value = keyed(rng)
    files = {path: f"{query}\n{text}", **other_files(rng)}
    calls = [call("search_files", observation=path, query=equals(query)), call("read_file", path=equals(path))]
    if rng.chance(0.7):
        return case("search_read", say(rng, "search_ask", q=query, k=key), calls, [value], files=files)
    line = note(rng)
    files[path] = f"{query}: {line}\n"
    return case("search_read", say(rng, "search_read", q=query), calls, [line], files=files)


def remember_case(rng, i):
    text, _, _, value = fact(rng)
    return case("remember", say(rng, "remember", t=text), [call("memory_store", text={"contains": [text]})], [value], mount=rng.chance(0.3), memory_contains=[text])


def recall_case(rng, i):
    text, key, subject, value = fact(rng)
    others = []
    while len(others) < rng.randint(0, 3):
        other, _, _, v = fact(rng)
        if not set(words_of(other.lower())) & set(words_of(subject.lower())):
            others.append(other)
    memory = others + [text]
    rng.shuffle(memory)
    prompt = say(rng, "recall_" + key, s=subject)
    if rng.chance(0.12):
        return case("recall", prompt, [call("memory_search", query={"contains_any": words_of(subject)})], ["do not know"], mount=False, memory=[o for o in others], excludes=[value])
    return case("recall", prompt, [call("memory_search", query={"contains_any": words_of(subject)}, observation=text)], [value], mount=rng.chance(0.3), memory=memory)


def compute_remember_case(rng, i):
    written, _, result = expression(rng, 0.25)
    store = {"contains": [result]}
    if rng.chance(0.35):
        label = fill(rng.pick(("the {w}", "the {w} quota", "my {w}", "the surcharge")), {"w": rng.word()})
        prompt = say(rng, "compute_remember_as", e=written, l=label)
        store = {"contains": [result, label.split()[-1]]}
    else:
        prompt = say(rng, "compute_remember", e=written)
    return case("compute_remember", prompt, [calculation(result), call("memory_store", text=store)], mount=rng.chance(0.3), answer_has_observation=True, memory_contains=[result])


def compute_write_case(rng, i):
    written, _, result = expression(rng, 0.25)
    path = rng.file_name(folders=False)
    calls = [calculation(result), call("write_file", path=equals(path), content={"contains": [result]})]
    return case("compute_write", say(rng, "compute_write", e=written, f=path), calls, [path], writable=True, answer_has_observation=True, files_after={path: result})


def read_compute_case(rng, i):
    while True:
        key, operator = rng.pick((("read_times", "*"), ("read_plus", "+"), ("read_minus", "-"), ("read_over", "/"), ("read_double", "*")))
        value, n, path = rng.number(), rng.number(), rng.file_name()
        canonical = f"{value} * 2" if key == "read_double" else f"{value} {operator} {n}"
        if arithmetic.usable(arithmetic.evaluate(canonical)):
            break
    result = arithmetic.evaluate(canonical)
    text = value if rng.chance(0.6) else f"{rng.word()}: {value}"
    return case("read_compute", say(rng, key, f=path, n=n), [call("read_file", path=equals(path)), calculation(result)], [result], files={path: text + "\n"})


def introduce_case(rng, i):
    order = ["who"] * len(H["who"]) + ["can"] * len(H["can"]) + ["hello", "hello", "hello"] + ["thanks", "thanks"] + ["bye", "bye"]
    key = order[i % len(order)]
    prompt = H[key][order[:i % len(order)].count(key)]
    contains = {"who": ["pocket model"], "can": ["calculate"], "hello": ["Hello"], "thanks": ["welcome"], "bye": ["Goodbye"]}[key]
    return case("introduce", prompt, [], contains, mount=rng.chance(0.4))


def beyond_case(rng, i):
    return case("beyond", H["beyond"][i], [], ["beyond"], mount=rng.chance(0.5), writable=rng.chance(0.5))


def error_case(rng, i):
    kind = i % 4
    if kind == 0:
        return case("error", say(rng, "error_divide", a=rng.integer(rng.randint(2, 4))), [call("calculate", observation="division by zero")], ["division by zero"])
    path = rng.file_name(folders=False)
    if kind == 1:
        return case("error", say(rng, "read", f=path), [call("read_file", observation="error", path=equals(path))], ["did not work"], files=other_files(rng))
    if kind == 2:
        return case("error", say(rng, "read", f=path), [], ["--mount"], mount=False)
    return case("error", say(rng, "write_quoted", c=f'"{rng.words(1, 3)}"', f=path), [], [":rw"], files=other_files(rng), writable=False, mount=rng.chance(0.5))


MAKERS = {"arithmetic": arithmetic_case, "function": lambda rng, i: arithmetic_case(rng, i, 1.0), "time": time_case, "read": read_case, "ask_file": ask_file_case, "write": write_case, "list": list_case,
          "search": search_case, "search_read": search_read_case, "remember": remember_case, "recall": recall_case, "compute_remember": compute_remember_case, "compute_write": compute_write_case,
          "read_compute": read_compute_case, "introduce": introduce_case, "beyond": beyond_case, "error": error_case}


def cases(seed=20260101):
    """All cases, in order of their families."""
    rng, seen, made = Sampler(seed, held=True, forbidden=training_vocabulary()), set(), []
    for family, count in COUNTS.items():
        index = number = 0
        while number < count:
            one = MAKERS[family](rng, index)
            index += 1
            if "files_after" in one["expect"]:
                one["expect"]["files"] = one["expect"].pop("files_after")
            if one["prompt"] in seen and family not in ("list", "introduce", "time", "beyond"):
                continue
            seen.add(one["prompt"])
            number += 1
            made.append({"id": f"{family}-{number:03d}", **one})
    return made


def matches(rule, text):
    if "equals" in rule:
        return text in rule["equals"]
    low = text.lower()
    if "contains" in rule:
        return all(t.lower() in low for t in rule["contains"])
    return any(t.lower() in low for t in rule["contains_any"])


def is_number(text, wanted):
    try:
        return math.isclose(float(text), float(wanted), rel_tol=1e-9, abs_tol=1e-12)
    except ValueError:
        return False


def judge(expect, steps, files=None, memory=None):
    """None when the result passes, else why not. files and memory are what is there after the run, where known."""
    calls = [s for s in steps if s["kind"] == "call"]
    observations = [s["text"] for s in steps if s["kind"] == "observation"]
    answers = [s["text"] for s in steps if s["kind"] == "answer"]
    if [c["tool"] for c in calls] != [c["tool"] for c in expect["calls"]]:
        return f"tools {[c['tool'] for c in calls]}"
    if not answers:
        return "no answer"
    for at, (made, wanted) in enumerate(zip(calls, expect["calls"])):
        for name, rule in wanted["arguments"].items():
            if not matches(rule, made["arguments"].get(name, "")):
                return f"{name} of call {at + 1} is {made['arguments'].get(name)!r}"
        if "number" in wanted and not is_number(observations[at], wanted["number"]):
            return f"observation {at + 1} is {observations[at]!r}, not {wanted['number']}"
        if "observation" in wanted and wanted["observation"] not in observations[at]:
            return f"observation {at + 1} is {observations[at]!r}"
    answer = answers[-1]
    wanted = list(expect["answer_contains"])
    if expect.get("answer_has_observation"):
        wanted.append(observations[0].strip())
    if expect.get("answer_has_time"):
        wanted += [observations[0][:10], observations[0][11:16], observations[0].rsplit(" ", 1)[1]]
    for text in wanted:
        if text not in answer:
            return f"answer lacks {text!r}: {answer!r}"
    for text in expect["answer_excludes"]:
        if text in answer:
            return f"answer has {text!r}"
    for path, content in expect.get("files", {}).items():
        if files is not None and files.get(path, "").removesuffix("\n") != content:
            return f"file {path} holds {files.get(path)!r}"
    for text in expect.get("memory_contains", []):
        if memory is not None and not any(text in m for m in memory):
            return f"memory lacks {text!r}"
    return None


if __name__ == "__main__":
    for one in cases():
        json.dump(one, sys.stdout, ensure_ascii=False)
        print()
