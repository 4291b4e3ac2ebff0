/**
 * The halt kernel for pages, workers and service workers: wait for {@link init} before anything else.
 *
 * @module
 */

import { initSync, isReady } from "./module.js";
import type { CompiledModule } from "./module.js";

export * from "./core.js";

/** Where the module comes from. */
export type Source = string | URL | Response | ArrayBufferView | ArrayBuffer | CompiledModule;

/**
 * Makes the package ready.
 *
 * @param source The address of `halt.wasm`, a response with it, its bytes, or the compiled module. By default the file that
 *   lies beside this script.
 */
export async function init(source?: Source | Promise<Source>): Promise<void> {
  if (isReady()) return;
  let from = (await source) ?? new URL("./halt.wasm", import.meta.url);
  if (typeof from === "string" || from instanceof URL) from = await fetch(from);
  if (typeof Response !== "undefined" && from instanceof Response) {
    if (!from.ok) throw new Error(`halt.wasm cannot be had: ${from.status} from ${from.url}`);
    from = await from.arrayBuffer();
  }
  if (!(from instanceof WebAssembly.Module)) from = await WebAssembly.compile(from as BufferSource);
  initSync(from);
}
