/**
 * What this browser can do, found out by trying: a tiny module is validated, never a browser's name read.
 *
 * @module
 */

import type { Variant } from "./protocol.js";

/** `(func (result v128) i32.const 0 i8x16.splat i8x16.popcnt)`. */
const SIMD_MODULE = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
];

/** `(func (result v128) i32.const 1 i8x16.splat i32.const 2 i8x16.splat i8x16.relaxed_swizzle)`. */
const RELAXED_SIMD_MODULE = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15,
  253, 128, 2, 11,
];

/**
 * Which build of the engine this browser runs, the fastest first; `undefined` if it runs none.
 * Both give the same bytes.
 */
export function engineVariant(): Variant | undefined {
  if (typeof WebAssembly === "undefined") return undefined;
  if (WebAssembly.validate(new Uint8Array(RELAXED_SIMD_MODULE))) return "relaxed";
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
