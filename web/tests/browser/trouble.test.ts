/** Browsers that lack something, and things that break: a sentence, what still works, nothing corrupted. */

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Page } from "playwright-core";

import {
  TEST,
  ask,
  before,
  browse,
  open,
  picture,
  ready,
  serve,
  serveBreakingOff,
  serveChanged,
  temporaryFolder,
} from "./harness.js";

const CALCULATION = "What is 17 * 23?";
const VARIANT_FILES = ["wasm/simd128/glasshouse.js", "wasm/relaxed/glasshouse.js"];

test("a browser without WebAssembly SIMD is told what to do", TEST, async (t) => {
  const context = await browse(t);
  await context.addInitScript(() => {
    WebAssembly.validate = () => false;
  });
  const page = await open(t, context, await serve(t));
  await page.waitForSelector(".notice.problem");
  assert.match(await page.innerText(".notice.problem"), /no WebAssembly SIMD.*Update the browser/s);
  await picture(page, "desktop-light-no-simd");
});

test("a browser without relaxed SIMD gets the other build, and the same answer", TEST, async (t) => {
  const context = await browse(t);
  await context.addInitScript(() => {
    const validate = WebAssembly.validate.bind(WebAssembly);
    // The relaxed module is the longer one of the two that are tried.
    WebAssembly.validate = (bytes) => (bytes.byteLength > 33 ? false : validate(bytes));
  });
  const page = await open(t, context, await serve(t));
  await ready(page);
  assert.match(await page.innerText("#state"), /SIMD128/);
  assert.match(await ask(page, CALCULATION), /391/);
});

test("a window that keeps no files works, and says what is not kept", TEST, async (t) => {
  const refuse = `StorageManager.prototype.getDirectory =
    () => Promise.reject(new DOMException("no files here", "SecurityError"))`;
  const page = await open(t, await browse(t), await serveChanged(t, { "worker.js": before(refuse) }));
  await ready(page);
  assert.match(await page.innerText("#state"), /memory ends with this tab/);
  assert.match(await page.innerText("#notices"), /keeps no files/);
  await picture(page, "desktop-light-no-files");
  assert.match(await ask(page, CALCULATION), /391/);
  await ask(page, "Remember that the gate code is 4417");
  assert.match(await ask(page, "What is the gate code?"), /4417/);
});

test("a page that came over plain HTTP works without files and locks", TEST, async (t) => {
  const context = await browse(t, { flags: ["--host-resolver-rules=MAP plain.test 127.0.0.1"] });
  const url = new URL(await serve(t));
  url.hostname = "plain.test";
  const page = await open(t, context, url.href);
  await ready(page);
  assert.match(await page.innerText("#state"), /memory ends with this tab/);
  assert.match(await ask(page, CALCULATION), /391/);
});

test("a full disk leaves the model uncached and working", TEST, async (t) => {
  const full = `FileSystemSyncAccessHandle.prototype.write = ((write) => function (bytes, options) {
    if (bytes.byteLength > 32768) throw new DOMException("full", "QuotaExceededError");
    return write.call(this, bytes, options);
  })(FileSystemSyncAccessHandle.prototype.write)`;
  const page = await open(t, await browse(t), await serveChanged(t, { "worker.js": before(full) }));
  await ready(page);
  assert.match(await page.innerText("#notices"), /no room to keep the model/);
  assert.match(await ask(page, CALCULATION), /391/);
  assert.deepEqual(await modelFiles(page), []);
});

test("a cached model that was damaged is fetched again", TEST, async (t) => {
  const page = await open(t, await browse(t), await serve(t));
  await ready(page);
  for (const damage of ["flip", "cut"] as const) {
    const [name] = await modelFiles(page);
    if (name === undefined) assert.fail("the model is not cached");
    await page.goto("about:blank");
    await page.goBack();
    await ready(page);
    await page.evaluate(
      async ([file, how]) => {
        const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("glasshouse-models");
        const handle = await folder.getFileHandle(file);
        const { size } = await handle.getFile();
        const writable = await handle.createWritable({ keepExistingData: true });
        if (how === "flip") await writable.write({ type: "write", position: size >> 1, data: new Uint8Array(4096) });
        else await writable.truncate(size >> 1);
        await writable.close();
      },
      [name, damage] as const,
    );
    await page.reload();
    await ready(page);
    assert.match(await page.innerText("#model-facts"), /downloaded just now/, damage);
    assert.match(await ask(page, CALCULATION), /391/);
    assert.equal((await modelFiles(page)).length, 1, "the damaged file is gone");
    await page.reload();
    await ready(page);
    assert.match(await page.innerText("#model-facts"), /kept in this browser/, damage);
  }
});

test("a server with a broken model gives a sentence, and nothing is kept of it", TEST, async (t) => {
  for (const broken of [(content: Buffer) => content.subarray(0, content.length >> 1), () => "not a model"]) {
    const page = await open(t, await browse(t), await serveChanged(t, { "pocket.gguf": broken }));
    await page.waitForSelector(".notice.problem");
    assert.match(await page.innerText(".notice.problem p"), /^[A-Z].{10,}\.$/s);
    assert.deepEqual(await modelFiles(page), []);
  }
});

test("a download that breaks off gives a sentence, leaves nothing, and can be tried again", TEST, async (t) => {
  const page = await open(t, await browse(t), await serveBreakingOff(t));
  await page.waitForSelector(".notice.problem");
  assert.match(await page.innerText(".notice.problem p"), /broke off.*try again/s);
  assert.deepEqual(await modelFiles(page), []);
  await page.click(".notice.problem button");
  await ready(page);
  assert.match(await ask(page, CALCULATION), /391/);
});

test("a worker that is ended says so, and can be started again", TEST, async (t) => {
  const page = await open(t, await browse(t), await serve(t));
  await ready(page);
  await ask(page, "Remember that the gate code is 4417");
  await page.workers()[0]?.evaluate(() => self.close());
  await page.waitForSelector(".notice.problem");
  assert.match(await page.innerText(".notice.problem p"), /ended by the browser.*Start it again/s);
  await picture(page, "desktop-light-worker-ended");
  await page.click(".notice.problem button");
  await ready(page);
  assert.match(await ask(page, "What is the gate code?"), /4417/);
});

test("a crash of the engine ends the run with a sentence, and the engine can be started again", TEST, async (t) => {
  const crash = (content: Buffer) =>
    content
      .toString()
      .replace(/\n {4}advance\(/, "\n    advance() { throw new WebAssembly.RuntimeError('unreachable'); }\n    unused(");
  const url = await serveChanged(t, Object.fromEntries(VARIANT_FILES.map((file) => [file, crash])));
  const page = await open(t, await browse(t), url);
  await ready(page);
  await page.fill("#question", CALCULATION);
  await page.press("#question", "Enter");
  await page.waitForSelector(".notice.problem");
  assert.match(await page.innerText(".notice.problem p"), /crashed.*Start it again/s);
  assert.match(await page.innerText(".run .answer"), /crashed/);
  await page.click(".notice.problem button");
  await ready(page);
});

test("a page whose engine cannot be fetched says so", TEST, async (t) => {
  const page = await open(t, await browse(t), await serveChanged(t, { "worker.js": () => "syntax error" }));
  await page.waitForSelector(".notice.problem");
  assert.match(await page.innerText(".notice.problem p"), /worker stopped/);
});

test("a tab that is closed while memory is written loses nothing that was told as kept", TEST, async (t) => {
  const profile = temporaryFolder();
  const url = await serve(t);
  const context = await browse(t, { profile });
  const page = await open(t, context, url);
  await ready(page);
  await page.close();
  const writer = await open(t, context, `${url}icon.svg`);
  // Remembers as fast as it can, and is closed in the middle of it.
  const kept = writer.evaluate(async () => {
    const { Glasshouse } = await import(new URL("./glasshouse.js", location.href).href);
    const engine = await Glasshouse.start();
    const kept: string[] = [];
    Object.assign(globalThis, { kept });
    for (let number = 0; ; number++) {
      const { text } = await engine.memory.add(`fact number ${number}`);
      kept.push(text);
    }
  });
  kept.catch(() => undefined);
  await writer.waitForFunction(() => ((globalThis as { kept?: string[] }).kept?.length ?? 0) >= 20);
  const told = await writer.evaluate(() => (globalThis as unknown as { kept: string[] }).kept);
  await writer.close();

  const reader = await open(t, context, url);
  await ready(reader);
  assert.match(await reader.innerText("#state"), /memory is kept/);
  const found = await reader.locator("#memories span").allInnerTexts();
  assert.deepEqual(found.slice(0, told.length), told);
});

/** The model files that the cache holds, complete or not. */
async function modelFiles(page: Page): Promise<string[]> {
  return page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle("glasshouse-models", { create: true });
    const names: string[] = [];
    for await (const name of folder.keys()) if (name.endsWith(".gguf")) names.push(name);
    return names;
  });
}
