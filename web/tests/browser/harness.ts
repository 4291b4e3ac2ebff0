/**
 * A server on a free port and a Chromium with a fresh profile; both end with the test that started them.
 *
 * @module
 */

import { execFile, spawn } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { promisify } from "node:util";

import { chromium } from "playwright-core";
import type { BrowserContext, Page } from "playwright-core";

/** One wait inside a test. The machine may be busy; a test that hangs ends all the same. */
export const WAIT_MILLISECONDS = 120_000;
/** A whole test. */
export const TEST = { timeout: 600_000 };

const FLAGS = [
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** What `cargo xtask` says about where things are. */
export function place(name: "PROGRAM" | "PAGE" | "SUITES" | "SCREENSHOTS" | "CHROMIUM" | "LARGE_MODEL"): string {
  const value = process.env[`GLASSHOUSE_${name}`];
  if (!value) throw new Error(`GLASSHOUSE_${name} is not set; run these through \`cargo xtask test-web\``);
  return path.resolve(value);
}

/** Removed at the very end: a browser writes to its profile until it is gone. */
const folders: string[] = [];
process.on("exit", () => {
  for (const folder of folders) fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** A folder that is removed after the tests. */
export function temporaryFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "glasshouse-"));
  folders.push(folder);
  return folder;
}

/** Serves a folder, or the built page, with the program's own server; its address, ending in a slash. */
export async function serve(t: TestContext, folder = place("PAGE")): Promise<string> {
  const server = spawn(place("PROGRAM"), ["web", "--port", "0", "--directory", folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => server.kill());
  return new Promise((resolve, reject) => {
    let printed = "";
    server.stdout.on("data", (text: Buffer) => {
      printed += text.toString();
      if (printed.includes("\n")) resolve(printed.trim());
    });
    server.on("error", reject);
    server.on("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
}

/** Serves a copy of the page in which some files are changed. */
export async function serveChanged(
  t: TestContext,
  changes: Readonly<Record<string, (content: Buffer) => Buffer | string>>,
): Promise<string> {
  const folder = path.join(temporaryFolder(), "page");
  fs.cpSync(place("PAGE"), folder, { recursive: true });
  for (const [name, change] of Object.entries(changes)) {
    const file = path.join(folder, name);
    fs.writeFileSync(file, change(fs.readFileSync(file)));
    for (const compressed of [".br", ".gz"]) fs.rmSync(file + compressed, { force: true });
  }
  return serve(t, folder);
}

/** The page through a proxy that breaks the model's first download off in the middle. */
export async function serveBreakingOff(t: TestContext): Promise<string> {
  const behind = await serve(t);
  let broken = false;
  const proxy = http.createServer((request, response) => {
    const forwarded = http.request(new URL(request.url ?? "/", behind), { method: request.method }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      if (broken || request.method !== "GET" || !request.url?.endsWith(".gguf")) {
        answer.pipe(response);
        return;
      }
      broken = true;
      answer.once("data", (chunk: Buffer) => {
        answer.destroy();
        response.write(chunk.subarray(0, chunk.length >> 1), () => response.destroy());
      });
    });
    forwarded.end();
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    proxy.close();
    proxy.closeAllConnections();
  });
  const address = proxy.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  return `http://127.0.0.1:${address.port}/`;
}

/** A change that runs something at the worker's start, before it looks at anything. */
export function before(code: string): (content: Buffer) => string {
  return (content) => `${code};\n${content.toString()}`;
}

export interface BrowserOptions {
  readonly flags?: readonly string[];
  readonly profile?: string;
  readonly viewport?: { readonly width: number; readonly height: number };
  readonly colorScheme?: "light" | "dark";
}

/** A Chromium with a profile of its own. */
export async function browse(t: TestContext, options: BrowserOptions = {}): Promise<BrowserContext> {
  const context = await chromium.launchPersistentContext(options.profile ?? temporaryFolder(), {
    executablePath: place("CHROMIUM"),
    headless: true,
    chromiumSandbox: false,
    args: [...FLAGS, ...(options.flags ?? [])],
    viewport: options.viewport ?? { width: 1200, height: 800 },
    colorScheme: options.colorScheme ?? "light",
    acceptDownloads: true,
  });
  t.after(() => context.close());
  context.setDefaultTimeout(WAIT_MILLISECONDS);
  return context;
}

/** Opens an address in a new tab; what its console says stands beside the result of the test. */
export async function open(t: TestContext, context: BrowserContext, url: string): Promise<Page> {
  const page = await context.newPage();
  page.on("console", (message) => t.diagnostic(`console: ${message.text()}`));
  page.on("pageerror", (error) => t.diagnostic(`page error: ${error.message}`));
  await page.goto(url);
  return page;
}

/** Waits until a question can be asked. */
export async function ready(page: Page): Promise<void> {
  await page.waitForSelector("#ask:not([disabled]):not([hidden])");
}

/** Asks on the page and waits for the end; the answer's text, or the problem's. */
export async function ask(page: Page, question: string): Promise<string> {
  const runs = await page.locator(".run").count();
  await page.fill("#question", question);
  await page.press("#question", "Enter");
  await page.waitForFunction((before) => document.querySelectorAll(".run").length > before, runs);
  await ready(page);
  return page.locator(".run").last().locator(".answer").innerText();
}

/** The texts of a kind of step in the last run. */
export function steps(page: Page, kind: "thought" | "call" | "observation"): Promise<string[]> {
  return page.locator(".run").last().locator(`.step.${kind} .text`).allInnerTexts();
}

/** Takes a picture for people to look at. */
export async function picture(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: path.join(place("SCREENSHOTS"), `${name}.png`) });
}

const execute = promisify(execFile);

/** Runs the command line natively; what it printed. */
export async function glasshouse(parameters: readonly string[], folder: string): Promise<string> {
  const { stdout } = await execute(place("PROGRAM"), parameters, { cwd: folder, timeout: WAIT_MILLISECONDS });
  return stdout;
}
