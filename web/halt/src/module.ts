/**
 * The WebAssembly module behind everything: one instance, through the functions of its C interface.
 *
 * **Invariant: a call that trapped ends everything.** The instance is not asked again, and its kernels count as halted.
 *
 * @module
 */

import { byteLength, read, write } from "./text.js";

/** The version of the module's interface that this package knows. */
const ABI_VERSION = 1;
/** Room for texts that is there from the start. */
const BUFFER_BYTES = 4096;

/** A `WebAssembly.Module`, where the types of the project know one. */
export type CompiledModule = typeof globalThis extends {
  WebAssembly: { Module: abstract new (...parameters: never[]) => infer Module };
}
  ? Module
  : object;

/** The module's functions; its README describes them. */
interface Functions {
  readonly memory: { readonly buffer: ArrayBuffer };
  halt_abi_version(): number;
  halt_buffer(length: number): number;
  halt_answer(): number;
  halt_text(): number;
  halt_text_length(): number;
  halt_config_new(): number;
  halt_config_set_number(config: number, name: number, length: number, value: number): number;
  halt_config_set_flag(config: number, name: number, length: number, flag: number): number;
  halt_config_set_text(config: number, name: number, length: number, text: number, textLength: number): number;
  halt_config_set_off(config: number, name: number, length: number): number;
  halt_config_free(config: number): number;
  halt_kernel_new(config: number): number;
  halt_kernel_free(kernel: number): number;
  halt_process_token(kernel: number, index: number, score: number): number;
  halt_process(
    kernel: number,
    index: number,
    score: number,
    entropyBits: number,
    elapsedMs: number,
    text: number,
    textLength: number,
    given: number,
  ): number;
  halt_finish(kernel: number): number;
  halt_halted(kernel: number): number;
  halt_is_active(kernel: number): number;
  halt_is_finishing(kernel: number): number;
  halt_tokens(kernel: number): number;
  halt_released(kernel: number): number;
  halt_trace(kernel: number): number;
  halt_cause(): void;
  halt_rule(rule: number): number;
  halt_ends_sentence(text: number, textLength: number): number;
}

/** What a call answers that may not be answered any more. */
export const MISUSE = -2;

/** An instance of the module. */
export class Instance {
  readonly functions: Functions;
  /** The names of the rules, by their numbers. */
  readonly rules: readonly string[];
  /** Set for good by the first call that trapped. */
  failed = false;
  #answer: Float64Array;
  #bytes: Uint8Array;
  #buffer: number;
  #bufferBytes: number;

  constructor(module: CompiledModule) {
    const functions = new WebAssembly.Instance(module as WebAssembly.Module, {}).exports as unknown as Functions;
    if (typeof functions.halt_abi_version !== "function" || functions.halt_abi_version() !== ABI_VERSION) {
      throw new Error(`the module is no halt kernel of interface version ${ABI_VERSION}`);
    }
    this.functions = functions;
    this.#buffer = functions.halt_buffer(BUFFER_BYTES);
    this.#bufferBytes = BUFFER_BYTES;
    this.#bytes = new Uint8Array(functions.memory.buffer);
    this.#answer = new Float64Array(functions.memory.buffer, functions.halt_answer(), 7);
    const rules: string[] = [];
    while (functions.halt_rule(rules.length) === 0) rules.push(this.text());
    this.rules = rules;
  }

  /** The numbers of the last answer. Views of memory have no length any more when it has grown. */
  get answer(): Float64Array {
    if (this.#answer.length === 0) {
      this.#answer = new Float64Array(this.functions.memory.buffer, this.functions.halt_answer(), 7);
    }
    return this.#answer;
  }

  /** The memory. */
  get bytes(): Uint8Array {
    if (this.#bytes.length === 0) this.#bytes = new Uint8Array(this.functions.memory.buffer);
    return this.#bytes;
  }

  /** The last text. */
  text(): string {
    return read(this.bytes, this.functions.halt_text(), this.functions.halt_text_length());
  }

  /** Writes a text, and another one behind it; where they are. */
  write(text: string, other = ""): { readonly text: number; readonly other: number; readonly end: number } {
    if (3 * (text.length + other.length) > this.#bufferBytes) {
      const length = byteLength(text) + byteLength(other);
      if (length > this.#bufferBytes) {
        const buffer = this.functions.halt_buffer(length);
        if (buffer === 0) throw new RangeError(`a text of ${length} bytes is longer than the kernel takes`);
        this.#buffer = buffer;
        this.#bufferBytes = length;
      }
    }
    const bytes = this.bytes;
    const behind = write(bytes, this.#buffer, text);
    return { text: this.#buffer, other: behind, end: write(bytes, behind, other) };
  }
}

let shared: Instance | undefined;

/** Makes the package ready, with its own module compiled elsewhere. A second call does nothing. */
export function initSync(module: CompiledModule): void {
  shared ??= new Instance(module);
}

/** Whether it is ready. */
export function isReady(): boolean {
  return shared !== undefined;
}

/** The instance that everything uses. */
export function instance(): Instance {
  if (shared === undefined) throw new Error("the halt kernel is not ready: call init() and wait for it first");
  return shared;
}
