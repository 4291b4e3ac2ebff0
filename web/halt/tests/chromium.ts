/** A Chromium with a server of its own: the installed package, and the compiled tests. */

import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";
import type { Page } from "playwright-core";

import { fixture, place } from "./fixtures.js";

const TYPES: Record<string, string> = { ".js": "text/javascript", ".wasm": "application/wasm", ".html": "text/html" };
const PACKAGE = path.dirname(createRequire(import.meta.url).resolve("@glasshouse/halt/package.json"));
const TESTS = path.dirname(fileURLToPath(import.meta.url));

/** What runs in a page and in a worker of either kind; a service worker may neither import nor wait later. */
const SCRIPT = `
  import * as halt from "/package/dist/web.js";
  import * as suite from "/tests/suite.js";
  const ready = halt.init();
  const run = async ({ task, vectors, golden, given, lengths }) => {
    await ready;
    if (task === "measure") return lengths.map((length) => suite.measure(halt, given, length));
    const stream = halt.haltStream({ hold_back: 1 });
    const writer = stream.writable.getWriter();
    for (const score of [0.9, 0.9, 0.1]) writer.write({ token: "t", score }).catch(() => undefined);
    let shown = 0;
    const reader = stream.readable.getReader();
    while (!(await reader.read()).done) shown++;
    return {
      scope: self.constructor.name,
      compared: suite.vectors(halt, vectors),
      golden: suite.golden(halt, golden.streams),
      shown,
      halt: (await stream.halted).index,
    };
  };
  self.addEventListener("install", () => self.skipWaiting?.());
  self.addEventListener("activate", (event) => event.waitUntil(self.clients?.claim()));
  self.addEventListener("message", ({ data, ports: [port] }) => {
    run(data).then((result) => port.postMessage({ result }), (error) => port.postMessage({ failure: String(error) }));
  });
`;

function content(url: string): { readonly body: Buffer | string; readonly type: string } | undefined {
  if (url === "/") return { body: "<!doctype html><title>halt</title>", type: "text/html" };
  if (url === "/worker.js") return { body: SCRIPT, type: "text/javascript" };
  const [, root, ...rest] = url.split("/");
  const folder = root === "package" ? PACKAGE : root === "tests" ? TESTS : undefined;
  if (folder === undefined) return undefined;
  const file = path.join(folder, ...rest);
  return { body: fs.readFileSync(file), type: TYPES[path.extname(file)] ?? "application/octet-stream" };
}

/** A page beside which the package lies; everything ends with `end`. */
export async function open(): Promise<{ page: Page; end(): Promise<void> }> {
  const server = http.createServer((request, response) => {
    const found = content(request.url ?? "/");
    response.writeHead(found ? 200 : 404, { "content-type": found?.type ?? "text/plain" });
    response.end(found?.body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "glasshouse-halt-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: place("CHROMIUM"),
    headless: true,
    chromiumSandbox: false,
    args: ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"],
  });
  const end = async (): Promise<void> => {
    await context.close();
    server.close();
    server.closeAllConnections();
    fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  const page = await context.newPage();
  await page.goto(`http://127.0.0.1:${address.port}/`);
  return { page, end };
}

/** Gives the page or a worker a task; what comes of it. */
export function ask<T>(page: Page, kind: "page" | "worker" | "service worker", task: object): Promise<T> {
  const data = { vectors: fixture("vectors.json"), golden: fixture("golden.json"), ...task };
  return page.evaluate(
    async ({ kind, data }) => {
      const channel = new MessageChannel();
      const answer = new Promise<T>((resolve, reject) => {
        channel.port1.onmessage = ({ data: { result, failure } }) =>
          failure === undefined ? resolve(result) : reject(new Error(failure));
      });
      if (kind === "page") {
        const script = "/worker.js";
        await import(script);
        window.postMessage(data, location.origin, [channel.port2]);
      } else if (kind === "worker") {
        new Worker("/worker.js", { type: "module" }).postMessage(data, [channel.port2]);
      } else {
        await navigator.serviceWorker.register("/worker.js", { type: "module" });
        const { active } = await navigator.serviceWorker.ready;
        active?.postMessage(data, [channel.port2]);
      }
      return answer;
    },
    { kind, data },
  );
}
