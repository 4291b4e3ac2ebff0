/** The core in a worker that has nothing but the language: no DOM, no network, no files, not even `TextEncoder`. */

import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { test } from "node:test";
import { Worker } from "node:worker_threads";

import { fixture } from "./fixtures.js";
import type { Summary, Vectors } from "./suite.js";

const require = createRequire(import.meta.url);
const MODULE = fs.readFileSync(require.resolve("@glasshouse/halt/halt.wasm"));

/** Takes everything away that is no part of JavaScript, then does what it is told. */
const PREAMBLE = `
  const { parentPort, workerData } = require("node:worker_threads");
  const KEPT = new Set(["globalThis", "WebAssembly", "FinalizationRegistry"]);
  const language = new Set([...Object.getOwnPropertyNames(require("node:vm").runInNewContext("globalThis")), ...KEPT]);
  for (const name of Object.getOwnPropertyNames(globalThis)) if (!language.has(name)) delete globalThis[name];
  for (const name of ["process", "Buffer", "fetch", "TextEncoder", "TransformStream", "URL", "performance", "document"]) {
    if (name in globalThis) throw new Error(name + " is still there");
  }
  const run = async () => {
    const core = await import(workerData.core);
    const suite = await import(workerData.suite);
    core.initSync(workerData.module);
    core.initSync(workerData.module);
`;

/** What a script in such a worker returns. */
function inWorker<T>(script: string, module: WebAssembly.Module, data: object = {}): Promise<T> {
  const worker = new Worker(`${PREAMBLE}${script}};\nrun().then((result) => parentPort.postMessage(result));`, {
    eval: true,
    workerData: {
      ...data,
      module,
      core: pathToFileURL(require.resolve("@glasshouse/halt/core")).href,
      suite: new URL("./suite.js", import.meta.url).href,
    },
  });
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
    worker.once("exit", () => reject(new Error("the worker ended")));
  });
}

test("the vectors, the golden streams and a guarded iterable", async () => {
  const golden = fixture<Summary>("golden.json");
  const script = `
    async function* source() {
      for (const score of [0.9, 0.9, 0.1]) yield { token: "t", score };
    }
    let shown = 0;
    for await (const token of core.guardTokens(source())) shown++;
    return {
      compared: suite.vectors(core, workerData.vectors),
      golden: suite.golden(core, workerData.golden.streams),
      shown,
      ends: core.endsSentence("終わり。"),
    };`;
  const data = { vectors: fixture<Vectors>("vectors.json"), golden };
  const result = await inWorker(script, new WebAssembly.Module(MODULE), data);
  assert.deepEqual(result, { compared: 2 * 37, golden, shown: 2, ends: true });
});

/** The module with a memory of so many pages at most. */
function limited(bytes: Uint8Array, pages: number): Uint8Array {
  const MEMORY_SECTION = 5;
  let place = 8;
  const number = (): number => {
    let [result, shift] = [0, 0];
    for (;;) {
      const byte = bytes[place++] ?? 0;
      result |= (byte & 0x7f) << shift;
      shift += 7;
      if (byte < 0x80) return result;
    }
  };
  for (;;) {
    const start = place;
    const section = bytes[place++];
    const length = number();
    if (section !== MEMORY_SECTION) {
      place += length;
      continue;
    }
    const end = place + length;
    place += 2;
    const least = number();
    assert.ok(least < pages && pages < 128);
    const content = [1, 1, least, pages];
    return Uint8Array.of(...bytes.subarray(0, start), MEMORY_SECTION, content.length, ...content, ...bytes.subarray(end));
  }
}

test("after a call that trapped every kernel is halted", async () => {
  const script = `
    const kernel = new core.Kernel({ hold_back: 1 });
    const silent = new core.Kernel({ invalid_input: "error" });
    kernel.processToken(0, 0.9);
    kernel.processToken(1, 0.9);
    let error;
    try {
      new core.Kernel({ trace_tokens: 65536 });
    } catch (caught) {
      error = caught;
    }
    let refused;
    try {
      new core.Kernel();
    } catch (caught) {
      refused = caught.message;
    }
    return {
      trapped: error instanceof WebAssembly.RuntimeError,
      refused,
      active: [kernel.isActive, silent.isActive],
      decisions: [kernel.processToken(2, 0.9), silent.process({ index: 0, score: 0.9, text: "a" })],
      halts: [kernel.halt, silent.finish()].map((halt) => [halt.rule, halt.released]),
    };`;
  const result = await inWorker(script, new WebAssembly.Module(limited(MODULE, 20) as BufferSource));
  const halted = { decision: "halt", rule: "module_failed", value: null, limit: null };
  assert.deepEqual(result, {
    trapped: true,
    refused: "the halt kernel's module failed",
    active: [false, false],
    decisions: [
      { ...halted, index: 2, released: 1 },
      { ...halted, index: 0, released: 0 },
    ],
    halts: [
      ["module_failed", 1],
      ["module_failed", 0],
    ],
  });
});

test("another module is refused", () => {
  const empty = new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
  return assert.rejects(inWorker("", empty), /is no halt kernel of interface version 1/);
});

test("nothing works before it is ready", () => {
  // The package's module is there already in this process; a worker has a copy of its own.
  const script = `require("node:worker_threads");`;
  const source = `import(${JSON.stringify(pathToFileURL(require.resolve("@glasshouse/halt/core")).href)})
    .then(({ Kernel }) => new Kernel());`;
  const worker = new Worker(script + source, { eval: true });
  return assert.rejects(new Promise((resolve, reject) => worker.once("exit", resolve).once("error", reject)), /not ready: call init/);
});
