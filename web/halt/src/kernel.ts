/// <reference lib="esnext.disposable" preserve="true" />
/**
 * The kernel: takes tokens in order, and answers a decision for each.
 *
 * - {@link Kernel}: one stream's guard.
 * - {@link HaltConfig}: its limits.
 * - {@link Decision}, {@link Halt}: what it decides, and why a stream stopped.
 *
 * **Invariant: nothing is coerced.** What is not exactly an input of the right type is refused as one that is none.
 *
 * @module
 */

import { MISUSE, instance } from "./module.js";
import type { Instance } from "./module.js";
import { read } from "./text.js";

/** The limits of a kernel. What is missing has its default; the README has them all, with their ranges. */
export interface HaltConfig {
  /** What a scorer approves of; the kernel does not look at it. */
  readonly coherence_threshold?: number | undefined;
  /** A score below it halts. */
  readonly hard_limit?: number | undefined;
  /** A score below it, and not below the hard limit, is warned of. Null: nothing is. */
  readonly soft_limit?: number | null | undefined;
  /** The weight of a scorer's first part; the kernel does not look at it. */
  readonly w_logic?: number | undefined;
  /** The weight of a scorer's second part; both together are 1. */
  readonly w_fact?: number | undefined;
  /** Scores whose mean is taken. */
  readonly window_size?: number | undefined;
  /** A mean below it halts. */
  readonly window_threshold?: number | undefined;
  /** Scores over which a drop is measured. */
  readonly trend_window?: number | undefined;
  /** A drop above it halts. */
  readonly trend_threshold?: number | undefined;
  /** How a drop is measured. */
  readonly trend?: "endpoint" | "least_squares" | undefined;
  /** Content words that a scorer looks back on; the kernel does not look at it. */
  readonly history_window?: number | undefined;
  /** Milliseconds that a scored token may take. */
  readonly deadline_ms?: number | undefined;
  /** Bits of entropy that a token's choice may have. */
  readonly logit_entropy_limit?: number | undefined;
  /** Whether a stream stops at once, or may finish its sentence. */
  readonly halt_mode?: "hard" | "soft" | undefined;
  /** Tokens that a soft halt waits at most for the end of a sentence. */
  readonly soft_halt_tokens?: number | undefined;
  /** Tokens that are held back: one is released when so many more have passed. */
  readonly hold_back?: number | undefined;
  /** Whether an input that is none halts, or throws a {@link HaltInputError}. */
  readonly invalid_input?: "halt" | "error" | undefined;
  /** Tokens of which the trace keeps what was decided. */
  readonly trace_tokens?: number | undefined;
  /** Whether the trace keeps the beginning of their text. */
  readonly keep_text?: boolean | undefined;
}

/** What a token broke. `module_failed` is no rule: the WebAssembly module failed, and everything is halted. */
export type Rule =
  | "hard_limit"
  | "window_avg"
  | "downward_trend"
  | "logit_entropy_limit"
  | "deadline_ms"
  | "soft_limit"
  | "missing_score"
  | "invalid_score"
  | "out_of_order"
  | "after_end"
  | "module_failed";

/** The answer to one token. */
export interface Decision {
  /** The token's index. */
  readonly index: number;
  /** What is to become of the stream. */
  readonly decision: "continue" | "warn" | "halt";
  /** What the token broke; null where the stream simply goes on. */
  readonly rule: Rule | null;
  /** What broke the rule: a score, a mean, a drop, bits, milliseconds, an index. */
  readonly value: number | null;
  /** What it should have kept to. */
  readonly limit: number | null;
  /** Tokens of the stream that may be shown by now: those with a lower index. */
  readonly released: number;
}

/** The end of a stream by a halt. */
export interface Halt {
  /** The token at which it stopped. */
  readonly index: number;
  readonly rule: Rule;
  readonly value: number | null;
  readonly limit: number | null;
  /** The token that broke the rule: an earlier one when a soft halt waited for the end of a sentence. */
  readonly trigger: number;
  /** Tokens that may be shown: those with a lower index. */
  readonly released: number;
  /** The rule with its numbers, in words: `window_avg (0.5469 < 0.5625)`. */
  readonly reason: string;
}

/** A token and what is known of it. */
export interface TokenInput {
  /** Its place in the stream, from 0 on without a gap. */
  readonly index: number;
  /** Its coherence, from 0 to 1. Null or undefined: its scorer gave none. */
  readonly score: number | null | undefined;
  /** The entropy of its choice in bits, if it is known. */
  readonly entropyBits?: number | null | undefined;
  /** How long it and its score took, in milliseconds, if that is to count. */
  readonly elapsedMs?: number | null | undefined;
  /** Its text: it says where a sentence ends, and may be kept in the trace. */
  readonly text?: string | null | undefined;
}

/** One token of the trace. */
export interface TraceEntry {
  readonly index: number;
  readonly score: number;
  readonly decision: Decision["decision"];
  readonly rule: Rule | null;
  /** The beginning of its text, if the configuration asks for it. */
  readonly text: string;
}

/** A configuration that is refused. */
export class HaltConfigError extends Error {
  override readonly name = "HaltConfigError";
  /** The field that is wrong. */
  readonly field: string | undefined;

  constructor(message: string) {
    super(message);
    this.field = /^`([^`]*)`/.exec(message)?.[1];
  }
}

/** A token that is not taken, where the configuration asks for errors. The kernel is as it was. */
export class HaltInputError extends Error {
  override readonly name = "HaltInputError";
  readonly index: number;
  readonly rule: Rule;
  readonly value: number;
  readonly limit: number;

  constructor(message: string, index: number, rule: Rule, value: number, limit: number) {
    super(message);
    this.index = index;
    this.rule = rule;
    this.value = value;
    this.limit = limit;
  }
}

const CONTINUE = 0;
const REFUSED = -1;
const DECISIONS = ["continue", "warn", "halt"] as const;

const SCORE = 1;
const ENTROPY_BITS = 2;
const ELAPSED_MS = 4;
const TEXT = 8;

/** The trace's entries in memory. */
const ENTRY = { bytes: 72, score: 8, decision: 16, rule: 17, textLength: 18, text: 19 };

/** A value for the module, which refuses NaN: nothing that is no number becomes one. */
function numberOf(value: unknown): number {
  return typeof value === "number" ? value : NaN;
}

/** Kernels that nobody holds any more are freed. */
const abandoned =
  typeof FinalizationRegistry === "undefined"
    ? undefined
    : new FinalizationRegistry<{ module: Instance; handle: number }>(({ module, handle }) => {
        if (!module.failed) module.functions.halt_kernel_free(handle);
      });

/** One stream's guard. A new stream needs a new one: a halt is for good. */
export class Kernel {
  readonly #module: Instance;
  /** Zero when it is freed. */
  #handle: number;
  #halt: Halt | null = null;
  #released = 0;
  #tokens = 0;
  /** Whether the text of tokens matters: a soft halt looks for the end of a sentence in it, or the trace keeps it. */
  readonly usesText: boolean;

  /** @throws {HaltConfigError} with the field, its value and its range. */
  constructor(config: HaltConfig = {}) {
    this.#module = instance();
    this.usesText = config?.halt_mode === "soft" || config?.keep_text === true;
    this.#handle = this.#guarded(() => make(this.#module, config));
    abandoned?.register(this, { module: this.#module, handle: this.#handle }, this);
  }

  /** Decides about a token of which only the score is known. */
  processToken(index: number, score: number | null | undefined): Decision {
    if (typeof score !== "number") return this.process({ index, score });
    const module = this.#module;
    let verdict = MISUSE;
    const handle = this.#usable();
    try {
      if (!module.failed) verdict = module.functions.halt_process_token(handle, numberOf(index), score);
    } catch (error) {
      this.#caught(error);
    }
    return this.#decision(verdict, index);
  }

  /** Decides about a token. */
  process(token: TokenInput): Decision {
    const { index, score, entropyBits, elapsedMs, text } = token;
    const handle = this.#usable();
    const module = this.#module;
    let given = 0;
    if (score !== undefined && score !== null) given |= SCORE;
    if (entropyBits !== undefined && entropyBits !== null) given |= ENTROPY_BITS;
    if (elapsedMs !== undefined && elapsedMs !== null) given |= ELAPSED_MS;
    let address = 0;
    let length = 0;
    let verdict = MISUSE;
    try {
      if (text !== undefined && text !== null) {
        if (typeof text !== "string") throw new TypeError("a token's text is no string");
        if (this.usesText && !module.failed) {
          given |= TEXT;
          const place = module.write(text);
          address = place.text;
          length = place.end - place.text;
        }
      }
      if (!module.failed) {
        verdict = module.functions.halt_process(
          handle,
          numberOf(index),
          numberOf(score),
          numberOf(entropyBits),
          numberOf(elapsedMs),
          address,
          length,
          given,
        );
      }
    } catch (error) {
      this.#caught(error);
    }
    return this.#decision(verdict, index);
  }

  /** Ends the stream: what was held back is released, and a halt that waited is confirmed. */
  finish(): Halt | null {
    if (this.#halt === null && this.#handle !== 0) {
      const status = this.#asked((functions, handle) => functions.halt_finish(handle), MISUSE);
      this.#ended(status);
    }
    return this.#halt;
  }

  /** The halt, if the stream has halted. */
  get halt(): Halt | null {
    if (this.#halt === null && this.#handle !== 0) {
      const status = this.#asked((functions, handle) => functions.halt_halted(handle), MISUSE);
      this.#ended(status);
    }
    return this.#halt;
  }

  /** Whether tokens may still come. */
  get isActive(): boolean {
    return this.#asked((functions, handle) => functions.halt_is_active(handle), 0) === 1;
  }

  /** Whether a soft halt waits for the end of a sentence: the text of tokens matters now. */
  get isFinishing(): boolean {
    return this.#asked((functions, handle) => functions.halt_is_finishing(handle), 0) === 1;
  }

  /** Tokens that were taken. */
  get tokens(): number {
    const tokens = this.#asked((functions, handle) => functions.halt_tokens(handle), MISUSE);
    if (tokens >= 0) this.#tokens = tokens;
    return this.#tokens;
  }

  /** Tokens that may be shown: those with a lower index. */
  get released(): number {
    const released = this.#asked((functions, handle) => functions.halt_released(handle), MISUSE);
    if (released >= 0) this.#released = released;
    return this.#released;
  }

  /** The last tokens that were taken and what was decided, from the oldest on; nothing of a kernel that was freed. */
  trace(): TraceEntry[] {
    const entries = this.#asked((functions, handle) => functions.halt_trace(handle), 0);
    const module = this.#module;
    const start = entries > 0 ? module.functions.halt_text() : 0;
    const bytes = module.bytes;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    return Array.from({ length: Math.max(entries, 0) }, (_, entry) => {
      const place = start + entry * ENTRY.bytes;
      return {
        index: view.getFloat64(place, true),
        score: view.getFloat64(place + ENTRY.score, true),
        decision: DECISIONS[view.getUint8(place + ENTRY.decision)] ?? "halt",
        rule: (module.rules[view.getUint8(place + ENTRY.rule)] as Rule | undefined) ?? null,
        text: read(bytes, place + ENTRY.text, view.getUint8(place + ENTRY.textLength)),
      };
    });
  }

  /** Gives its memory back. Its halt stays; it takes no tokens any more. */
  free(): void {
    if (this.#handle === 0) return;
    void this.halt;
    void this.released;
    void this.tokens;
    abandoned?.unregister(this);
    this.#asked((functions, handle) => functions.halt_kernel_free(handle), MISUSE);
    this.#handle = 0;
  }

  #usable(): number {
    if (this.#handle === 0) throw new Error("the kernel was freed; a new stream needs a new one");
    return this.#handle;
  }

  /** Asks the module about this kernel, unless one of the two is gone. */
  #asked<T>(ask: (functions: Instance["functions"], handle: number) => T, gone: T): T {
    if (this.#handle === 0 || this.#module.failed) return gone;
    return this.#guarded(() => ask(this.#module.functions, this.#handle));
  }

  /** Nothing is asked of an instance after a call that trapped. */
  #guarded<T>(call: () => T): T {
    if (this.#module.failed) throw new Error("the halt kernel's module failed");
    try {
      return call();
    } catch (error) {
      this.#noted(error);
      throw error;
    }
  }

  #noted(error: unknown): void {
    // The engine's own stack may overflow inside the module too, which leaves it half way.
    if (error instanceof WebAssembly.RuntimeError || isStackOverflow(error)) this.#module.failed = true;
  }

  /** What is no failure of the module is the caller's. */
  #caught(error: unknown): void {
    this.#noted(error);
    if (!this.#module.failed) throw error;
  }

  #ended(status: number): void {
    const module = this.#module;
    if (module.failed || status === MISUSE) {
      module.failed = true;
      this.#halt = this.#failure(this.#tokens);
    } else if (status === 1) {
      const { 0: index = 0, 2: rule = 0, 3: value = 0, 4: limit = 0, 5: released = 0, 6: trigger = 0 } = module.answer;
      module.functions.halt_cause();
      const reason = module.text();
      this.#halt = Object.freeze({ index, rule: module.rules[rule] as Rule, value, limit, trigger, released, reason });
    }
  }

  #failure(index: number): Halt {
    const released = this.#released;
    return Object.freeze({
      index,
      rule: "module_failed",
      value: null,
      limit: null,
      trigger: index,
      released,
      reason: "module_failed",
    });
  }

  #decision(verdict: number, given: number): Decision {
    const module = this.#module;
    if (module.failed || verdict === MISUSE) {
      module.failed = true;
      this.#halt ??= this.#failure(given);
      const { rule, released } = this.#halt;
      return { index: given, decision: "halt", rule, value: null, limit: null, released };
    }
    const answer = module.answer;
    const index = answer[0] as number;
    const released = answer[5] as number;
    this.#released = released;
    if (verdict === CONTINUE) return { index, decision: "continue", rule: null, value: null, limit: null, released };
    const number = answer[2] as number;
    const rule = (module.rules[number] as Rule | undefined) ?? null;
    const value = rule === null ? null : (answer[3] as number);
    const limit = rule === null ? null : (answer[4] as number);
    if (verdict === REFUSED) {
      module.functions.halt_cause();
      const message = `token ${index} is not taken: ${module.text()}`;
      throw new HaltInputError(message, index, rule ?? "module_failed", value ?? NaN, limit ?? NaN);
    }
    return { index, decision: DECISIONS[verdict] ?? "halt", rule, value, limit, released };
  }
}

/** `using kernel = new Kernel()` frees it, where the language has that. */
export interface Kernel extends Disposable {}
if (typeof Symbol.dispose === "symbol") {
  Object.defineProperty(Kernel.prototype, Symbol.dispose, { value: Kernel.prototype.free, configurable: true });
}

function isStackOverflow(error: unknown): boolean {
  return error instanceof RangeError && /call stack|recursion/i.test(error.message);
}

/** A kernel's handle. */
function make(module: Instance, config: HaltConfig): number {
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw new HaltConfigError("the configuration is no object");
  }
  const { functions } = module;
  const handle = functions.halt_config_new();
  try {
    for (const [name, value] of Object.entries(config)) {
      if (value !== undefined && set(module, handle, name, value) !== 0) throw new HaltConfigError(module.text());
    }
    const kernel = functions.halt_kernel_new(handle);
    if (kernel === 0) throw new HaltConfigError(module.text());
    return kernel;
  } finally {
    functions.halt_config_free(handle);
  }
}

function set(module: Instance, config: number, name: string, value: unknown): number {
  const { functions } = module;
  const { text, other, end } = module.write(name, typeof value === "string" ? value : "");
  const length = other - text;
  switch (typeof value) {
    case "number":
      return functions.halt_config_set_number(config, text, length, value);
    case "boolean":
      return functions.halt_config_set_flag(config, text, length, value ? 1 : 0);
    case "string":
      return functions.halt_config_set_text(config, text, length, other, end - other);
    default:
      if (value === null) return functions.halt_config_set_off(config, text, length);
      throw new HaltConfigError(`\`${name}\` is of type ${typeof value}; it must be a number, a text, true, false or null`);
  }
}

/** Whether a text ends a sentence, as a soft halt sees it. */
export function endsSentence(text: string): boolean {
  if (typeof text !== "string") throw new TypeError("the text is no string");
  const module = instance();
  const place = module.write(text);
  return module.functions.halt_ends_sentence(place.text, place.end - place.text) === 1;
}
