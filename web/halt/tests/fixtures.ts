/** The files that the tests of all runtimes share, and what `cargo xtask` says about where things are. */

import fs from "node:fs";
import path from "node:path";

/** What `cargo xtask` says about where things are. */
export function place(name: "FIXTURES" | "CHROMIUM"): string {
  const value = process.env[`GLASSHOUSE_HALT_${name}`];
  if (!value) throw new Error(`GLASSHOUSE_HALT_${name} is not set; run these through \`cargo xtask test-halt\``);
  return path.resolve(value);
}

/** A file of `crates/halt/tests`. */
export function fixture<T>(name: string): T {
  return JSON.parse(fs.readFileSync(path.join(place("FIXTURES"), name), "utf8")) as T;
}
