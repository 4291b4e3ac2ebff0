"""Checks that the training generator cannot make what the held-out evaluation asks.

    python check_disjoint.py [dialogues]

Draws training dialogues with and without the exclusion of held-out phrasings, and fails if a phrasing, a prompt or an
argument of an evaluation case occurs among the excluded run's dialogues.
"""

import sys

import dialogues
import eval_cases
from sampling import Sampler


def main(count):
    held = eval_cases.skeletons()
    cases = eval_cases.cases()
    prompts = {c["prompt"] for c in cases}
    arguments = {t for c in cases for call in c["expect"]["calls"] for name, rule in call["arguments"].items()
                 if name in ("path", "content", "query", "text") for t in rule.get("equals", []) if t not in (".", "", "./", "/")}
    print(f"{len(held)} held-out phrasings, {len(prompts)} prompts, {len(arguments)} arguments")
    rng = Sampler(7)
    would_collide = 0
    for _ in range(count):
        made = dialogues.dialogue(rng)
        if held.intersection(made.skeletons):
            would_collide += 1
            continue
        assert made.prompt not in prompts, made.prompt
        for _, values, _ in made.steps:
            for value in values.values():
                assert value not in arguments or len(value) < 3, value
    print(f"{count} dialogues drawn, {would_collide} had a held-out phrasing and were refused; nothing of the evaluation occurs in the others")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
