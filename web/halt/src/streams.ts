/**
 * Streams of scored tokens through a kernel: tokens come out when they are released, and nothing comes after a halt.
 *
 * @module
 */

import { Kernel } from "./kernel.js";
import type { Halt, HaltConfig } from "./kernel.js";

/** A token of a stream, with its score. */
export interface ScoredToken<T = string> {
  /** What comes out when it is released. */
  readonly token: T;
  /** Its coherence, from 0 to 1. Null or undefined: its scorer gave none. */
  readonly score: number | null | undefined;
  readonly entropyBits?: number | null | undefined;
  readonly elapsedMs?: number | null | undefined;
  /** Its text, where the token is not the text itself. */
  readonly text?: string | null | undefined;
}

/** A `TransformStream` with the halt that ends it. */
export interface HaltStream<T> extends TransformStream<ScoredToken<T>, T> {
  /** The halt, when there is one; null when the stream has ended by itself. Rejected when it has failed. */
  readonly halted: Promise<Halt | null>;
}

/** A kernel, and the tokens that it holds back: never more than its configuration says, and one. */
class Gate<T> {
  readonly #kernel: Kernel;
  readonly #isOwn: boolean;
  readonly #held: T[] = [];
  /** The index of the first token that is held, and that of the next one to come. */
  #first: number;
  #next: number;
  #released = 0;

  constructor(guard: HaltConfig | Kernel | undefined) {
    this.#isOwn = !(guard instanceof Kernel);
    this.#kernel = guard instanceof Kernel ? guard : new Kernel(guard);
    this.#first = this.#next = this.#kernel.tokens;
  }

  /** Takes a token; whether the stream goes on. */
  take(item: ScoredToken<T>): boolean {
    // A stream may carry anything at run time: what is no scored token has no score.
    const { token, score, entropyBits, elapsedMs, text } = (item ?? {}) as ScoredToken<T>;
    const index = this.#next;
    const decision = this.#kernel.process({
      index,
      score,
      entropyBits,
      elapsedMs,
      text: text ?? (typeof token === "string" ? token : undefined),
    });
    this.#next++;
    this.#held.push(token);
    this.#released = decision.released;
    return decision.decision !== "halt";
  }

  /** Whether a token waits that may be shown. */
  get isReady(): boolean {
    return this.#held.length > 0 && this.#first < this.#released;
  }

  /** The token that may be shown. */
  shift(): T {
    this.#first++;
    return this.#held.shift() as T;
  }

  /** Ends the stream, and answers its halt. */
  finish(): Halt | null {
    const halt = this.#kernel.finish();
    this.#released = this.#kernel.released;
    return halt;
  }

  /** Forgets what may not be shown. */
  close(): void {
    this.#held.length = 0;
    if (this.#isOwn) this.#kernel.free();
  }
}

/**
 * Guards an asynchronous iterable, or any other: yields its tokens as they are released, ends the source at a halt, and
 * returns the halt, or null. Tokens that are held back when the source fails are not shown.
 *
 * @param guard The limits, or a kernel that the caller keeps.
 */
export async function* guardTokens<T>(
  source: AsyncIterable<ScoredToken<T>> | Iterable<ScoredToken<T>>,
  guard?: HaltConfig | Kernel,
): AsyncGenerator<T, Halt | null, undefined> {
  const gate = new Gate<T>(guard);
  try {
    for await (const item of source) {
      // The source ends before what it said last is shown.
      if (!gate.take(item)) break;
      while (gate.isReady) yield gate.shift();
    }
    const halt = gate.finish();
    while (gate.isReady) yield gate.shift();
    return halt;
  } finally {
    gate.close();
  }
}

/**
 * A stream that takes scored tokens and gives tokens as they are released. At a halt its readable side ends, and its
 * writable side fails for whoever writes on.
 *
 * @param guard The limits, or a kernel that the caller keeps.
 */
export function haltStream<T = string>(guard?: HaltConfig | Kernel): HaltStream<T> {
  const gate = new Gate<T>(guard);
  let resolve: (halt: Halt | null) => void;
  let reject: (reason: unknown) => void;
  const halted = new Promise<Halt | null>((onHalt, onFailure) => {
    resolve = onHalt;
    reject = onFailure;
  });
  // Whoever does not ask for the halt need not handle its failure.
  halted.catch(() => undefined);

  const end = (controller: TransformStreamDefaultController<T>): void => {
    const halt = gate.finish();
    while (gate.isReady) controller.enqueue(gate.shift());
    gate.close();
    resolve(halt);
  };
  const fail = (reason: unknown): void => {
    gate.close();
    reject(reason);
  };
  const transformer: Transformer<ScoredToken<T>, T> & { cancel(reason: unknown): void } = {
    transform(item, controller) {
      try {
        if (gate.take(item)) {
          while (gate.isReady) controller.enqueue(gate.shift());
          return;
        }
        end(controller);
      } catch (error) {
        fail(error);
        throw error;
      }
      controller.terminate();
    },
    flush: end,
    // Either side was given up. Runtimes without this leave the promise open.
    cancel: fail,
  };
  return Object.assign(new TransformStream<ScoredToken<T>, T>(transformer), { halted });
}
