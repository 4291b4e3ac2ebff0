/** Nanoseconds per token in Node and in a worker of Chromium; fails where a token takes longer than it may. */

import * as halt from "@glasshouse/halt";

import { ask, open } from "./chromium.js";
import { measure } from "./suite.js";

const LENGTHS = [100, 1_000, 4_000, 100_000];
/** What a token may take, and how much longer at the longest stream than at 1,000 tokens. */
const NANOSECONDS = 150;
const GROWTH = 1.5;

const { page, end } = await open();
for (const given of ["score", "everything"] as const) {
  const chromium = await ask<number[]>(page, "worker", { task: "measure", given, lengths: LENGTHS });
  const node = LENGTHS.map((length) => measure(halt, given, length));
  console.log(`nanoseconds per token, the best of 7; making a kernel counts; given: ${given}`);
  console.log(`${"tokens".padStart(8)}${"Node".padStart(10)}${"Chromium".padStart(10)}`);
  for (const [row, length] of LENGTHS.entries()) {
    const columns = [node, chromium].map((column) => column[row]?.toFixed(1).padStart(10));
    console.log(`${length}`.padStart(8) + columns.join(""));
  }
  for (const [name, column] of Object.entries({ Node: node, Chromium: chromium })) {
    const [, thousand = NaN, , longest = NaN] = column;
    if (!(Math.max(thousand, longest) <= NANOSECONDS && longest <= GROWTH * thousand)) {
      console.error(`${name}: a token takes longer than ${NANOSECONDS} ns, or the longer the stream is`);
      process.exitCode = 1;
    }
  }
}
await end();
