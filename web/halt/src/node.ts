/**
 * The halt kernel for Node: ready when it is imported.
 *
 * @module
 */

import { readFileSync } from "node:fs";

import { initSync } from "./module.js";

export * from "./core.js";

initSync(new WebAssembly.Module(readFileSync(new URL("./halt.wasm", import.meta.url))));

/** Does nothing: it is ready. What is written for browsers as well may call it. */
export async function init(_source?: unknown): Promise<void> {}
