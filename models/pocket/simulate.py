"""Runs the held-out cases end to end in Python: the exported model, greedy, with simulated tools.

    python simulate.py [pocket.gguf] [--limit N per family] [--show] [--family F]
"""

import argparse
import collections
import datetime
import json
import math
import re
import time

import arithmetic
import eval_cases
import tokens
from reference import Reference

MAX_STEPS = 6
MAX_NEW = 250
STEP = re.compile(r"(?:Thought: [^\n]*\n)?(?:Call: (?P<tool>\w+) (?P<arguments>\{.*\})|Answer: (?P<answer>.*))", re.S)


class Tools:
    """The tools over a case's files and memory, in the shapes of the real ones."""

    def __init__(self, case):
        self.files = dict(case["files"])
        self.memory = list(case["memory"])
        self.granted = tokens.TOOLS_PLAIN if not case["mount"] else tokens.TOOLS_WRITE if case["writable"] else tokens.TOOLS_READ

    def run(self, tool, arguments):
        if tool not in self.granted:
            return f"error: unknown tool {tool}"
        try:
            return getattr(self, tool)(**arguments)
        except TypeError:
            return "error: bad arguments"

    def calculate(self, expression):
        try:
            return arithmetic.evaluate(expression)
        except Exception as error:
            return f"error: {type(error).__name__}"

    def get_time(self, utc_offset=None):
        return datetime.datetime(2026, 11, 21, 2, 10, 20).strftime("%Y-%m-%d %H:%M:%S UTC, %A")

    def read_file(self, path):
        return self.files[path] if path in self.files else f"error: no such file: {path}"

    def write_file(self, path, content):
        self.files[path] = content
        return f"wrote {len(content.encode())} bytes to {path}"

    def list_dir(self, path):
        prefix = "" if path in (".", "", "./", "/") else path.removeprefix("./").rstrip("/") + "/"
        entries = set()
        for name in self.files:
            if name.startswith(prefix):
                head, slash, _ = name[len(prefix):].partition("/")
                entries.add(head + slash)
        if not entries and prefix:
            return f"error: no such folder: {path}"
        return "\n".join(sorted(entries)) or "(empty)"

    def search_files(self, query, path=None):
        hits = [f"{name}:{n}: {line}" for name in sorted(self.files) for n, line in enumerate(self.files[name].splitlines(), 1) if query.lower() in line.lower()]
        return "\n".join(hits) or "no matches"

    def memory_store(self, text):
        self.memory.append(text)
        return "stored"

    def memory_search(self, query):
        words = [w.lower() for w in re.findall(r"\w+", query)]
        lines = {m: set(w.lower() for w in re.findall(r"\w+", m)) for m in self.memory}
        found = [m for m in self.memory if all(w in lines[m] for w in words)]
        if not found:
            weight = {w: math.log(1 + len(lines) / (0.5 + sum(w in l for l in lines.values()))) for w in words}
            score = {m: sum(weight[w] for w in words if w in lines[m]) for m in self.memory}
            found = sorted((m for m in self.memory if score[m] > 0), key=lambda m: -score[m])
        return "\n".join(found[:5]) or "nothing found"


def generate(model, cache, ids):
    """Greedy token ids up to <|end|>, which enters the cache with the next step's tokens."""
    made = []
    logits = model.forward(cache, ids)
    while len(made) < MAX_NEW:
        best = int(logits.argmax())
        if best == tokens.END:
            break
        made.append(best)
        logits = model.forward(cache, [best])
    return made


def run_case(model, case):
    tools = Tools(case)
    cache = model.new_cache()
    ids = [tokens.BEGIN, tokens.TOOLS] + tokens.encode(" ".join(tools.granted)) + [tokens.USER] + tokens.encode(case["prompt"]) + [tokens.ASSISTANT]
    steps = []
    for _ in range(MAX_STEPS):
        text = tokens.decode(generate(model, cache, ids))
        match = STEP.fullmatch(text)
        if not match:
            steps.append({"kind": "malformed", "text": text})
            break
        if match["answer"] is not None:
            steps.append({"kind": "answer", "text": match["answer"]})
            break
        try:
            arguments = json.loads(match["arguments"])
        except ValueError:
            steps.append({"kind": "malformed", "text": text})
            break
        steps.append({"kind": "call", "tool": match["tool"], "arguments": arguments})
        observation = tools.run(match["tool"], arguments)
        steps.append({"kind": "observation", "text": observation})
        ids = [tokens.END, tokens.TOOL] + tokens.encode(observation) + [tokens.ASSISTANT]
    return steps, tools


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default="pocket.gguf")
    parser.add_argument("--limit", type=int, default=10 ** 9)
    parser.add_argument("--family")
    parser.add_argument("--show", action="store_true")
    arguments = parser.parse_args()
    model = Reference(arguments.model)
    passed, total = collections.Counter(), collections.Counter()
    began = time.time()
    for case in eval_cases.cases():
        family = case["family"]
        if total[family] >= arguments.limit or arguments.family and family != arguments.family:
            continue
        steps, tools = run_case(model, case)
        why = eval_cases.judge(case["expect"], steps, tools.files, tools.memory)
        total[family] += 1
        passed[family] += why is None
        if why and arguments.show:
            print(f"{case['id']}: {case['prompt']!r}\n    {why}\n    {json.dumps(steps, ensure_ascii=False)[:400]}", flush=True)
    for family in total:
        print(f"{family:18}{passed[family]:4}/{total[family]:<4}{passed[family] / total[family]:8.1%}")
    print(f"{'all':18}{sum(passed.values()):4}/{sum(total.values()):<4}{sum(passed.values()) / sum(total.values()):8.1%}   {time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
