/**
 * Errors with a stable code and a sentence.
 *
 * @module
 */

import type { Failure } from "./protocol.js";

/** What went wrong, for programs (`code`) and for people (`message`, a sentence with a way out). */
export class GlasshouseError extends Error {
  override readonly name = "GlasshouseError";
  /** Stable. The engine's own codes are those of the command line; the package's are listed in its README. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** What is told about an engine that can no longer be used, whatever ended it. */
export const START_AGAIN = "Start it again; what was remembered is kept.";

/** An error as data, to cross from the worker to the page. */
export function toFailure(error: unknown): Failure {
  if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError) {
    const outOfMemory = /memory|allocation/i.test(error.message);
    return {
      code: outOfMemory ? "out_of_memory" : "engine_crashed",
      message: outOfMemory
        ? `The tab ran out of memory. Close other tabs or take a smaller model. ${START_AGAIN}`
        : `The engine crashed (${error.message}). ${START_AGAIN}`,
      fatal: true,
    };
  }
  if (error instanceof Error) {
    const code: unknown = "code" in error ? error.code : undefined;
    return { code: typeof code === "string" ? code : "unexpected", message: error.message, fatal: false };
  }
  return { code: "unexpected", message: String(error), fatal: false };
}

/** The name of a `DOMException`, such as `QuotaExceededError`; empty for anything else. */
export function domExceptionName(error: unknown): string {
  return error instanceof DOMException ? error.name : "";
}
