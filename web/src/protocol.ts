/**
 * What page and worker say to each other, and the events of a run: the one definition that both sides are typed by.
 *
 * The page makes calls ({@link Calls}), each with a number of its own. The worker answers each with any number of
 * `progress` messages and then exactly one `result` or `failure`. A call can be cancelled; it still gets its answer.
 *
 * @module
 */

/** Text as it is generated. For `call` it is the tool's name, for `arguments` a piece of its JSON arguments. */
export interface DeltaEvent {
  readonly event: "delta";
  readonly kind: "thought" | "call" | "arguments" | "answer";
  readonly text: string;
}

/** The model thought; the whole line. */
export interface ThoughtEvent {
  readonly event: "thought";
  readonly step: number;
  readonly text: string;
}

/** A tool is about to be called. */
export interface CallEvent {
  readonly event: "call";
  readonly step: number;
  readonly tool: string;
  readonly arguments: unknown;
}

/** A tool has answered: what the model is shown. */
export interface ObservationEvent {
  readonly event: "observation";
  readonly step: number;
  readonly tool: string;
  readonly text: string;
  readonly failed: boolean;
}

/** The model answered; the whole answer. */
export interface AnswerEvent {
  readonly event: "answer";
  readonly step: number;
  readonly text: string;
}

/** The agent ended without an answer. */
export interface ExhaustedEvent {
  readonly event: "exhausted";
  readonly step: number;
  readonly end: AgentEnd;
}

/** What was generated so far. */
export interface UsageEvent {
  readonly event: "usage";
  readonly generated_tokens: number;
  readonly prompt_tokens?: number;
}

/** The run is over; the last event of a run that was not stopped and did not fail. */
export interface EndEvent {
  readonly event: "end";
  readonly outcome: AgentOutcome;
  /** Why there is no answer, and what to do; left out when there is one. */
  readonly explanation?: string;
}

/** The run failed or was stopped; the last event of such a run. */
export interface ErrorEvent {
  readonly event: "error";
  readonly code: string;
  readonly message: string;
}

/** Everything that a run tells: the objects of `glasshouse ask --json`, and the streamed text. */
export type ChatEvent =
  | DeltaEvent
  | ThoughtEvent
  | CallEvent
  | ObservationEvent
  | AnswerEvent
  | ExhaustedEvent
  | UsageEvent
  | EndEvent
  | ErrorEvent;

/** How an agent ended. Only `answer` is an answer; `partial` is the text of a step that was cut off. */
export type AgentEnd =
  | { readonly kind: "answer"; readonly text: string }
  | { readonly kind: "steps_exhausted"; readonly limit: number }
  | { readonly kind: "tokens_exhausted"; readonly limit: number; readonly partial: string }
  | { readonly kind: "step_truncated"; readonly limit: number; readonly partial: string }
  | { readonly kind: "context_exhausted"; readonly limit: number; readonly partial: string }
  | { readonly kind: "repeating"; readonly tool: string; readonly times: number }
  | { readonly kind: "malformed"; readonly text: string; readonly reason: string }
  | { readonly kind: "cancelled"; readonly partial: string }
  | { readonly kind: "halted"; readonly partial: string; readonly reason: string };

/** What a whole run came to. */
export interface AgentOutcome {
  readonly end: AgentEnd;
  /** Generations that were made, the last one included. */
  readonly steps: number;
  /** What they cost together, in tokens. */
  readonly usage: UsageTotals;
}

/** Sums over all generations of a run, in tokens. */
export interface UsageTotals {
  /** Tokens of the prompts; what two steps share counts twice. */
  readonly prompt_tokens: number;
  /** Of those, taken from what was evaluated before. */
  readonly cached_tokens: number;
  /** Tokens that the model evaluated. */
  readonly evaluated_tokens: number;
  /** Tokens generated. */
  readonly generated_tokens: number;
}

/** How a question is asked; the names, meanings and defaults of `glasshouse ask`. */
export interface RunOptions {
  /** Seed of everything random in the run; a string holds all 64 bits. Default 0. */
  readonly seed?: number | string;
  /** Take this as the wall-clock time, in seconds since 1970 (UTC). */
  readonly now?: number;
  /** 0, the default, always takes the most probable token. */
  readonly temperature?: number;
  /** Keep the K most probable tokens; 0 keeps all. */
  readonly top_k?: number;
  /** Keep the most probable tokens up to this total probability. */
  readonly top_p?: number;
  /** Drop tokens less probable than this times the most probable one. */
  readonly min_p?: number;
  /** Penalty on repeated tokens; 1 is none. */
  readonly repeat_penalty?: number;
  /** The most steps the agent may take. */
  readonly max_steps?: number;
  /** The most tokens the model may generate in the run. */
  readonly max_tokens?: number;
  /** Fuel of each process: about one unit for each WebAssembly instruction. */
  readonly fuel?: number;
  /** Memory of each process, in MiB. */
  readonly memory_limit?: number;
  /** Whether to keep the event log, for `takeLog`. */
  readonly record?: boolean;
}

/** A model that is ready. */
export interface ModelInfo {
  readonly name: string;
  /** The GGUF file's `general.architecture`. */
  readonly architecture: string;
  /** In tokens. */
  readonly context_length: number;
  /** Whether it was trained on the agent protocol; any other model gets instructions. */
  readonly knows_agent_protocol: boolean;
  /** Size of the file. */
  readonly bytes: number;
  /** Hash of the file's content. */
  readonly hash: string;
  /** Where the bytes came from. */
  readonly origin: "network" | "cache" | "file";
  /** Why the file could not be kept for the next time; a sentence. */
  readonly cacheProblem?: string;
}

/** How far the loading of a model is. */
export interface LoadProgress {
  readonly phase: "downloading" | "reading" | "preparing";
  readonly loadedBytes: number;
  /** Absent when the server does not say. */
  readonly totalBytes?: number;
}

/** One remembered text. */
export interface MemoryRecord {
  readonly id: number;
  readonly text: string;
}

/** What the engine is and where its long-term memory lives. */
export interface EngineInfo {
  readonly version: string;
  /** "SIMD128", "relaxed SIMD" or "scalar". */
  readonly kernels: string;
  readonly memoryIsPersistent: boolean;
  /** Why memory ends with this tab although it was asked to last; a sentence. */
  readonly memoryProblem?: string;
}

/** Which build of the engine this browser runs. */
export type Variant = "simd128" | "relaxed";

/** What a run cost the worker. */
export interface RunSummary {
  /** Time in which the worker worked on the run, its waiting left out. */
  readonly milliseconds: number;
}

/** The calls of the page: what they take, what they give, and what they tell on the way. */
export interface Calls {
  open: {
    parameters: {
      variant: Variant;
      persistentMemory: boolean;
      /** Name of a lock that the worker holds as long as it lives; the page learns of its death by it. */
      aliveLock: string;
    };
    result: EngineInfo;
    progress: never;
  };
  loadModel: {
    parameters: { source: { url: string } | { file: File }; useCache: boolean };
    result: ModelInfo;
    progress: LoadProgress;
  };
  chat: {
    parameters: { question: string; options: RunOptions; sliceMilliseconds: number };
    result: RunSummary;
    progress: readonly ChatEvent[];
  };
  takeLog: { parameters: Record<string, never>; result: Uint8Array<ArrayBuffer> | undefined; progress: never };
  memoryList: { parameters: Record<string, never>; result: readonly MemoryRecord[]; progress: never };
  memorySearch: { parameters: { query: string }; result: readonly MemoryRecord[]; progress: never };
  memoryAdd: { parameters: { text: string }; result: MemoryRecord; progress: never };
  memoryRemove: { parameters: { id: number }; result: boolean; progress: never };
}

/** A call's name. */
export type Method = keyof Calls;

/** Page to worker. */
export type PageMessage =
  | { [M in Method]: { type: "call"; id: number; method: M; parameters: Calls[M]["parameters"] } }[Method]
  | { type: "cancel"; id: number };

/** Worker to page. */
export type WorkerMessage =
  | { type: "progress"; id: number; progress: Calls[Method]["progress"] }
  | { type: "result"; id: number; result: Calls[Method]["result"] }
  | { type: "failure"; id: number; failure: Failure };

/** Why a call failed. */
export interface Failure {
  /** Stable, for programs. */
  readonly code: string;
  /** A sentence for people. */
  readonly message: string;
  /** Whether the engine can go on; after a fatal failure only a new worker can. */
  readonly fatal: boolean;
}
