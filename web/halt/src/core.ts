/**
 * The halt kernel for any runtime with WebAssembly: needs no DOM, no network and no files. Call {@link initSync} with the
 * package's `halt.wasm`, compiled, before anything else.
 *
 * @module
 */

export { initSync } from "./module.js";
export type { CompiledModule } from "./module.js";
export { HaltConfigError, HaltInputError, Kernel, endsSentence } from "./kernel.js";
export type { Decision, Halt, HaltConfig, Rule, TokenInput, TraceEntry } from "./kernel.js";
export { guardTokens, haltStream } from "./streams.js";
export type { HaltStream, ScoredToken } from "./streams.js";
