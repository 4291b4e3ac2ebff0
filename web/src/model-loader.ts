/**
 * Brings a model's bytes from the network, the cache or a person's file into linear memory, once.
 *
 * @module
 */

import type { Engine } from "./engine.js";
import { GlasshouseError } from "./errors.js";
import { CACHE_PROBLEMS, ModelCache, copyFromFile, problemOf } from "./model-cache.js";
import type { Entry, IncompleteFile } from "./model-cache.js";
import type { LoadProgress, ModelInfo } from "./protocol.js";
import { nextTask } from "./tasks.js";

/** What is read at once; between two pieces the worker hears its page. */
const PIECE_BYTES = 8 << 20;
/** Linear memory ends at 4 GiB, and the engine needs some of it. */
const MAXIMUM_MODEL_BYTES = 0xf000_0000;
/** Messages about progress are at least this far apart. */
const PROGRESS_MILLISECONDS = 50;

/** What a load works with. */
export interface LoadContext {
  readonly engine: Engine;
  readonly memory: WebAssembly.Memory;
  readonly signal: AbortSignal;
  progress(progress: LoadProgress): void;
  /** Told when the engine holds a model whose bytes turned out not to be those of its file. */
  damaged(): void;
}

/** Loads a file that a person chose. */
export async function loadFromFile(context: LoadContext, file: File): Promise<ModelInfo> {
  const into = reserve(context, file.size);
  await fill(context, into, file.size, (piece, at) => copyPiece(file, piece, at));
  return { ...prepare(context, file.size), origin: "file" };
}

/** Loads the file at an address, from the cache if it holds that very version. */
export async function loadFromUrl(context: LoadContext, url: string, useCache: boolean): Promise<ModelInfo> {
  const cache = useCache ? await ModelCache.open() : undefined;
  const entry = await cache?.find(url);
  if (cache && entry && (await isCurrent(url, entry, context.signal))) {
    const model = await loadFromCache(context, cache, entry);
    if (model) return { ...model, origin: "cache" };
    await cache.forget(entry);
  }
  return download(context, url, cache, useCache);
}

/** The cached model, or `undefined` if the cached bytes are not those that were stored. */
async function loadFromCache(
  context: LoadContext,
  cache: ModelCache,
  entry: Entry,
): Promise<Omit<ModelInfo, "origin"> | undefined> {
  const into = reserve(context, entry.bytes);
  const stored = await cache.read(entry);
  try {
    await fill(context, into, entry.bytes, async (piece, at) => {
      if (!(await stored.readInto(piece, at))) throw new Damaged();
    });
  } catch (error) {
    if (error instanceof Damaged || error instanceof DOMException) {
      context.signal.throwIfAborted();
      return undefined;
    }
    throw error;
  } finally {
    stored.close();
  }
  try {
    const model = prepare(context, entry.bytes);
    if (model.hash === entry.hash) return model;
    context.damaged();
    return undefined;
  } catch (error) {
    // The engine accepted these bytes once: what it refuses now is not what was stored.
    if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError) throw error;
    return undefined;
  }
}

class Damaged extends Error {}

/** Whether the server still has the version that is cached. Without a network it counts as current. */
async function isCurrent(url: string, entry: Entry, signal: AbortSignal): Promise<boolean> {
  try {
    const response = await fetch(url, { method: "HEAD", cache: "no-cache", signal });
    if (!response.ok) return true;
    const version = versionOf(response);
    const length = lengthOf(response);
    return (version === "" || version === entry.version) && (length === undefined || length === entry.bytes);
  } catch {
    signal.throwIfAborted();
    return true;
  }
}

async function download(
  context: LoadContext,
  url: string,
  cache: ModelCache | undefined,
  wantCache: boolean,
): Promise<ModelInfo> {
  const { signal } = context;
  const response = await request(url, signal);
  const reader = response.body?.getReader();
  if (!reader) throw new GlasshouseError("model_unavailable", `The server sent nothing for ${url}.`);
  const total = lengthOf(response);
  const [file, problem] = await createFile(cache, wantCache);
  try {
    const bytes =
      total === undefined
        ? await receiveUnknownLength(context, reader, file)
        : await receive(context, reader, total, file);
    const model = prepare(context, bytes);
    const cacheProblem = file
      ? await keep(cache, file, { url, bytes, hash: model.hash, version: versionOf(response), data: file.name })
      : problem;
    return { ...model, origin: "network", ...(cacheProblem === undefined ? {} : { cacheProblem }) };
  } catch (error) {
    await reader.cancel().catch(() => undefined);
    await file?.discard();
    signal.throwIfAborted();
    throw error;
  }
}

async function createFile(
  cache: ModelCache | undefined,
  wanted: boolean,
): Promise<[IncompleteFile | undefined, string | undefined]> {
  if (!cache) return [undefined, wanted ? CACHE_PROBLEMS.unavailable : undefined];
  try {
    return [await cache.create(), undefined];
  } catch (error) {
    return [undefined, problemOf(error)];
  }
}

/** Makes the downloaded file complete; a sentence if that did not work. */
async function keep(cache: ModelCache | undefined, file: IncompleteFile, entry: Entry): Promise<string | undefined> {
  try {
    if (await file.close()) await cache?.complete(entry);
  } catch (error) {
    await file.discard(problemOf(error));
  }
  return file.problem;
}

async function request(url: string, signal: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    // The file is kept in the model cache; a second copy in the browser's own would only use up room.
    response = await fetch(url, { signal, cache: "no-store" });
  } catch (error) {
    signal.throwIfAborted();
    throw new GlasshouseError(
      "model_unavailable",
      `The model could not be downloaded from ${url}. Check the connection and try again.`,
      { cause: error },
    );
  }
  if (!response.ok) {
    throw new GlasshouseError(
      "model_unavailable",
      `The model could not be downloaded: the server answered ${response.status} for ${url}.`,
    );
  }
  return response;
}

type Reader = ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;

/** Receives straight into linear memory, and into the cache at once. */
async function receive(
  context: LoadContext,
  reader: Reader,
  total: number,
  file: IncompleteFile | undefined,
): Promise<number> {
  const into = reserve(context, total);
  const tell = progressTeller(context, "downloading", total);
  let received = 0;
  try {
    for (let chunk = await next(reader, context.signal); chunk; chunk = await next(reader, context.signal)) {
      if (received + chunk.length > total) throw lengthDiffers(received + chunk.length, total);
      into(received, chunk.length).set(chunk);
      await file?.write(chunk, received);
      received += chunk.length;
      tell(received);
    }
    if (received !== total) throw lengthDiffers(received, total);
    return total;
  } catch (error) {
    context.engine.dropReservedModel();
    throw error;
  }
}

/** A server that does not say how much it sends costs a copy. */
async function receiveUnknownLength(
  context: LoadContext,
  reader: Reader,
  file: IncompleteFile | undefined,
): Promise<number> {
  const tell = progressTeller(context, "downloading", undefined);
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let received = 0;
  for (let chunk = await next(reader, context.signal); chunk; chunk = await next(reader, context.signal)) {
    chunks.push(chunk);
    await file?.write(chunk, received);
    received += chunk.length;
    tell(received);
  }
  const into = reserve(context, received);
  let at = 0;
  for (const chunk of chunks) {
    into(at, chunk.length).set(chunk);
    at += chunk.length;
  }
  return received;
}

async function next(reader: Reader, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    return (await reader.read()).value;
  } catch (error) {
    signal.throwIfAborted();
    throw new GlasshouseError(
      "model_unavailable",
      "The download of the model broke off. Check the connection and try again.",
      { cause: error },
    );
  }
}

function lengthDiffers(received: number, total: number): GlasshouseError {
  return new GlasshouseError(
    "model_truncated",
    `The model is not complete: ${received} bytes arrived where the server announced ${total}. Try again.`,
  );
}

/** Reserves room in linear memory; the answer gives a view of a part of it. */
function reserve(context: LoadContext, bytes: number): (at: number, length: number) => Uint8Array<ArrayBuffer> {
  if (bytes === 0) throw new GlasshouseError("model_empty", "The model file is empty. Choose a GGUF file.");
  if (bytes > MAXIMUM_MODEL_BYTES) {
    throw new GlasshouseError(
      "model_too_large",
      `The model has ${(bytes / 2 ** 30).toFixed(1)} GiB; a browser tab holds less than 4 GiB. Choose a smaller one.`,
    );
  }
  // Addresses above 2 GiB come as negative numbers.
  const pointer = context.engine.reserveModel(bytes) >>> 0;
  // A view is made anew each time: memory that grows leaves older views empty.
  return (at, length) => new Uint8Array(context.memory.buffer as ArrayBuffer, pointer + at, length);
}

/** Reads a whole file of known size into linear memory, piece by piece. */
async function fill(
  context: LoadContext,
  into: (at: number, length: number) => Uint8Array<ArrayBuffer>,
  total: number,
  read: (piece: Uint8Array<ArrayBuffer>, at: number) => Promise<void>,
): Promise<void> {
  const tell = progressTeller(context, "reading", total);
  try {
    for (let at = 0; at < total; at += PIECE_BYTES) {
      const length = Math.min(PIECE_BYTES, total - at);
      await read(into(at, length), at);
      tell(at + length);
      await nextTask();
      context.signal.throwIfAborted();
    }
  } catch (error) {
    context.engine.dropReservedModel();
    throw error;
  }
}

async function copyPiece(file: File, piece: Uint8Array, at: number): Promise<void> {
  try {
    if (await copyFromFile(file, piece, at)) return;
  } catch (error) {
    throw new GlasshouseError(
      "model_unreadable",
      `The file ${file.name} cannot be read; it may have been changed or moved. Choose it again.`,
      { cause: error },
    );
  }
  throw new GlasshouseError("model_unreadable", `The file ${file.name} became shorter. Choose it again.`);
}

/** Hands the bytes to the engine. */
function prepare(context: LoadContext, bytes: number): Omit<ModelInfo, "origin"> {
  context.progress({ phase: "preparing", loadedBytes: bytes, totalBytes: bytes });
  return JSON.parse(context.engine.loadModel()) as Omit<ModelInfo, "origin">;
}

function progressTeller(
  context: LoadContext,
  phase: LoadProgress["phase"],
  total: number | undefined,
): (loadedBytes: number) => void {
  let told = -Infinity;
  return (loadedBytes) => {
    const now = performance.now();
    if (now - told < PROGRESS_MILLISECONDS && loadedBytes !== total) return;
    told = now;
    context.progress({ phase, loadedBytes, ...(total === undefined ? {} : { totalBytes: total }) });
  };
}

/** The length of the body as it will be read; `undefined` if unknown, as for a compressed one. */
function lengthOf(response: Response): number | undefined {
  const header = response.headers.get("Content-Length");
  if (header === null || response.headers.has("Content-Encoding")) return undefined;
  const length = Number(header);
  return Number.isSafeInteger(length) && length > 0 ? length : undefined;
}

/** What the server calls this version of the file; empty if it says nothing. */
function versionOf(response: Response): string {
  return response.headers.get("ETag") ?? response.headers.get("Last-Modified") ?? "";
}
