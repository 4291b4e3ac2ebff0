/** The engine's conformance cases and the verification of the model's kernels, case by case in a worker. */

import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";

import type { Page } from "playwright-core";

import { TEST, browse, open, place, serve, temporaryFolder } from "./harness.js";

/**
 * Runs one case, or lists them all, in a worker that lives no longer. A suite is a module of `wasm-bindgen` with
 * `case_names()` and `run_case(name, seed)`, which fails or gives what is wrong; values to compare are made from the seed.
 */
const WORKER = `
  const suite = await import(new URL("./suite.js", import.meta.url).href);
  await suite.default({ module_or_path: new URL("./suite_bg.wasm", import.meta.url) });
  onmessage = async ({ data }) => {
    try {
      if (data === undefined) {
        postMessage({ result: Array.from(suite.case_names()) });
        return;
      }
      for (let seed = 0; seed < 3; seed++) {
        const problem = await suite.run_case(data, seed);
        if (problem !== undefined) throw new Error("seed " + seed + ": " + problem);
      }
      postMessage({});
    } catch (error) {
      postMessage({ failure: String(error?.message ?? error) });
    }
  };
  postMessage("ready");
`;

/** The answer of a new worker to one message. */
function inWorker(page: Page, name: string | undefined): Promise<{ result?: string[]; failure?: string }> {
  return page.evaluate(
    (name) =>
      new Promise((resolve, reject) => {
        const worker = new Worker(new URL("./worker.js", location.href), { type: "module" });
        worker.onerror = (event) => reject(new Error(event.message));
        worker.onmessage = ({ data }) => {
          if (data === "ready") {
            worker.postMessage(name);
            return;
          }
          worker.terminate();
          resolve(data as { result?: string[]; failure?: string });
        };
      }),
    name,
  );
}

for (const name of ["conformance", "kernels-simd128", "kernels-relaxed"]) {
  test(`${name}, in a worker`, TEST, async (t) => {
    const folder = path.join(temporaryFolder(t), "suite");
    fs.cpSync(path.join(place("SUITES"), name), folder, { recursive: true });
    fs.writeFileSync(path.join(folder, "index.html"), "<!doctype html><title>suite</title>");
    fs.writeFileSync(path.join(folder, "worker.js"), WORKER);
    const page = await open(t, await browse(t), await serve(t, folder));
    const { result, failure } = await inWorker(page, undefined);
    if (!result?.length) throw new Error(`the suite has no cases: ${failure}`);
    for (const name of result) {
      await t.test(name, async () => {
        const { failure } = await inWorker(page, name);
        if (failure !== undefined) throw new Error(failure);
      });
    }
  });
}
