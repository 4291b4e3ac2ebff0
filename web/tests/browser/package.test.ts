/** The npm package: the public class in a page of someone else's. */

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";

import type { Page } from "playwright-core";

import { TEST, browse, glasshouse, open, serve, serveChanged, temporaryFolder } from "./harness.js";

const NOW = 1_700_000_000;

/** Asked natively and in a tab; between them they use every tool that both have, and end in every usual way. */
const QUESTIONS = [
  "What is 17 * 23?",
  "What is the square root of 2?",
  "What is (2 + 3) * (7 - 4) / 5?",
  "What time is it?",
  "Remember that the gate code is 4417",
  "What is the gate code?",
  "What is 1 / 0?",
  "Hello",
  "What does todo.txt say?",
  "Grüße aus Köln — was ist 12 * 12?",
] as const;

/** A tab with the class, and nothing else of the page. */
async function tab(t: TestContext, url = serve(t)): Promise<Page> {
  const page = await open(t, await browse(t), `${await url}icon.svg`);
  await page.evaluate(async () => {
    Object.assign(globalThis, { kept: {} }, await import(new URL("./glasshouse.js", location.href).href));
  });
  return page;
}

// What runs in the tab has the class as a global; this is its type there.
declare const Glasshouse: typeof import("../../dist/glasshouse.js").Glasshouse;
declare const kept: { engine?: import("../../dist/glasshouse.js").Glasshouse };

test("ten questions write the same event log natively and in a tab, byte for byte", TEST, async (t) => {
  const folder = temporaryFolder();
  const page = await tab(t);
  for (const [index, question] of QUESTIONS.entries()) {
    const seed = index * 1_000_003;
    const options = { seed, now: NOW, temperature: index % 2 === 0 ? 0 : 0.7, record: true };
    const native = path.join(folder, `native-${index}.log`);
    await glasshouse(
      [
        "ask", "--quiet", "--seed", String(seed), "--now", String(NOW), "--temperature", String(options.temperature),
        "--trace", native, question,
      ],
      folder,
    ).catch((error: unknown) => t.diagnostic(`${question}: no answer natively (${String(error).slice(0, 80)})`));
    const log = await page.evaluate(
      async ([question, options]) => {
        // The native run has an empty memory; the tab starts another engine when something is remembered.
        let engine = kept.engine;
        if (!engine || (await engine.memory.list()).length > 0) {
          engine?.destroy();
          engine = kept.engine = await Glasshouse.start({ memory: "temporary" });
          await engine.loadModel();
        }
        for await (const _ of engine.chat(question, options));
        return Array.from((await engine.takeLog()) ?? []);
      },
      [question, options] as const,
    );
    const inTab = path.join(folder, `tab-${index}.log`);
    fs.writeFileSync(inTab, Buffer.from(log));
    assert.ok(log.length > 0, question);
    assert.ok(fs.readFileSync(native).equals(Buffer.from(log)), `the logs of ${JSON.stringify(question)} differ`);
    const report = (await glasshouse(["replay", inTab], folder)).trim();
    assert.match(report, /^identical/);
    t.diagnostic(`${question} (seed ${seed}, temperature ${options.temperature}): ${log.length} bytes, ${report}`);
  }
});

test("aborting stops in the middle of an answer, as a recorded outcome that replays", TEST, async (t) => {
  const folder = temporaryFolder();
  // The pocket model's answer takes some milliseconds; with pauses between the slices there is a middle to stop in.
  const pausing = (content: Buffer) =>
    content
      .toString()
      .replace("channel.port2.postMessage(undefined)", "setTimeout(() => channel.port2.postMessage(undefined), 50)");
  const page = await tab(t, serveChanged(t, { "tasks.js": pausing }));
  const stopped = await page.evaluate(async () => {
    const engine = await Glasshouse.start({ memory: "temporary" });
    await engine.loadModel();
    const controller = new AbortController();
    const events: string[] = [];
    const question = "What is 17 * 23?";
    for await (const event of engine.chat(question, {
      record: true,
      sliceMilliseconds: 1,
      signal: controller.signal,
    })) {
      events.push(event.event === "delta" ? `delta ${event.kind}` : event.event);
      if (event.event === "delta" && event.kind === "answer") controller.abort();
    }
    const log = await engine.takeLog();
    // The same engine goes on with the next question.
    let answer = "";
    for await (const event of engine.chat(question)) if (event.event === "answer") answer = event.text;
    return { events, log: Array.from(log ?? []), answer };
  });
  assert.ok(!stopped.events.includes("answer"), stopped.events.join());
  assert.ok(["end", "error"].includes(stopped.events.at(-1) ?? ""), stopped.events.join());
  assert.match(stopped.answer, /391/);
  const file = path.join(folder, "stopped.log");
  fs.writeFileSync(file, Buffer.from(stopped.log));
  assert.match(await glasshouse(["replay", file], folder), /^identical/);
});

test("leaving the loop stops the run", TEST, async (t) => {
  const page = await tab(t);
  const answer = await page.evaluate(async () => {
    const engine = await Glasshouse.start({ memory: "temporary" });
    await engine.loadModel();
    for await (const event of engine.chat("What is 17 * 23?", { sliceMilliseconds: 1 })) {
      if (event.event === "delta") break;
    }
    let answer = "";
    for await (const event of engine.chat("What is 17 * 23?")) if (event.event === "answer") answer = event.text;
    return answer;
  });
  assert.match(answer, /391/);
});

test("misuse fails with a code and a sentence", TEST, async (t) => {
  const page = await tab(t);
  const codes = await page.evaluate(async () => {
    const codeOf = async (work: () => Promise<unknown>) => {
      try {
        await work();
        return "none";
      } catch (error) {
        const { name, code, message } = error as { name: string; code: string; message: string };
        return `${name} ${code}: ${message}`;
      }
    };
    const engine = await Glasshouse.start({ memory: "temporary" });
    const first = (question: string, options = {}) => engine.chat(question, options).next();
    const result: Record<string, string> = {};
    result["no model"] = await codeOf(() => first("Hello"));
    result["absent"] = await codeOf(() => engine.loadModel(new URL("./absent.gguf", location.href)));
    result["no model file"] = await codeOf(() => engine.loadModel(new URL("./page.js", location.href)));
    result["no address"] = await codeOf(() => engine.loadModel("http://"));
    result["no source"] = await codeOf(() => engine.loadModel({} as URL));
    const controller = new AbortController();
    controller.abort();
    result["cancelled"] = await codeOf(() => engine.loadModel(undefined, { signal: controller.signal }));
    await engine.loadModel("./pocket.gguf");
    result["empty"] = await codeOf(() => first("  "));
    result["unknown option"] = await codeOf(() => first("Hello", { sed: 1 }));
    result["bad option"] = await codeOf(() => first("Hello", { max_steps: 0 }));
    const run = engine.chat("What is 17 * 23?", { sliceMilliseconds: 1 });
    await run.next();
    result["busy"] = await codeOf(() => first("Hello"));
    await run.return({ milliseconds: 0 });
    engine.destroy();
    result["destroyed"] = await codeOf(() => engine.memory.list());
    return result;
  });
  t.diagnostic(JSON.stringify(codes, undefined, 1));
  assert.match(codes["absent"] ?? "", /^GlasshouseError model_unavailable: .*404/);
  assert.match(codes["cancelled"] ?? "", /^GlasshouseError cancelled: /);
  assert.match(codes["busy"] ?? "", /^GlasshouseError busy: /);
  assert.match(codes["destroyed"] ?? "", /^GlasshouseError destroyed: /);
  for (const [name, text] of Object.entries(codes)) assert.match(text, /^GlasshouseError \w+: .{10,}/, name);
});

test("memory is listed, searched, added to and removed from", TEST, async (t) => {
  const page = await tab(t);
  const seen = await page.evaluate(async () => {
    const { memory } = await Glasshouse.start({ memory: "temporary" });
    const added = await memory.add("The gate code is 4417.");
    await memory.add("The cat is called Ada.");
    const found = await memory.search("gate");
    const removed = [await memory.remove(added.id), await memory.remove(added.id)];
    return { added, found, removed, left: (await memory.list()).map(({ text }) => text) };
  });
  assert.equal(seen.added.text, "The gate code is 4417.");
  assert.deepEqual(seen.found, [seen.added]);
  assert.deepEqual(seen.removed, [true, false]);
  assert.deepEqual(seen.left, ["The cat is called Ada."]);
});
