// Optimizes the WebAssembly files of a built page, puts compressed copies beside what compresses, and prints the sizes.
//
//   node tools/finish.mjs DIST CACHE [--fast]
//
// What was made once from the same bytes is taken from CACHE. --fast does neither of the two.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import zlib from "node:zlib";

const [dist, cache, mode] = process.argv.slice(2);
if (!dist || !cache || (mode !== undefined && mode !== "--fast")) {
  console.error("usage: node tools/finish.mjs DIST CACHE [--fast]");
  process.exit(2);
}

const WASM_OPT = fileURLToPath(new URL("../node_modules/binaryen/bin/wasm-opt", import.meta.url));
/** Instruction sets are named, not guessed: what is not named may not come in. */
const FEATURES = [
  "--enable-bulk-memory",
  "--enable-multivalue",
  "--enable-mutable-globals",
  "--enable-nontrapping-float-to-int",
  "--enable-reference-types",
  "--enable-sign-ext",
  "--enable-simd",
];
/** Types of files that compress; a model's weights do not, and its length has to be known to whoever loads it. */
const COMPRESSIBLE = new Set([".wasm", ".js", ".html", ".css", ".svg"]);
/** Cached results that no build used for so long are removed. */
const CACHE_DAYS = 30;

/** The result of `make` for this content, made at most once. */
function cached(content, recipe, make) {
  const key = createHash("sha256").update(recipe).update("\0").update(content).digest("hex");
  const file = path.join(cache, key);
  if (fs.existsSync(file)) {
    const now = new Date();
    fs.utimesSync(file, now, now);
    return fs.readFileSync(file);
  }
  const result = make();
  fs.writeFileSync(`${file}.new`, result);
  fs.renameSync(`${file}.new`, file);
  return result;
}

function optimize(file) {
  const features = file.includes(`${path.sep}relaxed${path.sep}`) ? [...FEATURES, "--enable-relaxed-simd"] : FEATURES;
  const content = fs.readFileSync(file);
  const optimized = cached(content, `wasm-opt 132 -O3 ${features.join(" ")}`, () => {
    const result = path.join(cache, "optimized.wasm");
    execFileSync(process.execPath, [WASM_OPT, "-O3", ...features, file, "-o", result], { stdio: "inherit" });
    return fs.readFileSync(result);
  });
  fs.writeFileSync(file, optimized);
}

function compress(file) {
  const content = fs.readFileSync(file);
  const brotli = cached(content, "brotli 11", () =>
    zlib.brotliCompressSync(content, {
      params: {
        [zlib.constants.BROTLI_PARAM_QUALITY]: 11,
        [zlib.constants.BROTLI_PARAM_LGWIN]: 24,
        [zlib.constants.BROTLI_PARAM_SIZE_HINT]: content.length,
      },
    }),
  );
  const gzip = cached(content, "gzip 9", () => zlib.gzipSync(content, { level: 9 }));
  fs.writeFileSync(`${file}.br`, brotli);
  fs.writeFileSync(`${file}.gz`, gzip);
  return { gzip: gzip.length, brotli: brotli.length };
}

function files(directory) {
  return fs
    .readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

fs.mkdirSync(cache, { recursive: true });
const rows = [];
for (const file of files(dist)) {
  if (/\.(d\.ts|br|gz)$/.test(file)) continue;
  if (mode !== "--fast" && file.endsWith(".wasm")) optimize(file);
  const raw = fs.statSync(file).size;
  const compressed = mode !== "--fast" && COMPRESSIBLE.has(path.extname(file)) ? compress(file) : undefined;
  rows.push({ name: path.relative(dist, file), raw, gzip: compressed?.gzip ?? raw, brotli: compressed?.brotli ?? raw });
}
const oldest = Date.now() - CACHE_DAYS * 86_400_000;
for (const file of files(cache)) if (fs.statSync(file).mtimeMs < oldest) fs.rmSync(file);

/** What one browser fetches: its own variant of the engine, and everything that is not a variant. */
const fetched = rows.filter(({ name }) => !name.includes(`simd128${path.sep}`));
const total = (name, list) => ({
  name,
  raw: list.reduce((sum, row) => sum + row.raw, 0),
  gzip: list.reduce((sum, row) => sum + row.gzip, 0),
  brotli: list.reduce((sum, row) => sum + row.brotli, 0),
});
const code = fetched.filter(({ name }) => !name.endsWith(".gguf"));
const table = [...rows, total("one browser, without the model", code), total("one browser, all", fetched)];
const width = Math.max(...table.map(({ name }) => name.length));
const columns = (name, ...sizes) => console.log(name.padEnd(width), ...sizes.map((size) => String(size).padStart(10)));
columns("bytes", "raw", "gzip", "brotli");
for (const { name, raw, gzip, brotli } of table) columns(name, raw, gzip, brotli);
