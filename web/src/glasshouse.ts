/**
 * An AI agent that runs wholly inside a browser tab: model, tools and memory, with an event log that anyone can replay.
 *
 * ```js
 * import { Glasshouse } from "glasshouse";
 *
 * const glasshouse = await Glasshouse.start();
 * await glasshouse.loadModel();
 * for await (const event of glasshouse.chat("What is 17 * 23?")) {
 *   if (event.event === "answer") console.log(event.text);
 * }
 * ```
 *
 * @module
 */

import { Connection } from "./connection.js";
import { GlasshouseError } from "./errors.js";
import { engineVariant } from "./features.js";
import type { ChatEvent, EngineInfo, LoadProgress, MemoryRecord, ModelInfo, RunOptions, RunSummary } from "./protocol.js";

export { GlasshouseError } from "./errors.js";
export type * from "./protocol.js";

/** The pocket model, which lies beside this file. */
const POCKET_MODEL = "pocket.gguf";
/** How long the worker works before it hears the page again; half a frame more than a person can notice. */
const SLICE_MILLISECONDS = 25;

/** How an engine is started. */
export interface StartOptions {
  /** `persistent`, the default, keeps what is remembered in this browser; `temporary` forgets it with the tab. */
  readonly memory?: "persistent" | "temporary";
  /** Called once if the engine ends by itself: a crash, no memory left, ended by the browser. */
  readonly onDeath?: (error: GlasshouseError) => void;
}

/** How a model is loaded. */
export interface LoadOptions {
  readonly onProgress?: (progress: LoadProgress) => void;
  /** Aborting ends the loading; the promise is rejected with the code `cancelled`. */
  readonly signal?: AbortSignal;
  /** Whether a downloaded model is kept for the next time. Default `true`. */
  readonly cache?: boolean;
}

/** How a question is asked. */
export interface ChatOptions extends RunOptions {
  /** Aborting stops the run, which then ends with an `error` event; nothing is thrown. */
  readonly signal?: AbortSignal;
  /** How long the worker works before it sends events and hears the page again. Default 25; at least 1. */
  readonly sliceMilliseconds?: number;
}

/** Long-term memory: what the agent was told to remember. */
export interface Memory {
  /** Everything, oldest first. */
  list(): Promise<readonly MemoryRecord[]>;
  /** What matches these words, best first. */
  search(query: string): Promise<readonly MemoryRecord[]>;
  /** Remembers a text; the new record. */
  add(text: string): Promise<MemoryRecord>;
  /** Forgets a record; `false` if there is none of this number. */
  remove(id: number): Promise<boolean>;
}

/** One engine in a worker of its own. Everything that fails, fails with a {@link GlasshouseError}. */
export class Glasshouse {
  readonly #connection: Connection;
  /** What runs, and where its memory lives. */
  readonly engine: EngineInfo;
  /** Long-term memory. */
  readonly memory: Memory;
  #model: ModelInfo | undefined;

  private constructor(connection: Connection, engine: EngineInfo) {
    this.#connection = connection;
    this.engine = engine;
    this.memory = {
      list: () => connection.call("memoryList", {}),
      search: (query) => connection.call("memorySearch", { query }),
      add: (text) => connection.call("memoryAdd", { text }),
      remove: (id) => connection.call("memoryRemove", { id }),
    };
  }

  /**
   * Starts an engine. Codes: `no_simd` (the browser is too old), `engine_unavailable` (its files cannot be had),
   * `worker_failed`.
   */
  static async start({ memory = "persistent", onDeath }: StartOptions = {}): Promise<Glasshouse> {
    const variant = engineVariant();
    if (!variant) {
      throw new GlasshouseError(
        "no_simd",
        "This browser has no WebAssembly SIMD, which the engine needs. Update the browser: Chrome 91, Firefox 114 and " +
          "Safari 16.4 have it, and all later versions.",
      );
    }
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "glasshouse" });
    const connection = new Connection(worker, (error) => onDeath?.(error));
    const aliveLock = `glasshouse-worker-${Array.from(crypto.getRandomValues(new Uint32Array(4))).join("-")}`;
    try {
      const engine = await connection.call("open", {
        variant,
        persistentMemory: memory === "persistent",
        aliveLock,
      });
      connection.watch(aliveLock);
      return new Glasshouse(connection, engine);
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** The model that answers, once there is one. */
  get model(): ModelInfo | undefined {
    return this.#model;
  }

  /**
   * Loads a GGUF model: from an address (as text, one relative to the page), from a file that a person chose, or, left
   * out, the pocket model. It takes the place of the one before, which stays if this one cannot be used. Codes:
   * `model_unavailable`, `model_truncated`, `model_unreadable`, `model_too_large`, `model_empty`, `cancelled`, `busy`, and
   * the engine's own for a file that it cannot use.
   */
  async loadModel(
    source: URL | string | File = new URL(POCKET_MODEL, import.meta.url),
    { onProgress, signal, cache = true }: LoadOptions = {},
  ): Promise<ModelInfo> {
    const from = source instanceof File ? { file: source } : { url: addressOf(source) };
    this.#model = await this.#connection.call("loadModel", { source: from, useCache: cache }, { signal, onProgress });
    return this.#model;
  }

  /**
   * Asks a question. The run starts with the first `next()`, and leaving the loop stops it. The last event is `end` or
   * `error`; what the run cost is the generator's return value. Throws for what is no run's fault: no model, a dead
   * worker, `busy` while another run is under way.
   */
  async *chat(
    question: string,
    { signal, sliceMilliseconds = SLICE_MILLISECONDS, ...options }: ChatOptions = {},
  ): AsyncGenerator<ChatEvent, RunSummary, undefined> {
    const stop = new AbortController();
    const stopRun = () => stop.abort();
    if (signal?.aborted) stopRun();
    signal?.addEventListener("abort", stopRun, { once: true });
    const queue: ChatEvent[] = [];
    let wake = (): void => undefined;
    let over = false;
    const run = this.#connection
      .call(
        "chat",
        { question, options, sliceMilliseconds: Math.max(1, sliceMilliseconds) },
        {
          signal: stop.signal,
          onProgress: (events) => {
            queue.push(...events);
            wake();
          },
        },
      )
      .finally(() => {
        over = true;
        wake();
      });
    // Awaited below; until then a failure is not unhandled.
    run.catch(() => undefined);
    try {
      for (;;) {
        const event = queue.shift();
        if (event) yield event;
        else if (over) return await run;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      signal?.removeEventListener("abort", stopRun);
      if (!over) {
        stopRun();
        await run.catch(() => undefined);
      }
    }
  }

  /** The event log of the last run that was asked with `record`, once; `glasshouse replay` verifies it. */
  takeLog(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return this.#connection.call("takeLog", {});
  }

  /** Ends the worker. What was remembered stays. Every later call fails. */
  destroy(): void {
    this.#connection.close();
  }
}

/** The whole address of a model. Not everyone who calls has a compiler that checks the type. */
function addressOf(source: URL | string): string {
  if (typeof source === "string" && URL.canParse(source, document.baseURI)) return new URL(source, document.baseURI).href;
  if (source instanceof URL) return source.href;
  throw new GlasshouseError("model_unavailable", "A model is loaded from a URL, from text that is one, or from a File.");
}
