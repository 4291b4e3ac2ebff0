// Optimizes the module, checks that it asks nothing of its host, and prints its size.
//
//   node tools/finish.mjs MODULE RESULT

import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { fileURLToPath } from "node:url";
import zlib from "node:zlib";

const [from, to] = process.argv.slice(2);
if (!from || !to) {
  console.error("usage: node tools/finish.mjs MODULE RESULT");
  process.exit(2);
}

const WASM_OPT = fileURLToPath(new URL("../../node_modules/binaryen/bin/wasm-opt", import.meta.url));
/** What every host has had for years, and the compiler uses. */
const FEATURES = [
  "--enable-bulk-memory",
  "--enable-multivalue",
  "--enable-mutable-globals",
  "--enable-nontrapping-float-to-int",
  "--enable-reference-types",
  "--enable-sign-ext",
];
/** What the module may take on its way to a page. */
const COMPRESSED_BYTES = 15_000;

execFileSync(process.execPath, [WASM_OPT, "-O3", ...FEATURES, from, "-o", to], { stdio: "inherit" });
const content = fs.readFileSync(to);
const imports = WebAssembly.Module.imports(new WebAssembly.Module(content));
if (imports.length > 0) {
  console.error(`halt.wasm imports ${imports.map(({ module, name }) => `${module}.${name}`).join(", ")}`);
  process.exit(1);
}
const gzip = zlib.gzipSync(content, { level: 9 }).length;
const brotli = zlib.brotliCompressSync(content).length;
console.log(`halt.wasm: ${content.length} bytes, ${gzip} with gzip, ${brotli} with Brotli; no imports`);
if (gzip > COMPRESSED_BYTES) {
  console.error(`halt.wasm is compressed to more than ${COMPRESSED_BYTES} bytes`);
  process.exit(1);
}
