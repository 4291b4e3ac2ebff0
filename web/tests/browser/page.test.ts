/** The person's page: what is seen, clicked and typed. */

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { TEST, ask, browse, glasshouse, open, picture, ready, serve, steps, temporaryFolder } from "./harness.js";

const CALCULATION = "What is 17 * 23?";

test("the first load shows bytes and percent, and ends ready for a question", TEST, async (t) => {
  const context = await browse(t);
  await context.addInitScript(() => {
    const seen: string[] = [];
    Object.assign(globalThis, { seen });
    new MutationObserver(() => {
      const text = document.getElementById("loading-amount")?.textContent;
      if (text) seen.push(text);
    }).observe(document, { subtree: true, childList: true, characterData: true });
  });
  const page = await open(t, context, await serve(t));
  await ready(page);
  const seen = await page.evaluate(() => (globalThis as unknown as { seen: string[] }).seen);
  assert.ok(seen.some((text) => /^[\d.]+ [kM]B of [\d.]+ [kM]B, \d+ %$/.test(text)), JSON.stringify(seen));
  assert.ok(seen.at(-1)?.endsWith("100 %"), JSON.stringify(seen));
  assert.match(await page.innerText("#state"), /SIMD/);
  assert.match(await page.innerText("#state"), /memory is kept/);
  await picture(page, "desktop-light-ready");
});

test("a calculation shows the call, its observation and the answer", TEST, async (t) => {
  const page = await open(t, await browse(t), await serve(t));
  await ready(page);
  const answer = await ask(page, CALCULATION);
  assert.match(answer, /391/);
  assert.match((await steps(page, "call")).join(), /calculate.*17/);
  assert.deepEqual(await steps(page, "observation"), ["391"]);
  assert.match(await page.innerText("#state"), /tokens\/s/);
  assert.match(await page.locator("#announcer").innerText(), /391/);
  await picture(page, "desktop-light-answer");
});

test("what was remembered is known after a reload, and can be forgotten", TEST, async (t) => {
  const page = await open(t, await browse(t), await serve(t));
  await ready(page);
  await ask(page, "Remember that the gate code is 4417");
  assert.match(await page.innerText("#memories"), /4417/);
  await page.reload();
  await ready(page);
  assert.match(await page.innerText("#state"), /memory is kept/, "the reloaded page has the memory's files");
  assert.match(await page.innerText("#model-facts"), /kept in this browser/, "the model came from the cache");
  assert.match(await ask(page, "What is the gate code?"), /4417/);
  await picture(page, "desktop-light-remembered");
  await page.click("#memories button");
  await page.waitForSelector("#memories-empty:not([hidden])");
});

test("the saved event log replays natively to the same bytes", TEST, async (t) => {
  const folder = temporaryFolder();
  const page = await open(t, await browse(t), await serve(t));
  await ready(page);
  await ask(page, CALCULATION);
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("text=Save event log")]);
  const file = path.join(folder, download.suggestedFilename());
  await download.saveAs(file);
  assert.match(await glasshouse(["replay", file], folder), /^identical/);
  assert.match(await page.locator(".run footer").innerText(), /glasshouse replay/);
});

test("after loading, nothing is fetched and everything works without a network", TEST, async (t) => {
  const context = await browse(t);
  const page = await open(t, context, await serve(t));
  await ready(page);
  const requests: string[] = [];
  context.on("request", (request) => requests.push(request.url()));
  await context.setOffline(true);
  assert.match(await ask(page, CALCULATION), /391/);
  await ask(page, "Remember that the gate code is 4417");
  assert.deepEqual(requests, []);
});

test("the second tab answers, and says that its memory ends with it", TEST, async (t) => {
  const context = await browse(t);
  const url = await serve(t);
  const first = await open(t, context, url);
  await ready(first);
  const second = await open(t, context, url);
  await ready(second);
  assert.match(await second.innerText("#state"), /memory ends with this tab/);
  assert.match(await second.innerText("#notices"), /\w+.*\./);
  await picture(second, "desktop-light-second-tab");
  assert.match(await ask(second, CALCULATION), /391/);
  await ask(first, "Remember that the gate code is 4417");
  assert.match(await first.innerText("#memories"), /4417/);
});

test("a file that is no model is refused with a sentence, and the model before goes on", TEST, async (t) => {
  const folder = temporaryFolder();
  const pocket = fs.readFileSync(path.join(process.env["GLASSHOUSE_PAGE"] ?? "", "pocket.gguf"));
  const page = await open(t, await browse(t), await serve(t));
  await ready(page);
  const flipped = Buffer.from(pocket.subarray(0, 4096).map((byte) => byte ^ 0x55));
  for (const [name, content] of [
    ["text.gguf", Buffer.from("this is not a model")],
    ["empty.gguf", Buffer.alloc(0)],
    ["cut.gguf", pocket.subarray(0, pocket.length / 2)],
    ["head.gguf", pocket.subarray(0, 40)],
    ["damaged.gguf", Buffer.concat([flipped, pocket.subarray(4096)])],
  ] as const) {
    const file = path.join(folder, name);
    fs.writeFileSync(file, content);
    await page.setInputFiles("#model-file", file);
    await page.waitForSelector(".notice.problem");
    const message = await page.innerText(".notice.problem p");
    assert.match(message, /^[A-Z].{10,}\.$/s, `${name}: ${message}`);
    await page.click(".notice.problem button");
    await ready(page);
  }
  assert.match(await ask(page, CALCULATION), /391/);
});

test("a person's own model file is loaded, and the pocket model can be had back", TEST, async (t) => {
  const folder = temporaryFolder();
  const file = path.join(folder, "tiny.gguf");
  await glasshouse(["model", "generate", "tiny-llama-q8_0", file], folder);
  const page = await open(t, await browse(t), await serve(t));
  await ready(page);
  await page.setInputFiles("#model-file", file);
  await page.waitForSelector("#pocket-model:not([hidden])");
  await ready(page);
  assert.match(await page.innerText("#model-facts"), /a file of yours/);
  const outcome = await ask(page, CALCULATION);
  assert.match(outcome, /\./, "random weights give no sensible answer, and a sentence says so");
  await page.click("#pocket-model");
  await page.waitForSelector("#pocket-model", { state: "hidden" });
  await ready(page);
  assert.match(await ask(page, CALCULATION), /391/);
});

test("everything can be done with the keyboard alone, and the focus is always seen", TEST, async (t) => {
  const page = await open(t, await browse(t), await serve(t));
  await ready(page);
  const focused = () =>
    page.evaluate(() => {
      const element = document.activeElement as HTMLElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      return { name: element.id || element.textContent, seen: outlineStyle !== "none" && outlineWidth !== "0px" };
    });
  const tabTo = async (name: RegExp) => {
    for (let presses = 0; presses < 30; presses++) {
      await page.keyboard.press("Tab");
      const at = await focused();
      assert.ok(at.seen, `the focus is not seen on ${at.name}`);
      if (name.test(at.name)) return;
    }
    assert.fail(`Tab does not reach ${name}`);
  };
  await tabTo(/^question$/);
  await page.keyboard.type("Remember that");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("the gate code is 4417");
  assert.equal(await page.inputValue("#question"), "Remember that\nthe gate code is 4417");
  await page.fill("#question", "");
  await page.keyboard.type("Remember that the gate code is 4417");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#memories li");
  await ready(page);
  await tabTo(/Forget/);
  await page.keyboard.press("Enter");
  await page.waitForSelector("#memories-empty:not([hidden])");
  await page.keyboard.press("Shift+Tab");
  assert.ok((await focused()).seen);
});

for (const colorScheme of ["light", "dark"] as const) {
  test(`a phone's screen holds the page, ${colorScheme}`, TEST, async (t) => {
    const context = await browse(t, { viewport: { width: 360, height: 740 }, colorScheme });
    const page = await open(t, context, await serve(t));
    await ready(page);
    await picture(page, `phone-${colorScheme}-ready`);
    await ask(page, "Remember that the gate code is 4417");
    await ask(page, `${CALCULATION} ${"x".repeat(200)}`);
    await ask(page, CALCULATION);
    await picture(page, `phone-${colorScheme}-answer`);
    await page.click("#panel-toggle");
    await page.waitForSelector("#panel.open");
    await picture(page, `phone-${colorScheme}-panel`);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 360, `the page is ${width} pixels wide`);
    await page.setViewportSize({ width: 1200, height: 800 });
    await picture(page, `desktop-${colorScheme}-conversation`);
  });
}
