/** The engine's conformance cases and the verification of the model's kernels, case by case in a worker. */

import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";

import type { Page } from "playwright-core";

import { TEST, browse, open, place, serve, temporaryFolder } from "./harness.js";

/**
 * Runs one case, or lists them all. A suite is a module of `wasm-bindgen` with
 * `case_names()` and `run_case(name, seed)`, which fails or gives what is wrong; a case that takes a seed runs with three.
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
      const seeds = suite.run_case.length > 1 ? 3 : 1;
      for (let seed = 0; seed < seeds; seed++) {
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

/** The worker's answer to one message. A worker in which a case failed is not asked again: another takes its place. */
function inWorker(page: Page, name: string | undefined): Promise<{ result?: string[]; failure?: string }> {
  return page.evaluate(
    (name) =>
      new Promise((resolve, reject) => {
        const tab = globalThis as { worker?: Worker | undefined };
        const known = tab.worker;
        const worker = known ?? new Worker(new URL("./worker.js", location.href), { type: "module" });
        tab.worker = worker;
        worker.onerror = (event) => reject(new Error(event.message));
        worker.onmessage = ({ data }: MessageEvent<"ready" | { result?: string[]; failure?: string }>) => {
          if (data === "ready") {
            worker.postMessage(name);
            return;
          }
          if (data.failure !== undefined) {
            worker.terminate();
            tab.worker = undefined;
          }
          resolve(data);
        };
        if (known) worker.postMessage(name);
      }),
    name,
  );
}

for (const name of ["conformance", "kernels-simd128", "kernels-relaxed"]) {
  test(`${name}, in a worker`, TEST, async (t) => {
    const folder = path.join(temporaryFolder(), "suite");
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
