/**
 * One question on the page: its steps as they happen, the answer as it is written, what it cost.
 *
 * @module
 */

import { make, makeButton, save, sentence } from "./dom.js";
import type { AgentOutcome, ChatEvent, DeltaEvent, RunSummary } from "./protocol.js";

/** How a run came out, for the announcement and the state line. */
export interface RunResult {
  /** What is read aloud. */
  readonly spoken: string;
  /** Tokens generated per second of work, if there were any. */
  readonly tokensPerSecond: number | undefined;
}

/** The list item of one run. */
export class RunView {
  readonly element = make("li", "run");
  readonly #steps = make("ol", "steps");
  readonly #answer = make("div", "answer");
  readonly #footer = make("footer", "", [make("span", "working", "Working")]);
  /** Steps that are being streamed, until their whole event arrives. */
  #thought: HTMLElement | undefined;
  #call: { readonly tool: HTMLElement; readonly arguments: HTMLElement } | undefined;
  #outcome: AgentOutcome | undefined;
  #problem: string | undefined;
  #stopped = false;

  constructor(question: string) {
    this.#steps.setAttribute("aria-label", "Steps");
    this.element.append(make("p", "question", question), this.#steps, this.#answer, this.#footer);
  }

  /** Shows what happened. */
  show(event: ChatEvent): void {
    switch (event.event) {
      case "delta":
        this.#stream(event);
        break;
      case "thought":
        (this.#thought ?? this.#addStep("thought", "Thought")).textContent = event.text;
        this.#thought = undefined;
        break;
      case "call": {
        const call = this.#call ?? this.#addCall();
        call.tool.textContent = event.tool;
        call.arguments.textContent = JSON.stringify(event.arguments);
        this.#call = undefined;
        break;
      }
      case "observation": {
        const text = this.#addStep(event.failed ? "observation failed" : "observation", "Observation");
        text.textContent = event.text;
        break;
      }
      case "answer":
        this.#answer.textContent = event.text;
        break;
      case "end":
        this.#outcome = event.outcome;
        this.#stopped ||= event.outcome.end.kind === "cancelled";
        if (event.explanation !== undefined && !this.#stopped) this.#problem ??= sentence(event.explanation);
        break;
      case "error":
        if (event.code === "killed") this.#stopped = true;
        else this.#problem = sentence(event.message);
        break;
      case "exhausted":
      case "usage":
        // Their content is in the outcome.
        break;
    }
  }

  /** Shows that the run could not go on, for a reason outside of it. */
  fail(message: string): RunResult {
    this.#problem = sentence(message);
    return this.finish(undefined, undefined, 0);
  }

  /** Shows what the run came to. `number` tells its log's name. */
  finish(summary: RunSummary | undefined, log: Uint8Array<ArrayBuffer> | undefined, number: number): RunResult {
    const problem = this.#problem;
    if (problem !== undefined) this.#answer.classList.add("problem");
    // What was written so far stays, with what became of it.
    if (problem !== undefined || this.#stopped) {
      const lineEnd = this.#answer.hasChildNodes() ? [document.createElement("br")] : [];
      this.#answer.append(...lineEnd, make("span", this.#stopped ? "stopped" : "", problem ?? "Stopped."));
    }
    const tokens = this.#outcome?.usage.generated_tokens ?? 0;
    const seconds = (summary?.milliseconds ?? 0) / 1000;
    this.#footer.replaceChildren();
    if (this.#outcome && summary) {
      const steps = this.#outcome.steps === 1 ? "1 step" : `${this.#outcome.steps} steps`;
      this.#footer.append(make("span", "", `${steps}, ${tokens} tokens, ${seconds.toFixed(2)} s`));
    }
    if (log) this.#offerLog(log, `glasshouse-run-${number}.log`);
    return {
      spoken: problem ?? (this.#stopped ? "Stopped." : `Answer: ${this.#answer.textContent}`),
      tokensPerSecond: tokens > 0 && seconds > 0 ? tokens / seconds : undefined,
    };
  }

  #stream(delta: DeltaEvent): void {
    switch (delta.kind) {
      case "thought":
        this.#thought ??= this.#addStep("thought", "Thought");
        this.#thought.append(delta.text);
        break;
      case "call":
        this.#call ??= this.#addCall();
        this.#call.tool.append(delta.text);
        break;
      case "arguments":
        this.#call ??= this.#addCall();
        this.#call.arguments.append(delta.text);
        break;
      case "answer":
        this.#answer.append(delta.text);
        break;
    }
  }

  #addCall(): { readonly tool: HTMLElement; readonly arguments: HTMLElement } {
    const [tool, parameters] = [make("span", "tool"), make("span", "")];
    this.#addStep("call", "Tool call").append(tool, " ", parameters);
    return { tool, arguments: parameters };
  }

  /** A step; its place for text. */
  #addStep(kind: string, label: string): HTMLElement {
    const text = make("div", "text");
    this.#steps.append(make("li", `step ${kind}`, [make("div", "label", label), text]));
    return text;
  }

  #offerLog(log: Uint8Array<ArrayBuffer>, name: string): void {
    const how = make("span", "hint");
    const button = makeButton("quiet", "Save event log", () => {
      save(log, name);
      how.textContent = `glasshouse replay ${name} runs it again and compares every byte.`;
    });
    this.#footer.append(button, how);
  }
}
