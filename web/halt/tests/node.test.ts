/** The installed package in Node: its interface, its streams, and what it does when it is misused. */

import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { ReadableStream } from "node:stream/web";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import * as halt from "@glasshouse/halt";
import type { Decision, Halt, HaltConfig, ScoredToken } from "@glasshouse/halt";

import { fixture } from "./fixtures.js";
import { golden, vectors } from "./suite.js";
import type { Summary, Vectors } from "./suite.js";

const { HaltConfigError, HaltInputError, Kernel, endsSentence, guardTokens, haltStream } = halt;

function scored(scores: readonly (number | null | undefined)[]): ScoredToken[] {
  return scores.map((score, index) => ({ token: `t${index}`, score }));
}

/** What a stream shows, and its halt. */
async function shown(tokens: AsyncIterable<ScoredToken> | Iterable<ScoredToken>, config?: HaltConfig) {
  const guarded = guardTokens(tokens, config);
  const out: string[] = [];
  for (;;) {
    const { done, value } = await guarded.next();
    if (done) return { out, halt: value };
    out.push(value);
  }
}

/** The same through a `TransformStream`. */
async function streamed(tokens: readonly ScoredToken[], config?: HaltConfig) {
  const stream = haltStream(config);
  const out: string[] = [];
  const source = ReadableStream.from(tokens) as globalThis.ReadableStream<ScoredToken>;
  for await (const token of source.pipeThrough(stream)) out.push(token);
  return { out, halt: await stream.halted };
}

test("the installed package is the one that is tested", () => {
  const place = createRequire(import.meta.url).resolve("@glasshouse/halt/package.json");
  assert.match(place, /node_modules[/\\]@glasshouse[/\\]halt[/\\]package\.json$/);
  assert.ok(!fs.lstatSync(path.dirname(place)).isSymbolicLink());
  const { dependencies } = JSON.parse(fs.readFileSync(place, "utf8"));
  assert.equal(dependencies, undefined);
});

test("the vectors of the reference", () => {
  assert.equal(vectors(halt, fixture<Vectors>("vectors.json")), 2 * 37);
});

test("pseudo-random streams have the golden hash", () => {
  const expected = fixture<Summary>("golden.json");
  assert.deepEqual(golden(halt, expected.streams), expected);
});

test("a stream, decision by decision", () => {
  const kernel = new Kernel({ soft_limit: 0.7 });
  assert.deepEqual(kernel.processToken(0, 0.9), {
    index: 0,
    decision: "continue",
    rule: null,
    value: null,
    limit: null,
    released: 1,
  } satisfies Decision);
  assert.deepEqual(kernel.process({ index: 1, score: 0.65 }), {
    index: 1,
    decision: "warn",
    rule: "soft_limit",
    value: 0.65,
    limit: 0.7,
    released: 2,
  } satisfies Decision);
  assert.deepEqual([kernel.halt, kernel.isActive, kernel.isFinishing, kernel.released], [null, true, false, 2]);
  assert.equal(kernel.processToken(2, 0.31).decision, "halt");
  assert.equal(kernel.processToken(3, 0.99).rule, "after_end");
  const expected: Halt = {
    index: 2,
    rule: "hard_limit",
    value: 0.31,
    limit: 0.5,
    trigger: 2,
    released: 2,
    reason: "hard_limit (0.3100 < 0.5)",
  };
  assert.deepEqual([kernel.halt, kernel.finish(), kernel.isActive, kernel.tokens], [expected, expected, false, 3]);
  assert.ok(Object.isFrozen(kernel.halt));
  kernel[Symbol.dispose]();
  kernel.free();
  assert.deepEqual([kernel.halt, kernel.isActive, kernel.released, kernel.trace()], [expected, false, 2, []]);
  assert.throws(() => kernel.processToken(3, 0.9), /was freed/);
  assert.throws(() => kernel.process({ index: 3, score: 0.9 }), /was freed/);
});

test("an input that is none halts, and nothing becomes one by coercion", () => {
  const wrong: readonly [unknown, unknown, string][] = [
    [0, undefined, "missing_score"],
    [0, null, "missing_score"],
    [0, "0.9", "invalid_score"],
    [0, true, "invalid_score"],
    [0, [0.9], "invalid_score"],
    [0, { valueOf: () => 0.9 }, "invalid_score"],
    [0, 1n, "invalid_score"],
    [0, NaN, "invalid_score"],
    [0, 1.01, "invalid_score"],
    [0, -0.01, "invalid_score"],
    [1, 0.9, "out_of_order"],
    [-1, 0.9, "out_of_order"],
    [0.5, 0.9, "out_of_order"],
    [NaN, 0.9, "out_of_order"],
    ["0", 0.9, "out_of_order"],
    [null, 0.9, "out_of_order"],
    [undefined, 0.9, "out_of_order"],
    [2 ** 53, 0.9, "out_of_order"],
  ];
  for (const [index, score, rule] of wrong) {
    for (const call of ["processToken", "process"] as const) {
      const kernel = new Kernel();
      const input = { index, score } as { index: number; score: number };
      const decision = call === "process" ? kernel.process(input) : kernel.processToken(input.index, input.score);
      assert.deepEqual([decision.decision, decision.rule, kernel.isActive], ["halt", rule, false], `${index} ${score}`);
      assert.equal(kernel.halt?.rule, rule);
      assert.equal(kernel.processToken(0, 0.9).decision, "halt");

      const careful = new Kernel({ invalid_input: "error" });
      assert.throws(
        () => (call === "process" ? careful.process(input) : careful.processToken(input.index, input.score)),
        (error) => error instanceof HaltInputError && error.rule === rule && error.message.includes(rule),
      );
      assert.equal(careful.processToken(0, 0.9).decision, "continue");
    }
  }
  for (const part of ["entropyBits", "elapsedMs"]) {
    for (const value of ["0.1", NaN, -1, Infinity, true]) {
      const decision = new Kernel().process({ index: 0, score: 0.9, [part]: value });
      assert.equal(decision.rule, "invalid_score", `${part} ${value}`);
    }
    assert.equal(new Kernel().process({ index: 0, score: 0.9, [part]: null }).decision, "continue");
  }
  assert.throws(() => new Kernel().process({ index: 0, score: 0.9, text: 5 as unknown as string }), TypeError);
});

test("a configuration is refused by field, value and range", () => {
  const wrong: readonly [unknown, string | undefined, RegExp][] = [
    [{ window_size: 0 }, "window_size", /^`window_size` is 0; it must be a whole number from 1 to 65536$/],
    [{ hard_limit: "0.5" }, "hard_limit", /is "0\.5"; it must be a number from 0 to 1$/],
    [{ hard_limit: NaN }, "hard_limit", /is NaN/],
    [{ trend: "steepest" }, "trend", /"endpoint" or "least_squares"/],
    [{ keep_text: 1 }, "keep_text", /is 1; it must be true or false/],
    [{ hard_limit: null }, "hard_limit", /is null/],
    [{ hard_limit: {} }, "hard_limit", /of type object/],
    [{ hard_limit: 1n }, "hard_limit", /of type bigint/],
    [{ hard_limitt: 0.5 }, "hard_limitt", /is no field of the configuration; the fields are/],
    [{ "schwelle µ 😀": 0.5 }, "schwelle µ 😀", /is no field/],
    [{ w_logic: 0.7 }, "w_logic + w_fact", /is 1\.1; it must be 1$/],
    [[], undefined, /no object/],
    [null, undefined, /no object/],
    [5, undefined, /no object/],
  ];
  for (const [config, field, message] of wrong) {
    assert.throws(
      () => new Kernel(config as HaltConfig),
      (error) => error instanceof HaltConfigError && error.field === field && message.test(error.message),
      JSON.stringify(config, (_, value) => (typeof value === "bigint" ? "bigint" : value)),
    );
  }
  new Kernel({ hard_limit: undefined, soft_limit: null });
});

test("the schema and the README describe every field", () => {
  const require = createRequire(import.meta.url);
  const schema = require("@glasshouse/halt/schema.json");
  const readme = fs.readFileSync(path.join(path.dirname(require.resolve("@glasshouse/halt/package.json")), "README.md"), "utf8");
  const fields = Object.entries<{ default: unknown }>(schema.properties);
  assert.equal(fields.length, 19);
  for (const [name, { default: value }] of fields) {
    new Kernel({ [name]: value });
    assert.ok(readme.includes(`| \`${name}\` | ${JSON.stringify(value)} |`), name);
  }
});

test("a soft halt finishes its sentence", () => {
  const kernel = new Kernel({ halt_mode: "soft", window_size: 2, window_threshold: 0.8 });
  const decisions = ["One ", "two ", "three.", "Four"].map((text, index) => kernel.process({ index, score: 0.7, text }));
  assert.deepEqual(
    decisions.map(({ decision, rule }) => [decision, rule]),
    [
      ["continue", null],
      ["warn", "window_avg"],
      ["halt", "window_avg"],
      ["halt", "after_end"],
    ],
  );
  assert.deepEqual([kernel.halt?.trigger, kernel.halt?.index, kernel.halt?.released], [1, 2, 3]);
  const waiting = new Kernel({ halt_mode: "soft", window_size: 1, window_threshold: 0.8 });
  waiting.processToken(0, 0.7);
  assert.equal(waiting.isFinishing, true);
  assert.equal(waiting.finish()?.released, 1);
});

test("the trace keeps the last tokens, with their text", () => {
  const kernel = new Kernel({ keep_text: true, trace_tokens: 3 });
  for (const [index, text] of ["a", "é", "終", "😀\ud83d", "x".repeat(100)].entries()) {
    kernel.process({ index, score: index === 4 ? 0.2 : 0.75, text });
  }
  assert.deepEqual(kernel.trace(), [
    { index: 2, score: 0.75, decision: "continue", rule: null, text: "終" },
    { index: 3, score: 0.75, decision: "continue", rule: null, text: "😀\ufffd" },
    { index: 4, score: 0.2, decision: "halt", rule: "hard_limit", text: "x".repeat(47) },
  ]);
  const whole = new Kernel({ trace_tokens: 65_536 });
  for (let index = 0; index < 70_000; index++) whole.processToken(index, 0.8);
  const trace = whole.trace();
  assert.deepEqual([trace.length, trace[0]?.index, trace.at(-1)?.index], [65_536, 4_464, 69_999]);
  whole.free();
  assert.throws(() => kernel.process({ index: 5, score: 0.9, text: "x".repeat((1 << 20) + 1) }), RangeError);
});

test("sentences end where they do", () => {
  assert.deepEqual(["end.", "終わり。", "“So?”", "word", "", "a;"].map(endsSentence), [true, true, true, false, false, false]);
  assert.throws(() => endsSentence(5 as unknown as string), TypeError);
});

test("streams show what is released, and end at the halt", async () => {
  for (const run of [shown, streamed]) {
    const whole = await run(scored([0.9, 0.9, 0.9]));
    assert.deepEqual(whole, { out: ["t0", "t1", "t2"], halt: null });

    const halted = await run(scored([0.9, 0.9, 0.2, 0.9]));
    assert.deepEqual([halted.out, halted.halt?.index, halted.halt?.rule], [["t0", "t1"], 2, "hard_limit"]);

    const held = await run(scored([0.9, 0.9, 0.9, 0.9, 0.2]), { hold_back: 2 });
    assert.deepEqual([held.out, held.halt?.released], [["t0", "t1"], 2]);

    const ended = await run(scored([0.9, 0.9, 0.9]), { hold_back: 2 });
    assert.deepEqual(ended, { out: ["t0", "t1", "t2"], halt: null });

    const sentence = ["One ", "two ", "three.", "Four"].map((token) => ({ token, score: 0.7 }));
    const soft = await run(sentence, { halt_mode: "soft", window_size: 2, window_threshold: 0.8, hold_back: 2 });
    assert.deepEqual([soft.out, soft.halt?.trigger], [["One ", "two ", "three."], 1]);

    const missing = await run(scored([0.9, undefined, 0.9]));
    assert.deepEqual([missing.out, missing.halt?.rule], [["t0"], "missing_score"]);

    const nothing = await run([undefined] as unknown as ScoredToken[]);
    assert.deepEqual([nothing.out, nothing.halt?.rule], [[], "missing_score"]);
    await assert.rejects(run(scored([0.9, 2]), { invalid_input: "error" }), HaltInputError);
  }
});

test("tokens are released one by one, not at the end", async () => {
  const stream = haltStream<number>({ hold_back: 1 });
  const writer = stream.writable.getWriter();
  const reader = stream.readable.getReader();
  void writer.write({ token: 10, score: 0.9 });
  void writer.write({ token: 11, score: 0.9 });
  assert.deepEqual(await reader.read(), { done: false, value: 10 });
  void writer.close();
  assert.deepEqual(await reader.read(), { done: false, value: 11 });
  assert.deepEqual([await reader.read(), await stream.halted], [{ done: true, value: undefined }, null]);
});

test("whoever writes on after a halt is told", async () => {
  const stream = haltStream();
  const writer = stream.writable.getWriter();
  const reader = stream.readable.getReader();
  void writer.write({ token: "a", score: 0.1 });
  assert.deepEqual(await reader.read(), { done: true, value: undefined });
  assert.equal((await stream.halted)?.index, 0);
  await assert.rejects(writer.write({ token: "b", score: 0.9 }));
});

test("a stream that is given up says so", async () => {
  const cancelled = haltStream();
  const reason = assert.rejects(cancelled.halted, /nobody listens/);
  await cancelled.readable.cancel(new Error("nobody listens"));
  await reason;
});

test("the source ends at the halt, and when nobody listens any more", async () => {
  for (const score of [0.1, 0.9]) {
    let [asked, ended] = [0, false];
    async function* source(): AsyncGenerator<ScoredToken> {
      try {
        for (;;) {
          asked++;
          yield { token: "t", score };
        }
      } finally {
        ended = true;
      }
    }
    for await (const _ of guardTokens(source())) break;
    assert.deepEqual([asked, ended], [1, true]);
  }
  async function* failing(): AsyncGenerator<ScoredToken> {
    yield { token: "t", score: 0.9 };
    throw new Error("the model is gone");
  }
  await assert.rejects(shown(failing(), { hold_back: 5 }), /the model is gone/);
});

test("a kernel of the caller's guards a stream and stays", async () => {
  const kernel = new Kernel();
  kernel.processToken(0, 0.9);
  const out: string[] = [];
  for await (const token of guardTokens(scored([0.9, 0.1]), kernel)) out.push(token);
  assert.deepEqual([out, kernel.halt?.index, kernel.trace().length], [["t0"], 2, 3]);
  kernel.free();
});

test("memory does not grow with streams or with their length", () => {
  const before = process.memoryUsage().rss;
  const kernel = new Kernel({ hard_limit: 0, window_threshold: 0 });
  for (let index = 0; index < 300_000; index++) kernel.processToken(index, 0.8);
  // Each has a trace of some 20 kB.
  for (let count = 0; count < 50_000; count++) new Kernel().free();
  assert.ok(process.memoryUsage().rss - before < 100 << 20);
  assert.equal(kernel.isActive, true);
});

test("kernels that nobody holds any more are freed", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const before = process.memoryUsage().rss;
  for (let round = 0; round < 100; round++) {
    for (let count = 0; count < 300; count++) new Kernel();
    collect();
    // Finalizers run between tasks.
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(process.memoryUsage().rss - before < 200 << 20);
});

test("the examples of the README run", async (t) => {
  const folder = path.dirname(createRequire(import.meta.url).resolve("@glasshouse/halt/package.json"));
  const readme = fs.readFileSync(path.join(folder, "README.md"), "utf8");
  const examples = [...readme.matchAll(/```js\n([^`]*)```/g)].map(([, code = ""]) => code);
  const printed: unknown[] = [];
  t.mock.method(console, "log", (...values: unknown[]) => printed.push(values.join(" ")));
  // Those that print, and say what.
  for (const code of examples.filter((code) => code.includes("console.log"))) {
    const file = new URL(`./example-${printed.length}.js`, import.meta.url);
    fs.writeFileSync(file, code);
    await import(file.href);
  }
  assert.deepEqual(printed, ["2 hard_limit (0.3100 < 0.4)", "The ", "hard_limit (0.2000 < 0.5)"]);
});
