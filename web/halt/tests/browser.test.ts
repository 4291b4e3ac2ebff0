/** The installed package in Chromium: in a page, in a dedicated worker and in a service worker. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ask, open } from "./chromium.js";
import { fixture } from "./fixtures.js";

for (const [kind, scope] of [
  ["page", "Window"],
  ["worker", "DedicatedWorkerGlobalScope"],
  ["service worker", "ServiceWorkerGlobalScope"],
] as const) {
  test(`the vectors, the golden streams and a stream, in a ${kind}`, { timeout: 120_000 }, async (t) => {
    const { page, end } = await open();
    t.after(end);
    assert.deepEqual(await ask(page, kind, { task: "suite" }), {
      scope,
      compared: 2 * 37,
      golden: fixture("golden.json"),
      shown: 1,
      halt: 2,
    });
  });
}
