/**
 * The worker: owns the engine, answers the page's calls. A run advances in slices, between which the worker hears its
 * page; so a stop takes effect without shared memory.
 *
 * @module
 */

import { loadEngine } from "./engine.js";
import type { Engine, LoadedEngine } from "./engine.js";
import { GlasshouseError, toFailure } from "./errors.js";
import { privateFileSystem } from "./features.js";
import { loadFromFile, loadFromUrl } from "./model-loader.js";
import type { Calls, ChatEvent, Failure, MemoryRecord, Method, PageMessage, WorkerMessage } from "./protocol.js";
import { nextTask } from "./tasks.js";

/** Held by the worker that has long-term memory open. */
const MEMORY_LOCK = "glasshouse-memory";
/** A worker of the page that was left takes a moment to end; it is waited for this long. */
const MEMORY_WAIT_MILLISECONDS = 1000;
/** Files stay open a moment longer than their worker lives. */
const REOPEN_ATTEMPTS = 10;
const REOPEN_WAIT_MILLISECONDS = 100;

const NO_MODEL = {
  none: "There is no model yet. Load one first.",
  damaged: "The model that was kept in this browser is damaged, and another could not be had. Load a model.",
};

/** What a call's handler gets beside its parameters. */
interface Context<M extends Method> {
  readonly signal: AbortSignal;
  progress(progress: Calls[M]["progress"]): void;
}

type Handlers = {
  readonly [M in Method]: (
    parameters: Calls[M]["parameters"],
    context: Context<M>,
  ) => Calls[M]["result"] | Promise<Calls[M]["result"]>;
};

const scope = self as unknown as DedicatedWorkerGlobalScope;
const running = new Map<number, AbortController>();
let loaded: (LoadedEngine & { readonly engine: Engine }) | undefined;
/** What the engine's model is worth; `damaged` if it was read from bytes that changed since they were stored. */
let model: "none" | "ready" | "damaged" = "none";
/** What the engine is doing that must not be begun twice; for the message. */
let occupation: string | undefined;
/** Why the engine can no longer be used. */
let fatal: Failure | undefined;

const handlers: Handlers = {
  async open({ variant, persistentMemory, aliveLock }) {
    await holdUntilDeath(aliveLock);
    const [code, turn] = await Promise.all([
      loadEngine(variant),
      persistentMemory ? waitForMemory() : Promise.resolve(false),
    ]);
    const engine = await openMemory(code, persistentMemory, turn);
    loaded = { ...code, engine };
    const problem = engine.memoryProblem;
    return {
      version: code.module.version(),
      kernels: code.module.kernels(),
      memoryIsPersistent: engine.memoryIsPersistent,
      ...(problem === undefined ? {} : { memoryProblem: problem }),
    };
  },

  loadModel: ({ source, useCache }, { signal, progress }) =>
    occupied("loading a model", async () => {
      const damaged = () => {
        model = "damaged";
      };
      const context = { engine: open().engine, memory: open().memory, signal, progress, damaged };
      const info = await ("file" in source
        ? loadFromFile(context, source.file)
        : loadFromUrl(context, source.url, useCache));
      model = "ready";
      return info;
    }),

  chat: ({ question, options, sliceMilliseconds }, { signal, progress }) =>
    occupied("answering", async () => {
      const { engine } = open();
      if (model !== "ready") throw new GlasshouseError("no_model", NO_MODEL[model]);
      engine.start(question, JSON.stringify(options));
      let stopped = false;
      let milliseconds = 0;
      for (;;) {
        if (signal.aborted && !stopped) {
          stopped = true;
          engine.stop();
        }
        const begun = performance.now();
        const events = JSON.parse(engine.advance(sliceMilliseconds)) as ChatEvent[];
        milliseconds += performance.now() - begun;
        if (events.length > 0) progress(events);
        if (events.some(({ event }) => event === "end" || event === "error")) return { milliseconds };
        await nextTask();
      }
    }),

  // The engine's array is a copy outside of linear memory already, and is handed over.
  takeLog: () => open().engine.takeLog() as Uint8Array<ArrayBuffer> | undefined,
  memoryList: () => records(open().engine.memoryList()),
  memorySearch: ({ query }) => records(open().engine.memorySearch(query)),
  memoryAdd: ({ text }) => JSON.parse(open().engine.memoryAdd(text)) as MemoryRecord,
  memoryRemove: ({ id }) => open().engine.memoryRemove(id),
};

scope.onmessage = ({ data }: MessageEvent<PageMessage>) => {
  if (data.type === "cancel") running.get(data.id)?.abort();
  else void answer(data);
};
scope.onmessageerror = () => {
  throw new Error("a message of the page could not be read");
};

async function answer(call: Extract<PageMessage, { type: "call" }>): Promise<void> {
  const { id } = call;
  const controller = new AbortController();
  running.set(id, controller);
  try {
    if (fatal) throw new GlasshouseError(fatal.code, fatal.message);
    const context = {
      signal: controller.signal,
      progress: (progress: Calls[Method]["progress"]) => send({ type: "progress", id, progress }),
    };
    // Method and parameters belong together by the type of the message, which a lookup by name forgets.
    const handler = handlers[call.method] as (parameters: unknown, context: unknown) => unknown;
    const result = (await handler(call.parameters, context)) as Calls[Method]["result"];
    const transfer = result instanceof Uint8Array ? [result.buffer] : [];
    send({ type: "result", id, result }, transfer);
  } catch (error) {
    const failure = controller.signal.aborted && error === controller.signal.reason ? CANCELLED : toFailure(error);
    if (failure.fatal) fatal = failure;
    send({ type: "failure", id, failure });
  } finally {
    running.delete(id);
  }
}

function send(message: WorkerMessage, transfer: Transferable[] = []): void {
  scope.postMessage(message, transfer);
}

const CANCELLED: Failure = { code: "cancelled", message: "This was cancelled.", fatal: false };

/** Runs what must not be begun twice. */
async function occupied<T>(name: string, work: () => Promise<T>): Promise<T> {
  if (occupation !== undefined) {
    throw new GlasshouseError("busy", `The engine is still ${occupation}. Wait for it, or stop it first.`);
  }
  occupation = name;
  try {
    return await work();
  } finally {
    occupation = undefined;
  }
}

function open(): LoadedEngine & { readonly engine: Engine } {
  if (!loaded) throw new GlasshouseError("not_started", "The engine is not started. Wait until start() resolved.");
  return loaded;
}

function records(json: string): readonly MemoryRecord[] {
  return JSON.parse(json) as readonly MemoryRecord[];
}

/** Holds a lock as long as this worker lives. Whoever waits for it learns of the worker's death, however it came. */
async function holdUntilDeath(name: string): Promise<void> {
  await takeLock(name, undefined);
}

/** Whether this worker is the one that may open long-term memory. Without locks, opening itself decides. */
function waitForMemory(): Promise<boolean> {
  return takeLock(MEMORY_LOCK, AbortSignal.timeout(MEMORY_WAIT_MILLISECONDS));
}

function takeLock(name: string, signal: AbortSignal | undefined): Promise<boolean> {
  // `locks` is missing where the page did not come over a secure connection.
  const locks = navigator.locks as LockManager | undefined;
  if (!locks) return Promise.resolve(false);
  return new Promise((resolve) => {
    const held = locks.request(name, signal ? { signal } : {}, () => {
      resolve(true);
      return new Promise<never>(() => undefined);
    });
    held.catch(() => resolve(false));
  });
}

/**
 * Opens long-term memory. If it is this worker's turn and the files are still in use, then by a worker that is ending.
 */
async function openMemory({ module }: LoadedEngine, persistent: boolean, turn: boolean): Promise<Engine> {
  let engine = await module.Engine.open(persistent);
  if (!persistent || !turn || (await privateFileSystem()) === undefined) return engine;
  for (let attempt = 0; attempt < REOPEN_ATTEMPTS && !engine.memoryIsPersistent; attempt++) {
    engine.free();
    await new Promise((resolve) => setTimeout(resolve, REOPEN_WAIT_MILLISECONDS));
    engine = await module.Engine.open(persistent);
  }
  return engine;
}
