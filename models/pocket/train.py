"""Trains the pocket model; the learning rate follows the wall clock, so a run ends when its time does.

    python train.py --name first --until 04:15            # starts or resumes runs/first
"""

import argparse
import collections
import datetime
import json
import os
import pathlib
import pickle
import signal
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import dialogues
import model
import optimizer
from packing import Packer
from restore import restore
from sampling import Sampler
from tokens import PAD

RUNS = pathlib.Path(__file__).parent / "runs"
jax.config.update("jax_compilation_cache_dir", str(RUNS / "compiled"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
PEAK_RATE = 3e-3
WARM_UP_STEPS = 60
DECAY_POWER = 1.5
DECAY_FROM = 0.25      # share of the time after which the rate falls to zero
SAVE_EVERY = 150.0     # seconds


def loss_of(config, params, tokens, segments, positions, weights, shape):
    logits = model.forward(config, params, tokens, segments, positions, shape)[:-1]
    targets, weights = tokens[1:], weights[1:]
    chosen = jnp.take_along_axis(logits, targets[:, None], -1)[:, 0]
    losses = jax.nn.logsumexp(logits, -1) - chosen
    return jnp.sum(losses * weights) / jnp.sum(weights)


def excluded_skeletons():
    try:
        import eval_cases
        return eval_cases.skeletons()
    except ImportError:
        return frozenset()


def check(config, predict, params):
    """Share of dialogues whose every spoken token is predicted, by family, with held-out words."""
    rng = Sampler(99, held=True)
    good, all_ = collections.Counter(), collections.Counter()
    pending = []
    made = [dialogues.dialogue(rng) for _ in range(300)]
    rows = []
    for d in made:
        ids, weights = dialogues.render(d)
        if len(ids) <= 256 and len(rows) < 240:
            rows.append((d.family, ids, weights))
    for start in range(0, len(rows), 16):
        part = rows[start:start + 16]
        tokens = np.full((16, 256), PAD, np.int32)
        weights = np.zeros((16, 256), np.float32)
        for i, (_, ids, w) in enumerate(part):
            tokens[i, :len(ids)], weights[i, :len(ids)] = ids, w
        right = np.asarray(predict(params, tokens.reshape(-1))).reshape(16, 256)
        for i, (family, _, _) in enumerate(part):
            spoken = weights[i, 1:] > 0
            all_[family] += 1
            good[family] += bool(np.all(right[i, :-1][spoken] == tokens[i, 1:][spoken]))
    return sum(good.values()) / sum(all_.values()), {f: f"{good[f]}/{all_[f]}" for f in sorted(all_)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default="first")
    parser.add_argument("--until", required=True, help="UTC clock time HH:MM at which the run ends")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=PEAK_RATE)
    parser.add_argument("--restore", help="an exported GGUF file to begin a new run from")
    arguments = parser.parse_args()
    config = model.Config()
    folder = RUNS / arguments.name
    folder.mkdir(parents=True, exist_ok=True)
    latest = folder / "latest.pkl"
    if latest.exists():
        params, state, progress = pickle.loads(latest.read_bytes())
        params, state = jax.tree.map(jnp.asarray, (params, state))
    else:
        params = restore(config, arguments.restore) if arguments.restore else model.init(config, arguments.seed)
        state = optimizer.init(params)
        progress = {"tokens": 0, "steps": 0, "dialogues": 0, "began": time.time()}
    hour, minute = map(int, arguments.until.split(":"))
    end = datetime.datetime.now(datetime.UTC).replace(hour=hour, minute=minute, second=0).timestamp()
    if end < time.time():
        end += 86400
    rng = Sampler(arguments.seed * 1000 + progress["steps"])
    excluded = excluded_skeletons()
    packer = Packer(lambda: dialogues.dialogue(rng, excluded))

    @partial(jax.jit, static_argnums=(7,), donate_argnums=(0, 1))
    def step(params, state, tokens, segments, positions, weights, rate, shape):
        loss, grads = jax.value_and_grad(lambda p: loss_of(config, p, tokens, segments, positions, weights, shape))(params)
        params, state, norm = optimizer.update(config, params, grads, state, rate)
        return params, state, loss, norm

    @jax.jit
    def predict(params, tokens):
        positions = jnp.tile(jnp.arange(256), 16)
        return jnp.argmax(model.forward(config, params, tokens, jnp.zeros_like(tokens), positions, ((16, 256),)), -1)

    log = open(folder / "log.txt", "a")

    def report(text):
        print(text, flush=True)
        print(text, file=log, flush=True)

    def save():
        temporary = folder / "latest.tmp"
        temporary.write_bytes(pickle.dumps((jax.tree.map(np.asarray, params), jax.tree.map(np.asarray, state), progress)))
        os.replace(temporary, latest)

    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    saved, losses, since, checks, counted = time.time(), [], time.time(), 0, progress["tokens"]
    while (now := time.time()) < end and not stop:
        share = (now - progress["began"]) / (end - progress["began"])
        rate = arguments.rate * min(1.0, (progress["steps"] + 1) / WARM_UP_STEPS, max(0.0, (1 - share) / (1 - DECAY_FROM)) ** DECAY_POWER + 0.005)
        arrays, shape = packer.batch()
        params, state, loss, norm = step(params, state, *arrays, rate, shape)
        losses.append(float(loss))
        progress["steps"] += 1
        progress["tokens"] += int((arrays[1] > 0).sum())
        if progress["steps"] % 25 == 0:
            rate_of = (progress['tokens'] - counted) / (time.time() - since)
            counted = progress["tokens"]
            since = time.time()
            report(f"{datetime.datetime.now(datetime.UTC):%H:%M:%S} step {progress['steps']} tokens {progress['tokens'] / 1e6:.2f}M loss {np.mean(losses[-25:]):.4f} norm {float(norm):.2f} rate {rate:.5f} {rate_of:.0f}/s")
        if time.time() - saved > SAVE_EVERY:
            save()
            saved = time.time()
            if (checks := checks + 1) % 4 == 0:
                total, families = check(config, predict, params)
                report(f"    check {total:.3f} {json.dumps(families)}")
            since, counted = time.time(), progress["tokens"]
    progress["dialogues"] += packer.dialogues
    save()
    if stop:
        return
    total, families = check(config, predict, params)
    report(f"    end check {total:.3f} {json.dumps(families)}")


if __name__ == "__main__":
    main()
