/**
 * Measures the built page and its engine, and a peer in the same browser: `cargo xtask bench-web` runs it.
 *
 * Speeds are medians of runs that alternate between the candidates, single-threaded; ratios are of the same run.
 *
 * @module
 */

import { execFile } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";

import { chromium } from "playwright-core";
import type { BrowserContext, Page } from "playwright-core";

import { place } from "./harness.js";

const REPETITIONS = 3;
const NAVIGATIONS = 5;
/** Long enough for a 1B model in a peer that evaluates two tokens in a second, on a busy machine. */
const PATIENCE_MILLISECONDS = 900_000;

/** Tokens per second. */
interface Speed {
  readonly prefill: number;
  readonly decode: number;
}

const execute = promisify(execFile);
const wllama = path.resolve("node_modules/@wllama/wllama/esm");
const models = {
  pocket: { file: path.join(place("PAGE"), "pocket.gguf"), prompt: 128, decode: 64 },
  "llama-1b-q4_0": { file: place("LARGE_MODEL"), prompt: 32, decode: 8 },
};

/** Serves the page, the suites, the peer and the models; without a content policy, since the peer needs to break it. */
async function serve(): Promise<{ url: string; close: () => void }> {
  const folders: Record<string, string> = { page: place("PAGE"), suites: place("SUITES"), wllama };
  const types: Record<string, string> = {
    ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
  };
  const server = http.createServer((request, response) => {
    const [, folder = "", ...rest] = new URL(request.url ?? "/", "http://localhost").pathname.split("/");
    const model = Object.entries(models).find(([name]) => folder === "models" && rest[0] === name);
    const file = model ? model[1].file : path.join(folders[folder] ?? "", rest.join("/"));
    const known = folder === "empty" || ((model || folders[folder]) && fs.existsSync(file) && fs.statSync(file).isFile());
    response.writeHead(known ? 200 : 404, {
      "Content-Type": folder === "empty" ? "text/html" : (types[path.extname(file)] ?? "application/octet-stream"),
      ...(known && folder !== "empty"
        ? { "Content-Length": fs.statSync(file).size, "Last-Modified": fs.statSync(file).mtime.toUTCString() }
        : {}),
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Embedder-Policy": "require-corp",
    });
    if (!known || folder === "empty" || request.method === "HEAD") response.end();
    else fs.createReadStream(file).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return { url: `http://127.0.0.1:${address.port}`, close: () => server.close() };
}

async function browse(profile: string): Promise<BrowserContext> {
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: place("CHROMIUM"),
    headless: true,
    chromiumSandbox: false,
    args: ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"],
  });
  context.setDefaultTimeout(PATIENCE_MILLISECONDS);
  return context;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

function medians(speeds: readonly Speed[]): Speed {
  return { prefill: median(speeds.map(({ prefill }) => prefill)), decode: median(speeds.map(({ decode }) => decode)) };
}

/** From the navigation to the first text of the model on the page, in milliseconds; engine and model are cached. */
async function timeToFirstToken(url: string): Promise<number[]> {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "glasshouse-bench-"));
  const context = await browse(profile);
  try {
    await context.addInitScript(() => {
      const observer = new MutationObserver(() => {
        const ask = document.querySelector<HTMLButtonElement>("#ask");
        if (document.querySelector(".step .text, .answer:not(:empty)")) {
          Object.assign(globalThis, { firstToken: performance.now() });
          observer.disconnect();
        } else if (ask && !ask.disabled && !document.querySelector(".run")) {
          document.querySelector<HTMLButtonElement>(".example")?.click();
        }
      });
      observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    });
    const page = await context.newPage();
    const times: number[] = [];
    for (let navigation = 0; navigation <= NAVIGATIONS; navigation++) {
      await page.goto(`${url}/page/index.html`);
      const time = await page.waitForFunction(() => (globalThis as { firstToken?: number }).firstToken);
      // The first navigation fills the caches.
      if (navigation > 0) times.push(Number(await time.jsonValue()));
      await page.waitForSelector("#ask:not([disabled]):not([hidden])");
    }
    return times;
  } finally {
    await context.close();
    fs.rmSync(profile, { recursive: true, force: true });
  }
}

/** The engine's kernels and model code in a worker. */
function inTab(page: Page, url: string, model: keyof typeof models): Promise<Speed> {
  const { prompt, decode } = models[model];
  return page.evaluate(
    ([url, model, prompt, decode]) =>
      new Promise<Speed>((resolve, reject) => {
        const code = `
          const suite = await import("${url}/suites/kernels-relaxed/suite.js");
          const wasm = await suite.default({ module_or_path: "${url}/suites/kernels-relaxed/suite_bg.wasm" });
          const response = await fetch("${url}/models/${model}");
          const bytes = Number(response.headers.get("Content-Length"));
          const measurement = new suite.Measurement();
          const pointer = measurement.reserve(bytes) >>> 0;
          let at = 0;
          for await (const chunk of response.body) {
            new Uint8Array(wasm.memory.buffer, pointer + at, chunk.length).set(chunk);
            at += chunk.length;
          }
          measurement.load();
          const measure = (prompt, decode) => {
            const start = performance.now();
            let middle = start;
            measurement.run(prompt, decode, () => { middle = performance.now(); });
            return { prefill: prompt * 1000 / (middle - start), decode: decode * 1000 / (performance.now() - middle) };
          };
          // Compiled code is replaced by optimized code while it runs; the last run is the one to measure.
          for (let warmUp = 0; warmUp < 3; warmUp++) measure(${prompt}, ${decode});
          postMessage(measure(${prompt}, ${decode}));`;
        const worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })), {
          type: "module",
        });
        worker.onmessage = ({ data }) => {
          worker.terminate();
          resolve(data as Speed);
        };
        worker.onerror = (event) => reject(new Error(event.message));
      }),
    [url, model, prompt, decode] as const,
  );
}

/** The peer, one thread. */
function inPeer(page: Page, url: string, model: keyof typeof models): Promise<Speed> {
  const { prompt, decode } = models[model];
  return page.evaluate(
    async ([url, model, prompt, decode]) => {
      interface Peer {
        loadModel(files: Blob[], options: object): Promise<void>;
        createCompletion(options: object): Promise<{
          timings: { prompt_per_second: number; predicted_per_second: number };
        }>;
        exit(): Promise<void>;
      }
      const { Wllama } = (await import(`${url}/wllama/index.js`)) as {
        Wllama: new (paths: object, options: object) => Peer;
      };
      const peer = new Wllama({ default: `${url}/wllama/wasm/wllama.wasm` }, { suppressNativeLog: true });
      const file = await (await fetch(`${url}/models/${model}`)).blob();
      await peer.loadModel([file], { n_ctx: 512, n_threads: 1, n_gpu_layers: 0, warmup: true });
      const text = Array.from({ length: prompt }, (_, index) => String.fromCharCode(97 + (index % 26))).join(" ");
      const options = { prompt: text.slice(0, prompt * 2), max_tokens: decode, temperature: 0, cache_prompt: false };
      await peer.createCompletion(options);
      const { timings } = await peer.createCompletion(options);
      await peer.exit();
      return { prefill: timings.prompt_per_second, decode: timings.predicted_per_second };
    },
    [url, model, prompt, decode] as const,
  );
}

async function natively(model: keyof typeof models): Promise<Speed> {
  const { file, prompt, decode } = models[model];
  const options = ["--prompt", String(prompt), "--decode", String(decode), "--repeat", "1", "--threads", "1"];
  const { stdout } = await execute(place("PROGRAM"), ["model", "bench", file, ...options]);
  const number = (label: string) => Number(new RegExp(`^${label} +([\\d.]+) tokens/s`, "m").exec(stdout)?.[1]);
  return { prefill: number("prefill"), decode: number("decode") };
}

/** The largest resident set that any renderer process of this machine's user has had, in bytes. */
function peakRendererMemory(): number {
  const peaks = fs
    .readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        if (!fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("--type=renderer")) return 0;
        const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
        return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
      } catch {
        return 0;
      }
    });
  return Math.max(0, ...peaks);
}

type Candidate = "native" | "tab" | "wllama";

async function measureModel(url: string, model: keyof typeof models): Promise<void> {
  const speeds: Record<Candidate, Speed[]> = { native: [], tab: [], wllama: [] };
  const peaks: Record<Candidate, number> = { native: 0, tab: 0, wllama: 0 };
  const inBrowser = new Map([["tab", inTab], ["wllama", inPeer]] as const);
  for (let repetition = 0; repetition < REPETITIONS; repetition++) {
    speeds.native.push(await natively(model));
    for (const [candidate, measure] of inBrowser) {
      const profile = fs.mkdtempSync(path.join(os.tmpdir(), "glasshouse-bench-"));
      const context = await browse(profile);
      try {
        const page = await context.newPage();
        await page.goto(`${url}/empty`);
        speeds[candidate].push(await measure(page, url, model));
        peaks[candidate] = Math.max(peaks[candidate], peakRendererMemory());
      } catch (error) {
        // The peer does not load every model that this engine does.
        console.log(`${model}: ${candidate} could not be measured: ${String(error).split("\n")[0]}`);
        inBrowser.delete(candidate);
      } finally {
        await context.close();
        fs.rmSync(profile, { recursive: true, force: true });
      }
    }
  }
  const { file, prompt, decode } = models[model];
  const size = fs.statSync(file).size;
  console.log(`\n${model}: ${prompt} tokens of prompt, ${decode} decoded, one thread; median of ${REPETITIONS}`);
  for (const candidate of ["native", "tab", "wllama"] as const) {
    if (speeds[candidate].length === 0) continue;
    const { prefill, decode } = medians(speeds[candidate]);
    const peak = peaks[candidate];
    const memory =
      peak === 0 ? "" : `, renderer's peak ${Math.round(peak / 2 ** 20)} MiB (${(peak / size).toFixed(2)} × the file)`;
    console.log(
      `  ${candidate.padEnd(7)} prefill ${prefill.toFixed(1)}, decode ${decode.toFixed(1)} tokens/s${memory}`,
    );
  }
  const ratio = (one: Candidate, other: Candidate, what: keyof Speed) =>
    (medians(speeds[one])[what] / medians(speeds[other])[what]).toFixed(2);
  for (const other of ["native", "wllama"] as const) {
    if (speeds[other].length === 0) continue;
    console.log(`  tab / ${other}: prefill ${ratio("tab", other, "prefill")}, decode ${ratio("tab", other, "decode")}`);
  }
}

const server = await serve();
try {
  const times = await timeToFirstToken(server.url);
  console.log(`navigation to first token, model cached: median ${median(times).toFixed(0)} ms of ${times
    .map((time) => time.toFixed(0))
    .join(", ")}`);
  for (const model of Object.keys(models) as (keyof typeof models)[]) await measureModel(server.url, model);
} finally {
  server.close();
}
