/**
 * What every runtime must come to: the reference's vectors, and the golden streams of `crates/halt/tests/pseudo`.
 *
 * @module
 */

import type * as Core from "@glasshouse/halt/core";

type Api = typeof Core;
type Kernel = Core.Kernel;
type TokenInput = Core.TokenInput;

interface Expected {
  readonly index: number;
  readonly rule: string;
  readonly value: number;
}

/** `crates/halt/tests/vectors.json`. */
export type Vectors = readonly ({
  readonly number: number;
  readonly config: Record<string, number>;
  readonly scores: readonly number[];
} & Record<"endpoint" | "least_squares", Expected | null>)[];

/** `crates/halt/tests/golden.json`. */
export interface Summary {
  readonly streams: number;
  readonly decisions: number;
  readonly halts: number;
  readonly hash: string;
}

const RULES = [
  "hard_limit",
  "window_avg",
  "downward_trend",
  "logit_entropy_limit",
  "deadline_ms",
  "soft_limit",
  "missing_score",
  "invalid_score",
  "out_of_order",
  "after_end",
];

/** Runs the vectors; how many agree, or an error for the first that does not. */
export function vectors({ Kernel }: Api, all: Vectors): number {
  let compared = 0;
  for (const vector of all) {
    for (const trend of ["endpoint", "least_squares"] as const) {
      const kernel = new Kernel({ ...vector.config, trend });
      for (const [index, score] of vector.scores.entries()) {
        if (kernel.processToken(index, score).decision === "halt") break;
      }
      const halt = kernel.finish();
      const found = halt && { index: halt.index, rule: halt.rule, value: Number((halt.value ?? NaN).toFixed(4)) };
      kernel.free();
      if (JSON.stringify(found) !== JSON.stringify(vector[trend])) {
        throw new Error(`vector ${vector.number} by ${trend}: ${JSON.stringify(found)}`);
      }
      compared++;
    }
  }
  return compared;
}

class Hash {
  #lanes: readonly [number, number] = [0, 0];
  readonly #view = new DataView(new ArrayBuffer(8));

  word(word: number): void {
    let [first, second] = this.#lanes;
    first = Math.imul(first ^ word, 16_777_619);
    first ^= first >>> 13;
    second = (Math.imul(second ^ word, 2_246_822_507) + 2_654_435_769) | 0;
    second ^= second >>> 16;
    this.#lanes = [first, second];
  }

  number(number: number): void {
    // The bits of NaN are not the same everywhere.
    if (Number.isNaN(number)) {
      this.word(0);
      this.word(0x7ff80000);
      return;
    }
    this.#view.setFloat64(0, number, true);
    this.word(this.#view.getUint32(0, true));
    this.word(this.#view.getUint32(4, true));
  }

  outcome({ index, verdict, rule, value, limit, released }: Outcome): void {
    this.number(index);
    this.word(verdict);
    this.word(rule === null ? 255 : RULES.indexOf(rule));
    this.number(value ?? 0);
    this.number(limit ?? 0);
    this.number(released);
  }

  text(): string {
    return this.#lanes.map((lane) => (lane >>> 0).toString(16).padStart(8, "0")).join("");
  }
}

interface Outcome {
  readonly index: number;
  readonly verdict: number;
  readonly rule: string | null;
  readonly value: number | null;
  readonly limit: number | null;
  readonly released: number;
}

/** Runs pseudo-random streams. `crates/halt/tests/pseudo/mod.rs` says how they come about. */
export function golden({ Kernel, HaltInputError }: Api, streams: number): Summary {
  let state = 1;
  const below = (bound: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state >>> 16) % bound;
  };
  const oneOf = <T>(first: T, second: T): T => (below(2) === 0 ? first : second);
  const process = (kernel: Kernel, token: TokenInput, isPlain: boolean): Outcome => {
    try {
      const decided = isPlain ? kernel.processToken(token.index, token.score) : kernel.process(token);
      return { ...decided, verdict: ["continue", "warn", "halt"].indexOf(decided.decision) };
    } catch (error) {
      if (!(error instanceof HaltInputError)) throw error;
      const { index, rule, value, limit } = error;
      return { index, verdict: -1, rule, value, limit, released: kernel.released };
    }
  };
  const hash = new Hash();
  let [decisions, halts] = [0, 0];
  for (let stream = 0; stream < streams; stream++) {
    const config = {
      hard_limit: (30 + below(31)) / 100,
      window_size: 1 + below(12),
      window_threshold: (40 + below(41)) / 100,
      trend_window: 2 + below(8),
      trend_threshold: (10 + below(51)) / 100,
      soft_halt_tokens: below(21),
      hold_back: below(13),
      trend: oneOf("endpoint" as const, "least_squares" as const),
      halt_mode: oneOf("hard" as const, "soft" as const),
      invalid_input: oneOf("halt" as const, "error" as const),
    };
    const softLimit = (50 + below(50)) / 100;
    const kernel = new Kernel(below(2) === 1 ? { ...config, soft_limit: softLimit } : config);
    const level = 60 + below(41);
    const length = 1 + below(100);
    let index = 0;
    let hasHalted = false;
    for (let place = 0; place < length; place++) {
      const kind = below(100);
      const score = (level - below(25)) / 100;
      let token: TokenInput = { index, score };
      if (kind === 0) token = { index, score: null };
      else if (kind === 1) token = { index, score: NaN };
      else if (kind === 2) token = { index, score: 1.5 };
      else if (kind === 3) token = { index: index + 1, score };
      else if (kind === 4) token = { index, score, text: "end. " };
      else if (kind === 5) token = { index, score, text: "終わり。" };
      else if (kind === 6) token = { index, score, text: "word" };
      else if (kind === 7) token = { index, score, entropyBits: below(14) / 10 };
      else if (kind === 8) token = { index, score, elapsedMs: below(60) };
      const outcome = process(kernel, token, kind >= 9);
      hash.outcome(outcome);
      decisions++;
      if (outcome.verdict >= 0) index++;
      // One more token after the halt.
      if (hasHalted) break;
      hasHalted = outcome.verdict === 2;
    }
    const halt = kernel.finish();
    hash.word(halt === null ? 0 : 1);
    if (halt !== null) {
      hash.outcome({ ...halt, verdict: 2 });
      hash.number(halt.trigger);
      halts++;
    }
    kernel.free();
  }
  return { streams, decisions, halts, hash: hash.text() };
}

/** What is given of each token that is measured. */
export type Given = "score" | "everything";

/** Nanoseconds per token for streams of a length, the best of several; making a kernel counts. */
export function measure({ Kernel }: Api, given: Given, length: number): number {
  const scores = Array.from({ length: 1024 }, (_, number) => 0.8 + ((number * 37) % 101) / 1000);
  const streams = Math.ceil(400_000 / length);
  let best = Infinity;
  for (let repetition = 0; repetition < 7; repetition++) {
    const start = performance.now();
    for (let stream = 0; stream < streams; stream++) {
      const kernel = new Kernel({ keep_text: given === "everything" });
      for (let index = 0; index < length; index++) {
        const score = scores[index & 1023];
        const { decision } =
          given === "score"
            ? kernel.processToken(index, score)
            : kernel.process({ index, score, entropyBits: 0.5, elapsedMs: 1, text: " token" });
        if (decision !== "continue") throw new Error(`token ${index}: ${decision}`);
      }
      kernel.free();
    }
    best = Math.min(best, ((performance.now() - start) * 1e6) / (streams * length));
  }
  return best;
}
