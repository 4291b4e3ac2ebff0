/**
 * The page's end of the protocol: calls with their answers, and the worker's death.
 *
 * @module
 */

import { GlasshouseError, START_AGAIN } from "./errors.js";
import type { Calls, Method, PageMessage, WorkerMessage } from "./protocol.js";

interface Pending {
  resolve(result: Calls[Method]["result"]): void;
  reject(error: GlasshouseError): void;
  progress(progress: Calls[Method]["progress"]): void;
}

/** What a call may be given beside its parameters. */
export interface CallOptions<M extends Method> {
  /** Aborting cancels the call, which then fails or ends early by itself. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Calls[M]["progress"]) => void) | undefined;
}

/** One worker. After its death every call fails with the reason. */
export class Connection {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  readonly #onDeath: (error: GlasshouseError) => void;
  #next = 1;
  #death: GlasshouseError | undefined;

  constructor(worker: Worker, onDeath: (error: GlasshouseError) => void) {
    this.#worker = worker;
    this.#onDeath = onDeath;
    worker.onmessage = ({ data }: MessageEvent<WorkerMessage>) => this.#receive(data);
    worker.onerror = (event) => {
      event.preventDefault();
      const reason = event.message ? ` (${event.message})` : "";
      this.#die("worker_failed", `The engine's worker stopped${reason}. ${START_AGAIN}`);
    };
    worker.onmessageerror = () =>
      this.#die("worker_failed", `A message of the engine's worker could not be read. ${START_AGAIN}`);
  }

  /** Why the worker can no longer be used. */
  get death(): GlasshouseError | undefined {
    return this.#death;
  }

  /** Watches a lock that the worker holds: getting it means that the worker is gone, which no event tells. */
  watch(lock: string): void {
    const locks = navigator.locks as LockManager | undefined;
    locks
      ?.request(lock, () => this.#die("worker_failed", `The engine's worker was ended by the browser. ${START_AGAIN}`))
      .catch(() => undefined);
  }

  /** Makes a call. Fails with a {@link GlasshouseError}. */
  call<M extends Method>(
    method: M,
    parameters: Calls[M]["parameters"],
    { signal, onProgress }: CallOptions<M> = {},
  ): Promise<Calls[M]["result"]> {
    if (this.#death) return Promise.reject(this.#death);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const cancel = () => this.#send({ type: "cancel", id });
      const settle = () => signal?.removeEventListener("abort", cancel);
      this.#pending.set(id, {
        resolve: (result) => {
          settle();
          resolve(result as Calls[M]["result"]);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
        progress: (progress) => onProgress?.(progress as Calls[M]["progress"]),
      });
      this.#send({ type: "call", id, method, parameters } as PageMessage);
      if (signal?.aborted) cancel();
      else signal?.addEventListener("abort", cancel, { once: true });
    });
  }

  /** Ends the worker and what it is doing. */
  close(): void {
    this.#die("destroyed", "This engine was closed. Start another one.", false);
  }

  #send(message: PageMessage): void {
    this.#worker.postMessage(message);
  }

  #receive(message: WorkerMessage): void {
    const pending = this.#pending.get(message.id);
    if (!pending) return;
    if (message.type === "progress") {
      pending.progress(message.progress);
      return;
    }
    this.#pending.delete(message.id);
    if (message.type === "result") {
      pending.resolve(message.result);
      return;
    }
    const { code, message: sentence, fatal } = message.failure;
    pending.reject(new GlasshouseError(code, sentence));
    if (fatal) this.#die(code, sentence);
  }

  #die(code: string, message: string, tell = true): void {
    if (this.#death) return;
    const error = new GlasshouseError(code, message);
    this.#death = error;
    this.#worker.terminate();
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
    if (tell) this.#onDeath(error);
  }
}
