/**
 * The engine as JavaScript sees it: the interface of the WebAssembly module's generated glue.
 *
 * @module
 */

import { GlasshouseError } from "./errors.js";
import type { Variant } from "./protocol.js";

/** The generated module `wasm/VARIANT/glasshouse.js`. */
export interface EngineModule {
  default(options: { module_or_path: WebAssembly.Module }): Promise<{ readonly memory: WebAssembly.Memory }>;
  version(): string;
  kernels(): string;
  readonly Engine: { open(persistent: boolean): Promise<Engine> };
}

/** One runtime: a model, long-term memory, at most one run at a time. */
export interface Engine {
  readonly memoryIsPersistent: boolean;
  readonly memoryProblem: string | undefined;
  /** Where in linear memory the file's bytes are to be written. */
  reserveModel(bytes: number): number;
  /** Takes the bytes written; JSON of what the model is. */
  loadModel(): string;
  dropReservedModel(): void;
  start(question: string, options: string): void;
  /** Works for about that long; a JSON array of events. */
  advance(milliseconds: number): string;
  stop(): void;
  takeLog(): Uint8Array | undefined;
  memoryList(): string;
  memorySearch(query: string): string;
  memoryAdd(text: string): string;
  memoryRemove(id: number): boolean;
  free(): void;
}

/** An engine's code, compiled and instantiated in this worker. */
export interface LoadedEngine {
  readonly module: EngineModule;
  readonly memory: WebAssembly.Memory;
}

/** Fetches, compiles and instantiates the engine; nothing else is fetched by it afterwards. */
export async function loadEngine(variant: Variant): Promise<LoadedEngine> {
  const folder = new URL(`./wasm/${variant}/`, import.meta.url);
  try {
    const [module, compiled] = await Promise.all([
      import(new URL("glasshouse.js", folder).href) as Promise<EngineModule>,
      compile(new URL("glasshouse_bg.wasm", folder)),
    ]);
    const { memory } = await module.default({ module_or_path: compiled });
    return { module, memory };
  } catch (error) {
    if (error instanceof GlasshouseError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new GlasshouseError("engine_unavailable", `The engine could not be started: ${reason}. Reload the page.`, {
      cause: error,
    });
  }
}

async function compile(url: URL): Promise<WebAssembly.Module> {
  const response = await fetch(url);
  if (!response.ok) {
    throw new GlasshouseError(
      "engine_unavailable",
      `The engine could not be fetched: the server answered ${response.status} for ${url.pathname}.`,
    );
  }
  // A host that does not know the type of .wasm files is common; compiling while streaming insists on it.
  return response.headers.get("Content-Type")?.startsWith("application/wasm")
    ? WebAssembly.compileStreaming(response)
    : WebAssembly.compile(await response.arrayBuffer());
}
