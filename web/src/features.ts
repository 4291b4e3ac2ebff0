/**
 * What this browser can do, found out by trying it on tiny modules; a browser's name is never read.
 *
 * @module
 */

import type { Variant } from "./protocol.js";

/** `(func (result v128) i32.const 0 i8x16.splat i8x16.popcnt)`. */
const SIMD_MODULE = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
];

/**
 * `(func (export "f") (result i32) …)`: the first lane of `i32x4.relaxed_dot_i8x16_i7x16_add_s` of sixteen times -1,
 * sixteen times 127 and 0. It is -508 by the specification; at least one engine shipped it with its operands swapped.
 */
const RELAXED_SIMD_MODULE = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 23, 1, 21, 0, 65, 127,
  253, 15, 65, 255, 0, 253, 15, 65, 0, 253, 15, 253, 147, 2, 253, 27, 0, 11,
];
const RELAXED_DOT = -508;

/** Whether the engine has relaxed SIMD, and computes with it what the specification says. */
function hasRelaxedSimd(): boolean {
  const bytes = new Uint8Array(RELAXED_SIMD_MODULE);
  if (!WebAssembly.validate(bytes)) return false;
  const { f } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
  return typeof f === "function" && f() === RELAXED_DOT;
}

/**
 * Which build of the engine this browser runs, the fastest first; `undefined` if it runs none.
 * Both give the same bytes.
 */
export function engineVariant(): Variant | undefined {
  if (typeof WebAssembly === "undefined") return undefined;
  if (hasRelaxedSimd()) return "relaxed";
  if (WebAssembly.validate(new Uint8Array(SIMD_MODULE))) return "simd128";
  return undefined;
}

/** The root of this origin's private file system; `undefined` where there is none, as in some private windows. */
export async function privateFileSystem(): Promise<FileSystemDirectoryHandle | undefined> {
  try {
    return await navigator.storage?.getDirectory?.();
  } catch {
    return undefined;
  }
}
