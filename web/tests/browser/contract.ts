/**
 * Holds the hand-written interface of the engine against the one that its module was built with: this file compiles
 * only if they agree.
 *
 * @module
 */

import type { EngineModule } from "../../dist/engine.js";
import type * as generated from "../../dist/wasm/simd128/glasshouse.js";

type Agrees = typeof generated extends EngineModule ? true : false;

export const agrees: Agrees = true;
