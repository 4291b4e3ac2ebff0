/** What a project that installs the package may write. Compiled, in several ways, and not run. */

import { HaltConfigError, HaltInputError, Kernel, endsSentence, guardTokens, haltStream, init } from "@glasshouse/halt";
import type { Decision, Halt, HaltConfig, Rule, ScoredToken, TraceEntry } from "@glasshouse/halt";
import { initSync } from "@glasshouse/halt/core";

export async function use(module: Parameters<typeof initSync>[0]): Promise<Halt | null> {
  await init();
  initSync(module);
  const config: HaltConfig = { hard_limit: 0.4, soft_limit: null, trend: "least_squares", keep_text: true };
  const kernel = new Kernel(config);
  const decision: Decision = kernel.processToken(0, 0.9);
  const rule: Rule | null = kernel.process({ index: 1, score: null, text: "a" }).rule;
  const entries: TraceEntry[] = kernel.trace();
  kernel[Symbol.dispose]();
  async function* source(): AsyncGenerator<ScoredToken> {
    yield { token: "a", score: 0.9 };
  }
  for await (const token of guardTokens(source(), { hold_back: 2 })) endsSentence(token);
  const stream = haltStream<string>({ halt_mode: "soft" });
  const readable: ReadableStream<string> = stream.readable;
  await readable.cancel(new HaltConfigError(`${rule} ${decision.released} ${entries.length}`));
  // @ts-expect-error: no such mode
  new Kernel({ halt_mode: "gentle" });
  // @ts-expect-error: no such field
  new Kernel({ hard_limitt: 0.5 });
  // @ts-expect-error: scores are numbers
  if (kernel.processToken(2, "0.9").value === 0) throw new HaltInputError("", 0, "out_of_order", 0, 0);
  return stream.halted;
}
