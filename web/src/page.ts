/**
 * The person's page: loads the model, asks, shows, remembers. It uses the package as any other page would.
 *
 * @module
 */

import { byId, formatBytes, make, makeButton, sentence } from "./dom.js";
import { Glasshouse, GlasshouseError } from "./glasshouse.js";
import type { LoadProgress, ModelInfo } from "./glasshouse.js";
import { RunView } from "./run-view.js";
import type { RunResult } from "./run-view.js";

const page = {
  notices: byId("notices", HTMLDivElement),
  loading: byId("loading", HTMLElement),
  loadingLabel: byId("loading-label", HTMLSpanElement),
  loadingAmount: byId("loading-amount", HTMLSpanElement),
  loadingBar: byId("loading-bar", HTMLProgressElement),
  loadingCancel: byId("loading-cancel", HTMLButtonElement),
  welcome: byId("welcome", HTMLElement),
  examples: byId("examples", HTMLUListElement),
  runs: byId("runs", HTMLOListElement),
  announcer: byId("announcer", HTMLParagraphElement),
  composer: byId("composer", HTMLFormElement),
  question: byId("question", HTMLTextAreaElement),
  ask: byId("ask", HTMLButtonElement),
  stop: byId("stop", HTMLButtonElement),
  panel: byId("panel", HTMLElement),
  panelToggle: byId("panel-toggle", HTMLButtonElement),
  modelFacts: byId("model-facts", HTMLDListElement),
  chooseModel: byId("choose-model", HTMLButtonElement),
  pocketModel: byId("pocket-model", HTMLButtonElement),
  modelFile: byId("model-file", HTMLInputElement),
  memoryPlace: byId("memory-place", HTMLParagraphElement),
  memories: byId("memories", HTMLUListElement),
  memoriesEmpty: byId("memories-empty", HTMLParagraphElement),
  state: byId("state", HTMLElement),
  drop: byId("drop", HTMLDivElement),
};

const PHASES: Record<LoadProgress["phase"], string> = {
  downloading: "Downloading the model",
  reading: "Reading the model",
  preparing: "Preparing the model",
};
/** How far from its end a page still counts as scrolled to the end, in pixels. */
const END_OF_PAGE = 80;

let glasshouse: Glasshouse | undefined;
/** Ends what is going on: a load or a run. */
let activity: { readonly kind: "loading" | "running"; readonly controller: AbortController } | undefined;
let tokensPerSecond: number | undefined;
let runs = 0;

/** Starts an engine and loads the pocket model; in the end the page is ready, or says why it is not. */
async function boot(): Promise<void> {
  page.notices.replaceChildren();
  showLoading("Starting the engine");
  try {
    glasshouse = await Glasshouse.start({ onDeath });
  } catch (error) {
    page.loading.hidden = true;
    problem(error, "Try again", () => void boot());
    return;
  }
  const { memoryIsPersistent, memoryProblem } = glasshouse.engine;
  page.memoryPlace.textContent = memoryIsPersistent
    ? "Kept in this browser, on this device."
    : "Kept until this tab is closed.";
  if (memoryProblem !== undefined) notice(sentence(memoryProblem));
  await Promise.all([load(undefined), refreshMemories()]);
}

/** Loads a model; without a file, the pocket model. */
async function load(file: File | undefined): Promise<void> {
  if (!glasshouse || activity) return;
  const controller = new AbortController();
  activity = { kind: "loading", controller };
  showLoading(file ? PHASES.reading : PHASES.downloading);
  page.loadingCancel.hidden = glasshouse.model === undefined;
  update();
  try {
    const model = await glasshouse.loadModel(file, { onProgress: showProgress, signal: controller.signal });
    page.pocketModel.hidden = file === undefined;
    tokensPerSecond = undefined;
    if (model.cacheProblem !== undefined) notice(model.cacheProblem);
    announce(`The model ${model.name} is ready.`);
  } catch (error) {
    if (isAlive() && !isCode(error, "cancelled")) {
      if (glasshouse.model) problem(error);
      else problem(error, "Try again", () => void load(undefined));
    }
  } finally {
    activity = undefined;
    page.loading.hidden = true;
    update();
  }
}

/** Asks what is in the box. */
async function ask(question: string): Promise<void> {
  if (!glasshouse?.model || activity || question.trim() === "") return;
  const controller = new AbortController();
  activity = { kind: "running", controller };
  const number = ++runs;
  const view = new RunView(question);
  page.welcome.hidden = true;
  page.runs.append(view.element);
  page.question.value = "";
  update();
  view.element.scrollIntoView({ block: "end" });
  let result: RunResult;
  try {
    const events = glasshouse.chat(question, { record: true, signal: controller.signal });
    let next = await events.next();
    for (; !next.done; next = await events.next()) {
      const event = next.value;
      keepAtEnd(() => view.show(event));
    }
    const summary = next.value;
    const log = await glasshouse.takeLog();
    result = keepAtEnd(() => view.finish(summary, log, number));
  } catch (error) {
    result = keepAtEnd(() => view.fail(error instanceof Error ? error.message : String(error)));
  }
  activity = undefined;
  tokensPerSecond = result.tokensPerSecond ?? tokensPerSecond;
  announce(result.spoken);
  update();
  // Whoever works with the keyboard goes on typing; a phone's keyboard is not called up again.
  if (matchMedia("(hover: hover)").matches) page.question.focus();
  await refreshMemories();
}

function stop(): void {
  activity?.controller.abort();
}

async function refreshMemories(): Promise<void> {
  if (!glasshouse || !isAlive()) return;
  try {
    const memories = await glasshouse.memory.list();
    page.memories.replaceChildren(...memories.map(({ id, text }) => memoryItem(id, text)));
    page.memoriesEmpty.hidden = memories.length > 0;
  } catch (error) {
    if (isAlive()) problem(error);
  }
}

function memoryItem(id: number, text: string): HTMLLIElement {
  const button = makeButton("quiet", "Forget", () => void forget(id));
  button.setAttribute("aria-label", `Forget: ${text}`);
  return make("li", "", [make("span", "", text), button]);
}

async function forget(id: number): Promise<void> {
  try {
    await glasshouse?.memory.remove(id);
    announce("Forgotten.");
  } catch (error) {
    if (isAlive()) problem(error);
  }
  await refreshMemories();
  // The button that had the focus is gone.
  (page.memories.querySelector("button") ?? page.question).focus();
}

/** The engine ended by itself. What is on the page stays. */
function onDeath(error: GlasshouseError): void {
  glasshouse = undefined;
  page.loading.hidden = true;
  update();
  problem(error, "Start again", () => void boot());
}

function isAlive(): boolean {
  return glasshouse !== undefined;
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof GlasshouseError && error.code === code;
}

function showLoading(label: string): void {
  page.loading.hidden = false;
  page.loadingLabel.textContent = label;
  page.loadingAmount.textContent = "";
  page.loadingBar.removeAttribute("value");
}

function showProgress({ phase, loadedBytes, totalBytes }: LoadProgress): void {
  page.loadingLabel.textContent = PHASES[phase];
  if (totalBytes === undefined) {
    page.loadingAmount.textContent = formatBytes(loadedBytes);
    return;
  }
  const share = loadedBytes / totalBytes;
  page.loadingBar.value = share;
  page.loadingAmount.textContent =
    `${formatBytes(loadedBytes)} of ${formatBytes(totalBytes)}, ${Math.floor(share * 100)} %`;
}

/** Brings buttons, facts and the state line in line with what is going on. */
function update(): void {
  const running = activity?.kind === "running";
  const ready = glasshouse?.model !== undefined && activity === undefined;
  page.ask.hidden = running;
  page.ask.disabled = !ready;
  page.stop.hidden = !running;
  page.chooseModel.disabled = glasshouse === undefined || activity !== undefined;
  page.pocketModel.disabled = page.chooseModel.disabled;
  for (const button of page.examples.querySelectorAll("button")) button.disabled = !ready;
  const model = glasshouse?.model;
  page.modelFacts.replaceChildren(...(model ? facts(model) : []));
  page.state.replaceChildren(...stateLine(model).map((text) => make("span", "", text)));
}

function facts(model: ModelInfo): HTMLElement[] {
  const origins: Record<ModelInfo["origin"], string> = {
    network: "downloaded just now",
    cache: "kept in this browser",
    file: "a file of yours",
  };
  return Object.entries({
    Name: model.name,
    Kind: model.architecture,
    Size: formatBytes(model.bytes),
    Context: `${model.context_length} tokens`,
    From: origins[model.origin],
  }).flatMap(([name, value]) => [make("dt", "", name), make("dd", "", value)]);
}

function stateLine(model: ModelInfo | undefined): string[] {
  if (!glasshouse) return ["No engine"];
  const { version, kernels, memoryIsPersistent } = glasshouse.engine;
  const speed = tokensPerSecond === undefined ? [] : [`${Math.round(tokensPerSecond)} tokens/s`];
  return [
    model ? model.name : "No model yet",
    ...speed,
    kernels,
    memoryIsPersistent ? "memory is kept" : "memory ends with this tab",
    `Glasshouse ${version}`,
  ];
}

function notice(text: string): void {
  const item = make("div", "notice", [make("p", "", text)]);
  item.setAttribute("role", "status");
  item.append(makeButton("quiet", "Dismiss", () => item.remove()));
  page.notices.append(item);
}

/** Says what went wrong, with a button for the way out; without one, for dismissing it. */
function problem(error: unknown, label = "Dismiss", onClick: () => void = () => undefined): void {
  const message = error instanceof Error ? error.message : String(error);
  const item = make("div", "notice problem", [make("p", "", sentence(message))]);
  item.setAttribute("role", "alert");
  item.append(
    makeButton("quiet", label, () => {
      item.remove();
      onClick();
    }),
  );
  page.notices.append(item);
  item.scrollIntoView({ block: "nearest" });
}

function announce(text: string): void {
  page.announcer.textContent = text;
}

/** Changes the page; one that was scrolled to its end stays so, any other stays where the reader is. */
function keepAtEnd<T>(change: () => T): T {
  const root = document.documentElement;
  const atEnd = root.scrollHeight - root.clientHeight - root.scrollTop < END_OF_PAGE;
  const result = change();
  if (atEnd) root.scrollTop = root.scrollHeight;
  return result;
}

page.composer.addEventListener("submit", (event) => {
  event.preventDefault();
  void ask(page.question.value);
});
page.question.addEventListener("keydown", (event) => {
  // While an input method composes, Enter belongs to it.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  void ask(page.question.value);
});
page.stop.addEventListener("click", stop);
page.loadingCancel.addEventListener("click", stop);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.isComposing && activity?.kind === "running") stop();
});
page.examples.addEventListener("click", ({ target }) => {
  if (target instanceof HTMLButtonElement) void ask(target.textContent);
});
page.panelToggle.addEventListener("click", () => {
  const open = page.panel.classList.toggle("open");
  page.panelToggle.setAttribute("aria-expanded", String(open));
  // The panel lies above the conversation, below the button.
  if (open) document.documentElement.scrollTop = 0;
});

page.chooseModel.addEventListener("click", () => page.modelFile.click());
page.pocketModel.addEventListener("click", () => void load(undefined));
page.modelFile.addEventListener("change", () => {
  const file = page.modelFile.files?.[0];
  // The same file chosen again is a change as well.
  page.modelFile.value = "";
  if (file) void load(file);
});
document.addEventListener("dragover", (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault();
  page.drop.hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) page.drop.hidden = true;
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  page.drop.hidden = true;
  const file = event.dataTransfer?.files[0];
  if (file) void load(file);
});

// A page that is left gives the memory's files free at once, for the next tab; one that is come back to starts anew.
addEventListener("pagehide", () => {
  glasshouse?.destroy();
  glasshouse = undefined;
});
addEventListener("pageshow", (event) => {
  if (event.persisted) void boot();
});

update();
void boot();
